"""Symmetric contraction: MACE's many-body product of node features."""

from atomsym.kernels.symmetric_contraction.description import MAX_CORRELATION, PathBlock, SymmetricContraction
from atomsym.kernels.symmetric_contraction.front import OPERATION, symmetric_contraction

__all__ = ["MAX_CORRELATION", "OPERATION", "PathBlock", "SymmetricContraction", "symmetric_contraction"]
