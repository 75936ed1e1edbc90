"""The Fréchet distance: Gaussians whose distance is known, and its bias."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from atomsym.core import InputError
from atomsym.metrics import extrapolated_frechet_distance, frechet_distance


def clouds(n: int = 400, dimension: int = 5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    mixing = generator.normal(size=(dimension, dimension))
    return generator.normal(size=(n, dimension)), generator.normal(size=(n, dimension)) @ mixing + 0.3


def test_no_distance_to_itself() -> None:
    for points in clouds():
        assert frechet_distance(points, points[::-1]) < 1e-8
    assert frechet_distance(clouds()[1] @ np.diag([1, 1, 1, 0, 0]), clouds()[1] @ np.diag([1, 1, 1, 0, 0])) < 1e-8


def test_a_shift_costs_its_square_and_a_scale_the_square_of_the_difference() -> None:
    points = clouds()[0]
    assert frechet_distance(points, points + 2.0) == pytest.approx(5 * 4.0, rel=1e-10)
    centred = points - points.mean(axis=0)
    total = np.trace(np.cov(points, rowvar=False))
    assert frechet_distance(centred, 3.0 * centred) == pytest.approx(4.0 * total, rel=1e-10)


def test_agrees_with_the_root_of_the_product_of_covariances() -> None:
    a, b = clouds()
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)


def test_a_forgotten_covariance_term_would_show() -> None:
    """The plain distance of means and of traces of roots is another number: the planted bug."""
    a, b = clouds()
    spread = [np.sqrt(np.trace(np.cov(x, rowvar=False))) for x in (a, b)]
    wrong = ((a.mean(0) - b.mean(0)) ** 2).sum() + (spread[0] - spread[1]) ** 2
    assert abs(frechet_distance(a, b) - wrong) > 0.1 * wrong


def test_extrapolation_takes_away_most_of_the_bias() -> None:
    generator = np.random.default_rng(2)
    points = [generator.normal(size=(2, 300, 20)) for _ in range(5)]
    plain = np.mean([frechet_distance(a, b) for a, b in points])
    better = np.mean([extrapolated_frechet_distance(a, b, generator=generator) for a, b in points])
    assert plain > 0.3
    assert abs(better) < 0.25 * plain


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros((5, 3)), np.zeros((5, 4))),
        (np.zeros((1, 3)), np.zeros((5, 3))),
        (np.full((5, 3), np.nan), np.zeros((5, 3))),
    ],
)
def test_bad_points_are_refused(a: np.ndarray, b: np.ndarray) -> None:
    with pytest.raises(InputError):
        frechet_distance(a, b)
