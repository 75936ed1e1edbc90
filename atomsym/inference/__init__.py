"""Fast inference: energies and first derivatives of trained potentials without autograd."""

from atomsym.inference import mace as _mace  # noqa: F401  registers its engine
from atomsym.inference.engine import Engine, NotCoveredError, engine_for, register_engine
from atomsym.inference.evaluation import evaluate_with_engine
from atomsym.inference.hessian import hessian_with_engine
from atomsym.inference.hessian_head import HessianEngine

__all__ = [
    "Engine",
    "HessianEngine",
    "NotCoveredError",
    "engine_for",
    "evaluate_with_engine",
    "hessian_with_engine",
    "register_engine",
]
