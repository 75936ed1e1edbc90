"""Finds the factors that ship with the CP-decomposed product; run once, deterministic for a build of numpy.

    python -m atomsym.kernels.cp_product.solver factors.safetensors

Alternating least squares with a ridge that fades, restarted from seeds in order and stopped at the first fit that is
exact; the best fit is polished by damped Gauss–Newton steps, which take an exact one to rounding error.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np

from atomsym.kernels.cp_product.cube import Array, coupling_cube, relative_error

LOGGER = logging.getLogger(__name__)
EXACT = 1e-6
"""Relative error of a fit by alternating least squares from which on polishing makes it exact."""

# (degree, mirror, rank): the published schedules 7 L and 7 L², and ranks at which nothing is left of the error.
SHIPPED = (
    *((1, False, 7), (2, False, 14), (3, False, 21)),
    *((2, False, 28), (3, False, 63)),
    *((1, False, 8), (2, False, 34), (3, False, 110)),
    *((1, True, 6), (2, True, 21), (3, True, 64)),
)


def fit(cube: Array, rank: int, *, restarts: int, sweeps: int) -> list[Array]:
    """Three factors of shape (d, rank), the best of several starts."""
    best: list[Array] = []
    smallest = np.inf
    for seed in range(restarts):
        factors = _alternate(cube, rank, sweeps, np.random.default_rng(seed))
        error = relative_error(cube, factors)
        if error < smallest:
            best, smallest = factors, error
        if smallest < EXACT:
            break
    return polish(cube, best) if smallest < EXACT else best


def _alternate(cube: Array, rank: int, sweeps: int, generator: np.random.Generator) -> list[Array]:
    n = cube.shape[0]
    factors = [generator.standard_normal((n, rank)) / np.sqrt(n) for _ in range(3)]
    unfolded = [np.moveaxis(cube, axis, 0).reshape(n, n * n) for axis in range(3)]
    ridge = 1e-2
    for sweep in range(sweeps):
        for axis in range(3):
            first, second = (factors[other] for other in range(3) if other != axis)
            gram = (first.T @ first) * (second.T @ second) + ridge * np.eye(rank)
            pairs = (first[:, None] * second[None]).reshape(n * n, rank)
            # A ridge around the former factor, not around zero: large cancelling terms cannot run away.
            right = unfolded[axis] @ pairs + ridge * factors[axis]
            factors[axis] = np.linalg.solve(gram, right.T).T
        ridge = max(0.98 * ridge, 1e-12)
        if sweep % 20 == 19:
            factors = _balanced(factors)
            if relative_error(cube, factors) < 0.1 * EXACT:
                break
    return _balanced(factors)


def _balanced(factors: list[Array]) -> list[Array]:
    """The same terms with three columns of equal length."""
    lengths = [np.linalg.norm(factor, axis=0) for factor in factors]
    mean = np.cbrt(lengths[0] * lengths[1] * lengths[2])
    return [factor * (mean / length) for factor, length in zip(factors, lengths, strict=True)]


def polish(cube: Array, factors: list[Array], steps: int = 4) -> list[Array]:
    """Shortest Gauss–Newton steps, for a fit that is nearly exact: the error squares with each."""
    n = cube.shape[0]
    for _ in range(steps):
        a, b, c = factors
        residual = (cube - np.einsum("ir,jr,kr->ijk", a, b, c)).ravel()
        if np.linalg.norm(residual) < 1e-14 * np.linalg.norm(cube):
            break
        # J Jᵀ without J: the three blocks are diagonal in the index of their own factor.
        eye = np.eye(n)
        grams = [factor @ factor.T for factor in factors]
        normal = np.zeros((n, n, n, n, n, n))
        pair = [
            np.einsum("jr,kr,Jr,Kr->jkJK", b, c, b, c, optimize=True),
            np.einsum("ir,kr,Ir,Kr->ikIK", a, c, a, c, optimize=True),
            np.einsum("ir,jr,Ir,Jr->ijIJ", a, b, a, b, optimize=True),
        ]
        normal += np.einsum("iI,jkJK->ijkIJK", eye, pair[0])
        normal += np.einsum("jJ,ikIK->ijkIJK", eye, pair[1])
        normal += np.einsum("kK,ijIJ->ijkIJK", eye, pair[2])
        matrix = normal.reshape(n**3, n**3)
        matrix[np.diag_indices(n**3)] += 1e-10 * max(float(np.trace(gram)) for gram in grams)
        dual = np.linalg.solve(matrix, residual).reshape(n, n, n)
        factors = [
            a + np.einsum("ijk,jr,kr->ir", dual, b, c, optimize=True),
            b + np.einsum("ijk,ir,kr->jr", dual, a, c, optimize=True),
            c + np.einsum("ijk,ir,jr->kr", dual, a, b, optimize=True),
        ]
    return factors


def main(path: Path) -> None:
    """Fit and save everything that ships."""
    from safetensors.numpy import save_file

    arrays: dict[str, Array] = {}
    for degree, mirror, rank in SHIPPED:
        cube = coupling_cube(degree, mirror)
        factors = fit(cube, rank, restarts=3, sweeps=1500)
        LOGGER.info("degree %d, mirror %s, rank %d: error %.1e", degree, mirror, rank, relative_error(cube, factors))
        name = f"{degree}/{'mirror' if mirror else 'all'}/{rank}"
        arrays |= {f"{name}/{axis}": np.ascontiguousarray(factor) for axis, factor in zip("abc", factors, strict=True)}
        save_file(arrays, path)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(Path(sys.argv[1]))
