"""Products of features as matrices between the states of a spin."""

from atomsym.kernels.matrix_coupling.coupling import MatrixCoupling, matrix_coefficients, matrix_coupling

__all__ = ["MatrixCoupling", "matrix_coefficients", "matrix_coupling"]
