"""The raw operators of the channel-wise convolution: one form, to which the backends add theirs."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from atomsym.kernels.multilinear_form import MultilinearForm
from atomsym.kernels.tensor_product.product import product_of


def _out_shape(operands: Sequence[Tensor], wiring: Sequence[Tensor], handle: str) -> tuple[int, ...]:
    x = operands[0]
    return x.shape[-3], product_of(handle).irreps_out.dim, x.shape[-1]


CONVOLUTION = MultilinearForm("channelwise", {"x": 3, "y": 2, "w": 3}, 3, _out_shape)
"""Operands: node features, edge features, weights of shape (n_edges, n_paths, channels)."""
