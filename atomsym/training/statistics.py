"""Facts about a training set that a model's config may want."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from atomsym.core import ConfigError, LabelledStructure
from atomsym.core.elements import atomic_number_of, symbol_of
from atomsym.models import DatasetStatistics
from atomsym.training.reference_energies import compositions, fit_element_energies, isolated_energies
from atomsym.training.samples import Samples


def dataset_statistics(
    samples: Samples, reference_energies: str | Mapping[str, float] = "least-squares", *, targets: bool = False
) -> DatasetStatistics:
    """Elements, neighbors, reference energies and scales of a training set.

    Args:
        samples: the training structures.
        reference_energies: "least-squares", "isolated" (both as ``reference_energies`` finds them), or energies in eV
            by symbol.
        targets: of the property in the place of energies: the n-fold target of n atoms is what elements add up to.

    Raises:
        ConfigError: if there are no structures, or reference energies of an element cannot be found.
        DataError: if isolated atoms of one element differ by more than 1 meV.
    """
    structures = samples.structures
    if len(structures) == 0:
        raise ConfigError("there are no structures to train on")
    composition, elements = compositions(structures)
    n_atoms = composition.sum(axis=1)
    energies = total_targets(structures) if targets else _energies(structures)
    atomic = _atomic_energies(structures, composition, elements, energies, reference_energies)
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


def _energies(structures: Sequence[LabelledStructure]) -> NDArray[np.float64]:
    return np.array([np.nan if s.energy is None else s.energy for s in structures], dtype=np.float64)


def total_targets(structures: Sequence[LabelledStructure]) -> NDArray[np.float64]:
    """The target times the number of atoms, which is additive as energies are; NaN without one."""
    return np.array([np.nan if s.target is None else s.n_atoms * s.target for s in structures], dtype=np.float64)


def _atomic_energies(
    structures: Sequence[LabelledStructure],
    composition: NDArray[np.float64],
    elements: Sequence[int],
    energies: NDArray[np.float64],
    choice: str | Mapping[str, float],
) -> NDArray[np.float64]:
    if isinstance(choice, Mapping):
        given = {atomic_number_of(symbol): energy for symbol, energy in choice.items()}
        return _of_all(given, elements, "data.reference_energies lack {}, which the data have")
    if choice == "isolated":
        return _of_all(
            isolated_energies(structures),
            elements,
            "data.reference_energies is 'isolated', but no structure is a single atom of {} with an energy (not "
            "periodic, or of the group IsolatedAtom); use 'least-squares', or give the energies by symbol",
        )
    known = ~np.isnan(energies) & composition.any(axis=1)
    if not known.any():
        return np.zeros(len(elements))
    return fit_element_energies(composition[known], energies[known])[0]


def _of_all(energies: Mapping[int, float], elements: Sequence[int], message: str) -> NDArray[np.float64]:
    missing = [symbol_of(number) for number in elements if number not in energies]
    if missing:
        raise ConfigError(message.format(", ".join(missing)))
    return np.array([energies[number] for number in elements])
