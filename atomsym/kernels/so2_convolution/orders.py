"""Features in the frames of edges, gathered by order m: what dense linear maps of an order need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.so2_convolution.frames import EdgeFrames


@dataclass(frozen=True, eq=False)
class OrderFrames:
    """The rows of the frames of edges, ordered by m instead of by degree.

    Made once for a graph and read by all its layers. The rows of order m are those of degrees m … L; for m > 0 first
    all of +m, then all of −m. One matrix for all degrees wastes products with zeros; many small ones are slower still.

    Attributes:
        matrices: D, shape (n_edges, n_rows, (L + 1)²).
        max_degree: L.
        max_order: largest m.
    """

    matrices: Tensor
    max_degree: int
    max_order: int

    def weighted(self, weights: Tensor) -> OrderFrames:
        """The same with each edge's matrix times a number, shape (n_edges,): what is turned back comes out weighted."""
        return OrderFrames(self.matrices * weights[:, None, None], self.max_degree, self.max_order)

    def n_rows(self, order: int) -> int:
        """Rows of one order."""
        return (2 if order else 1) * (self.max_degree - order + 1)


def order_frames(frames: EdgeFrames) -> OrderFrames:
    """Gather the rows of frames by order.

    Args:
        frames: made by ``edge_frames``.

    Example:
        >>> from atomsym.kernels.so2_convolution import edge_frames
        >>> order_frames(edge_frames(torch.tensor([[0.0, -2.0, 0.0]]), 2, max_order=1)).matrices.shape
        torch.Size([1, 7, 9])
    """
    padded = [
        torch.nn.functional.pad(block, (degree**2, (frames.max_degree + 1) ** 2 - (degree + 1) ** 2))
        for degree, block in enumerate(frames.blocks)
    ]
    rows = [
        padded[degree][:, min(degree, frames.max_order) + m]
        for m in _signed(frames.max_order)
        for degree in range(abs(m), frames.max_degree + 1)
    ]
    return OrderFrames(torch.stack(rows, 1), frames.max_degree, frames.max_order)


def rotate_into_frames(features: Tensor, frames: OrderFrames) -> tuple[Tensor, ...]:
    """Turn features of edges into the edges' frames.

    Args:
        features: shape (n_edges, (L + 1)², channels), degrees 0 … L.
        frames: of the edges.

    Returns:
        For each order m, shape (n_edges, n_signs, L − m + 1, channels): degrees m … L of +m, and for m > 0 of −m. Views
        of one tensor. Differentiable any number of times.

    Raises:
        InputError: if the shape of the features does not fit the frames.
    """
    n_edges, _, components = frames.matrices.shape
    if features.ndim != 3 or tuple(features.shape[:2]) != (n_edges, components):
        raise InputError(
            f"features must have the shape ({n_edges}, {components}, channels); found {tuple(features.shape)}"
        )
    sizes = [frames.n_rows(order) for order in range(frames.max_order + 1)]
    parts = (frames.matrices @ features).split(sizes, 1)
    return tuple(part.unflatten(1, (2 if order else 1, -1)) for order, part in enumerate(parts))


def rotate_out_of_frames(parts: Sequence[Tensor], frames: OrderFrames) -> Tensor:
    """Turn features by order back: the transpose of ``rotate_into_frames``, orders that are not there being zero.

    Args:
        parts: for each order from 0 on, as ``rotate_into_frames`` gives them; orders may be missing at the end.
        frames: of the edges.

    Returns:
        Shape (n_edges, (L + 1)², channels). Differentiable any number of times.

    Raises:
        InputError: if shapes do not fit the frames.
    """
    for order, part in enumerate(parts):
        if order > frames.max_order or part.shape[1] * part.shape[2] != frames.n_rows(order):
            raise InputError(f"order {order} of shape {tuple(part.shape)} does not fit the frames")
    rows = torch.cat([part.flatten(1, 2) for part in parts], 1)
    return frames.matrices[:, : rows.shape[1]].mT @ rows


def _signed(max_order: int) -> list[int]:
    """0, +1, −1, +2, −2, …"""
    return [0] + [sign * order for order in range(1, max_order + 1) for sign in (1, -1)]


def order_components(parts: Sequence[Tensor], max_degree: int) -> Tensor:
    """Features by order as components (l, m) of degrees 0 … L, orders that are not there being zero.

    Args:
        parts: for each order m, shape (n, n_signs, L − m + 1, channels).
        max_degree: L.

    Returns:
        Shape (n, (L + 1)², channels).
    """
    nothing = torch.zeros_like(parts[0][:, 0, 0])
    columns = [
        parts[abs(m)][:, 0 if m >= 0 else 1, degree - abs(m)] if abs(m) < len(parts) else nothing
        for degree in range(max_degree + 1)
        for m in range(-degree, degree + 1)
    ]
    return torch.stack(columns, 1)


def components_by_order(components: Tensor, max_degree: int, max_order: int) -> tuple[Tensor, ...]:
    """Inverse of ``order_components``: shape (n, (L + 1)², channels) to one tensor for each order."""
    found = []
    for order in range(max_order + 1):
        places = [
            degree * (degree + 1) + m
            for m in ((order, -order) if order else (0,))
            for degree in range(order, max_degree + 1)
        ]
        index = torch.tensor(places, device=components.device)
        found.append(components.index_select(1, index).unflatten(1, (2 if order else 1, -1)))
    return tuple(found)
