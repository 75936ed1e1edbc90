"""The raw operators of a compiled backend: names, schemas and shapes, so that ``torch.compile`` can see through.

Each backend has two, with every operand carrying a leading batch axis (size 1: shared by the batch):

* ``channelwise_forward_<backend>``: the sum over the edges of each receiver;
* ``channelwise_gradients_<backend>``: derivatives of ⟨g, forward(x, Y, w)⟩ for those of x, Y, w that are wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.tensor_product.product import product_of

LIBRARY = torch.library.Library("atomsym", "FRAGMENT")

_WIRING = "Tensor receiver, Tensor sender, Tensor receiver_offsets, Tensor sender_order, Tensor sender_offsets"


def batch_of(*operands: Tensor) -> int:
    """Common size of the leading axes."""
    return max(operand.shape[0] for operand in operands)


def define(
    backend: str, forward: Callable[..., Tensor], gradients: Callable[..., tuple[Tensor, ...]], keys: tuple[str, ...]
) -> None:
    """Register the two operators of a backend for the dispatch keys ``keys`` (CPU, CUDA)."""
    names = f"channelwise_forward_{backend}", f"channelwise_gradients_{backend}"
    LIBRARY.define(f"{names[0]}(Tensor x, Tensor y, Tensor w, {_WIRING}, str product) -> Tensor")
    LIBRARY.define(
        f"{names[1]}(Tensor g, Tensor x, Tensor y, Tensor w, {_WIRING}, str product, "
        "bool need_x, bool need_y, bool need_w) -> (Tensor, Tensor, Tensor)"
    )
    operators: tuple[tuple[str, Callable[..., Any], Callable[..., Any]], ...] = (
        (names[0], forward, _fake_forward),
        (names[1], gradients, _fake_gradients),
    )
    for name, function, fake in operators:
        for key in keys:
            LIBRARY.impl(name, function, key)
        torch.library.register_fake(f"atomsym::{name}", fake, lib=LIBRARY)


def out_shape(x: Tensor, y: Tensor, w: Tensor, product: str) -> tuple[int, ...]:
    """Shape of the forward operator's result."""
    return batch_of(x, y, w), x.shape[1], product_of(product).irreps_out.dim, x.shape[3]


def gradient_shapes(
    g: Tensor, x: Tensor, y: Tensor, w: Tensor, need_x: bool, need_y: bool, need_w: bool
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Shapes of the gradients operator's results; those not wanted have no elements."""
    batch = batch_of(g, x, y, w)
    return (
        (batch, *x.shape[1:]) if need_x else (0,),
        (batch, *y.shape[1:]) if need_y else (0,),
        (batch, *w.shape[1:]) if need_w else (0,),
    )


def _fake_forward(x: Tensor, y: Tensor, w: Tensor, *rest: Any) -> Tensor:
    return x.new_empty(out_shape(x, y, w, rest[-1]))


def _fake_gradients(g: Tensor, x: Tensor, y: Tensor, w: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(shape) for shape in gradient_shapes(g, x, y, w, *rest[-3:]))
