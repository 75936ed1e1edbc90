"""The polynomial cutoff of DimeNet and MACE, twice continuously differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.errors import InputError


def polynomial_cutoff(distance: Tensor, cutoff: float | Tensor, *, power: int = 6) -> Tensor:
    """Weight that is 1 at distance 0, flat there to order ``power``, and zero beyond the cutoff.

    w(x) = 1 - (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) - p(p+1)/2 x^(p+2),  x = d / cutoff.

    Value, first and second derivative vanish at the cutoff. The third is -p(p+1)(p+2) / cutoff³ on the inner side and
    0 on the outer: an energy that uses it has continuous Hessians, but third-order force constants that jump.
    Multiplied by a Bessel basis, which is zero at the cutoff, it gains one order.

    Args:
        distance: edge lengths, shape (n_edges,), Å.
        cutoff: radius in Å, > 0; a tensor gives each edge its own, shape (n_edges,).
        power: p >= 2, flatness at distance 0.

    Returns:
        Weights, shape (n_edges,), in [0, 1], dtype of the input.

    Raises:
        InputError: if a scalar ``cutoff`` is not positive or ``power < 2``.

    Source: Gasteiger, Groß, Günnemann, ICLR 2020 (arXiv 2003.03123), eq. 8, without its factor 1/d.

    Example:
        >>> polynomial_cutoff(torch.tensor([0.0, 2.5, 5.0]), 5.0, power=2)
        tensor([1.0000, 0.3125, 0.0000])
    """
    if power < 2 or (not isinstance(cutoff, Tensor) and not cutoff > 0):
        raise InputError(f"the polynomial cutoff needs cutoff > 0 and power >= 2; found {cutoff} and {power}")
    p = power
    x = (distance / cutoff).clamp(max=1)
    weight = 1 + x.pow(p) * (-(p + 1) * (p + 2) / 2 + x * (p * (p + 2) - x * (p * (p + 1) / 2)))
    return torch.where(x < 1, weight, torch.zeros_like(weight))
