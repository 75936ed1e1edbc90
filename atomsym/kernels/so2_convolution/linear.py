"""Linear maps of rows by order that commute with turns about the edge: orders do not mix, ±m share their weights."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.native import cpu_reason
from atomsym.kernels.so2_convolution import linear_native
from atomsym.kernels.so2_convolution.linear_description import OrderLinear

OPERATION = Operation("order_linear")


def order_linear(rows: Tensor, weights: Tensor, linear: OrderLinear, *, backend: str = "auto") -> Tensor:
    """Apply the maps of all orders at once.

    Args:
        rows: shape (n, linear.in_width), float32 or float64: rows by order, channels last.
        weights: shape (linear.n_weights,), same dtype: the matrices one after the other.
        linear: sizes.
        backend: ``auto``, ``cpp`` or ``reference``.

    Returns:
        Shape (n, linear.out_width): the scalars, then rows by order. Differentiable any number of times.

    Raises:
        InputError: if shapes, dtypes or devices do not fit each other.
        BackendError: if the backend cannot do what is asked.

    Example:
        >>> linear = OrderLinear(1, 1, 1, 1)
        >>> order_linear(torch.tensor([[1.0, 0.0, 2.0, 3.0]]), torch.tensor([2.0, 0.0, 0.0, 0.0, 5.0]), linear)
        tensor([[ 1.4142,  0.0000, 10.0000, 15.0000]])
    """
    if rows.ndim != 2 or rows.shape[1] != linear.in_width or tuple(weights.shape) != (linear.n_weights,):
        raise InputError(
            f"rows must have the shape (n, {linear.in_width}) and weights ({linear.n_weights},); "
            f"found {tuple(rows.shape)} and {tuple(weights.shape)}"
        )
    if rows.dtype != weights.dtype or rows.device != weights.device:
        raise InputError(f"rows are {rows.dtype} on {rows.device}, weights {weights.dtype} on {weights.device}")
    return OPERATION[_select(backend, rows.device.type, rows.dtype)].function(rows, weights, linear)


def reference_linear(rows: Tensor, weights: Tensor, linear: OrderLinear) -> Tensor:
    """See ``order_linear``: one matrix product a block. The oracle."""
    targets: dict[int, Tensor] = {}
    for block in linear.blocks:
        # The last row of a right half ends before a whole stride does.
        length = (block.n_in - 1) * block.stride + block.n_out
        padded = torch.nn.functional.pad(weights[block.first_weight :][:length], (0, block.stride - block.n_out))
        matrix = padded.unflatten(0, (block.n_in, block.stride))[:, : block.n_out]
        product = rows[:, block.first_in : block.first_in + block.n_in] @ (block.scale * matrix)
        targets[block.first_out] = targets[block.first_out] + product if block.first_out in targets else product
    return torch.cat([targets[start] for start in sorted(targets)], 1)


@constant_when_compiled
def _select(backend: str, device_type: str, dtype: torch.dtype) -> str:
    return OPERATION.select(backend, device=torch.device(device_type), dtype=dtype).name


OPERATION.register(Backend("reference", reference_linear))
OPERATION.register(
    Backend("cpp", linear_native.linear, device_types=frozenset({"cpu"}), priority=10, unavailable=cpu_reason)
)
