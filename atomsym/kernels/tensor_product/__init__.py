"""Tensor products of node features with edge features, summed over edges.

One file an operation beside ``convolution`` (channel-wise coupling); all of them take node features (n, dim, channels),
edge features and an ``EdgeTopology``.
"""

from atomsym.kernels.tensor_product.convolution import tensor_product_convolution
from atomsym.kernels.tensor_product.e3nn_layout import e3nn_instructions, e3nn_permutation, from_e3nn, to_e3nn
from atomsym.kernels.tensor_product.product import ChannelwiseProduct, ProductPath

__all__ = [
    "ChannelwiseProduct",
    "ProductPath",
    "e3nn_instructions",
    "e3nn_permutation",
    "from_e3nn",
    "tensor_product_convolution",
    "to_e3nn",
]
