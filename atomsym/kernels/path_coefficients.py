"""What any equivariant product of two features is made of: one number for each coupling of degrees."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from atomsym.symmetry import Irreps, wigner_3j

NEGLIGIBLE = 1e-12
"""Coefficients below it are rounding errors of zeros."""


def path_coefficients(
    multiply: Callable[[Tensor, Tensor], Tensor], first: Irreps, second: Irreps, out: Irreps
) -> dict[tuple[int, int, int], float]:
    """c with which a bilinear equivariant product is Σ c · wigner_3j, by degrees (l1, l2, l3); zeros left out.

    They are the path weights with which a Clebsch–Gordan product would be this one; a coupling that is missing cannot
    be learned by any linear layers before and after.

    Args:
        multiply: (n, first.dim, 1), (n, second.dim, 1) → (n, out.dim, 1), float64.
        first, second, out: irreps, each degree once.
    """
    eyes = [torch.eye(irreps.dim, dtype=torch.float64) for irreps in (first, second)]
    pairs = (eyes[0].repeat_interleave(second.dim, 0), eyes[1].repeat(first.dim, 1))
    cube = multiply(*(pair.unsqueeze(-1) for pair in pairs)).reshape(first.dim, second.dim, -1)
    found = {}
    for a, part_a in zip(first, first.slices, strict=True):
        for b, part_b in zip(second, second.slices, strict=True):
            for c, part_c in zip(out, out.slices, strict=True):
                if abs(a.degree - b.degree) <= c.degree <= a.degree + b.degree:
                    coupling = wigner_3j(a.degree, b.degree, c.degree)
                    value = float((cube[part_a, part_b, part_c] * coupling).sum())
                    if abs(value) > NEGLIGIBLE:
                        found[a.degree, b.degree, c.degree] = value
    return found
