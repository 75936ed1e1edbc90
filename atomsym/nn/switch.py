"""The cutoff switch: leaves a potential untouched up to an onset and takes it smoothly to zero at the cutoff."""

from __future__ import annotations

from torch import Tensor

from atomsym.core.errors import InputError


def cutoff_switch(distance: Tensor, onset: float, cutoff: float) -> Tensor:
    """Weight that is 1 up to the onset and 0 from the cutoff on, three times continuously differentiable.

    w(t) = 1 - t^4 (35 - 84 t + 70 t^2 - 20 t^3) with t = (d - onset) / (cutoff - onset) held in [0, 1].

    This is the polynomial of lowest degree whose first three derivatives vanish at both ends.

    Args:
        distance: edge lengths, shape (n_edges,), Å.
        onset: distance where the weight starts to fall, Å, >= 0.
        cutoff: distance where it reaches zero, Å, > onset.

    Returns:
        Weights, shape (n_edges,), in [0, 1], dtype of the input.

    Raises:
        InputError: unless ``0 <= onset < cutoff``.

    Example:
        >>> import torch
        >>> cutoff_switch(torch.tensor([2.0, 5.0, 8.0]), 2.0, 8.0)
        tensor([1.0000, 0.5000, 0.0000])
    """
    if not 0 <= onset < cutoff:
        raise InputError(f"the switch needs 0 <= onset < cutoff; found onset={onset}, cutoff={cutoff}")
    # Counted from the cutoff, so that the weight is exactly zero there and not merely within rounding of it.
    s = ((cutoff - distance) / (cutoff - onset)).clamp(0, 1)
    return s.pow(4) * (35 + s * (-84 + s * (70 - 20 * s)))
