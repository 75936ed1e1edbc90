"""Products of features as matrices between the states of a spin."""

from atomsym.kernels.matrix_coupling.coupling import matrix_coefficients, matrix_coupling
from atomsym.kernels.matrix_coupling.description import MatrixCoupling

__all__ = ["MatrixCoupling", "matrix_coefficients", "matrix_coupling"]
