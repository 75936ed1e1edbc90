"""F-12 neighbor limits and F-13 degenerate shapes: no jumps inside the cutoff either."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from atomsym.testing import tolerances
from atomsym.testing.dimers import find_cutoff
from atomsym.testing.outcome import Finding, Measurement, NotApplicableError
from atomsym.testing.precision import energy_noise
from atomsym.testing.settings import Samples, Settings
from atomsym.testing.structure import Array, Evaluator, Structure
from atomsym.testing.symmetry import largest

PATH_LENGTH = 0.2  # Å that the central atom moves in F-12
PATH_POINTS = 41
COMPRESSIONS = (1.0, 0.85)
DIRECTIONS = 8
OFFSET, OFFSET_SINGLE = 1e-4, 1e-3  # Å, F-13
NOISE_OF_SPREAD = 2.0 * 19.0**0.5  # of 3 E(δ) − 3 E(2δ) + E(3δ), both ways
BEND = np.linspace(-0.05, 0.05, 41)  # rad, for the plot


def check_neighbor_limit(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-12: the centre of a crowded cluster moves, its neighbors change their order, and no force may jump.

    A list cut to the nearest k neighbors loses one and gains another when two of them swap. Places where a neighbor
    crosses the cutoff are left out: F-11 judges those.
    """
    if samples.dense is None:
        raise NotApplicableError("no crowded cluster could be made")
    cutoff = _known_cutoff(evaluator, samples, settings)
    points = 2 * PATH_POINTS if settings.thorough else PATH_POINTS
    measurements, within = [], 0
    bound = settings.bound(tolerances.CUTOFF_JUMP)
    for compression in COMPRESSIONS:
        cluster = samples.dense.transformed(compression * np.eye(3))
        path, crossings = _central_path(cluster, cutoff, settings.generator(12))

        def forces_at(t: float, path: Callable[[float], Structure] = path) -> Array:
            return evaluator.evaluate(path(t)).forces.ravel().copy()

        jump, _ = largest_jump(forces_at, points, crossings)
        reach = np.inf if cutoff is None else cutoff
        distances = np.linalg.norm(cluster.positions - cluster.positions[0], axis=1)
        within = int(np.count_nonzero(distances < reach)) - 1
        name = f"relative force jump among {within} neighbors"
        measurements.append(Measurement(name, jump / max(largest(forces_at(0.0)), 1e-300), bound, ""))
    good = f"With up to {within} neighbors inside the cutoff no neighbor is dropped."
    return Finding(
        measurements, good, "A force jumps while all neighbors stay inside the cutoff, as in a truncated list."
    )


def _known_cutoff(evaluator: Evaluator, samples: Samples, settings: Settings) -> float | None:
    if settings.cutoff is not None or not samples.pairs:
        return settings.cutoff or evaluator.cutoff
    return find_cutoff(evaluator, samples.pairs[0][:2]) or evaluator.cutoff


def _central_path(
    cluster: Structure, cutoff: float | None, rng: np.random.Generator
) -> tuple[Callable[[float], Structure], list[float]]:
    """Atom 0 on a straight line, t in [0, 1]; and every t where a neighbor crosses its cutoff."""
    move = rng.normal(size=3)
    move *= PATH_LENGTH / np.linalg.norm(move)

    def path(t: float) -> Structure:
        positions = cluster.positions.copy()
        positions[0] += t * move
        return cluster.moved(positions)

    crossings: list[float] = []
    if cutoff is not None:
        for apart in cluster.positions[1:] - cluster.positions[0]:
            roots = np.roots([move @ move, -2 * (move @ apart), apart @ apart - cutoff**2])
            crossings += [float(root.real) for root in roots if abs(root.imag) < 1e-12 and -0.01 < root.real < 1.01]
    return path, crossings


