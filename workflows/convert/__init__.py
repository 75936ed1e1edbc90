"""Foreign checkpoints to model files: the pickle is opened only in a process of its own, and the result is verified."""

from atomsym.workflows.convert.in_process import potential_from_mace

__all__ = ["potential_from_mace"]
