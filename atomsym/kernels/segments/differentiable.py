"""The compiled segment kernels as raw torch ops, with derivatives, batching and tracing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.native import cpu_extension, n_threads

_LIBRARY = torch.library.Library("atomsym", "FRAGMENT")
_SUFFIX = {torch.float32: "f32", torch.float64: "f64"}


def cpp_segment_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    """The C++ backend; see ``segment_sum``."""
    return _differentiable_sum(values, index, n_segments, "cpp")


def triton_segment_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    """The Triton backend; see ``segment_sum``."""
    return _differentiable_sum(values, index, n_segments, "triton")


def cpp_segment_argmax(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    """The C++ backend; see ``reference_segment_argmax``."""
    values = values.detach()
    if torch.compiler.is_compiling():
        return torch.ops.atomsym.segment_argmax_cpp(values, index, n_segments)
    return _ArgMax.apply(values, index, n_segments)


def _differentiable_sum(values: Tensor, index: Tensor, n_segments: int, implementation: str) -> Tensor:
    # Compiled code keeps the derivatives of a library op, torch.func those of an autograd function.
    if torch.compiler.is_compiling():
        return _sum_op(implementation)(values, index, n_segments)
    return _Sum.apply(values, index, n_segments, implementation)


def _sum_op(implementation: str) -> Any:
    return getattr(torch.ops.atomsym, f"segment_sum_{implementation}")


class _Sum(torch.autograd.Function):
    """Linear in the values; its transpose is a lookup, which torch differentiates."""

    @staticmethod
    def forward(values: Tensor, index: Tensor, n_segments: int, implementation: str) -> Tensor:
        return _sum_op(implementation)(values, index, n_segments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (index,) = ctx.saved_tensors
        return grads[0].index_select(0, index), None, None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], values: Tensor, index: Tensor, n_segments: int, implementation: str
    ) -> tuple[Tensor, int]:
        values, index, total, outer = _merge_batch(info.batch_size, in_dims, values, index, n_segments)
        result = _Sum.apply(values, index, total, implementation)
        return (result.unflatten(0, (info.batch_size, n_segments)), 0) if outer else (result, 1)


class _ArgMax(torch.autograd.Function):
    """Positions of maxima: integers, without derivatives."""

    @staticmethod
    def forward(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
        return torch.ops.atomsym.segment_argmax_cpp(values, index, n_segments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], values: Tensor, index: Tensor, n_segments: int) -> tuple[Tensor, int]:
        n = index.shape[-1] if in_dims[1] is None else index.movedim(in_dims[1], 0).shape[1]
        values, index, total, outer = _merge_batch(info.batch_size, in_dims, values, index, n_segments)
        result = _ArgMax.apply(values, index, total)
        if not outer:
            return result, 1
        result = result.unflatten(0, (info.batch_size, n_segments))
        # Rows were counted through the whole batch; an empty segment has the number of all rows.
        start = n * torch.arange(info.batch_size, device=result.device)
        start = start.reshape(-1, *[1] * (result.ndim - 1))
        return torch.where(result == n * info.batch_size, n, result - start), 0


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


def _cpp_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
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


def _keep_index(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(inputs[1])


def _sum_backward(ctx: Any, grad: Tensor) -> Any:
    return grad.index_select(0, ctx.saved_tensors[0]), None, None


def _register() -> None:
    for implementation, function, keys in (("cpp", _cpp_sum, ("CPU",)), ("triton", _triton_sum, ("CPU", "CUDA"))):
        name = f"segment_sum_{implementation}"
        _LIBRARY.define(f"{name}(Tensor values, Tensor index, SymInt n_segments) -> Tensor")
        for key in keys:
            _LIBRARY.impl(name, function, key)
        torch.library.register_fake(f"atomsym::{name}", _fake_sum, lib=_LIBRARY)
        torch.library.register_autograd(f"atomsym::{name}", _sum_backward, setup_context=_keep_index, lib=_LIBRARY)
    _LIBRARY.define("segment_argmax_cpp(Tensor values, Tensor index, SymInt n_segments) -> Tensor")
    _LIBRARY.impl("segment_argmax_cpp", _cpp_argmax, "CPU")
    torch.library.register_fake("atomsym::segment_argmax_cpp", _fake_argmax, lib=_LIBRARY)


_register()
