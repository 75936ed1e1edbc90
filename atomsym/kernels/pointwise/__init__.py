"""Products taken row by row after linear maps: on the points of a grid, or over the terms of a decomposition."""

from atomsym.kernels.pointwise.convolution import CONVOLUTION, reference_convolution
from atomsym.kernels.pointwise.product import MOST_FACTORS, pointwise_product
from atomsym.kernels.pointwise.tables import ConvolutionTables, ProductTables, Sampling, register_tables

__all__ = [
    "CONVOLUTION",
    "MOST_FACTORS",
    "ConvolutionTables",
    "ProductTables",
    "Sampling",
    "pointwise_product",
    "reference_convolution",
    "register_tables",
]
