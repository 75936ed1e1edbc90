"""Energies of the elements that are subtracted before a model learns: of isolated atoms, or fitted to compositions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from atomsym.core import ConfigError, DataError, LabelledStructure
from atomsym.core.elements import SYMBOLS, format_elements, symbol_of

Method = Literal["auto", "isolated", "least_squares"]

_RANK = 1e-8  # singular values below this fraction of the largest are zero


@dataclass(frozen=True)
class ReferenceEnergies:
    """One energy for each element.

    Attributes:
        energies: eV by atomic number.
        method: "given", "isolated" (single atoms of the data) or "least_squares".
        unique: False if the compositions do not determine the energies (as in a set of one composition): then they are
            the ones nearest to the mean energy per atom that fit equally well, and mean nothing by themselves.
        rms: root mean square of what is left of the energies, eV/atom; None if they were not fitted.
    """

    energies: Mapping[int, float]
    method: str
    unique: bool = True
    rms: float | None = None

    def of(self, numbers: NDArray[np.int64]) -> float:
        """Sum over these atoms, eV.

        Raises:
            DataError: if an element has no reference energy.
        """
        try:
            return float(sum(self.energies[int(number)] for number in numbers))
        except KeyError as error:
            missing = symbol_of(int(error.args[0]))
            raise DataError(
                f"no reference energy for {missing}; there are some for {format_elements(self.energies)}"
            ) from None

    def __str__(self) -> str:
        values = ", ".join(f"{symbol_of(number)} {self.energies[number]:.6f}" for number in sorted(self.energies))
        note = "" if self.unique else "; not determined by the compositions: nearest to the mean energy per atom"
        return f"{values} eV ({self.method}{note})"


def reference_energies(
    dataset: Iterable[LabelledStructure],
    *,
    isolated: Mapping[int, float] | Iterable[LabelledStructure] | None = None,
    method: Method = "auto",
) -> ReferenceEnergies:
    """Reference energies of all elements of a data set.

    Least squares minimise Σ (E/n − Σ_Z x_Z E_Z)² over structures of n atoms with fractions x_Z. Where compositions do
    not determine them, the limit of a vanishing ridge around the mean energy per atom is taken, and ``unique`` is
    False.

    Args:
        dataset: structures; those without a finite energy are passed over.
        isolated: energies of isolated atoms: by atomic number, or structures of one atom (other structures among them
            are passed over).
        method: "isolated" takes single atoms among the structures (of ``isolated``, or else of ``dataset``),
            "least_squares" fits, "auto" takes isolated atoms if there are some for all elements.

    Raises:
        DataError: if there are no energies, atoms of an element are missing, or two isolated atoms of one element
            differ by more than 1 meV.
        ConfigError: for an unknown method.

    Source: own choice; fits of composition energies are common practice.

    Example:
        >>> def atoms(n, energy):
        ...     return LabelledStructure(np.full(n, 29), np.zeros((n, 3)), np.eye(3), np.ones(3, bool), energy=energy)
        >>> round(reference_energies([atoms(2, -7.0), atoms(4, -14.2)], method="least_squares").energies[29], 3)
        -3.525
    """
    if method not in ("auto", "isolated", "least_squares"):
        raise ConfigError(f"method '{method}' is unknown; known are auto, isolated, least_squares")
    structures = [s for s in dataset if s.energy is not None and np.isfinite(s.energy)]
    _, elements = compositions(structures)
    if isinstance(isolated, Mapping):
        _require_all(elements, isolated, "the given energies")
        return ReferenceEnergies({int(number): float(energy) for number, energy in isolated.items()}, "given")
    if method != "least_squares":
        atoms = isolated_energies(structures if isolated is None else isolated)
        if method == "isolated" or isolated is not None:
            _require_all(elements, atoms, "the isolated atoms")
        if atoms and set(elements) <= set(atoms):
            return ReferenceEnergies(atoms, "isolated")
    if not structures:
        raise DataError("no structure has an energy, so there are no reference energies to fit")
    return _fitted(structures)


def isolated_energies(structures: Iterable[LabelledStructure]) -> dict[int, float]:
    """Energy by atomic number of the single atoms among the structures (not periodic, or marked ``IsolatedAtom``).

    Raises:
        DataError: if two atoms of one element differ by more than 1 meV.
    """
    found: dict[int, float] = {}
    for structure in structures:
        if structure.n_atoms != 1 or structure.energy is None or not np.isfinite(structure.energy):
            continue
        if structure.pbc.any() and "isolated" not in structure.group.lower():
            continue  # an elemental crystal with one atom in its cell
        number = int(structure.numbers[0])
        if abs(found.setdefault(number, structure.energy) - structure.energy) > 1e-3:
            raise DataError(
                f"{structure.source}: an isolated {symbol_of(number)} has {structure.energy} eV, another one has "
                f"{found[number]} eV; leave one out"
            )
    return found


def compositions(structures: Sequence[LabelledStructure]) -> tuple[NDArray[np.float64], list[int]]:
    """Number of atoms of each element, shape (n_structures, n_elements), and the elements in increasing order."""
    counts = np.zeros((len(structures), len(SYMBOLS)))
    for row, structure in enumerate(structures):
        counts[row] = np.bincount(structure.numbers, minlength=len(SYMBOLS))
    elements = np.flatnonzero(counts.any(axis=0))
    return counts[:, elements], elements.tolist()


def fit_element_energies(
    counts: NDArray[np.float64], energies: NDArray[np.float64]
) -> tuple[NDArray[np.float64], bool]:
    """Least-squares energies of the elements as in ``reference_energies``, and whether the compositions determine them.

    Args:
        counts: atoms of each element, shape (n_structures, n_elements); each structure has some.
        energies: total energies, eV, shape (n_structures,).
    """
    n_atoms = counts.sum(axis=1)
    per_atom = energies / n_atoms
    mean = per_atom.mean()
    change, _, rank, _ = np.linalg.lstsq(counts / n_atoms[:, None], per_atom - mean, rcond=_RANK)
    return mean + change, bool(rank == counts.shape[1])


def _fitted(structures: Sequence[LabelledStructure]) -> ReferenceEnergies:
    counts, elements = compositions(structures)
    energies = np.array([s.energy for s in structures], dtype=np.float64)
    values, unique = fit_element_energies(counts, energies)
    left = (energies - counts @ values) / counts.sum(axis=1)
    by_number = {number: float(value) for number, value in zip(elements, values, strict=True)}
    return ReferenceEnergies(by_number, "least_squares", unique, float(np.sqrt((left**2).mean())))


def _require_all(elements: Sequence[int], energies: Mapping[int, float], what: str) -> None:
    missing = [number for number in elements if number not in energies]
    if missing:
        raise DataError(f"{what} lack {format_elements(missing)}; there are {format_elements(energies) or 'none'}")
