"""How the C++ kernels of all convolutions over edges are called: addresses, strides and sizes for their operators."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.multilinear_form import MultilinearForm
from atomsym.kernels.native import cpu_extension, n_threads

_N_WIRING = 5


class CompiledConvolution:
    """The kernels ``{form.name}_{forward, gradients, second}_{float32, float64}`` as operators of a form over edges.

    The first operand has the channels on its last axis.

    Args:
        form: whose operators they are.
        describe: (handle, ``float32`` or ``float64``) → the leading arguments of the kernels, such as the address of
            compiled tables; kept for each handle.
    """

    def __init__(self, form: MultilinearForm, describe: Callable[[str, str], Sequence[Any]]) -> None:
        self._form, self._describe = form, describe
        self._kernel = cache(self._find)

    def define(self, second_along: Collection[str] | None = None) -> None:
        """Register the backend ``cpp``; ``second_along``: operands along which there is a kernel ``second``."""
        second = None if second_along is None else self._second
        self._form.define("cpp", self._forward, self._gradients, ("CPU",), second, second_along)

    def _find(self, kind: str, dtype: torch.dtype, handle: str) -> tuple[Callable[..., None], Sequence[Any]]:
        """A kernel and its leading arguments."""
        suffix = str(dtype).removeprefix("torch.")
        return getattr(cpu_extension(), f"{self._form.name}_{kind}_{suffix}"), self._describe(handle, suffix)

    def _run(
        self,
        kind: str,
        tensors: Sequence[Tensor | None],
        wiring: Sequence[Tensor],
        handle: str,
        results: Sequence[Tensor],
        needs: Sequence[bool],
    ) -> None:
        """Call a kernel; what is not wanted, not there or has no elements has no address."""
        first = tensors[0 if kind == "forward" else 1]
        assert first is not None
        batch, strides = self._form.batch_strides(tensors, forward=kind == "forward")
        sizes = [batch, len(wiring[2]) - 1, len(wiring[0]), first.shape[-1]]
        if 0 in (batch, sizes[1], sizes[3]) or (kind != "forward" and sizes[2] == 0):
            for result in results:
                result.zero_()
            return
        kernel, described = self._kernel(kind, first.dtype, handle)
        operands = [None if tensor is None else tensor.contiguous() for tensor in tensors]
        indices = [index.contiguous() for index in wiring]
        kernel(
            *described,
            [index.data_ptr() for index in indices],
            sizes,
            [0 if operand is None or not operand.numel() else operand.data_ptr() for operand in operands],
            strides,
            [result.data_ptr() if need else 0 for result, need in zip(results, needs, strict=True)],
            n_threads(),
        )

    def _forward(self, *args: Any) -> Tensor:
        """(operands, wiring, handle) → result."""
        n = len(self._form.operands)
        operands, wiring, handle = args[:n], args[n:-1], args[-1]
        out = recycled_empty(self._form.out_shape(operands, wiring, handle), operands[0].dtype)
        if out.numel():
            self._run("forward", operands, wiring, handle, (out,), (True,))
        return out

    def _gradients(self, *args: Any) -> tuple[Tensor, ...]:
        """(g, operands, wiring, handle, which operands are wanted) → derivatives; empty where not wanted."""
        n = len(self._form.operands)
        tensors, wiring, handle, needs = args[: n + 1], args[n + 1 : n + 1 + _N_WIRING], args[-n - 1], args[-n:]
        shapes = self._form.gradient_shapes(tensors[0], tensors[1:], needs)
        results = tuple(recycled_empty(shape, tensors[0].dtype) for shape in shapes)
        self._run("gradients", tensors, wiring, handle, results, needs)
        return results

    def _second(self, *args: Any) -> tuple[Tensor, ...]:
        """(g, operands, directions, wiring, handle, which of g and the operands are wanted) → derivatives."""
        n = len(self._form.operands)
        tensors, needs = args[: 2 * n + 1], args[-n - 1 :]
        wiring, handle = args[2 * n + 1 : 2 * n + 1 + _N_WIRING], args[-n - 2]
        shapes = self._form.second_shapes(tensors, needs)
        results = tuple(recycled_empty(shape, tensors[0].dtype) for shape in shapes)
        self._run("second", tensors, wiring, handle, results, needs)
        return results
