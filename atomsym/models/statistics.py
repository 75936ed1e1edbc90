"""What a potential may want to know of the data it will be trained on, before it is built."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetStatistics:
    """Facts about a training set, computed by ``atomsym.training.dataset_statistics``.

    Attributes:
        elements: atomic numbers in the data, increasing.
        cutoff: radius that neighbors were counted in, Å.
        average_neighbors: mean number of neighbors of an atom.
        atomic_energies: energy of an isolated atom of each element, eV, in the order of ``elements``.
        mean_interaction_energy: mean over structures of (energy - Σ atomic energies) / n_atoms, eV.
        rms_forces: root mean square of the force components, eV/Å.
    """

    elements: tuple[int, ...]
    cutoff: float
    average_neighbors: float
    atomic_energies: tuple[float, ...]
    mean_interaction_energy: float
    rms_forces: float
