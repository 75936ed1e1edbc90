"""What a trajectory tells: radial distribution function, mean squared displacement, drift of the total energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms

from atomsym.core import InputError
from atomsym.kernels.neighbors import neighbor_list


@dataclass(frozen=True)
class Curve:
    """A function on a grid; units are stated where it is made."""

    x: np.ndarray
    y: np.ndarray


def radial_distribution(frames: Sequence[Atoms], max_distance: float, bin_width: float = 0.05) -> Curve:
    """g(r) over all pairs, averaged over frames.

    g(r) = ⟨pairs in the shell⟩ / (N ρ 4π r² dr), ρ = N/V.

    Args:
        frames: periodic systems with a volume.
        max_distance: largest r in Å; may exceed half the box, images are counted.
        bin_width: Å.

    Returns:
        r (bin centres, Å) and g (dimensionless).

    Raises:
        InputError: if there is no frame or a frame is not periodic in three directions.
    """
    if not frames or not all(frame.pbc.all() for frame in frames):
        raise InputError("a radial distribution function needs at least one frame, periodic in three directions")
    edges = np.arange(0.0, max_distance + 0.5 * bin_width, bin_width)
    total = np.zeros(len(edges) - 1)
    for frame in frames:
        total += np.histogram(_pair_distances(frame, float(edges[-1])), bins=edges)[0] * frame.get_volume() / len(frame)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    return Curve(0.5 * (edges[1:] + edges[:-1]), total / (len(frames) * shells * len(frames[0])))


def _pair_distances(frame: Atoms, cutoff: float) -> np.ndarray:
    positions, cell = torch.from_numpy(frame.positions), torch.from_numpy(np.asarray(frame.cell, dtype=float))
    found = neighbor_list(positions, cutoff, cell=cell, pbc=torch.from_numpy(frame.pbc))
    receiver, sender = found.edge_index
    vectors = positions[sender] - positions[receiver] + found.edge_shift.to(cell.dtype) @ cell
    return vectors.norm(dim=1).numpy()


def mean_squared_displacement(frames: Sequence[Atoms], frame_spacing: float, n_lags: int = 100) -> Curve:
    """⟨|x(t0 + t) − x(t0)|²⟩ over atoms and origins t0, centre of mass removed; positions must be unwrapped.

    Args:
        frames: equidistant frames.
        frame_spacing: time between frames, fs.
        n_lags: number of lag times, spread up to half the trajectory.

    Returns:
        Lag in ps and displacement in Å².
    """
    positions = np.stack([frame.positions - frame.get_center_of_mass() for frame in frames])
    lags = np.unique(np.linspace(0, max(len(frames) // 2, 1), n_lags + 1).astype(int))
    squared = [((positions[lag:] - positions[: len(frames) - lag]) ** 2).sum(-1).mean() for lag in lags]
    return Curve(lags * frame_spacing * 1e-3, np.array(squared))


def diffusion_coefficient(displacement: Curve) -> float:
    """D = slope / 6 of the last half of a mean squared displacement curve, in 1e-5 cm²/s (= 0.1 Å²/ps)."""
    half = len(displacement.x) // 2
    slope = np.polyfit(displacement.x[half:], displacement.y[half:], 1)[0]
    return float(slope / 6 * 10)


def energy_drift(time_fs: np.ndarray, energy_per_atom: np.ndarray) -> tuple[float, float]:
    """Slope (meV/atom/ns) and rms about the fitted line (meV/atom) of a total energy in eV/atom."""
    if len(time_fs) < 3:
        return 0.0, 0.0
    slope, offset = np.polyfit(time_fs, energy_per_atom, 1)
    residual = energy_per_atom - (slope * time_fs + offset)
    return float(slope * 1e9), float(residual.std() * 1e3)
