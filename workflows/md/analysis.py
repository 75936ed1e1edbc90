"""What a trajectory tells: mean squared displacement, diffusion, drift of an energy, extrema of a curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from atomsym.core.elements import SYMBOLS

SHORTEST = 1.0  # ps; over less, atoms still fly freely and an energy has no trend: a slope would mean nothing


@dataclass(frozen=True)
class Curve:
    """A function on a grid; units are stated where it is made."""

    x: np.ndarray
    y: np.ndarray


def mean_squared_displacements(frames: Sequence[Atoms], frame_spacing: float, n_lags: int = 100) -> dict[str, Curve]:
    """⟨|x(t0 + t) − x(t0)|²⟩ over atoms of an element and origins t0; positions must be unwrapped.

    The centre of mass is taken out. Where the cell changes, displacements are those of the scaled positions in the
    mean cell.

    Args:
        frames: equidistant frames.
        frame_spacing: time between frames, fs.
        n_lags: number of lag times, spread up to half the trajectory.

    Returns:
        Per chemical symbol, heaviest first: lag in ps and displacement in Å².
    """
    positions = _without_strain(frames)
    masses = frames[0].get_masses()
    positions -= np.einsum("tax,a->tx", positions, masses)[:, None] / masses.sum()
    numbers = frames[0].numbers
    lags = np.unique(np.linspace(0, max(len(frames) // 2, 1), n_lags + 1).astype(int))
    found = {}
    for number in sorted(set(numbers.tolist()), reverse=True):
        chosen = positions[:, numbers == number]
        squared = [((chosen[lag:] - chosen[: len(frames) - lag]) ** 2).sum(-1).mean() for lag in lags]
        found[SYMBOLS[number]] = Curve(lags * frame_spacing * 1e-3, np.array(squared))
    return found


def _without_strain(frames: Sequence[Atoms]) -> np.ndarray:
    """Positions in the mean cell, shape (n_frames, n_atoms, 3), Å."""
    cells = np.stack([np.asarray(frame.cell) for frame in frames])
    if not frames[0].pbc.all() or (cells == cells[0]).all():
        return np.stack([frame.positions for frame in frames])
    mean = cells.mean(axis=0)
    return np.stack([frame.positions @ np.linalg.solve(cell, mean) for frame, cell in zip(frames, cells, strict=True)])


def diffusion_coefficient(displacement: Curve) -> float:
    """D = slope / 6 of the last half of a mean squared displacement curve, in 1e-5 cm²/s (= 0.1 Å²/ps)."""
    half = len(displacement.x) // 2
    slope = np.polyfit(displacement.x[half:], displacement.y[half:], 1)[0]
    return float(slope / 6 * 10)


def energy_drift(time_fs: np.ndarray, energy_per_atom: np.ndarray) -> tuple[float, float]:
    """Slope (meV/atom/ns) and rms about the fitted line (meV/atom) of an energy in eV/atom."""
    if len(time_fs) < 3:
        return 0.0, 0.0
    slope, offset = np.polyfit(time_fs, energy_per_atom, 1)
    residual = energy_per_atom - (slope * time_fs + offset)
    return float(slope * 1e9), float(residual.std() * 1e3)


def standard_error(values: np.ndarray, n_blocks: int = 10) -> float:
    """Of the mean of correlated values, from the means of consecutive blocks."""
    if len(values) < 2 * n_blocks:
        return float("nan")
    blocks = [block.mean() for block in np.array_split(values, n_blocks)]
    return float(np.std(blocks, ddof=1) / np.sqrt(n_blocks))


def maxima(curve: Curve, window: float = 0.4, above: float = 0.1) -> list[tuple[float, float]]:
    """Positions and heights of the maxima of a curve, in order of x.

    A maximum is the largest value within ``window`` to both sides; a parabola through it and its neighbors refines it.

    Args:
        curve: on an equidistant grid.
        window: half width, in the unit of x.
        above: smaller values are no maxima.
    """
    reach = max(round(window / (curve.x[1] - curve.x[0])), 1) if len(curve.x) > 1 else 1
    found = []
    for i in range(1, len(curve.x) - reach):
        near = curve.y[max(i - reach, 0) : i + reach + 1]
        if curve.y[i] > above and curve.y[i] == near.max() and curve.y[i] > curve.y[i - 1]:
            left, centre, right = curve.y[i - 1 : i + 2]
            bend = left - 2 * centre + right
            shift = 0.5 * (left - right) / bend if bend else 0.0
            found.append(
                (float(curve.x[i] + shift * (curve.x[1] - curve.x[0])), float(centre - 0.25 * (left - right) * shift))
            )
    return found
