"""Sets of rotations that do not depend on the system: quadratures with a known degree, and random ones."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.symmetry.frames.groups import Group, is_planar, is_proper, mirror_of
from atomsym.symmetry.rotations import euler_to_matrix, random_rotations


def rotation_quadrature(degree: int, group: Group) -> tuple[Tensor, Tensor]:
    """Rotations and weights whose average is that over the whole group for functions up to a degree.

    In space: Euler angles, α and γ on degree + 1 equal steps, cos β at the Gauss–Legendre nodes, which integrates every
    Wigner matrix D^l with l ≤ degree exactly. In the plane: degree + 1 equal steps about z. A group with reflections
    has all of them twice, once mirrored. A function with higher angular frequencies is averaged with an error that
    falls quickly with the degree for smooth functions; nothing else is exact, but everything is continuous.

    Args:
        degree: ≥ 0; (degree + 1)² ⌈(degree + 1) / 2⌉ rotations of space.
        group: of motions.

    Returns:
        Matrices, shape (k, 3, 3), and weights with the sum 1, shape (k,), float64.

    Raises:
        InputError: if degree < 0 or there is no such group.

    Example:
        >>> rotations, weights = rotation_quadrature(3, "SE3")
        >>> len(rotations), bool((weights @ rotations.reshape(-1, 9)).abs().max() < 1e-15)
        (32, True)
    """
    if degree < 0:
        raise InputError(f"the degree of a quadrature is at least 0; found {degree}")
    steps = torch.arange(degree + 1, dtype=torch.float64) * (2 * math.pi / (degree + 1))
    if is_planar(group):
        rotations, weights = _about_z(steps), torch.full((degree + 1,), 1 / (degree + 1), dtype=torch.float64)
    else:
        nodes, node_weights = np.polynomial.legendre.leggauss(math.ceil((degree + 1) / 2))
        alpha, beta, gamma = torch.meshgrid(steps, torch.from_numpy(np.arccos(nodes)), steps, indexing="ij")
        rotations = euler_to_matrix(alpha, beta, gamma).reshape(-1, 3, 3)
        weights = torch.from_numpy(node_weights)[None, :, None].expand(alpha.shape).reshape(-1)
        weights = weights / weights.sum()
    if is_proper(group):
        return rotations, weights
    return torch.cat([rotations, rotations @ mirror_of(group, rotations)]), weights.repeat(2) / 2


def random_elements(n: int, group: Group, *, generator: torch.Generator | None = None) -> Tensor:
    """Elements of the group drawn uniformly, shape (n, 3, 3), float64, on the CPU.

    Args:
        n: how many.
        group: of motions; translations are left out.
        generator: source of randomness; default: torch's own, as for dropout.
    """
    if is_planar(group):
        rotations = _about_z(2 * math.pi * torch.rand(n, generator=generator, dtype=torch.float64))
    else:
        rotations = random_rotations(n, generator=generator or torch.default_generator)
    if is_proper(group):
        return rotations
    flipped = torch.randint(0, 2, (n, 1, 1), generator=generator).bool()
    return torch.where(flipped, rotations @ mirror_of(group, rotations), rotations)


def _about_z(angle: Tensor) -> Tensor:
    c, s, zero, one = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
    rows = ((c, -s, zero), (s, c, zero), (zero, zero, one))
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
