"""Any ASE calculator as an evaluator of plain structures."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, PropertyNotImplementedError
from ase.data import atomic_numbers

from atomsym.testing.structure import BASIC, Array, Result, Structure

CUTOFF_NAMES = ("cutoff", "r_max", "rc", "rcut", "r_cut", "cutoff_radius")
ELEMENT_NAMES = ("elements", "supported_elements", "atomic_numbers", "species")


class AseEvaluator:
    """Evaluates structures with one calculator object, through ASE's public interface.

    Every evaluation makes a new ``Atoms`` that shares memory with the structure, so that a calculator that writes to
    its input, or keeps a reference to it, is found out.

    Args:
        calculator: any ASE calculator.
        name: for titles; default the class name.
    """

    def __init__(self, calculator: BaseCalculator, name: str | None = None) -> None:
        self.calculator = calculator
        self.name = name or type(calculator).__name__
        implemented = set(getattr(calculator, "implemented_properties", ()))
        self.properties = frozenset(implemented & {"energy", "forces", "stress", "energies"})
        if "hessian" in implemented or hasattr(calculator, "get_hessian"):
            self.properties |= {"hessian"}
        self.cutoff = _number(_declared(calculator, CUTOFF_NAMES))
        self.elements = _atomic_numbers(_declared(calculator, ELEMENT_NAMES))

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        """Energy, forces and the other asked properties; what the calculator does not give stays None."""
        atoms = shared_atoms(structure)
        atoms.calc = self.calculator
        wanted = self.properties & set(properties)
        forces = np.asarray(atoms.get_forces(), dtype=np.float64)
        energy = float(atoms.get_potential_energy())
        stress = self._stress(atoms) if "stress" in wanted and structure.periodic else None
        energies = self._property("energies", atoms) if "energies" in wanted else None
        hessian = self._hessian(atoms) if "hessian" in wanted else None
        return Result(energy, forces, stress, energies, hessian)

    def _stress(self, atoms: Atoms) -> Array | None:
        try:
            return np.asarray(atoms.get_stress(voigt=False), dtype=np.float64)
        except PropertyNotImplementedError:
            return None

    def _property(self, name: str, atoms: Atoms) -> Array | None:
        try:
            return np.asarray(self.calculator.get_property(name, atoms), dtype=np.float64)
        except PropertyNotImplementedError:
            return None

    def _hessian(self, atoms: Atoms) -> Array | None:
        if hasattr(self.calculator, "get_hessian"):
            hessian = np.asarray(self.calculator.get_hessian(atoms), dtype=np.float64)
        else:
            found = self._property("hessian", atoms)
            if found is None:
                return None
            hessian = found
        return hessian.reshape(3 * len(atoms), 3 * len(atoms))

    def stored_arrays(self) -> dict[str, Array]:
        """The arrays in ``calculator.results``."""
        results: Mapping[str, Any] = getattr(self.calculator, "results", {})
        return {name: value for name, value in results.items() if isinstance(value, np.ndarray)}


def shared_atoms(structure: Structure) -> Atoms:
    """ASE atoms whose positions, numbers and cell are the structure's own arrays."""
    atoms = Atoms(numbers=structure.numbers, pbc=structure.pbc)
    atoms.arrays["positions"] = structure.positions
    atoms.arrays["numbers"] = structure.numbers
    atoms.cell.array = structure.cell
    return atoms


def structure_of(atoms: Atoms) -> Structure:
    """A plain copy of ASE atoms."""
    return Structure.of(atoms.positions, atoms.numbers, atoms.cell.array, atoms.pbc)


def declared_dtype(calculator: BaseCalculator) -> str | None:
    """The precision that a calculator announces in an attribute or parameter: 'float32', 'float64' or None."""
    value = str(_declared(calculator, ("dtype", "default_dtype", "precision")) or "")
    return next((name for name in ("float32", "float64") if name in value), None)


def _declared(calculator: BaseCalculator, names: Iterable[str]) -> Any:
    """First of these attributes or parameters that is there, also those of its ``model``."""
    places = [calculator, getattr(calculator, "model", None)]
    parameters = getattr(calculator, "parameters", None) or {}
    for name in names:
        for place in places:
            value = getattr(place, name, None)
            if value is not None and not callable(value):
                return value
        if isinstance(parameters, Mapping) and parameters.get(name) is not None:
            return parameters[name]
    return None


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _atomic_numbers(value: Any) -> tuple[int, ...] | None:
    """Symbols or numbers as atomic numbers; None if they are something else."""
    if value is None or isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return None
    found = set()
    for item in value:
        number = atomic_numbers.get(item) if isinstance(item, str) else _number(item)
        if number is None or not 0 < number < 119:
            return None
        found.add(int(number))
    return tuple(sorted(found)) or None
