"""Matrix products as linear layers on edges and nodes need them: one small operand, one tall."""

from atomsym.kernels.matrix_product.front import matrix_product

__all__ = ["matrix_product"]
