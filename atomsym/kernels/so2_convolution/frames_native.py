"""The C++ backend of frames of edges, differentiable to any order without differentiating Wigner matrices.

When an edge r moves by δ, its frame turns: D(r + δ) = D(r) (1 + ω · G), with the generators G of each degree and

    ω = −r̂ × δ / |r| + (A(r̂) · δ / |r|) r̂,     A = ± ŷ × r̂ / (1 ± r̂_y)

where A is how ``rotation_to_polar_axis`` turns about the edge, with the sign of r̂_y. The form T(g, D, ω) =
⟨g, D (ω · G)⟩ is linear in each place, and its derivatives are the operators *turn* and *torque*:

    ∂T/∂g = turn(D, ω)        ∂T/∂D = turn(g, −ω)        ∂T/∂ω = torque(g, D)
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.differentiable_operator import Call, DifferentiableOperator, Inputs
from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.native import cpu_extension, n_threads
from atomsym.symmetry import rotation_generators, wigner_3j

_SIZES = "int degree, int order"


def frames(vectors: Tensor, max_degree: int, max_order: int) -> Tensor:
    """The C++ backend; see ``edge_frames``."""
    result: Tensor = _FRAMES(vectors, max_degree, max_order)
    return result


@cache
def _tables(degree: int, order: int) -> int:
    """Address of the compiled tables."""
    couplings: tuple[list[int], list[int], list[float]] = ([0, 0], [], [])
    for l in range(2, degree + 1):  # noqa: E741
        _append(couplings, wigner_3j(l - 1, 1, l) * (2 * l + 1) ** 0.5)
    generators: tuple[list[int], list[int], list[float]] = ([], [], [])
    for l in range(degree + 1):  # noqa: E741
        _append(generators, rotation_generators(l))
    address: int = cpu_extension().so2_frame_tables(degree, order, *couplings, *generators)
    return address


def _append(table: tuple[list[int], list[int], list[float]], numbers: Tensor) -> None:
    """The elements of a tensor with three axes that are not zero: their count, places and values."""
    places = (numbers.abs() > 1e-12).nonzero()
    table[0].append(len(places))
    table[1].extend(places.flatten().tolist())
    table[2].extend(numbers[tuple(places.T)].tolist())


def _width(degree: int, order: int) -> int:
    return sum((2 * min(l, order) + 1) * (2 * l + 1) for l in range(degree + 1))  # noqa: E741


def _call(name: str, operands: tuple[Tensor, ...], width: int, degree: int, order: int) -> Tensor:
    operands = tuple(operand.contiguous() for operand in operands)
    like = operands[0]
    result = recycled_empty((like.shape[0], width), like.dtype)
    if result.numel():
        kernel = getattr(cpu_extension(), f"{name}_{str(like.dtype).removeprefix('torch.')}")
        addresses = [operand.data_ptr() for operand in (*operands, result)]
        kernel(_tables(degree, order), *addresses, like.shape[0], n_threads())
    return result


def _spin(vectors: Tensor, torque: Tensor) -> Tensor:
    """The gradient for the vectors of what has the gradient ``torque`` for ω; both of shape (n, 3)."""
    squared = vectors.square().sum(1, keepdim=True)
    inverse = torch.where(squared == 0, torch.ones_like(squared), squared).rsqrt()
    unit = vectors * inverse
    polar = unit[:, 1:2]
    sign = torch.where(polar.detach() < 0, -1.0, 1.0).to(polar)
    about = (unit * torque).sum(1, keepdim=True) / (sign + polar)
    return torch.linalg.cross(unit, torque - about * unit.new_tensor([0.0, 1.0, 0.0]), dim=1) * inverse


def _frames_backward(needs: Any, inputs: Inputs, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    vectors, *sizes = inputs
    return (_spin(vectors, _TORQUE(grads[0], _FRAMES(vectors, *sizes), *sizes)),)


def _turn_backward(
    needs: tuple[bool, ...], inputs: Inputs, grads: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    frames, spins, *sizes = inputs
    (g,) = grads
    return (
        _TURN(g, -spins, *sizes) if needs[0] else None,
        _TORQUE(g, frames, *sizes) if needs[1] else None,
    )


def _torque_backward(
    needs: tuple[bool, ...], inputs: Inputs, grads: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    g, frames, *sizes = inputs
    (spins,) = grads
    assert spins is not None  # the engine calls this for a derivative that is there
    return (
        _TURN(frames, spins, *sizes) if needs[0] else None,
        _TURN(g, -spins, *sizes) if needs[1] else None,
    )


def _batching(call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs) -> tuple[Any, Any]:
    n = sum(isinstance(value, Tensor) for value in inputs)
    pairs = zip(inputs[:n], in_dims[:n], strict=True)
    moved = [x.expand(size, *x.shape) if d is None else x.movedim(d, 0) for x, d in pairs]
    return call(*(x.flatten(0, 1) for x in moved), *inputs[n:]).unflatten(0, moved[0].shape[:2]), 0


_FRAMES: Any = DifferentiableOperator(
    "so2_frames_cpp",
    f"(Tensor vectors, {_SIZES}) -> Tensor",
    {"CPU": lambda vectors, *sizes: _call("so2_frames", (vectors,), _width(*sizes), *sizes)},
    shapes=lambda vectors, *sizes: vectors.new_empty(vectors.shape[0], _width(*sizes)),
    backward=_frames_backward,
    batching=_batching,
)
_TURN: Any = DifferentiableOperator(
    "so2_frame_turn_cpp",
    f"(Tensor frames, Tensor spins, {_SIZES}) -> Tensor",
    {"CPU": lambda frames, spins, *sizes: _call("so2_frame_turn", (frames, spins), _width(*sizes), *sizes)},
    shapes=lambda frames, spins, *sizes: frames.new_empty(frames.shape),
    backward=_turn_backward,
    batching=_batching,
)
_TORQUE: Any = DifferentiableOperator(
    "so2_frame_torque_cpp",
    f"(Tensor g, Tensor frames, {_SIZES}) -> Tensor",
    {"CPU": lambda g, frames, *sizes: _call("so2_frame_torque", (g, frames), 3, *sizes)},
    shapes=lambda g, frames, *sizes: frames.new_empty(frames.shape[0], 3),
    backward=_torque_backward,
    batching=_batching,
)
