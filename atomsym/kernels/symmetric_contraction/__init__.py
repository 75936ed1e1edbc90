"""Symmetric contraction: MACE's many-body product of node features."""

from atomsym.kernels.symmetric_contraction.description import PathBlock, SymmetricContraction
from atomsym.kernels.symmetric_contraction.front import OPERATION, symmetric_contraction

__all__ = ["OPERATION", "PathBlock", "SymmetricContraction", "symmetric_contraction"]
