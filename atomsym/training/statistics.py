"""Facts about a training set that a model's config may want."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomsym.core import ConfigError, LabelledStructure
from atomsym.core.elements import SYMBOLS, atomic_number_of, symbol_of
from atomsym.models import DatasetStatistics
from atomsym.training.samples import Samples


def dataset_statistics(
    samples: Samples, reference_energies: str | Mapping[str, float] = "least-squares"
) -> DatasetStatistics:
    """Elements, neighbors, reference energies and scales of a training set.

    Args:
        samples: the training structures.
        reference_energies: "least-squares", "isolated", or energies in eV by symbol.

    Raises:
        ConfigError: if there are no structures, or reference energies of an element cannot be found.
    """
    structures = samples.structures
    if len(structures) == 0:
        raise ConfigError("there are no structures to train on")
    composition, elements = _composition(structures)
    n_atoms = composition.sum(axis=1)
    energies = np.array([np.nan if s.energy is None else s.energy for s in structures], dtype=np.float64)
    atomic = _atomic_energies(composition, elements, energies, reference_energies)
    interaction = (energies - composition @ atomic) / np.maximum(n_atoms, 1)
    squares = [np.square(s.forces[~np.isnan(s.forces)]) for s in structures if s.forces is not None]
    components = np.concatenate(squares) if squares else np.zeros(0)
    known = ~np.isnan(interaction)
    return DatasetStatistics(
        elements=tuple(elements),
        cutoff=samples.cutoff,
        average_neighbors=float(samples.n_edges().sum() / n_atoms.sum()),
        atomic_energies=tuple(float(energy) for energy in atomic),
        mean_interaction_energy=float(interaction[known].mean()) if known.any() else 0.0,
        rms_forces=float(np.sqrt(components.mean())) if components.size else 0.0,
    )


def _composition(structures: Sequence[LabelledStructure]) -> tuple[NDArray[np.float64], list[int]]:
    """Atoms of each element (columns, increasing) in each structure (rows)."""
    counts = np.stack([np.bincount(s.numbers, minlength=len(SYMBOLS)) for s in structures])
    elements = np.flatnonzero(counts.sum(axis=0))
    return counts[:, elements].astype(np.float64), [int(number) for number in elements]


def _atomic_energies(
    composition: NDArray[np.float64], elements: list[int], energies: NDArray[np.float64], choice: Any
) -> NDArray[np.float64]:
    if isinstance(choice, Mapping):
        return _given(choice, elements)
    known = ~np.isnan(energies)
    if choice == "isolated":
        return _isolated(composition[known], elements, energies[known])
    if not known.any():
        return np.zeros(len(elements))
    # The solution of least norm where compositions do not tell the elements apart, as in a set of one molecule.
    return np.asarray(np.linalg.lstsq(composition[known], energies[known], rcond=1e-10)[0], dtype=np.float64)


def _given(energies: Mapping[str, float], elements: list[int]) -> NDArray[np.float64]:
    by_number = {atomic_number_of(symbol): energy for symbol, energy in energies.items()}
    missing = [symbol_of(number) for number in elements if number not in by_number]
    if missing:
        raise ConfigError(f"data.reference_energies lack {', '.join(missing)}, which the data have")
    return np.array([by_number[number] for number in elements])


def _isolated(
    composition: NDArray[np.float64], elements: list[int], energies: NDArray[np.float64]
) -> NDArray[np.float64]:
    single = composition.sum(axis=1) == 1
    found = []
    for column, number in enumerate(elements):
        own = single & (composition[:, column] == 1)
        if not own.any():
            raise ConfigError(
                f"data.reference_energies is 'isolated', but no structure is a single {symbol_of(number)} atom with "
                "an energy; use 'least-squares', or give the energies by symbol"
            )
        found.append(float(energies[own].mean()))
    return np.array(found)
