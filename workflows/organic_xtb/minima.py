"""Minima of a molecule: starting geometries, relaxation, the Hessian there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_masses
from ase.optimize import BFGS
from numpy.typing import NDArray

from atomsym.core import LabelledStructure
from atomsym.workflows.label.engine import LabelError, Labels
from atomsym.workflows.label.xtb import XtbEngine, XtbSession
from atomsym.workflows.organic_xtb.geometry import keeps_bonds, normal_modes
from atomsym.workflows.organic_xtb.rdkit_molecules import Skeleton, embed

FloatArray = NDArray[np.float64]

_FMAX, _MOST_STEPS = 0.01, 300  # eV/Å
_SAME = 1e-3  # eV: minima of one molecule with energies this close are taken for the same


@dataclass(frozen=True, eq=False)
class Minimum:
    """A relaxed geometry with its labels, Hessian included, and its normal modes."""

    positions: FloatArray
    labels: Labels
    modes: tuple[FloatArray, FloatArray]


class SessionCalculator(Calculator):
    """An ASE calculator on a running calculation, for optimizers and dynamics."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, session: XtbSession) -> None:
        super().__init__()
        self._session = session

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        """Energy and forces.

        Raises:
            LabelError: if the calculation does not converge.
        """
        super().calculate(atoms, properties, system_changes)
        energy, forces = self._session.evaluate(self.atoms.positions)
        self.results = {"energy": energy, "forces": forces}


def bare(numbers: NDArray[np.int64], positions: FloatArray) -> LabelledStructure:
    """A free molecule without labels."""
    return LabelledStructure(numbers, positions, np.zeros((3, 3)), np.zeros(3, dtype=bool))


def find_minima(engine: XtbEngine, skeleton: Skeleton, count: int, seed: int) -> tuple[list[Minimum], list[str]]:
    """Different minima of a molecule, lowest energy first, and why other starts came to nothing.

    Args:
        engine: relaxes and labels.
        skeleton: the molecule.
        count: starting geometries.
        seed: of these.
    """
    found: list[Minimum] = []
    refused: list[str] = []
    starts = embed(skeleton.smiles, count, seed)
    if not starts:
        refused.append("no starting geometry")
    for start in starts:
        try:
            minimum = _minimum(engine, skeleton, start)
        except LabelError as error:
            refused.append(str(error))
            continue
        if any(abs(minimum.labels.energy - other.labels.energy) < _SAME for other in found):
            continue
        found.append(minimum)
    return sorted(found, key=lambda minimum: minimum.labels.energy), refused


def _minimum(engine: XtbEngine, skeleton: Skeleton, start: FloatArray) -> Minimum:
    atoms = Atoms(skeleton.numbers, start)
    atoms.calc = SessionCalculator(engine.session(bare(skeleton.numbers, start)))
    if not BFGS(atoms, logfile=None).run(fmax=_FMAX, steps=_MOST_STEPS):
        raise LabelError("the relaxation did not converge")
    positions = atoms.positions - atoms.positions.mean(axis=0)
    if not keeps_bonds(skeleton.numbers, positions, skeleton.bonds):
        raise LabelError("the relaxation changed the bonds")
    labels = engine.label(bare(skeleton.numbers, positions), hessian=True)
    if labels.hessian is None:
        raise LabelError("no Hessian")
    masses = atomic_masses[skeleton.numbers]
    return Minimum(positions, labels, normal_modes(skeleton.numbers, masses, positions, labels.hessian))
