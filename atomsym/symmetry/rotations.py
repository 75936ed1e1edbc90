"""Rotations as matrices, unit quaternions, rotation vectors (axis times angle) and Y-X-Y Euler angles.

A rotation matrix R acts on column vectors, v → R v. Quaternions are (w, x, y, z). Euler angles (α, β, γ) mean
R = R_y(α) R_x(β) R_y(γ), as in e3nn: the polar axis is y. Leading axes are batch axes everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from atomsym.core.errors import InputError


def random_rotations(
    n: int,
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    improper: bool = False,
) -> Tensor:
    """Rotation matrices drawn uniformly (Haar measure), shape (n, 3, 3).

    Args:
        n: how many.
        generator: the source of randomness; it must live on ``device``.
        dtype, device: of the result. Drawn in float64, so that the same seed gives the same rotations in any dtype.
        improper: multiply each by the inversion with probability 1/2: uniform over O(3).
    """
    quaternion = torch.randn(n, 4, generator=generator, dtype=torch.float64, device=device)
    rotation = quaternion_to_matrix(quaternion)
    if improper:
        flip = torch.randint(0, 2, (n, 1, 1), generator=generator, device=device)
        rotation = rotation * (1 - 2 * flip)
    return rotation.to(dtype)


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Rotation matrix of a quaternion (w, x, y, z) of any length but zero.

    Args:
        quaternion: shape (..., 4).

    Returns:
        Shape (..., 3, 3). Differentiable any number of times.

    Example:
        >>> quaternion_to_matrix(torch.tensor([0.0, 0.0, 2.0, 0.0])).diagonal()
        tensor([-1.,  1., -1.])
    """
    _check(quaternion, (4,), "quaternion")
    w, x, y, z = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def matrix_to_quaternion(rotation: Tensor) -> Tensor:
    """Unit quaternion with w ≥ 0 of a proper rotation matrix.

    Four formulas exist, one for each component as the divisor; the one with the largest divisor (≥ 1/2) is taken.

    Args:
        rotation: shape (..., 3, 3), determinant +1.

    Returns:
        Shape (..., 4). Differentiable except at half turns, where the sign of the result jumps.
    """
    _check(rotation, (3, 3), "rotation")
    r = rotation
    xx, yy, zz = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    # The outer product 4 q qᵀ is linear in the matrix; each of its rows is a multiple of q.
    wx, wy, wz = r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]
    xy, xz, yz = r[..., 1, 0] + r[..., 0, 1], r[..., 0, 2] + r[..., 2, 0], r[..., 2, 1] + r[..., 1, 2]
    rows = (
        (1 + xx + yy + zz, wx, wy, wz),
        (wx, 1 + xx - yy - zz, xy, xz),
        (wy, xy, 1 - xx + yy - zz, yz),
        (wz, xz, yz, 1 - xx - yy + zz),
    )
    outer = torch.stack([torch.stack(row, -1) for row in rows], -2)
    best = outer.detach().diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = outer.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    quaternion = row / row.norm(dim=-1, keepdim=True)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def rotation_vector_to_matrix(rotation_vector: Tensor) -> Tensor:
    """Rotation about the axis of the vector by an angle equal to its length, in radians (Rodrigues).

    R = 1 + a K + b K² with K the cross product by the vector, a = sin θ / θ, b = (1 − cos θ) / θ².

    Args:
        rotation_vector: shape (..., 3).

    Returns:
        Shape (..., 3, 3). Differentiable any number of times, at the zero vector too.
    """
    _check(rotation_vector, (3,), "rotation_vector")
    squared = (rotation_vector * rotation_vector).sum(-1)[..., None, None]
    cross = cross_product_matrix(rotation_vector)
    identity = torch.eye(3, dtype=cross.dtype, device=cross.device)
    return identity + _sine_ratio(squared) * cross + _cosine_ratio(squared) * (cross @ cross)


