"""The Gaussian radial basis: equally spaced bumps on the distance axis."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.errors import InputError


def gaussian_basis(
    distance: Tensor, cutoff: float, n_basis: int = 50, *, start: float = 0.0, width: float | None = None
) -> Tensor:
    """Gaussians with centres from ``start`` to the cutoff.

    g_k(d) = exp(-(d - μ_k)² / (2 σ²)),  μ_k equally spaced on [start, cutoff].

    Smooth in the distance everywhere and not zero at the cutoff: multiply by an envelope. At distance 0 the slope is
    not zero, so as a function of the position a Gaussian off the origin has a cusp where two atoms coincide.
    Differentiable any number of times.

    Args:
        distance: edge lengths, shape (n_edges,), Å.
        cutoff: the last centre, Å, > start.
        n_basis: number of functions, >= 2.
        start: the first centre, Å.
        width: σ in Å, > 0; default: the spacing of the centres.

    Returns:
        Shape (n_edges, n_basis), in [0, 1], dtype of the input.

    Raises:
        InputError: if ``cutoff <= start``, ``n_basis < 2`` or ``width <= 0``.

    Source: Schütt et al., SchNet, J. Chem. Phys. 148, 241722 (2018), with the spacing as the default width.

    Example:
        >>> gaussian_basis(torch.tensor([1.0]), 2.0, 3)
        tensor([[0.6065, 1.0000, 0.6065]])
    """
    if not cutoff > start or n_basis < 2 or (width is not None and not width > 0):
        raise InputError(
            f"the Gaussian basis needs cutoff > start, n_basis >= 2 and width > 0; "
            f"found cutoff={cutoff}, start={start}, n_basis={n_basis}, width={width}"
        )
    spacing = (cutoff - start) / (n_basis - 1)
    centres = start + spacing * torch.arange(n_basis, dtype=distance.dtype, device=distance.device)
    return torch.exp(-0.5 * ((distance.unsqueeze(-1) - centres) / (width or spacing)).square())
