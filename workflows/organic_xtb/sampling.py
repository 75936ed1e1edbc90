"""Geometries of a molecule away from its minima, by kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from atomsym.core import CalculationError
from atomsym.core.elements import COVALENT_RADII
from atomsym.workflows.label.xtb import XtbEngine
from atomsym.workflows.md.integrators.langevin import Langevin
from atomsym.workflows.md.integrators.particles import Particles
from atomsym.workflows.organic_xtb.geometry import (
    Bond,
    Mask,
    bent,
    beside,
    displaced,
    side_of,
    stretched,
    transferred,
)
from atomsym.workflows.organic_xtb.minima import Minimum, SessionCalculator, bare
from atomsym.workflows.organic_xtb.rdkit_molecules import Skeleton
from atomsym.workflows.organic_xtb.settings import KIND_SHARES, OrganicSettings

FloatArray = NDArray[np.float64]
Geometry = tuple[NDArray[np.int64], FloatArray]

STRETCH = (0.85, 2.0)
"""Length of a bond in parts of that at the minimum."""
BEND = (np.radians(10.0), np.radians(60.0))
TRANSFER = (0.1, 1.0)
"""Part of a hydrogen's way to an acceptor."""
REACH = 3.5
"""Å; acceptors are this close to the hydrogen."""
CONTACT = (1.6, 4.0)
"""Closest distance in a dimer, in parts of the sum of covalent radii."""
_MOST_NEIGHBORS = {6: 3, 7: 3, 8: 2, 16: 2}  # of an atom that takes up one more hydrogen
_FRICTION = 50.0  # fs
_SELF_DIMER, _SELF_DIMER_SIZE = 0.4, 4  # odds of a dimer with itself, and the most heavy atoms for one


@dataclass(frozen=True, eq=False)
class Partner:
    """A small molecule that others form dimers with."""

    smiles: str
    numbers: NDArray[np.int64]
    minimum: Minimum


