"""Fréchet distance between two clouds of points, each taken as a Gaussian."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atomsym.core.errors import InputError

Floats = NDArray[np.floating]


def frechet_distance(first: Floats, second: Floats) -> float:
    """‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½), the squared Wasserstein-2 distance of the two Gaussians.

    The trace of the root is the sum of the roots of the eigenvalues of Σ₁^½ Σ₂ Σ₁^½, which is symmetric. In float64.
    The estimate is too large by about a constant over the number of points; see ``extrapolated_frechet_distance``.

    Args:
        first, second: points in rows, shapes (n, dim) and (m, dim); n, m ≥ 2.

    Raises:
        InputError: if the shapes do not fit or a value is not finite.

    Source: Dowson and Landau, J. Multivar. Anal. 12, 450 (1982); as a measure of generators Heusel et al., NeurIPS
    2017.
    """
    a, b = (np.asarray(points, dtype=np.float64) for points in (first, second))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise InputError(
            f"two sets of at least two points of one dimension are needed; found shapes {a.shape}, {b.shape}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("points must be finite")
    (mean_a, covariance_a), (mean_b, covariance_b) = (_moments(points) for points in (a, b))
    root = _root(covariance_a)
    shared = np.linalg.eigvalsh(root @ covariance_b @ root)
    overlap = 2 * np.sqrt(np.clip(shared, 0, None)).sum()
    value = ((mean_a - mean_b) ** 2).sum() + np.trace(covariance_a) + np.trace(covariance_b) - overlap
    return max(float(value), 0.0)


def extrapolated_frechet_distance(
    first: Floats, second: Floats, *, generator: np.random.Generator, draws: int = 8
) -> float:
    """The distance for infinitely many points: 2 F(N) − F(N/2), with F(N/2) the mean over random halves.

    It can be slightly negative where the two clouds are the same.

    Args:
        first, second: as for ``frechet_distance``; at least four points each.
        generator: draws the halves.
        draws: how many.

    Raises:
        InputError: as ``frechet_distance``; also if there are fewer than four points.

    Source: Chong and Forsyth, CVPR 2020, with two sizes.
    """
    if min(len(first), len(second)) < 4:
        raise InputError(f"at least four points are needed on each side; found {len(first)} and {len(second)}")
    halves = [frechet_distance(_half(first, generator), _half(second, generator)) for _ in range(draws)]
    return 2 * frechet_distance(first, second) - float(np.mean(halves))


def _half(points: Floats, generator: np.random.Generator) -> Floats:
    return points[generator.permutation(len(points))[: len(points) // 2]]


def _moments(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return points.mean(axis=0), np.atleast_2d(np.cov(points, rowvar=False))


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)
