"""The polynomial envelope: a weight whose derivatives vanish at the cutoff up to any chosen order."""

from __future__ import annotations

from torch import Tensor

from atomsym.core.errors import InputError


def polynomial_envelope(distance: Tensor, cutoff: float | Tensor, *, order: int = 4) -> Tensor:
    """Smooth weight that is 1 at distance 0 and vanishes at the cutoff.

    w(d) = (1 - (d / cutoff)^2)^order, zero beyond the cutoff.

    Even in the distance, so that it is a smooth function of the position at distance 0 as well. Differentiable any
    number of times by autograd; continuous are the first ``order - 1`` derivatives.

    Args:
        distance: edge lengths, shape (n_edges,), Å, >= 0.
        cutoff: radius where w and its first ``order - 1`` derivatives are zero, Å, > 0; a tensor gives each edge its
            own, shape (n_edges,).
        order: smoothness; Hessians need >= 3, third-order force constants >= 4.

    Returns:
        Weights, shape (n_edges,), in [0, 1], dtype of the input.

    Raises:
        InputError: if a scalar ``cutoff`` is not positive or ``order < 1``.

    Source: own choice; compare the DimeNet envelope (Gasteiger et al. 2020), whose third derivative jumps.

    Example:
        >>> import torch
        >>> polynomial_envelope(torch.tensor([0.0, 5.0]), 5.0)
        tensor([1., 0.])
    """
    if order < 1 or (not isinstance(cutoff, Tensor) and not cutoff > 0):
        raise InputError(f"the envelope needs cutoff > 0 and order >= 1; found cutoff={cutoff}, order={order}")
    return (1 - (distance / cutoff).square()).clamp(min=0).pow(order)
