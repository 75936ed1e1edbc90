"""Registers the operators behind the differentiable functions, one pair for each compiled backend."""

from __future__ import annotations

from typing import Any

from atomsym.kernels.symmetric_contraction import native
from atomsym.kernels.symmetric_contraction.differentiation import define


def _triton_value(*arguments: Any) -> Any:
    from atomsym.kernels.symmetric_contraction import triton_backend  # imports triton, so only when it is asked for

    return triton_backend.value(*arguments)


def _triton_gradient(*arguments: Any) -> Any:
    from atomsym.kernels.symmetric_contraction import triton_backend

    return triton_backend.gradient(*arguments)


define("cpp", native.value, native.gradient, native.value_shape, native.gradient_shape, ("CPU",))
define("triton", _triton_value, _triton_gradient, native.value_shape, native.gradient_shape, ("CPU", "CUDA"))
