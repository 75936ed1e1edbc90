"""Relaxation of a crystal of a run: within its symmetry, then without."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import LBFGS

from atomsym.calculators.batches import evaluate_many
from atomsym.calculators.symmetric_relaxation import (
    SymmetricRelaxation,
    primitive_atoms,
    relax_symmetric,
    relax_symmetric_many,
)
from atomsym.workflows.generate.entry import Entry
from atomsym.workflows.generate.settings import GenerateSettings

RATTLE = 0.02  # Å, what frees a crystal from a saddle that its symmetry holds it on
SMAX = 0.005  # eV/Å³


def relax_entries(
    entries: Mapping[int, Entry], calculator: BaseCalculator, settings: GenerateSettings
) -> Iterator[tuple[int, Entry]]:
    """Entries with their relaxed geometries as they are done, many at a time where the calculator can.

    Args:
        entries: by their places.
        calculator: any of ASE; models of this package are asked for many structures at once.
        settings: of the run.
    """
    evaluate = evaluate_many(calculator)
    if evaluate is None:
        yield from ((place, relax_entry(entry, calculator, settings)) for place, entry in entries.items())
        return
    yield from ((place, entry) for place, entry in entries.items() if entry.crystal is None)
    places = [place for place, entry in entries.items() if entry.crystal is not None]
    crystals = [crystal for entry in entries.values() if (crystal := entry.crystal) is not None]
    for number, found in relax_symmetric_many(crystals, evaluate, **_limits(settings)):
        place = places[number]
        yield place, _relaxed(entries[place], found, calculator, settings)


def relax_entry(entry: Entry, calculator: BaseCalculator, settings: GenerateSettings) -> Entry:
    """The entry with its relaxed geometry; what goes wrong is noted in it and never raised."""
    if entry.crystal is None:
        return entry
    return _relaxed(entry, relax_symmetric(entry.crystal, calculator, **_limits(settings)), calculator, settings)


def _limits(settings: GenerateSettings) -> dict[str, Any]:
    return {
        "fmax": settings.fmax, "smax": SMAX, "max_steps": settings.max_steps, "time_limit": settings.time_limit,
    }  # fmt: skip


def _relaxed(entry: Entry, found: SymmetricRelaxation, calculator: BaseCalculator, settings: GenerateSettings) -> Entry:
    """With what came of the relaxation within the symmetry, and after the one without if that is wanted."""
    if not np.isfinite(found.energy):
        return entry.with_(note=found.reason, converged=False, steps=found.steps)
    relaxed = entry.with_(
        crystal=found.crystal, energy=found.energy / found.crystal.n_atoms, converged=found.converged,
        steps=found.steps, note="",
    )  # fmt: skip
    if not settings.free:
        return relaxed
    left = settings.time_limit - found.seconds
    return _relax_freely(relaxed, primitive_atoms(found.crystal), calculator, settings, left)


def _relax_freely(
    entry: Entry, atoms: Atoms, calculator: BaseCalculator, settings: GenerateSettings, time_left: float
) -> Entry:
    """All atoms and the cell, from a slightly disturbed geometry."""
    atoms.calc = calculator
    random = np.random.default_rng(settings.seed)
    atoms.positions += random.normal(scale=RATTLE, size=atoms.positions.shape)
    deadline = time.monotonic() + time_left
    try:
        optimizer = LBFGS(FrechetCellFilter(atoms), logfile=None)
        steps = 0
        for steps in range(settings.max_steps):  # noqa: B007 - wanted after the loop
            if _at_rest(atoms, settings.fmax) or time.monotonic() > deadline:
                break
            optimizer.step()
        energy = float(atoms.get_potential_energy()) / len(atoms)
        rest = _at_rest(atoms, settings.fmax)
    except Exception as error:  # noqa: BLE001 - calculators raise anything; the symmetric crystal is kept
        return entry.with_(note=f"free relaxation failed ({type(error).__name__}: {error})")
    if not np.isfinite(energy):
        return entry.with_(note="free relaxation failed (the energy is not finite)")
    free = (np.array(atoms.cell), atoms.get_scaled_positions(), atoms.numbers)
    return entry.with_(free=free, energy=energy, converged=bool(entry.converged and rest), steps=entry.steps + steps)


def _at_rest(atoms: Atoms, fmax: float) -> bool:
    forces = np.linalg.norm(atoms.get_forces(), axis=1).max()
    return bool(forces <= fmax and np.abs(atoms.get_stress()).max() <= SMAX)
