"""Registers the raw library operators behind the differentiable functions, one pair for each compiled backend."""

from __future__ import annotations

from typing import Any

import torch

from atomsym.kernels.symmetric_contraction import native

_OPERANDS = "Tensor features, Tensor weights, Tensor[] feature_directions, Tensor[] weight_directions"
_LIBRARY = torch.library.Library("atomsym", "FRAGMENT")


def _register(backend: str, value: Any, gradient: Any, devices: tuple[str, ...]) -> None:
    names = {part: f"symmetric_contraction_{part}_{backend}" for part in ("value", "gradient")}
    _LIBRARY.define(f"{names['value']}(str key, int dim_out, Tensor species, {_OPERANDS}) -> Tensor")
    _LIBRARY.define(
        f"{names['gradient']}(str key, bool want_features, bool want_weights, Tensor species, Tensor cotangent, "
        f"{_OPERANDS}) -> (Tensor, Tensor)"
    )
    for device in devices:
        _LIBRARY.impl(names["value"], value, device)
        _LIBRARY.impl(names["gradient"], gradient, device)
    torch.library.register_fake(f"atomsym::{names['value']}", native.value_shape, lib=_LIBRARY)
    torch.library.register_fake(f"atomsym::{names['gradient']}", native.gradient_shape, lib=_LIBRARY)


def _triton_value(*arguments: Any) -> Any:
    from atomsym.kernels.symmetric_contraction import triton_backend

    return triton_backend.value(*arguments)


def _triton_gradient(*arguments: Any) -> Any:
    from atomsym.kernels.symmetric_contraction import triton_backend

    return triton_backend.gradient(*arguments)


_register("cpp", native.value, native.gradient, ("CPU",))
_register("triton", _triton_value, _triton_gradient, ("CPU", "CUDA"))
