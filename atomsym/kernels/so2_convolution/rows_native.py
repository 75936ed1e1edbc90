"""The C++ backends of the operations on rows by order: forms that are linear in each operand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.multilinear_form import MultilinearForm
from atomsym.kernels.native import cpu_extension, n_threads
from atomsym.kernels.so2_convolution.frames import EdgeFrames
from atomsym.kernels.so2_convolution.linear_description import OrderLinear, order_linear_of
from atomsym.kernels.so2_convolution.linear_native import linear_table

_N_WIRING = 5


def gather(
    features: Tensor,
    frames: EdgeFrames,
    factors: Tensor,
    weights: Tensor,
    topology: EdgeTopology,
    linear: OrderLinear,
) -> Tensor:
    """See ``gather_linear``."""
    handle = f"{frames.max_degree},{frames.max_order},{frames.max_order};{linear.handle}"
    return _GATHER("cpp", (features, frames.values, factors, weights), topology, handle)


def sum_rows(rows: Tensor, frames: EdgeFrames, weights: Tensor, topology: EdgeTopology, order: int) -> Tensor:
    """See ``sum_out_of_frames``."""
    handle = f"{frames.max_degree},{frames.max_order},{order}"
    return _SUM("cpp", (rows, frames.values, weights), topology, handle)


def _degrees(handle: str) -> list[int]:
    """Largest degree, largest order of the frames and of the rows."""
    return [int(number) for number in handle.split(";")[0].split(",")]


def _linear(handle: str) -> OrderLinear | None:
    """The linear map, if there is one."""
    *_, last = handle.split(";")
    return order_linear_of(last) if ";" in handle else None


def _gather_shape(operands: Sequence[Tensor], wiring: Sequence[Tensor], handle: str) -> tuple[int, ...]:
    return wiring[0].shape[0], order_linear_of(handle.split(";")[1]).out_width


def _sum_shape(operands: Sequence[Tensor], wiring: Sequence[Tensor], handle: str) -> tuple[int, ...]:
    return wiring[2].shape[0] - 1, (_degrees(handle)[0] + 1) ** 2, operands[0].shape[-1]


_GATHER = MultilinearForm("so2_gather", {"x": 3, "frames": 2, "factors": 3, "matrices": 1}, 2, _gather_shape)
_SUM = MultilinearForm("so2_sum", {"rows": 3, "frames": 2, "weights": 1}, 3, _sum_shape)


def _run(
    form: MultilinearForm,
    kind: str,
    tensors: Sequence[Tensor | None],
    wiring: Sequence[Tensor],
    handle: str,
    channels: int,
    results: Sequence[Tensor],
    needs: Sequence[bool],
) -> None:
    """Call a kernel; results that are not needed have no address."""
    batch, strides = form.batch_strides(tensors, forward=kind == "forward")
    sizes = [batch, wiring[2].shape[0] - 1, wiring[0].shape[0], channels]
    if 0 in (sizes[0], sizes[1], sizes[3]) or (sizes[2] == 0 and kind != "forward"):
        for result in results:
            result.zero_()
        return
    operands = [None if tensor is None else tensor.contiguous() for tensor in tensors]
    indices = [index.contiguous() for index in wiring]
    kernel = getattr(cpu_extension(), f"{form.name}_{kind}_{str(results[0].dtype).removeprefix('torch.')}")
    linear = _linear(handle)
    kernel(
        _degrees(handle),
        *(() if linear is None else linear_table(linear.handle)),
        [index.data_ptr() for index in indices],
        sizes,
        [0 if operand is None else operand.data_ptr() for operand in operands],
        strides,
        [result.data_ptr() if need else 0 for result, need in zip(results, needs, strict=True)],
        n_threads(),
    )


def _forward(form: MultilinearForm, *args: Any) -> Tensor:
    n = len(form.operands)
    operands, wiring, handle = args[:n], args[n : n + _N_WIRING], args[-1]
    out = recycled_empty(form.out_shape(operands, wiring, handle), operands[0].dtype)
    if out.numel():
        _run(form, "forward", operands, wiring, handle, operands[0].shape[-1], [out], [True])
    return out


def _gradients(form: MultilinearForm, *args: Any) -> tuple[Tensor, ...]:
    n = len(form.operands)
    operands, wiring, handle, needs = args[: n + 1], args[n + 1 : n + 1 + _N_WIRING], args[-n - 1], args[-n:]
    shapes = form.gradient_shapes(operands[0], operands[1:], needs)
    results = tuple(recycled_empty(shape, operands[0].dtype) for shape in shapes)
    _run(form, "gradients", operands, wiring, handle, operands[1].shape[-1], results, needs)
    return results


def _second(form: MultilinearForm, n_along: int, *args: Any) -> tuple[Tensor, ...]:
    n = len(form.operands)
    tensors, needs = args[: 2 * n + 1], args[-n - 1 :]
    wiring, handle = args[2 * n + 1 : 2 * n + 1 + _N_WIRING], args[-n - 2]
    results = tuple(recycled_empty(shape, args[0].dtype) for shape in form.second_shapes(tensors, needs))
    _run(form, "second", tensors[: n + 1 + n_along], wiring, handle, args[1].shape[-1], results, needs)
    return results


for _form, _n_along in ((_GATHER, 3), (_SUM, 3)):
    _form.define(
        "cpp",
        partial(_forward, _form),
        partial(_gradients, _form),
        ("CPU",),
        partial(_second, _form, _n_along),
        _form.operands[:_n_along],
    )
