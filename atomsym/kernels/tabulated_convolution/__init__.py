"""The channel-wise convolution with radial weights from tables: what inference uses instead of a radial network."""

from atomsym.kernels.tabulated_convolution.front import (
    OPERATION,
    EdgeGradients,
    tabulated_convolution,
    tabulated_convolution_gradients,
)
from atomsym.kernels.tabulated_convolution.table import DEGREES, RadialTable, TableError, tabulate

__all__ = [
    "DEGREES",
    "OPERATION",
    "EdgeGradients",
    "RadialTable",
    "TableError",
    "tabulate",
    "tabulated_convolution",
    "tabulated_convolution_gradients",
]
