"""GFN1-xTB and GFN2-xTB with tblite: extended tight binding, one to ten milliseconds a small molecule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomsym.core import ConfigError, LabelledStructure, MissingDependencyError
from atomsym.core.elements import symbol_of
from atomsym.core.units import BOHR, HARTREE
from atomsym.core.validation import validate_structure
from atomsym.workflows.label.electrons import unpaired_electrons
from atomsym.workflows.label.engine import LabelError, Labels
from atomsym.workflows.label.hessian import STEP, central_hessian

FloatArray = NDArray[np.float64]

_METHODS = {"gfn2-xtb": "GFN2-xTB", "gfn1-xtb": "GFN1-xTB"}
_LARGEST_NUMBER = 86
_KELVIN_IN_HARTREE = 3.166808578545117e-6


def gfn2(**settings: Any) -> XtbEngine:
    """The engine ``gfn2-xtb``."""
    return XtbEngine("gfn2-xtb", **settings)


def gfn1(**settings: Any) -> XtbEngine:
    """The engine ``gfn1-xtb``."""
    return XtbEngine("gfn1-xtb", **settings)


class XtbEngine:
    """Extended tight binding; energies are electronic free energies at a small electronic temperature.

    Args:
        name: ``gfn2-xtb`` or ``gfn1-xtb``.
        accuracy: of the self-consistency, tblite's number: 1 is its default, Hessians need 0.01.
        temperature: of the electrons, K.
        step: of the Hessian's differences, Å.
        open_shell: label structures with an odd number of electrons as doublets.

    Raises:
        ConfigError: if a setting is out of range.
        MissingDependencyError: if tblite is not installed.

    Source: C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019); S. Grimme, C. Bannwarth,
        P. Shushkov, J. Chem. Theory Comput. 13, 1989 (2017).
    """

    def __init__(
        self,
        name: str = "gfn2-xtb",
        *,
        accuracy: float = 0.01,
        temperature: float = 300.0,
        step: float = STEP,
        open_shell: bool = False,
    ) -> None:
        if name not in _METHODS:
            raise ConfigError(f"'{name}' is no xTB method; known are {', '.join(_METHODS)}")
        for label, value in (("accuracy", accuracy), ("temperature", temperature), ("step", step)):
            if not 0 < value < np.inf:
                raise ConfigError(f"{label} must be positive and finite; found {value}")
        try:
            import tblite.interface
        except ImportError as error:
            raise MissingDependencyError.for_package("tblite", "label", f"the engine {name}") from error
        self._tblite = tblite.interface
        self.name, self.open_shell, self.step = name, open_shell, step
        self.accuracy, self.temperature = accuracy, temperature

    @property
    def method(self) -> str:
        """The method's name in tblite."""
        return _METHODS[self.name]

    @property
    def level_of_theory(self) -> str:
        return f"{self.method} (tblite, electronic temperature {self.temperature:g} K)"

    @property
    def settings(self) -> Mapping[str, Any]:
        return {
            "accuracy": self.accuracy, "temperature": self.temperature, "step": self.step,
            "open_shell": self.open_shell,
        }  # fmt: skip

    def session(self, structure: LabelledStructure) -> XtbSession:
        """Calculations of one set of atoms, each of which starts from the density of the one before."""
        return XtbSession(self, structure)

    def label(self, structure: LabelledStructure, hessian: bool = False) -> Labels:
        """Energy, forces, stress of periodic structures, and the Hessian if asked for; from a new density.

        Raises:
            LabelError, InputError: see ``Engine``.
        """
        session = self.session(structure)
        energy, forces = session.evaluate(structure.positions)
        stress = session.stress(structure)
        if not hessian:
            return Labels(energy, forces, stress)
        matrix, asymmetry = central_hessian(
            lambda positions: session.evaluate(positions)[1], structure.positions, self.step
        )
        return Labels(energy, forces, stress, matrix, asymmetry)


class XtbSession:
    """Repeated calculations of the same atoms.

    Args:
        engine: with its settings.
        structure: numbers, cell and first positions.

    Raises:
        LabelError: if the atoms are not ones for the method.
        InputError: if positions or cell cannot be used.
    """

    def __init__(self, engine: XtbEngine, structure: LabelledStructure) -> None:
        validate_structure(structure.positions, structure.numbers, structure.cell, structure.pbc)
        if structure.n_atoms == 0:
            raise LabelError("the structure has no atoms")
        heaviest = int(structure.numbers.max())
        if heaviest > _LARGEST_NUMBER:
            raise LabelError(f"{engine.method} has no parameters for {symbol_of(heaviest)}; it knows H to Rn")
        periodic = bool(structure.pbc.any())
        try:
            self._calculator = engine._tblite.Calculator(
                engine.method,
                structure.numbers,
                structure.positions / BOHR,
                charge=0.0,
                uhf=unpaired_electrons(structure, open_shell=engine.open_shell),
                lattice=structure.cell / BOHR if periodic else None,
                periodic=structure.pbc if periodic else None,
            )
            self._calculator.set("verbosity", 0)
            self._calculator.set("accuracy", engine.accuracy)
            self._calculator.set("temperature", engine.temperature * _KELVIN_IN_HARTREE)
        except (RuntimeError, ValueError) as error:
            raise LabelError(f"{engine.method}: {error}") from error
        self._engine = engine
        self._density: Any = None

    def evaluate(self, positions: FloatArray) -> tuple[float, FloatArray]:
        """Energy, eV, and forces, shape (n_atoms, 3), eV/Å.

        Raises:
            LabelError: if the calculation does not converge or is not finite.
        """
        try:
            self._calculator.update(np.ascontiguousarray(positions, dtype=np.float64) / BOHR)
            self._density = self._calculator.singlepoint(self._density)
            energy = float(self._density.get("energy")) * HARTREE
            forces = np.asarray(self._density.get("gradient"), dtype=np.float64) * (-HARTREE / BOHR)
        except (RuntimeError, ValueError) as error:
            self._density = None
            raise LabelError(f"{self._engine.method}: {error}") from error
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            self._density = None
            raise LabelError(f"{self._engine.method}: energy or forces are not finite")
        return energy, forces

    def stress(self, structure: LabelledStructure) -> FloatArray | None:
        """Of the last calculation, shape (3, 3), eV/Å³, positive under tension; None without a volume."""
        if not structure.pbc.all() or self._density is None:
            return None
        virial = np.asarray(self._density.get("virial"), dtype=np.float64) * HARTREE
        return virial / abs(float(np.linalg.det(structure.cell)))
