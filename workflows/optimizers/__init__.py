"""Optimizers with true second derivatives for any ASE calculator: ``RFO``, ``Newton`` (minima), ``PRFO`` (saddles)."""

from atomsym.workflows.optimizers.minimizers import RFO, Newton
from atomsym.workflows.optimizers.saddle import PRFO
from atomsym.workflows.optimizers.second_order import SecondOrderOptimizer

__all__ = ["PRFO", "RFO", "Newton", "SecondOrderOptimizer"]
