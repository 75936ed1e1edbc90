"""The equivariant linear map: the front function and its backends."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.irreps_linear import native, reference
from atomsym.kernels.irreps_linear.description import IrrepsLinear
from atomsym.kernels.native import cpu_reason

OPERATION = Operation("irreps_linear")


def irreps_linear(features: Tensor, weights: Tensor, linear: IrrepsLinear, *, backend: str = "auto") -> Tensor:
    """Mix the channels of features within equal irreps.

    y[n, out_b + m, d] = Σ_b Σ_c x[n, in_b + m, c] W[b, c, d], over the blocks b that end in the slot.

    Args:
        features: x, shape (n, irreps_in.dim, channels_in), float32 or float64.
        weights: W, shape (linear.n_blocks, channels_in, channels_out), same dtype; without any normalisation.
        linear: irreps and blocks.
        backend: ``auto``, ``cpp`` or ``reference``.

    Returns:
        Shape (n, irreps_out.dim, channels_out); a slot that no block ends in is zero. Differentiable any number of
        times; gradients of the weights are computed only where asked for.

    Raises:
        InputError: if shapes, dtypes or devices do not fit together.
        BackendError: if the backend cannot do what is asked.

    Example:
        >>> from atomsym.symmetry import Irreps
        >>> linear = IrrepsLinear(Irreps.parse("1o"), Irreps.parse("1o"))
        >>> irreps_linear(torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[[2.0]]]), linear).flatten()
        tensor([2., 4., 6.])
    """
    _check(features, weights, linear)
    return OPERATION[_select(backend, features.device.type, features.dtype)].function(features, weights, linear)


def _check(features: Tensor, weights: Tensor, linear: IrrepsLinear) -> None:
    channels = features.shape[-1] if features.ndim else 0
    if features.ndim != 3 or features.shape[1] != linear.in_dim:
        raise InputError(
            f"features have shape {tuple(features.shape)}; expected (n, {linear.in_dim}, channels) for the irreps "
            f"{linear.irreps_in}"
        )
    if weights.ndim != 3 or tuple(weights.shape[:2]) != (linear.n_blocks, channels):
        raise InputError(
            f"weights have shape {tuple(weights.shape)}; expected ({linear.n_blocks}, {channels}, channels_out)"
        )
    if features.dtype != weights.dtype or features.device != weights.device:
        raise InputError(
            f"features are {features.dtype} on {features.device}, weights {weights.dtype} on {weights.device}"
        )


@constant_when_compiled
def _select(backend: str, device_type: str, dtype: torch.dtype) -> str:
    return OPERATION.select(backend, device=torch.device(device_type), dtype=dtype).name


OPERATION.register(Backend("reference", reference.linear))
OPERATION.register(Backend("cpp", native.linear, device_types=frozenset({"cpu"}), priority=20, unavailable=cpu_reason))
