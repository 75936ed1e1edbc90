"""Registers the raw library operators behind the differentiable functions, one pair for each compiled backend."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.symmetric_contraction import native
from atomsym.kernels.symmetric_contraction.differentiation import each_member, fold_batch

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
    torch.library.register_vmap(f"atomsym::{names['value']}", partial(_batched, names["value"], 2), lib=_LIBRARY)
    torch.library.register_vmap(f"atomsym::{names['gradient']}", partial(_batched, names["gradient"], 3), lib=_LIBRARY)
    torch.library.register_fake(f"atomsym::{names['value']}", native.value_shape, lib=_LIBRARY)
    torch.library.register_fake(f"atomsym::{names['gradient']}", native.gradient_shape, lib=_LIBRARY)


def _batched(name: str, n_settings: int, info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
    """vmap of an operator itself; ``is_grads_batched`` of torch.autograd comes here, past the autograd functions."""
    operator = getattr(torch.ops.atomsym, name)
    first = n_settings + 1  # after the species
    if in_dims[n_settings] is not None:
        result = each_member(operator, info.batch_size, in_dims, *inputs)
        return result, 0 if isinstance(result, Tensor) else (0, 0)
    *single, feature_directions, weight_directions = inputs[first:]
    lists = (len(feature_directions), len(weight_directions))
    dims = [*in_dims[first:-2], *(in_dims[-2] or [None] * lists[0]), *(in_dims[-1] or [None] * lists[1])]
    batch, folded = fold_batch(info.batch_size, dims, [*single, *feature_directions, *weight_directions])
    n = len(single)
    result = operator(*inputs[:first], *folded[:n], folded[n : n + lists[0]], folded[n + lists[0] :])
    if isinstance(result, Tensor):
        return result.unflatten(0, (info.batch_size, batch)) if batch else result, 0
    # What is not wanted is an empty tensor without a batch axis.
    dims_out = tuple(0 if part.ndim > 1 else None for part in result)
    if batch:
        result = tuple(r.unflatten(0, (info.batch_size, batch)) if r.ndim > 1 else r for r in result)
    return result, dims_out


def _triton_value(*arguments: Any) -> Any:
    from atomsym.kernels.symmetric_contraction import triton_backend

    return triton_backend.value(*arguments)


def _triton_gradient(*arguments: Any) -> Any:
    from atomsym.kernels.symmetric_contraction import triton_backend

    return triton_backend.gradient(*arguments)


_register("cpp", native.value, native.gradient, ("CPU",))
_register("triton", _triton_value, _triton_gradient, ("CPU", "CUDA"))
