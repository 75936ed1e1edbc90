"""Products of features as functions on the sphere, by a quadrature that is exact."""

from atomsym.kernels.gaunt_product.convolution import GauntConvolution, gaunt_convolution
from atomsym.kernels.gaunt_product.description import GauntProduct, quadrature
from atomsym.kernels.gaunt_product.product import gaunt_coefficients, gaunt_product

__all__ = [
    "GauntConvolution",
    "GauntProduct",
    "gaunt_coefficients",
    "gaunt_convolution",
    "gaunt_product",
    "quadrature",
]
