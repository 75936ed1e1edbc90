"""The compiled segment kernels as operators, with derivatives, batching and tracing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.differentiable_operator import Call, DifferentiableOperator, Inputs
from atomsym.kernels.native import cpu_extension, n_threads

_SUFFIX = {torch.float32: "f32", torch.float64: "f64"}
_SIGNATURE = "(Tensor values, Tensor index, SymInt n_segments) -> Tensor"


def cpp_segment_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    """The C++ backend; see ``segment_sum``."""
    result: Tensor = _CPP_SUM(values, index, n_segments)
    return result


def triton_segment_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    """The Triton backend; see ``segment_sum``."""
    result: Tensor = _TRITON_SUM(values, index, n_segments)
    return result


def cpp_segment_argmax(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    """The C++ backend; see ``reference_segment_argmax``."""
    result: Tensor = _CPP_ARGMAX(values.detach(), index, n_segments)
    return result


def _sum_backward(
    needs: tuple[bool, ...], inputs: Inputs, grads: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    """The sum is linear in the values; its transpose is a lookup, which torch differentiates."""
    return (None if grads[0] is None else grads[0].index_select(0, inputs[1]),)


def _sum_batching(call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs) -> tuple[Tensor, int]:
    values, index, total, outer = _merge_batch(size, in_dims, *inputs)
    result: Tensor = call(values, index, total)
    return (result.unflatten(0, (size, inputs[2])), 0) if outer else (result, 1)


def _argmax_batching(call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs) -> tuple[Tensor, int]:
    index, n_segments = inputs[1:]
    n = index.shape[-1] if in_dims[1] is None else index.movedim(in_dims[1], 0).shape[1]
    values, index, total, outer = _merge_batch(size, in_dims, *inputs)
    result: Tensor = call(values, index, total)
    if not outer:
        return result, 1
    result = result.unflatten(0, (size, n_segments))
    # Rows were counted through the whole batch; an empty segment has the number of all rows.
    start = n * torch.arange(size, device=result.device)
    start = start.reshape(-1, *[1] * (result.ndim - 1))
    return torch.where(result == n * size, n, result - start), 0


def _merge_batch(
    batch_size: int, in_dims: tuple[Any, ...], values: Tensor, index: Tensor, n_segments: int
) -> tuple[Tensor, Tensor, int, bool]:
    """One index for all: the batch becomes a column axis. One index each: segments are numbered through the batch."""
    values_dim, index_dim = in_dims[:2]
    if index_dim is None:
        return values.movedim(values_dim, 1), index, n_segments, False
    index = index.movedim(index_dim, 0)
    values = values.expand(batch_size, *values.shape) if values_dim is None else values.movedim(values_dim, 0)
    index = index + n_segments * torch.arange(batch_size, device=index.device).unsqueeze(1)
    return values.flatten(0, 1), index.flatten(), n_segments * batch_size, True


def raw_segment_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    """The C++ kernel without autograd: the arguments of ``segment_sum``, unchecked."""
    sums = values.new_empty(n_segments, *values.shape[1:])
    _call("segment_sum", values, index, sums, n_segments)
    return sums


def _cpp_argmax(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    positions = torch.empty(n_segments, *values.shape[1:], dtype=torch.int64)
    _call("segment_argmax", values, index, positions, n_segments)
    return positions


def _call(name: str, values: Tensor, index: Tensor, result: Tensor, n_segments: int) -> None:
    values, index = values.contiguous(), index.contiguous()
    function = getattr(cpu_extension(), f"{name}_{_SUFFIX[values.dtype]}")
    addresses = (values.data_ptr(), index.data_ptr(), result.data_ptr())
    width = values[0].numel() if len(values) else 0
    try:
        function(*addresses, len(values), width or result[:1].numel(), n_segments, n_threads())
    except IndexError:
        low, high = int(index.min()), int(index.max())
        raise InputError(
            f"index has the segment {low if low < 0 else high}; allowed are 0 to {n_segments - 1}"
        ) from None


def _triton_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    from atomsym.kernels.segments.triton_backend import sorted_segment_sum

    return sorted_segment_sum(values, index, n_segments)


def _fake_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    return values.new_empty(n_segments, *values.shape[1:])


def _fake_argmax(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    return index.new_empty(n_segments, *values.shape[1:])


def _sum_operator(implementation: str, kernels: dict[str, Callable[..., Any]]) -> DifferentiableOperator:
    return DifferentiableOperator(
        f"segment_sum_{implementation}",
        _SIGNATURE,
        kernels,
        shapes=_fake_sum,
        backward=_sum_backward,
        batching=_sum_batching,
        saved=(1,),
    )


_CPP_SUM = _sum_operator("cpp", {"CPU": raw_segment_sum})
_TRITON_SUM = _sum_operator("triton", {"CPU": _triton_sum, "CUDA": _triton_sum})
_CPP_ARGMAX = DifferentiableOperator(
    "segment_argmax_cpp",
    _SIGNATURE,
    {"CPU": _cpp_argmax},
    shapes=_fake_argmax,
    backward=None,
    batching=_argmax_batching,
)
