"""The C++ backends of the operations on rows by order: forms that are linear in each operand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.compiled_convolution import CompiledConvolution
from atomsym.kernels.multilinear_form import MultilinearForm
from atomsym.kernels.so2_convolution.frames import EdgeFrames
from atomsym.kernels.so2_convolution.linear_description import OrderLinear, order_linear_of
from atomsym.kernels.so2_convolution.linear_native import linear_table


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


def _described(handle: str, dtype: str) -> tuple[Any, ...]:
    """Degrees, and the blocks of the linear map."""
    linear = _linear(handle)
    return _degrees(handle), *(() if linear is None else linear_table(linear.handle))


for _form in (_GATHER, _SUM):
    CompiledConvolution(_form, _described).define(_form.operands[:3])
