"""The raw operators of the convolution in edge frames: one form, to which the backends add theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from atomsym.kernels.multilinear_form import MultilinearForm
from atomsym.kernels.so2_convolution.product import so2_product_of


def _out_shape(operands: Sequence[Tensor], wiring: Sequence[Tensor], handle: str) -> tuple[int, ...]:
    x = operands[0]
    return x.shape[-3], so2_product_of(handle).out_dim, x.shape[-1]


CONVOLUTION = MultilinearForm("so2", {"x": 3, "frames_in": 2, "w": 3, "frames_out": 2}, 3, _out_shape)
"""Operands: node features, frames, weights of shape (n_edges, n_weights, channels), and the frames again: they turn
features in and messages back, two operands, so that the form is linear in each."""


def _triton_forward(*args: Any) -> Tensor:
    from atomsym.kernels.so2_convolution import triton_backend  # imports triton, so only when it is asked for

    return triton_backend.forward(*args)


def _triton_gradients(*args: Any) -> tuple[Tensor, ...]:
    from atomsym.kernels.so2_convolution import triton_backend

    return triton_backend.gradients(*args)


CONVOLUTION.define("triton", _triton_forward, _triton_gradients, ("CPU", "CUDA"))
