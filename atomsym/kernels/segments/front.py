"""Segment reductions: the front functions and their backends.

Sum and position of the maximum are the kernels; mean, maximum and softmax are made of them in differentiable torch.
"""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.native import cpu_reason
from atomsym.kernels.segments import differentiable
from atomsym.kernels.segments.reference import reference_segment_argmax, reference_segment_sum
from atomsym.kernels.triton_support import triton_device_types, triton_reason

SEGMENT_SUM = Operation("segment_sum")
SEGMENT_ARGMAX = Operation("segment_argmax")


def segment_sum(values: Tensor, index: Tensor, n_segments: int, *, backend: str = "auto") -> Tensor:
    """Sum of the rows of each segment; 0 for a segment without rows.

    out[s] = Σ values[i] over i with index[i] = s.

    In C++, single precision with at most 16 numbers per row (energies, forces, stresses) is summed in double
    precision; wider rows are summed in their own. The result does not depend on the number of threads.

    Args:
        values: shape (n, ...), float32 or float64.
        index: segment of each row, shape (n,), int64, in 0 … n_segments − 1, in any order.
        n_segments: number of segments.
        backend: ``"auto"``, ``"cpp"``, ``"triton"`` (sorted index), ``"torch_scatter"`` or ``"reference"``.

    Returns:
        Shape (n_segments, ...). Differentiable any number of times (linear in the values).

    Raises:
        InputError: if shapes or dtypes do not fit, or (compiled backends) an index is out of range.
        BackendError: if the backend cannot do what is asked.

    Example:
        >>> segment_sum(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 2, 2]), 3)
        tensor([1., 0., 6.])
    """
    _check(values, index, n_segments)
    chosen = _select_sum(backend, values.device.type, values.dtype)
    return SEGMENT_SUM[chosen].function(values, index, n_segments)


def segment_mean(values: Tensor, index: Tensor, n_segments: int, *, backend: str = "auto") -> Tensor:
    """Mean of the rows of each segment; 0 for a segment without rows. Arguments as ``segment_sum``."""
    total = segment_sum(values, index, n_segments, backend=backend)
    ones = torch.ones_like(index, dtype=values.dtype)
    count = segment_sum(ones, index, n_segments, backend=backend).clamp(min=1)
    return total / count.reshape(n_segments, *[1] * (values.ndim - 1))


def segment_max(values: Tensor, index: Tensor, n_segments: int, *, backend: str = "auto") -> Tensor:
    """Largest value of each segment and column; 0 for a segment without rows.

    Of equal values the first one is taken, and the whole derivative goes to it (as ``torch.max`` over an axis does);
    NaN counts as largest. Arguments as ``segment_sum``; the backends are ``"cpp"``, ``"torch_scatter"`` and
    ``"reference"``.

    Returns:
        Shape (n_segments, ...). Differentiable any number of times where the largest value is unique.
    """
    _check(values, index, n_segments)
    if values.shape[0] == 0:
        return values.new_zeros(n_segments, *values.shape[1:]) + values.sum(0)
    chosen = _select_argmax(backend, values.device.type, values.dtype)
    position = SEGMENT_ARGMAX[chosen].function(values, index, n_segments)
    empty = position == values.shape[0]
    found = values.gather(0, torch.where(empty, 0, position))
    return torch.where(empty, torch.zeros_like(found), found)


def segment_softmax(values: Tensor, index: Tensor, n_segments: int, *, backend: str = "auto") -> Tensor:
    """Softmax within each segment and column: exp(v) / Σ exp(v), safe for large values.

    A segment whose values are all −inf gets zeros. Arguments as ``segment_sum``; the backends are ``"cpp"``,
    ``"torch_scatter"`` and ``"reference"``.

    Returns:
        Shape of the values (n, ...). Differentiable any number of times.
    """
    # The softmax does not depend on the shift, so it is held constant.
    shift = segment_max(values.detach(), index, n_segments, backend=backend)
    shift = torch.where(shift == -torch.inf, torch.zeros_like(shift), shift)
    # index_select, not [index]: its gradient adds the rows in a fixed order
    exponential = torch.exp(values - shift.index_select(0, index))
    total = segment_sum(exponential, index, n_segments, backend=backend)
    return exponential / torch.where(total == 0, torch.ones_like(total), total).index_select(0, index)


@constant_when_compiled
def _select_sum(backend: str, device_type: str, dtype: torch.dtype) -> str:
    return SEGMENT_SUM.select(backend, device=torch.device(device_type), dtype=dtype).name


@constant_when_compiled
def _select_argmax(backend: str, device_type: str, dtype: torch.dtype) -> str:
    return SEGMENT_ARGMAX.select(backend, device=torch.device(device_type), dtype=dtype).name


def _check(values: Tensor, index: Tensor, n_segments: int) -> None:
    if values.ndim < 1 or not values.dtype.is_floating_point:
        raise InputError(f"values must be float of shape (n, ...); found {values.dtype} {tuple(values.shape)}")
    if index.dtype != torch.int64 or index.shape != values.shape[:1]:
        raise InputError(f"index must be int64 of shape ({values.shape[0]},); found {index.dtype} {tuple(index.shape)}")
    if n_segments < 0:
        raise InputError(f"n_segments must be >= 0; found {n_segments}")


def _scatter_reason() -> str | None:
    if importlib.util.find_spec("torch_scatter") is None:
        return "needs the package torch-scatter; install it with: pip install 'atomsym[pyg]'"
    return None


def _scatter_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    import torch_scatter

    return torch_scatter.scatter(values, index, dim=0, dim_size=n_segments, reduce="sum")


def _scatter_argmax(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    import torch_scatter

    # It takes the lowest finite number for "nothing yet" and does not see NaN; it knows neither vmap nor compile.
    lowest = torch.finfo(values.dtype).min
    values = values.detach().nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=lowest).clamp(min=lowest / 2)
    column = index.reshape(-1, *[1] * (values.ndim - 1)).expand(values.shape)
    return torch_scatter.scatter_max(values, column, dim=0, dim_size=n_segments)[1]


_CPU = frozenset({"cpu"})
SEGMENT_SUM.register(Backend("reference", reference_segment_sum, priority=10))
SEGMENT_SUM.register(
    Backend("cpp", differentiable.cpp_segment_sum, device_types=_CPU, priority=20, unavailable=cpu_reason)
)
SEGMENT_SUM.register(
    Backend("triton", differentiable.triton_segment_sum, device_types=triton_device_types(), unavailable=triton_reason)
)
SEGMENT_SUM.register(Backend("torch_scatter", _scatter_sum, unavailable=_scatter_reason))
SEGMENT_ARGMAX.register(Backend("reference", reference_segment_argmax, priority=10))
SEGMENT_ARGMAX.register(
    Backend("cpp", differentiable.cpp_segment_argmax, device_types=_CPU, priority=20, unavailable=cpu_reason)
)
SEGMENT_ARGMAX.register(Backend("torch_scatter", _scatter_argmax, unavailable=_scatter_reason))
