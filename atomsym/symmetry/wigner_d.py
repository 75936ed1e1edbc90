"""Real Wigner matrices: how spherical harmonics turn, Y_l(R v) = D^l(R) Y_l(v), by three independent routes.

All routes return a tuple of blocks, one (2l + 1, 2l + 1) matrix per degree. Rotating features degree by degree costs
Σ (2l + 1)² products per channel, where a dense block-diagonal matrix costs (max_degree + 1)⁴ (455 against 2401 at
degree 6); and a convolution in an edge frame that keeps only orders |m| ≤ m_max takes the contiguous middle rows of
each block. ``block_diagonal`` joins the blocks where one matrix is handier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.backends import constant_when_compiled
from atomsym.symmetry.irreps import Irreps
from atomsym.symmetry.wigner_3j import real_to_complex, wigner_3j


def wigner_d(max_degree: int, rotation: Tensor) -> tuple[Tensor, ...]:
    """D^0 … D^max_degree of rotation matrices, by coupling D^(l−1) with D^1 = R.

    D^l[k, k'] = (2l + 1) Σ C[i, j, k] D^(l−1)[i, i'] R[j, j'] C[i', j', k'] with C = ``wigner_3j(l − 1, 1, l)``:
    a polynomial in the elements of R, so it is smooth everywhere and needs no angles.

    Args:
        max_degree: largest degree, ≥ 0.
        rotation: orthogonal matrices, shape (..., 3, 3). For improper ones Y_l(R v) = D^l(R) Y_l(v) holds too: odd
            degrees then have determinant −1. See ``representation_matrix`` for other parities.

    Returns:
        Blocks of shape (..., 2l + 1, 2l + 1), l = 0 … max_degree, dtype and device of the rotation. Differentiable
        any number of times.

    Raises:
        InputError: if the degree is negative or the shape is not (..., 3, 3).

    Source: Clebsch–Gordan series; compare Ivanic and Ruedenberg (1996), who eliminate the redundant couplings.

    Example:
        >>> [tuple(block.shape) for block in wigner_d(2, torch.eye(3).expand(7, 3, 3))]
        [(7, 1, 1), (7, 3, 3), (7, 5, 5)]
    """
    _check_degree(max_degree)
    if rotation.shape[-2:] != (3, 3) or not rotation.dtype.is_floating_point:
        raise InputError(f"rotation must be float of shape (..., 3, 3); found {rotation.dtype} {tuple(rotation.shape)}")
    blocks = [torch.ones_like(rotation[..., :1, :1]), rotation]
    for degree in range(2, max_degree + 1):
        blocks.append(_couple(blocks[-1], rotation, degree))
    return tuple(blocks[: max_degree + 1])


def wigner_d_from_euler(max_degree: int, alpha: Tensor, beta: Tensor, gamma: Tensor) -> tuple[Tensor, ...]:
    """The same from Y-X-Y Euler angles: D = Y(α) J Y(β) J Y(γ).

    Y turns about the polar axis and only mixes orders ±m; the constant J is the half turn about (1, 1, 0), which
    exchanges the axes x and y.

    Args:
        max_degree: largest degree, ≥ 0.
        alpha, beta, gamma: angles in radians, equal shapes (...).

    Returns:
        Blocks as in ``wigner_d``. Differentiable any number of times in the angles.

    Source: Pinchon and Hoggan (2007).
    """
    _check_degree(max_degree)
    blocks = []
    for degree in range(max_degree + 1):
        swap = _axis_swap(degree).to(alpha)
        left = _turn_rows(swap.expand(*alpha.shape, *swap.shape), alpha)
        blocks.append(left @ _turn_rows(swap @ _turn_matrix(degree, gamma), beta))
    return tuple(blocks)


def wigner_d_from_rotation_vector(max_degree: int, rotation_vector: Tensor) -> tuple[Tensor, ...]:
    """The same as exp(ω·G^l), the matrix exponential of the generators along axis times angle.

    Args:
        max_degree: largest degree, ≥ 0.
        rotation_vector: axis times angle in radians, shape (..., 3).

    Returns:
        Blocks as in ``wigner_d``. Differentiable any number of times, as ``torch.linalg.matrix_exp`` is.
    """
    _check_degree(max_degree)
    if rotation_vector.shape[-1:] != (3,) or not rotation_vector.dtype.is_floating_point:
        raise InputError(
            f"rotation_vector must be float of shape (..., 3); "
            f"found {rotation_vector.dtype} {tuple(rotation_vector.shape)}"
        )
    blocks = []
    for degree in range(max_degree + 1):
        generator = torch.einsum("...a,aij->...ij", rotation_vector, rotation_generators(degree).to(rotation_vector))
        blocks.append(torch.linalg.matrix_exp(generator))
    return tuple(blocks)


def representation_matrix(irreps: Irreps, rotation: Tensor) -> Tensor:
    """Block-diagonal matrix of a list of irreps of O(3); improper rotations act through the parity.

    Irrep (l, p) turns by D^l(R) if det R = 1 and by p D^l(−R) if det R = −1.

    Args:
        irreps: the list.
        rotation: orthogonal matrices, shape (..., 3, 3), determinant +1 or −1.

    Returns:
        Shape (..., irreps.dim, irreps.dim). Differentiable any number of times.

    Example:
        >>> representation_matrix(Irreps.parse("0o+1o+1e"), -torch.eye(3)).diagonal()
        tensor([-1., -1., -1., -1.,  1.,  1.,  1.])
    """
    blocks = wigner_d(irreps.max_degree, rotation)
    sign = torch.linalg.det(rotation.detach()).sign()[..., None, None]
    parts = []
    for irrep in irreps:
        # The recursion treats degree l as the harmonics of a polar vector, of parity (−1)^l.
        natural = irrep.parity == (-1) ** irrep.degree
        parts.append(blocks[irrep.degree] if natural else sign * blocks[irrep.degree])
    return block_diagonal(parts, like=rotation)


def block_diagonal(blocks: Sequence[Tensor], *, like: Tensor | None = None) -> Tensor:
    """Join square blocks (..., d, d) to (..., Σd, Σd); ``like`` gives batch shape and dtype when there are none."""
    if not blocks:
        if like is None:
            raise InputError("no blocks, and no tensor to take the batch shape from")
        return like.new_zeros(*like.shape[:-2], 0, 0)
    total, start, rows = sum(block.shape[-1] for block in blocks), 0, []
    for block in blocks:
        size = block.shape[-1]
        rows.append(torch.nn.functional.pad(block, (start, total - start - size)))
        start += size
    return torch.cat(rows, dim=-2)


@cache
def rotation_generators(degree: int) -> Tensor:
    """G^l for turns about x, y and z: D^l(exp(ω×)) = exp(ω·G^l), shape (3, 2l + 1, 2l + 1), float64, antisymmetric.

    One shared tensor per degree: do not change it in place.
    """
    m = np.arange(-degree, degree + 1)
    raising = np.diag(np.sqrt((degree - m[:-1]) * (degree + m[:-1] + 1)), -1)
    along, first, second = np.diag(m), (raising + raising.T) / 2, (raising - raising.T) / 2j
    # Columns of the conjugate matrix are the states x, y, z = i (Y, Z, X) of the ladder operators' axes.
    states = real_to_complex(degree).conj()
    axes = (second, along, first)
    return torch.from_numpy(np.stack([(states.conj().T @ (-1j * axis) @ states).real for axis in axes]))


def _couple(lower: Tensor, rotation: Tensor, degree: int) -> Tensor:
    """D^degree from D^(degree − 1), one index pair at a time."""
    coupling = _coupling(degree).to(rotation)
    a, b, c = coupling.shape
    batch = lower.shape[:-2]
    right = (lower @ coupling.reshape(a, b * c)).reshape(*batch, a, b, c)
    # The vector index comes first, so that each rotation meets one wide matrix instead of many narrow ones.
    right = (rotation @ right.transpose(-3, -2).reshape(*batch, b, a * c)).reshape(*batch, b * a, c)
    return coupling.transpose(0, 1).reshape(b * a, c).T @ right


@constant_when_compiled
def _coupling(degree: int) -> Tensor:
    return math.sqrt(2 * degree + 1) * wigner_3j(degree - 1, 1, degree)


def _turn_cosines(degree: int, angle: Tensor) -> tuple[Tensor, Tensor]:
    """cos mα and sin mα for m = −l … l, shape (..., 2l + 1)."""
    multiples = torch.arange(-degree, degree + 1, dtype=angle.dtype, device=angle.device) * angle.unsqueeze(-1)
    return torch.cos(multiples), torch.sin(multiples)


def _turn_rows(matrix: Tensor, angle: Tensor) -> Tensor:
    """Y(angle) @ matrix without the zeros: row m is cos(mα) row m − sin(mα) row −m."""
    cosine, sine = _turn_cosines(matrix.shape[-1] // 2, angle)
    return cosine.unsqueeze(-1) * matrix - sine.unsqueeze(-1) * matrix.flip(-2)


def _turn_matrix(degree: int, angle: Tensor) -> Tensor:
    identity = torch.eye(2 * degree + 1, dtype=angle.dtype, device=angle.device)
    return _turn_rows(identity.expand(*angle.shape, *identity.shape), angle)


@cache
def _axis_swap(degree: int) -> Tensor:
    """D^l of the half turn about (1, 1, 0), float64: J = ∫ Y(J v) Y(v)ᵀ dΩ / 4π, by a quadrature that is exact."""
    from atomsym.kernels.spherical_harmonics.reference import reference_spherical_harmonics

    nodes, weights = np.polynomial.legendre.leggauss(degree + 1)
    angle = 2 * math.pi * np.arange(2 * degree + 1) / (2 * degree + 1)
    y, phi = (torch.from_numpy(grid.ravel()) for grid in np.meshgrid(nodes, angle, indexing="ij"))
    radius = torch.sqrt(1 - y * y)
    points = torch.stack([radius * torch.sin(phi), y, radius * torch.cos(phi)], dim=1)
    measure = torch.from_numpy(np.repeat(weights, len(angle))) / (2 * len(angle))
    swapped = torch.stack([points[:, 1], points[:, 0], -points[:, 2]], dim=1)
    values, turned = (
        reference_spherical_harmonics(p, degree, False, "component")[:, degree**2 :] for p in (points, swapped)
    )
    return turned.T @ (measure[:, None] * values)


def _check_degree(max_degree: int) -> None:
    if max_degree < 0:
        raise InputError(f"max_degree must be >= 0; found {max_degree}")
