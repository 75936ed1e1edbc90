"""Shapes of the results of the raw operators; every operand carries a leading batch axis (size 1: shared)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from atomsym.kernels.tensor_product.product import product_of


def batch_of(*operands: Tensor) -> int:
    """Common size of the leading axes: the one that is not 1, which may be 0."""
    return common_batch([operand.shape[0] for operand in operands])


def common_batch(sizes: Sequence[int]) -> int:
    """The size that others of 1 are shared by."""
    return 0 if 0 in sizes else max(sizes)


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


def second_shapes(
    g: Tensor,
    x: Tensor,
    y: Tensor,
    w: Tensor,
    along_x: Tensor | None,
    along_y: Tensor | None,
    along_w: Tensor | None,
    *needs: bool,
) -> list[tuple[int, ...]]:
    """Shapes of the results of the second derivatives for g, x, Y, w; those not wanted have no elements."""
    there = [operand for operand in (g, x, y, w, along_x, along_y, along_w) if operand is not None]
    batch = batch_of(*there)
    return [(batch, *operand.shape[1:]) if need else (0,) for operand, need in zip((g, x, y, w), needs, strict=True)]
