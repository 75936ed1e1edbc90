"""A crystal of a run, from its protostructure to its relaxed geometry, and its text in the files of the run."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from atomsym.core import DataError
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal

RANDOM = "random"
LOOSE_SYMPREC = 0.1  # Å


@dataclass(frozen=True, eq=False)
class Entry:
    """One crystal.

    Attributes:
        protostructure: that was drawn, with the choice of origin and axes of the geometry.
        log_likelihood: of its draw, nats.
        source: the known crystal that the geometry began from, or ``random``.
        contact: smallest distance over the sum of covalent radii, of the geometry as drawn.
        crystal: conventional cell, with exactly the symmetry of the protostructure.
        free: primitive cell after the relaxation without symmetry: cell, fractional positions, numbers; None without.
        energy: eV/atom, None without a calculator.
        converged: whether all relaxations that were asked for ended at rest; None without a calculator.
        steps: of the relaxations.
        found_group: space group that the analysis finds in the final geometry, 0 if it fails.
        loose_group: the same within ``LOOSE_SYMPREC``: what it may be on the way to.
        note: what went wrong, "" for nothing.
    """

    protostructure: Protostructure
    log_likelihood: float
    source: str = RANDOM
    contact: float = float("nan")
    crystal: SymmetricCrystal | None = None
    free: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]] | None = None
    energy: float | None = None
    converged: bool | None = None
    steps: int = 0
    found_group: int = 0
    note: str = ""
    loose_group: int = 0

    def with_(self, **changes: Any) -> Entry:
        """The same with other values."""
        return replace(self, **changes)

    @property
    def atoms(self) -> Atoms | None:
        """The final geometry, as ASE has it; None if there is none."""
        if self.free is not None:
            cell, places, numbers = self.free
            return Atoms(numbers, cell=cell, scaled_positions=places, pbc=True)
        if self.crystal is None:
            return None
        crystal = self.crystal
        return Atoms(crystal.numbers, cell=crystal.cell, scaled_positions=crystal.fractional_positions, pbc=True)

    def to_text(self) -> str:
        """As JSON; floats keep all their digits."""
        structure = self.protostructure
        plain: dict[str, Any] = {
            "space_group": structure.space_group,
            "orbits": structure.orbits,
            **{name: getattr(self, name) for name in _PLAIN},
        }
        if self.crystal is not None:
            plain |= {"cell": self.crystal.cell.tolist(), "parameters": self.crystal.parameters.tolist()}
        if self.free is not None:
            plain["free"] = [part.tolist() for part in self.free]
        return json.dumps(plain)

    @classmethod
    def from_text(cls, text: str) -> Entry:
        """From ``to_text``.

        Raises:
            DataError: if it is something else.
        """
        try:
            plain = _ADDED | json.loads(text)
            structure = Protostructure(plain["space_group"], tuple((z, letter) for z, letter in plain["orbits"]))
            crystal = free = None
            if "cell" in plain:
                crystal = SymmetricCrystal(structure, np.array(plain["cell"]), np.array(plain["parameters"]))
            if "free" in plain:
                cell, places, numbers = plain["free"]
                free = (np.array(cell), np.array(places), np.array(numbers, dtype=np.int64))
            return cls(structure, crystal=crystal, free=free, **{name: plain[name] for name in _PLAIN})
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"not a crystal of a run: {error}") from error


_ADDED = {"source": RANDOM, "loose_group": 0}  # what runs of before do not have
_PLAIN = ("log_likelihood", "source", "contact", "energy", "converged", "steps", "found_group", "note", "loose_group")
