"""``atomsym evaluate``: errors of a model on labelled structures."""

from atomsym.workflows.evaluate.run import EvaluationResult, Parity, evaluate_structures

__all__ = ["EvaluationResult", "Parity", "evaluate_structures"]
