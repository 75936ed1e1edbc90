"""The merged norm's front function and its backends."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.merged_norm.native import cpp_merged_norm
from atomsym.kernels.merged_norm.reference import reference_merged_norm
from atomsym.kernels.native import cpu_reason

OPERATION = Operation("merged_norm")


def merged_norm(features: Tensor, shares: Sequence[float], epsilon: float, *, backend: str = "auto") -> Tensor:
    """Divide the features of each atom by one length, after the mean over the channels was taken from component 0.

    out = z / sqrt(Σ_k share_k mean_c z_kc² + ε), with z the features less that mean.

    Args:
        features: shape (n, components, channels), float32 or float64; component 0 are scalars.
        shares: weight of each component in the length, all ≥ 0.
        epsilon: ε > 0; it keeps every derivative finite where features vanish.
        backend: ``auto``, ``cpp`` or ``reference``.

    Returns:
        Shape of the features. Differentiable any number of times; ``cpp`` has fused first and second derivatives.

    Raises:
        InputError: if the shape or dtype is wrong or ε is not positive.
        BackendError: if the backend cannot do what is asked.

    Example:
        >>> merged_norm(torch.tensor([[[1.0, 3.0], [2.0, 2.0]]]), (0.5, 0.5), 1e-6)
        tensor([[[-0.6325,  0.6325],
                 [ 1.2649,  1.2649]]])
    """
    if features.ndim != 3 or features.shape[1] != len(shares) or features.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"features must be float32 or float64 of shape (n, {len(shares)}, channels); "
            f"found {features.dtype} {tuple(features.shape)}"
        )
    if not epsilon > 0:
        raise InputError(f"epsilon must be positive; found {epsilon}")
    chosen = _select(backend, features.device.type, features.dtype)
    return OPERATION[chosen].function(features, list(shares), epsilon)


@constant_when_compiled
def _select(backend: str, device_type: str, dtype: torch.dtype) -> str:
    return OPERATION.select(backend, device=torch.device(device_type), dtype=dtype).name


OPERATION.register(Backend("reference", reference_merged_norm))
OPERATION.register(
    Backend("cpp", cpp_merged_norm, device_types=frozenset({"cpu"}), priority=10, unavailable=cpu_reason)
)
