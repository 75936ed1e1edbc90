"""The activation's front function and its backends."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.native import cpu_reason
from atomsym.kernels.silu.native import cpp_silu

OPERATION = Operation("silu")


def silu(x: Tensor, *, backend: str = "auto") -> Tensor:
    """The sigmoid-weighted linear unit, element by element.

    f(x) = x / (1 + exp(−x)).

    Args:
        x: any shape, float32 or float64.
        backend: ``auto``, ``cpp`` or ``reference``.

    Returns:
        Shape and dtype of ``x``. Differentiable any number of times.

    Raises:
        BackendError: if the backend cannot do what is asked.

    Example:
        >>> silu(torch.tensor([0.0, 100.0]))
        tensor([  0., 100.])
    """
    return OPERATION[_select(backend, x.device.type, x.dtype)].function(x)


@constant_when_compiled
def _select(backend: str, device_type: str, dtype: torch.dtype) -> str:
    return OPERATION.select(backend, device=torch.device(device_type), dtype=dtype).name


OPERATION.register(Backend("reference", torch.nn.functional.silu))
OPERATION.register(Backend("cpp", cpp_silu, device_types=frozenset({"cpu"}), priority=20, unavailable=cpu_reason))