class Sampler:
    """Draws geometries of one molecule.

    Args:
        engine: of the dynamics.
        skeleton: the molecule.
        minima: at least one.
        partners: for dimers, at least one.
        settings: temperatures and lengths.
        generator: of everything random.
    """

    def __init__(
        self,
        engine: XtbEngine,
        skeleton: Skeleton,
        minima: Sequence[Minimum],
        partners: Sequence[Partner],
        settings: OrganicSettings,
        generator: np.random.Generator,
    ) -> None:
        self._engine, self._skeleton, self._minima, self._partners = engine, skeleton, minima, partners
        self._settings, self._generator = settings, generator
        self._sides = _sides(skeleton)
        self._neighbors = np.bincount(np.array(skeleton.bonds).reshape(-1), minlength=len(skeleton.numbers))
        self._draws: Mapping[str, Callable[[], Geometry | None]] = {
            "modes": self._modes, "stretch": self._stretch, "bend": self._bend, "transfer": self._transfer,
            "dimer": self._dimer,
        }  # fmt: skip
        self.partner = ""

    def counts(self, total: int) -> dict[str, int]:
        """How many geometries of each kind make up a total, by ``KIND_SHARES``."""
        possible = dict(KIND_SHARES)
        if not self._sides:
            possible.pop("stretch")
        if not self._sides or len(self._skeleton.numbers) < 3:
            possible.pop("bend")
        if not self._transfer_pairs(self._minima[0].positions):
            possible.pop("transfer")
        counts = {kind: int(share * total) for kind, share in possible.items()}
        counts["modes"] += total - sum(counts.values())
        return counts

    def draw(self, kind: str) -> Geometry | None:
        """One geometry of a kind other than ``dynamics``; None where the molecule offers none this time.

        After a dimer, ``partner`` is the SMILES of the other molecule.
        """
        return self._draws[kind]()

    def dynamics(self, count: int) -> list[FloatArray]:
        """Snapshots of Langevin dynamics at half to one and a half of the settings' temperature.

        Fewer than ``count`` where a calculation on the way does not converge.
        """
        start = self._minimum()
        atoms = Atoms(self._skeleton.numbers, start.positions)
        atoms.calc = SessionCalculator(self._engine.session(bare(self._skeleton.numbers, start.positions)))
        temperature = self._settings.dynamics_temperature * self._generator.uniform(0.5, 1.5)
        frames: list[FloatArray] = []
        particles = Particles(atoms)
        particles.draw_momenta(2 * temperature, self._generator)  # half goes to the potential energy
        motion = Langevin(
            particles, self._settings.timestep * units.fs, temperature, _FRICTION * units.fs, self._generator
        )
        try:
            particles.evaluate()
            for _ in range(count):
                for _ in range(self._settings.stride):
                    motion.step()
                frames.append(particles.positions.copy())
        except CalculationError:
            return frames
        return frames

    def _minimum(self) -> Minimum:
        return self._minima[int(self._generator.integers(len(self._minima)))]

    def _warm(self, minimum: Minimum, temperature: float) -> FloatArray:
        return displaced(minimum.positions, minimum.modes, temperature, self._generator)

    def _modes(self) -> Geometry:
        low, high = self._settings.lowest_temperature, self._settings.highest_temperature
        return self._skeleton.numbers, self._warm(self._minimum(), self._generator.uniform(low, high))

    def _start(self) -> FloatArray:
        return self._warm(self._minimum(), self._settings.lowest_temperature)

    def _side(self) -> tuple[Bond, Mask]:
        """A bond that is not in a ring: of two heavy atoms in half of the cases, if there is one."""
        heavy = [item for item in self._sides if all(self._skeleton.numbers[atom] > 1 for atom in item[0])]
        others = [item for item in self._sides if item not in heavy]
        chosen = heavy if heavy and (not others or self._generator.random() < 0.5) else others
        return chosen[int(self._generator.integers(len(chosen)))]

    def _stretch(self) -> Geometry:
        bond, side = self._side()
        return self._skeleton.numbers, stretched(self._start(), bond, side, self._generator.uniform(*STRETCH))

    def _bend(self) -> Geometry:
        bond, side = self._side()
        angle = self._generator.uniform(*BEND)
        return self._skeleton.numbers, bent(self._start(), bond, side, angle, self._generator)

    def _transfer(self) -> Geometry | None:
        positions = self._start()
        pairs = self._transfer_pairs(positions)
        if not pairs:
            return None
        hydrogen, acceptor = pairs[int(self._generator.integers(len(pairs)))]
        length = COVALENT_RADII[1] + COVALENT_RADII[int(self._skeleton.numbers[acceptor])]
        fraction = self._generator.uniform(*TRANSFER)
        return self._skeleton.numbers, transferred(positions, hydrogen, acceptor, length, fraction)

    def _transfer_pairs(self, positions: FloatArray) -> list[Bond]:
        """Hydrogens and atoms in reach that could take them up."""
        numbers, pairs = self._skeleton.numbers, []
        donors = {(i if numbers[i] == 1 else j): (j if numbers[i] == 1 else i) for i, j in self._skeleton.bonds}
        for hydrogen in np.flatnonzero(numbers == 1).tolist():
            for acceptor, number in enumerate(numbers.tolist()):
                free = self._neighbors[acceptor] <= _MOST_NEIGHBORS.get(number, -1)
                near = np.linalg.norm(positions[hydrogen] - positions[acceptor]) < REACH
                if free and near and donors.get(hydrogen) != acceptor:
                    pairs.append((hydrogen, acceptor))
        return pairs

    def _dimer(self) -> Geometry:
        itself = self._skeleton.n_heavy <= _SELF_DIMER_SIZE and self._generator.random() < _SELF_DIMER
        if itself:
            other, second = self._skeleton.numbers, self._start()
            self.partner = self._skeleton.smiles
        else:
            partner = self._partners[int(self._generator.integers(len(self._partners)))]
            other, self.partner = partner.numbers, partner.smiles
            second = self._warm(partner.minimum, self._settings.lowest_temperature)
        numbers = (self._skeleton.numbers, other)
        contact = self._generator.uniform(*CONTACT)
        return np.concatenate(numbers), beside(numbers, (self._start(), second), contact, self._generator)


def _sides(skeleton: Skeleton) -> list[tuple[Bond, Mask]]:
    """Bonds outside of rings, each with the smaller of its sides as the one that moves."""
    found = []
    for i, j in skeleton.bonds:
        side = side_of(len(skeleton.numbers), skeleton.bonds, (i, j))
        if side is not None:
            small = side.sum() * 2 <= len(side)
            found.append(((i, j), side) if small else ((j, i), ~side))
    return found
