"""Frames of edges as Wigner matrices whose rows are cut to the orders that a convolution keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.native import cpu_reason
from atomsym.kernels.so2_convolution import frames_native
from atomsym.symmetry import rotation_to_polar_axis, wigner_d

OPERATION = Operation("edge_frames")


@dataclass(frozen=True, eq=False)
class EdgeFrames:
    """D^l(R) of a rotation R that takes each edge to the polar axis, rows |m| ≤ max_order only.

    Made once for a graph and read by all its convolutions.

    Attributes:
        values: shape (n_edges, frame_size(max_degree, max_order)); degree by degree, each a matrix
            (2 min(l, max_order) + 1, 2l + 1) row by row.
        max_degree: largest degree l.
        max_order: largest kept |m|.
    """

    values: Tensor
    max_degree: int
    max_order: int

    @property
    def size(self) -> int:
        """Numbers in the frame of one edge."""
        return frame_size(self.max_degree, self.max_order)

    @property
    def blocks(self) -> tuple[Tensor, ...]:
        """One matrix a degree, shape (n_edges, 2 min(l, max_order) + 1, 2l + 1)."""
        return frame_blocks(self.values, self.max_degree, self.max_order)


def edge_frames(
    vectors: Tensor,
    max_degree: int,
    max_order: int | None = None,
    *,
    zero_length: Literal["refuse", "scalar"] = "refuse",
    backend: str = "auto",
) -> EdgeFrames:
    """Frames of edges; deterministic, without a random turn about the edge.

    The turn about the edge is a choice that no convolution depends on. The one made here is smooth in the vector in an
    open neighborhood of every direction, ±y included, so that derivatives of every order of what a convolution gives
    are right (see ``symmetry.rotation_to_polar_axis``).

    Args:
        vectors: shape (n_edges, 3), float32 or float64, any length but zero.
        max_degree: largest degree l of the features, ≥ 0.
        max_order: largest kept |m|, ≥ 0; None keeps all.
        zero_length: ``refuse`` edges without direction, or let those of length zero couple degree 0 alone
            (``scalar``), as spherical harmonics of degree l > 0 vanish there.
        backend: ``auto``, ``cpp`` or ``reference``.

    Returns:
        Frames whose ``values`` are differentiable any number of times; with ``cpp`` not through the products that make
        them, but by how they turn with the edge.

    Raises:
        InputError: if the shape or dtype is wrong or an edge has no direction: its length is zero or not a number.
            Inside a compiled graph and under vmap the values are not looked at, and zero vectors are as ``scalar``.
        BackendError: if the backend cannot do what is asked.

    Example:
        >>> frames = edge_frames(torch.tensor([[0.0, -2.0, 0.0]]), 2, max_order=1)
        >>> [tuple(block.shape) for block in frames.blocks]
        [(1, 1, 1), (1, 3, 3), (1, 3, 5)]
    """
    if vectors.ndim != 2 or vectors.shape[1:] != (3,) or vectors.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"vectors must be float32 or float64 of shape (n_edges, 3); found {vectors.dtype} {tuple(vectors.shape)}"
        )
    order = max_degree if max_order is None else min(max_order, max_degree)
    if max_degree < 0 or order < 0:
        raise InputError(f"max_degree and max_order must be >= 0; found {max_degree}, {max_order}")
    if zero_length == "refuse":
        _require_directions(vectors)
    chosen = _select(backend, vectors.device.type, vectors.dtype)
    return EdgeFrames(OPERATION[chosen].function(vectors, max_degree, order), max_degree, order)


def reference_frames(vectors: Tensor, max_degree: int, max_order: int) -> Tensor:
    """Values of ``edge_frames`` with ``scalar``. The oracle."""
    blocks = wigner_d(max_degree, rotation_to_polar_axis(vectors))
    kept = [
        block[:, degree - min(degree, max_order) : degree + min(degree, max_order) + 1].flatten(1)
        for degree, block in enumerate(blocks)
    ]
    there = (vectors.detach() != 0).any(1, keepdim=True)
    return torch.cat([block if degree == 0 else block * there for degree, block in enumerate(kept)], 1)


@constant_when_compiled
def _select(backend: str, device_type: str, dtype: torch.dtype) -> str:
    return OPERATION.select(backend, device=torch.device(device_type), dtype=dtype).name


def frame_size(max_degree: int, max_order: int) -> int:
    """Numbers in the frame of one edge: Σ_l (2 min(l, max_order) + 1)(2l + 1)."""
    return sum((2 * min(degree, max_order) + 1) * (2 * degree + 1) for degree in range(max_degree + 1))


def frame_blocks(values: Tensor, max_degree: int, max_order: int) -> tuple[Tensor, ...]:
    """The matrices in ``values`` of shape (..., size): (..., 2 min(l, max_order) + 1, 2l + 1) a degree."""
    blocks, start = [], 0
    for degree in range(max_degree + 1):
        rows, columns = 2 * min(degree, max_order) + 1, 2 * degree + 1
        blocks.append(values[..., start : start + rows * columns].unflatten(-1, (rows, columns)))
        start += rows * columns
    return tuple(blocks)


def _require_directions(vectors: Tensor) -> None:
    """Look at the values, where they can be looked at."""
    if torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(vectors):
        return
    largest = vectors.detach().abs().amax(1) if vectors.numel() else vectors.new_zeros(0)
    wrong = ~((largest > 0) & torch.isfinite(largest))
    if bool(wrong.any()):
        edge = int(wrong.nonzero()[0, 0])
        raise InputError(
            f"vectors[{edge}] is {vectors[edge].tolist()}, which has no direction; an edge's frame needs one. "
            "Leave out edges from an atom to itself"
        )


OPERATION.register(Backend("reference", reference_frames))
OPERATION.register(
    Backend("cpp", frames_native.frames, device_types=frozenset({"cpu"}), priority=10, unavailable=cpu_reason)
)
