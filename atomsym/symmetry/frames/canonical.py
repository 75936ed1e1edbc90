"""One frame from three vectors that turn with the system: canonicalization."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.symmetry.rotations import rotation_vector_to_matrix

_PARALLEL = 1e-8  # of a vector that is left over, relative to the longest
_SMALLEST_SUM = 1e-8  # of two singular values, relative to the sum of all
_NEWTON_STEPS = 2  # each doubles the order of the derivatives that are exact: 1, 3, …


def gram_schmidt_frame(vectors: Tensor, *, proper: bool) -> Tensor:
    """The frame of e1 ∥ v1, e2 ∥ v2 − (v2 · e1) e1 and e3 = ± e1 × e2; the sign is + or, for reflections, that of v3.

    Equivariant: R(g v) = g R(v) for rotations, and for reflections unless ``proper``. Where a vector that is needed
    vanishes or is parallel to the one before, a fixed direction takes its place: the result is always a frame and its
    derivatives are finite, but it does not turn with the system there.

    Args:
        vectors: v1, v2, v3 in rows, shape (n, 3, 3), float64.
        proper: right-handed frames, v3 is not used.

    Returns:
        Axes in columns, shape (n, 3, 3). Differentiable any number of times where the vectors are independent; not
        continuous where they become dependent.

    Raises:
        InputError: if the shape is another one.
    """
    _check(vectors)
    scale = vectors.detach().square().sum(2).amax(1, keepdim=True)
    v1, v2, v3 = vectors.unbind(1)
    e1 = _unit(v1, scale, vectors.new_tensor([1.0, 0.0, 0.0]).expand_as(v1))
    across = v2 - (v2 * e1).sum(1, keepdim=True) * e1
    e2 = _unit(across, scale, _perpendicular(e1.detach()))
    e2 = e2 - (e2 * e1).sum(1, keepdim=True) * e1  # a fixed direction is perpendicular to e1 at this point only
    e3 = torch.linalg.cross(e1, e2)
    if not proper:
        e3 = torch.where(((v3 * e3).sum(1, keepdim=True) < 0).detach(), -e3, e3)
    return torch.stack([e1, e2, e3], dim=2)


def polar_frame(vectors: Tensor, *, proper: bool) -> Tensor:
    """The orthogonal matrix nearest to V = (v1 v2 v3): orbit-distance canonicalization.

    With the singular value decomposition V = U Σ Wᵀ it is U Wᵀ, among rotations U diag(1, 1, det U Wᵀ) Wᵀ. It treats
    the three vectors alike, and is equivariant as V is. The value comes from the decomposition; derivatives come from
    two Newton steps on the condition that Rᵀ V is symmetric, which have only sums of singular values in their
    denominators. Where such a sum vanishes (V of rank 1 or less; among rotations also two equal values of V with
    negative determinant), R is some orthogonal matrix and derivatives are finite.

    Args:
        vectors: v1, v2, v3 in rows, shape (n, 3, 3), float64.
        proper: the nearest rotation instead of the nearest orthogonal matrix.

    Returns:
        Axes in columns, shape (n, 3, 3). Differentiable three times.

    Raises:
        InputError: if the shape is another one.

    Source: Kaba, Mondal, Zhang, Bengio, Ravanbakhsh, ICML 2023 (arXiv 2211.06489) for canonicalization; the nearest
    orthogonal matrix is the classical Procrustes problem. The differentiation is our own.
    """
    _check(vectors)
    matrix = vectors.transpose(1, 2)
    left, _, right = torch.linalg.svd(matrix.detach())
    if proper:
        flips = torch.ones_like(left[:, 0])
        flips[:, 2] = torch.linalg.det(left @ right)
        left = left * flips.unsqueeze(1)
    rotation = left @ right
    for _ in range(_NEWTON_STEPS):
        rotation = rotation @ rotation_vector_to_matrix(_newton_step(rotation.transpose(1, 2) @ matrix))
    return rotation


def _newton_step(product: Tensor) -> Tensor:
    """ω with (1 − [ω]) M symmetric to first order: (tr H − H) ω = a; M = H + [a] / 2 with H symmetric."""
    symmetric = 0.5 * (product + product.transpose(1, 2))
    skew = product - product.transpose(1, 2)
    axial = torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], dim=1)
    trace = symmetric.diagonal(dim1=1, dim2=2).sum(1)
    identity = torch.eye(3, dtype=product.dtype, device=product.device)
    sums = trace[:, None, None] * identity - symmetric
    with torch.no_grad():
        smallest = torch.linalg.eigvalsh(sums)[:, 0]
        size = product.abs().sum((1, 2))
        floor = torch.where(size > 0, _SMALLEST_SUM * size, torch.ones_like(size))
        lift = (floor - smallest).clamp(min=0)
    return torch.linalg.solve(sums + lift[:, None, None] * identity, axial)


def _unit(vectors: Tensor, scale: Tensor, otherwise: Tensor) -> Tensor:
    """Of length 1; a fixed vector where there is no direction."""
    squared = vectors.square().sum(1, keepdim=True)
    usable = (squared > _PARALLEL**2 * scale).detach()
    length = torch.where(usable, squared, torch.ones_like(squared)).sqrt()
    return torch.where(usable, vectors / length, otherwise)


def _perpendicular(axis: Tensor) -> Tensor:
    """Some unit vector perpendicular to each axis, shape (n, 3)."""
    least = torch.nn.functional.one_hot(axis.abs().argmin(1), 3).to(axis.dtype)
    across = least - (least * axis).sum(1, keepdim=True) * axis
    return across / across.norm(dim=1, keepdim=True)


def _check(vectors: Tensor) -> None:
    if vectors.shape[1:] != (3, 3) or vectors.ndim != 3 or vectors.dtype != torch.float64:
        raise InputError(
            f"vectors must be three for each system, float64 of shape (n, 3, 3); found {vectors.dtype} "
            f"{tuple(vectors.shape)}"
        )