def largest_jump(
    function: Callable[[float], Array], points: int, excluded: list[float] | None = None, candidates: int = 5
) -> tuple[float, float]:
    """Size and place of the largest jump of a vector function on [0, 1].

    Where a cubic through four grid points on either side fails to predict the next one, the interval is halved: its
    middle belongs to the cubic of the left or of the right. Down to a width of 1e-10 a smooth function changes by no
    more than rounding, so what remains is a jump.
    """
    grid = np.linspace(0.0, 1.0, points)
    values = np.array([function(t) for t in grid])
    unexpected = np.abs(np.diff(values, 4, axis=0)).max(axis=1)  # item k predicts point k + 4 from k … k + 3
    score = np.minimum(unexpected[:-3], unexpected[3:])  # of interval (k + 3, k + 4), from the left and from the right
    found = (0.0, 0.0)
    taken = 0
    for i in np.argsort(-score) + 3:
        low, high = float(grid[i]), float(grid[i + 1])
        if any(low - 1e-6 <= place <= high + 1e-6 for place in excluded or []):
            continue
        left = np.polyfit(grid[i - 3 : i + 1] - grid[i], values[i - 3 : i + 1], 3)
        right = np.polyfit(grid[i + 1 : i + 5] - grid[i], values[i + 1 : i + 5], 3)
        found = max(found, _halve(function, (low, high), values[i : i + 2], (left, right)))
        taken += 1
        if taken == candidates:
            break
    return found


def _halve(
    function: Callable[[float], Array], interval: tuple[float, float], ends: Array, cubics: tuple[Array, Array]
) -> tuple[float, float]:
    (low, high), (at_low, at_high) = interval, ends
    origin = low
    while high - low > 1e-10:
        middle = 0.5 * (low + high)
        value = function(middle)
        to_left, to_right = (largest(value - np.vander([middle - origin], 4)[0] @ cubic) for cubic in cubics)
        if to_left <= to_right:
            low, at_low = middle, value
        else:
            high, at_high = middle, value
    return largest(at_high - at_low), 0.5 * (low + high)


def check_shapes(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-13: the energy of a highly symmetric shape is the limit from every direction."""
    shapes = [(f"{name} shape", shape) for name, shape in samples.shapes]
    if samples.crystal is not None:
        shapes.append(("perfect crystal", samples.crystal))
    if not shapes:
        raise NotApplicableError("no symmetric shape could be made")
    rng = settings.generator(13)
    bound = settings.bound(tolerances.CONTINUITY)
    offset = OFFSET_SINGLE if settings.single_precision else OFFSET
    measurements = []
    for name, shape in shapes:
        jump = spread_of_limits(evaluator, shape, offset, rng)
        noise = 0.0
        if settings.single_precision:  # measured beside the shape, where no jump can pass for noise
            beside = shape.moved(shape.positions + rng.normal(scale=0.05, size=shape.positions.shape))
            noise = NOISE_OF_SPREAD * energy_noise(evaluator, beside)
        measurements.append(Measurement(f"energy jump at the {name}", jump, bound, "eV", uncertainty=noise))
    good = "The energy is continuous through linear, tetrahedral, octahedral and crystalline shapes."
    return Finding(measurements, good, data=_bending(evaluator, samples))


def spread_of_limits(evaluator: Evaluator, shape: Structure, offset: float, rng: np.random.Generator) -> float:
    """Largest difference among the energy of a shape and its limits along random directions, eV.

    Each limit is extrapolated from offsets δ, 2δ, 3δ: E(0) ≈ 3 E(δ) − 3 E(2δ) + E(3δ), error O(δ³).
    """
    limits = [evaluator.evaluate(shape).energy]
    for _ in range(DIRECTIONS):
        direction = rng.normal(size=shape.positions.shape)
        direction *= offset / largest(direction)
        for sign in (1.0, -1.0):
            e1, e2, e3 = (
                evaluator.evaluate(shape.moved(shape.positions + sign * k * direction)).energy for k in (1, 2, 3)
            )
            limits.append(3 * e1 - 3 * e2 + e3)
    return float(np.ptp(limits))


def _bending(evaluator: Evaluator, samples: Samples) -> dict[str, object]:
    """Energy of the first (linear) shape while it bends through the straight line."""
    if not samples.shapes or samples.shapes[0][1].n_atoms != 3:
        return {}
    shape = samples.shapes[0][1]
    arm = shape.positions[1] - shape.positions[0]
    side = np.cross(arm, [0.3, -0.5, 0.8])
    side *= np.linalg.norm(arm) / np.linalg.norm(side)
    energies = []
    for angle in BEND:
        positions = shape.positions.copy()
        positions[1] = positions[0] + np.cos(angle) * arm + np.sin(angle) * side
        energies.append(evaluator.evaluate(shape.moved(positions)).energy)
    return {"angles": BEND.tolist(), "energies": (np.array(energies) - energies[len(BEND) // 2]).tolist()}
