"""Gates of rows of any degree by scalars; of all rows of a degree alike, which commutes with rotations."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.native import cpu_reason
from atomsym.kernels.so2_convolution import gate_native

OPERATION = Operation("row_gate")


class GateShape(NamedTuple):
    """Sizes of what a gate works on.

    Attributes:
        degrees: of each row. Rows of degree 0 gate themselves, all others have one of max(degrees) gates.
        channels: of the rows.
        skipped: scalars before the gates, which belong to others.
    """

    degrees: tuple[int, ...]
    channels: int
    skipped: int = 0

    @property
    def n_gates(self) -> int:
        """Scalars that gate, for each channel."""
        return max(self.degrees, default=0)

    @property
    def width(self) -> int:
        """Numbers in an item of the input."""
        return self.skipped + (self.n_gates + len(self.degrees)) * self.channels


def degrees_by_order(max_degree: int, max_order: int) -> tuple[int, ...]:
    """Degrees of rows by order: 0 … L of order 0, then m … L of +m and of −m."""
    signed = [0] + [m for m in range(1, max_order + 1) for _ in range(2)]
    return tuple(degree for m in signed for degree in range(m, max_degree + 1))


def row_gate(items: Tensor, shape: GateShape, gain: float = 1.0, *, backend: str = "auto") -> Tensor:
    """Rows of degree 0 through f, of degree l > 0 times f of the scalar l − 1, channel by channel.

    f(x) = gain · x s(x) with the logistic function s.

    Args:
        items: shape (n, shape.width), float32 or float64: scalars that are skipped, gates, then rows; channels last.
        shape: sizes.
        gain: factor of f.
        backend: ``auto``, ``cpp`` or ``reference``.

    Returns:
        Shape (n, len(shape.degrees) · channels). Differentiable any number of times; ``cpp`` has fused first and second
        derivatives.

    Raises:
        InputError: if the shape or dtype is wrong.
        BackendError: if the backend cannot do what is asked.

    Example:
        >>> row_gate(torch.tensor([[0.0, 50.0, 3.0]]), GateShape((0, 1), 1))
        tensor([[50.,  0.]])
    """
    if items.ndim != 2 or items.shape[1] != shape.width or items.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"items must be float32 or float64 of shape (n, {shape.width}); found {items.dtype} {tuple(items.shape)}"
        )
    chosen = _select(backend, items.device.type, items.dtype)
    return OPERATION[chosen].function(items, list(shape.degrees), shape.channels, shape.skipped, gain)


def reference_gate(items: Tensor, degrees: list[int], channels: int, skipped: int, gain: float) -> Tensor:
    """See ``row_gate``. The oracle."""
    rows = items[:, skipped:].unflatten(1, (-1, channels))
    n_gates = max(degrees, default=0)
    own = [n_gates + row if degree == 0 else degree - 1 for row, degree in enumerate(degrees)]
    functions = gain * torch.nn.functional.silu(rows.index_select(1, torch.tensor(own, device=items.device)))
    higher = torch.tensor(degrees, device=items.device)[:, None] > 0
    return (functions * torch.where(higher, rows[:, n_gates:], torch.ones_like(functions))).flatten(1)


@constant_when_compiled
def _select(backend: str, device_type: str, dtype: torch.dtype) -> str:
    return OPERATION.select(backend, device=torch.device(device_type), dtype=dtype).name


OPERATION.register(Backend("reference", reference_gate))
OPERATION.register(
    Backend("cpp", gate_native.gate, device_types=frozenset({"cpu"}), priority=10, unavailable=cpu_reason)
)
