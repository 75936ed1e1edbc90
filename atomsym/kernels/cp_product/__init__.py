"""Products of features by a sum of rank-one terms: all couplings with one weight in common."""

from atomsym.kernels.cp_product.factors import CPProduct, available_ranks
from atomsym.kernels.cp_product.product import cp_convolution, cp_product

__all__ = ["CPProduct", "available_ranks", "cp_convolution", "cp_product"]
