"""Products of features by rows: the operators of the compiled backends.

The form Σ_r Π_s (sample_s x_s)[r] is linear in the tensor of each slot: of the factors, and of the result, whose tensor
is the ``g`` of a ``MultilinearForm``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.multilinear_form import MultilinearForm
from atomsym.kernels.native import cpu_extension, n_threads
from atomsym.kernels.pointwise.tables import product_tables, slot_dims

MOST_FACTORS = {"cpp": 4, "triton": 2}
"""By backend; products of more factors are made of products of these."""


def pointwise_product(backend: str, factors: Sequence[Tensor], handle: str) -> Tensor:
    """The result of factors of shape (n or 1, dim, channels or 1); at most ``MOST_FACTORS`` of them."""
    n, channels = (_common([factor.shape[axis] for factor in factors]) for axis in (0, 2))
    full = [
        factor if factor.shape[0] == n and factor.shape[2] == channels else factor.expand(n, -1, channels)
        for factor in factors
    ]
    return _PRODUCTS[len(full)](backend, full, None, handle)


def _common(sizes: Sequence[int]) -> int:
    return 0 if 0 in sizes else max(sizes)


def _out_shape(operands: Sequence[Tensor], wiring: Sequence[Tensor], handle: str) -> tuple[int, ...]:
    x = operands[0]
    return x.shape[-3], slot_dims(handle)[-1], x.shape[-1]


def merge_batch(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Tensors without a batch axis: its members are rows more, and what they share is repeated."""
    size = next((x.shape[0] for x in tensors if x.ndim == 4), None)
    if size is None:
        return tensors
    return [(x if x.ndim == 4 else x.expand(size, *x.shape)).flatten(0, 1) for x in tensors]


@cache
def _kernel(name: str, dtype: torch.dtype, handle: str) -> tuple[Any, int]:
    """The kernel and the address of the compiled tables."""
    suffix = "float32" if dtype == torch.float32 else "float64"
    kernel = getattr(cpu_extension(), f"pointwise_product_{name}_{suffix}")
    return kernel, _plan_address(handle, suffix)


@cache
def _plan_address(handle: str, suffix: str) -> int:
    address: int = getattr(cpu_extension(), f"pointwise_product_plan_{suffix}")(*product_tables(handle).table())
    return address


def _rows_in_place(factor: Tensor) -> tuple[Tensor, int]:
    """A factor whose rows are contiguous, and elements from one to the next: 0 where all are the same."""
    step, inner, element = factor.stride()
    _, dim, channels = factor.shape
    if (channels == 1 or element == 1) and (dim == 1 or inner == channels):
        return factor, step
    factor = factor.contiguous()
    return factor, factor.stride(0)


def _run(name: str, tensors: Sequence[Tensor], handle: str, results: list[int]) -> None:
    """Call a kernel on tensors without a batch; a result whose address is 0 is not wanted."""
    placed = [_rows_in_place(tensor) for tensor in tensors]
    n, _, channels = tensors[0].shape
    kernel, plan = _kernel(name, tensors[0].dtype, handle)
    addresses, steps = [tensor.data_ptr() for tensor, _ in placed], [step for _, step in placed]
    kernel(plan, n, channels, addresses, steps, results, n_threads())


def _forward(*inputs: Any) -> Tensor:
    *factors, handle = inputs
    out = recycled_empty(_PRODUCTS[len(factors)].out_shape(factors, (), handle), factors[0].dtype)
    if out.numel():
        _run("forward", merge_batch(factors), handle, [out.data_ptr()])
    return out


def _gradients(*inputs: Any) -> tuple[Tensor, ...]:
    n_factors = len(inputs) // 2 - 1
    tensors, handle, needs = inputs[: n_factors + 1], inputs[n_factors + 1], inputs[n_factors + 2 :]
    shapes = _PRODUCTS[n_factors].gradient_shapes(tensors[0], tensors[1:], needs)
    results = tuple(recycled_empty(shape, tensors[0].dtype) for shape in shapes)
    targets = [result.data_ptr() if need else 0 for result, need in zip(results, needs, strict=True)]
    if all(tensor.numel() for tensor in tensors):
        g, *factors = merge_batch(tensors)
        _run("gradients", [*factors, g], handle, targets)
    else:  # nothing to sum
        for result in results:
            result.zero_()
    return results


def _triton_forward(*inputs: Any) -> Tensor:
    from atomsym.kernels.pointwise import triton_product

    *factors, handle = inputs
    out = factors[0].new_empty(_PRODUCTS[2].out_shape(factors, (), handle))
    placed = [_rows_in_place(factor) for factor in merge_batch(factors)]
    tensors, steps = [tensor for tensor, _ in placed], [step for _, step in placed]
    triton_product.leave_out(2, tensors, steps, handle, out.flatten(0, -3))
    return out


def _triton_gradients(*inputs: Any) -> tuple[Tensor, ...]:
    from atomsym.kernels.pointwise import triton_product

    g, *factors, handle = inputs[:4]
    results = tuple(g.new_empty(shape) for shape in _PRODUCTS[2].gradient_shapes(g, factors, inputs[4:]))
    placed = [_rows_in_place(tensor) for tensor in merge_batch((*factors, g))]
    tensors, steps = [tensor for tensor, _ in placed], [step for _, step in placed]
    for slot, (need, result) in enumerate(zip(inputs[4:], results, strict=True)):
        if need:
            triton_product.leave_out(slot, tensors, steps, handle, result.flatten(0, -3))
    return results


def _form(n_factors: int) -> MultilinearForm:
    names = {f"factor{number}": 3 for number in range(n_factors)}
    form = MultilinearForm(f"pointwise_product{n_factors}", names, 3, _out_shape, on_edges=False)
    form.define("cpp", _forward, _gradients, ("CPU",))
    if n_factors <= MOST_FACTORS["triton"]:
        form.define("triton", _triton_forward, _triton_gradients, ("CPU", "CUDA"))
    return form


_PRODUCTS = {n_factors: _form(n_factors) for n_factors in range(2, MOST_FACTORS["cpp"] + 1)}