def matrix_to_rotation_vector(rotation: Tensor) -> Tensor:
    """Axis times angle, angle in [0, π], of a proper rotation matrix; the inverse of ``rotation_vector_to_matrix``.

    Args:
        rotation: shape (..., 3, 3), determinant +1.

    Returns:
        Shape (..., 3). Differentiable except at half turns, any number of times elsewhere, at the identity too.
    """
    quaternion = matrix_to_quaternion(rotation)
    w, imaginary = quaternion[..., :1], quaternion[..., 1:]
    squared = (imaginary * imaginary).sum(-1, keepdim=True)  # sin²(θ/2)
    small = squared < 1e-2
    sine = torch.sqrt(torch.where(small, torch.ones_like(squared), squared))
    large_ratio = 2 * torch.atan2(sine, w) / sine
    # θ / sin(θ/2) = 2 arcsin(s) / s = 2 Σ (2n)! / (4ⁿ n!² (2n + 1)) s²ⁿ, with s² < 0.01 exact to 1e-16 in 9 terms.
    t = torch.where(small, squared, torch.zeros_like(squared))
    series = torch.zeros_like(t)
    for n in reversed(range(9)):
        series = series * t + math.comb(2 * n, n) / (4**n * (2 * n + 1))
    return torch.where(small, 2 * series, large_ratio) * imaginary


def euler_to_matrix(alpha: Tensor, beta: Tensor, gamma: Tensor) -> Tensor:
    """R_y(α) R_x(β) R_y(γ), shape (..., 3, 3); angles in radians, any number of derivatives."""
    return _about_y(alpha) @ _about_x(beta) @ _about_y(gamma)


def matrix_to_euler(rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Angles α in [−π, π], β in [0, π], γ in [−π, π] of a proper rotation; at β = 0 and π, γ takes the whole turn.

    Args:
        rotation: shape (..., 3, 3), determinant +1.

    Returns:
        α, β, γ, shape (...). Not differentiable where the polar axis stays on itself (β = 0 or π); use
        ``wigner_d``, which takes the matrix, where derivatives are needed.
    """
    _check(rotation, (3, 3), "rotation")
    x, y, z = rotation[..., 0, 1], rotation[..., 1, 1], rotation[..., 2, 1]  # where the polar axis goes
    # atan2 keeps full precision near the poles, where arccos(y) does not.
    alpha, beta = torch.atan2(x, z), torch.atan2(torch.sqrt(x * x + z * z), y)
    rest = (_about_y(alpha) @ _about_x(beta)).transpose(-1, -2) @ rotation
    return alpha, beta, torch.atan2(rest[..., 0, 2], rest[..., 0, 0])


def cross_product_matrix(vector: Tensor) -> Tensor:
    """K with K u = vector × u, shape (..., 3, 3)."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = ((zero, -z, y), (z, zero, -x), (-y, x, zero))
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _about_y(angle: Tensor) -> Tensor:
    c, s, zero, one = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
    rows = ((c, zero, s), (zero, one, zero), (-s, zero, c))
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _about_x(angle: Tensor) -> Tensor:
    c, s, zero, one = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
    rows = ((one, zero, zero), (zero, c, -s), (zero, s, c))
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


_SERIES_BELOW = 0.25  # θ²; ten terms are exact to rounding there, with their first derivatives


def _sine_ratio(squared: Tensor) -> Tensor:
    """sin θ / θ as a smooth function of θ²."""
    return _even_ratio(squared, 1, lambda theta: torch.sin(theta) / theta)


def _cosine_ratio(squared: Tensor) -> Tensor:
    """(1 − cos θ) / θ² as a smooth function of θ²."""
    return _even_ratio(squared, 2, lambda theta: 2 * (torch.sin(theta / 2) / theta) ** 2)


def _even_ratio(squared: Tensor, first: int, closed: Callable[[Tensor], Tensor]) -> Tensor:
    """Σ (−θ²)ⁿ / (2n + first)! near zero, the closed form of θ elsewhere; neither is evaluated where it fails."""
    small = squared < _SERIES_BELOW
    theta = torch.sqrt(torch.where(small, torch.ones_like(squared), squared))
    t = torch.where(small, squared, torch.zeros_like(squared))
    series = torch.zeros_like(t)
    for n in reversed(range(10)):
        series = 1 / math.factorial(2 * n + first) - t * series
    return torch.where(small, series, closed(theta))


def _check(tensor: Tensor, tail: tuple[int, ...], name: str) -> None:
    if tensor.shape[-len(tail) :] != tail or not tensor.dtype.is_floating_point:
        shape = ", ".join(map(str, ("...", *tail)))
        raise InputError(f"{name} must be float of shape ({shape}); found {tensor.dtype} {tuple(tensor.shape)}")
