"""The cutoff switch: leaves a potential untouched up to an onset and takes it smoothly to zero at the cutoff."""

from __future__ import annotations

from math import comb

import torch
from torch import Tensor

from atomsym.core.errors import InputError


def cutoff_switch(distance: Tensor, onset: float | Tensor, cutoff: float | Tensor, *, derivatives: int = 3) -> Tensor:
    """Weight that is 1 up to the onset and 0 from the cutoff on, three times (or more) continuously differentiable.

    w = s^(n+1) Σ_k C(n+k, k) C(2n+1, n-k) (-s)^k with s = (cutoff - d) / (cutoff - onset) held in [0, 1]; for n = 3
    that is s^4 (35 - 84 s + 70 s^2 - 20 s^3).

    This is the polynomial of lowest degree whose first n derivatives vanish at both ends.

    Args:
        distance: edge lengths, shape (n_edges,), Å.
        onset: distance where the weight starts to fall, Å, >= 0; a tensor gives each edge its own, shape (n_edges,).
        cutoff: distance where it reaches zero, Å, > onset; likewise.
        derivatives: n >= 1, continuous derivatives.

    Returns:
        Weights, shape (n_edges,), in [0, 1], dtype of the input.

    Raises:
        InputError: unless ``0 <= onset < cutoff`` (where both are numbers) and ``derivatives >= 1``.

    Example:
        >>> import torch
        >>> cutoff_switch(torch.tensor([2.0, 5.0, 8.0]), 2.0, 8.0)
        tensor([1.0000, 0.5000, 0.0000])
    """
    numbers = not isinstance(onset, Tensor) and not isinstance(cutoff, Tensor)
    if derivatives < 1 or (numbers and not 0 <= onset < cutoff):
        raise InputError(
            f"the switch needs 0 <= onset < cutoff and derivatives >= 1; found {onset}, {cutoff}, {derivatives}"
        )
    # Counted from the cutoff, so that the weight is exactly zero there and not merely within rounding of it.
    s = ((cutoff - distance) / (cutoff - onset)).clamp(0, 1)
    n = derivatives
    polynomial = torch.zeros_like(s)
    for k in reversed(range(n + 1)):
        polynomial = polynomial * s + (-1) ** k * comb(n + k, k) * comb(2 * n + 1, n - k)
    return s.pow(n + 1) * polynomial
