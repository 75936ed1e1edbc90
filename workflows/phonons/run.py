"""A calculation of phonons from a crystal to the files of its folder."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator, PropertyNotImplementedError

from atomsym.artifacts import write_atomically
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.calculators.phonopy import from_phonopy, to_phonopy
from atomsym.core import CalculationError, InputError
from atomsym.workflows.calculator import absolute, make_calculator, require_known_charge
from atomsym.workflows.hessian_source import forces_of
from atomsym.workflows.paths import make_folder
from atomsym.workflows.phonons.files import write_files
from atomsym.workflows.phonons.force_constants import Progress, find_force_constants
from atomsym.workflows.phonons.result import IMAGINARY, INVERSE_CM, PhononsResult
from atomsym.workflows.phonons.settings import PhononsSettings
from atomsym.workflows.phonons.spectrum import band_structure, density_of_states, thermal_properties
from atomsym.workflows.relax import RelaxSettings, run_relax
from atomsym.workflows.run_folders import require_no_run
from atomsym.workflows.structures import held_atoms, load_structure

if TYPE_CHECKING:
    from phonopy import Phonopy

USUAL_WIDTH = 12.0
"""Å, between the faces of a supercell where the cutoff of the model is not known."""
RESTING = 0.01  # eV/Å
RELAXED = 0.5  # GPa


def run_phonons(settings: PhononsSettings, folder: Path, progress: Progress | None = None) -> PhononsResult:
    """Phonons of a crystal, written to a new or empty folder.

    Args:
        settings: what to do.
        folder: created; must not hold another run.
        progress: called with a word for the present work, and the finished and total number of its parts.

    Raises:
        InputError: if the folder holds a run already, or the structure or model cannot be used.
        CalculationError: if the model fails or its answer cannot be used.
        MissingDependencyError: if phonopy is missing.
    """
    require_no_run(folder)
    settings = dataclasses.replace(settings, system=absolute(settings.system), model=absolute(settings.model))
    atoms = load_structure(settings.system)
    to_phonopy(atoms)  # a crystal, and phonopy is there
    notes: list[str] = []
    if settings.relax:
        atoms, notes = _relaxed(atoms, settings, folder / "relax", progress)
    atoms.calc = _calculator(settings)
    require_known_charge(atoms)
    forces_of(atoms)  # bad input ends here, before anything is written
    make_folder(folder)
    result, phonon = phonons_of(atoms, settings, progress)
    result = dataclasses.replace(result, folder=folder, warnings=(*notes, *result.warnings))
    write_atomically(folder / "settings.json", settings.to_json().encode())
    write_files(result, phonon, folder)
    return result


def phonons_of(
    atoms: Atoms, settings: PhononsSettings | None = None, progress: Progress | None = None
) -> tuple[PhononsResult, Phonopy]:
    """Phonons of a crystal with the calculator it has; nothing is written.

    Args:
        atoms: any cell of the crystal; phonopy finds the primitive one.
        settings: how; its system, model and relaxation are not used here.
        progress: see ``run_phonons``.

    Returns:
        The result, and the ``Phonopy`` object with its force constants for whatever else phonopy can do.

    Raises:
        InputError, CalculationError, MissingDependencyError: see ``run_phonons``.
    """
    settings = settings or PhononsSettings("", "")
    if held_atoms(atoms).any():
        raise InputError("phonons are of all atoms of a crystal, but the structure holds some fixed; release them")
    calculator = atoms.calc
    supercell = settings.supercell or _sufficient_supercell(atoms, calculator)
    phonon = _phonopy(atoms, supercell, settings.symprec)
    constants = find_force_constants(
        phonon, calculator, route=settings.route, displacement=settings.displacement, progress=progress
    )
    primitive = from_phonopy(phonon.primitive)
    bands = band_structure(phonon, primitive, settings.points)
    density, lowest, wave_vector, share = density_of_states(phonon, primitive, settings.mesh)
    thermal = thermal_properties(phonon, settings.temperature_max, settings.temperature_step)
    phonon.run_qpoints([[0.0, 0.0, 0.0]])
    gamma = np.array(phonon.qpoints.frequencies[0])
    force = float(np.linalg.norm(forces_of(atoms), axis=1).max())
    stress = _stress(atoms)
    result = PhononsResult(
        folder=None,
        primitive=primitive,
        supercell=supercell,
        n_supercell=len(phonon.supercell),
        max_force=force,
        max_stress=stress,
        force_constants=constants,
        gamma=gamma[np.argsort(np.abs(gamma), kind="stable")],
        lowest=min(lowest, *(float(piece.min()) for piece in bands.frequencies)),
        lowest_at=_softest(phonon, bands.frequencies, lowest, wave_vector),
        imaginary_share=share,
        bands=bands,
        density=density,
        thermal=thermal,
        warnings=(),
    )
    notes = _findings(result, from_phonopy(phonon.supercell), calculator)
    return dataclasses.replace(result, warnings=tuple(notes)), phonon


def _phonopy(atoms: Atoms, supercell: tuple[int, int, int], symprec: float) -> Phonopy:
    from phonopy import Phonopy
    from phonopy.structure.cells import guess_primitive_matrix

    cell = to_phonopy(atoms)
    try:
        return Phonopy(
            cell,
            supercell_matrix=np.diag(supercell),
            primitive_matrix=guess_primitive_matrix(cell, symprec=symprec),
            symprec=symprec,
            log_level=0,
        )
    except (RuntimeError, ValueError, TypeError) as error:
        raise CalculationError(f"phonopy finds no primitive cell within {symprec:g} Å: {error}") from error


def _calculator(settings: PhononsSettings) -> BaseCalculator:
    return make_calculator(settings.model, settings.device, "float64", kwargs=settings.kwargs)


def _relaxed(
    atoms: Atoms, settings: PhononsSettings, folder: Path, progress: Progress | None
) -> tuple[Atoms, list[str]]:
    """Atoms and cell at rest, with the space group of the start."""
    chosen = RelaxSettings(
        settings.system,
        settings.model,
        settings.kwargs,
        cell=True,
        fix_symmetry=True,
        fmax=settings.relax_fmax,
        device=settings.device,
    )
    report = None if progress is None else (lambda step, _: progress("relaxation steps", step, 0))
    found = run_relax(chosen, folder, report)
    relaxed = load_structure(str(found.structure))
    atoms = atoms.copy()  # keeps masses
    atoms.set_cell(relaxed.cell)
    atoms.positions = relaxed.positions
    return atoms, [] if found.converged else [f"the relaxation has not converged in {found.steps} steps: see {folder}"]


def _widths(atoms: Atoms) -> np.ndarray:
    """Distances between opposite faces of the cell, Å."""
    return np.asarray(1.0 / np.linalg.norm(atoms.cell.reciprocal(), axis=1))


def _cutoff(calculator: BaseCalculator) -> float | None:
    return float(calculator.potential.cutoff) if isinstance(calculator, AtomsymCalculator) else None


def _sufficient_supercell(atoms: Atoms, calculator: BaseCalculator) -> tuple[int, int, int]:
    """Repetitions after which no atom lies within the cutoff of another and of its image."""
    cutoff = _cutoff(calculator)
    width = USUAL_WIDTH if cutoff is None else 2 * cutoff
    first, second, third = (max(1, math.ceil(width / own - 1e-9)) for own in _widths(atoms))
    return first, second, third


def _stress(atoms: Atoms) -> float | None:
    try:
        return float(np.abs(atoms.get_stress()).max()) / units.GPa
    except (PropertyNotImplementedError, NotImplementedError):
        return None


def _softest(
    phonon: Phonopy, pieces: Sequence[np.ndarray], lowest: float, wave_vector: np.ndarray
) -> tuple[float, float, float]:
    on_path = [float(piece.min()) for piece in pieces]
    if min(on_path) < lowest:
        piece = int(np.argmin(on_path))
        row = np.unravel_index(np.argmin(pieces[piece]), pieces[piece].shape)[0]
        wave_vector = np.array(phonon.band_structure.qpoints[piece])[row]
    return float(wave_vector[0]), float(wave_vector[1]), float(wave_vector[2])


def _findings(result: PhononsResult, supercell: Atoms, calculator: BaseCalculator) -> list[str]:
    notes = []
    if result.max_force > RESTING:
        notes.append(f"not at rest: the largest force is {result.max_force:.3g} eV/Å; relax it first (--relax)")
    if result.max_stress is not None and result.max_stress > RELAXED:
        notes.append(
            f"under stress: {result.max_stress:.2f} GPa; the phonons are those of this volume, not of the crystal at "
            "rest (--relax)"
        )
    cutoff, width = _cutoff(calculator), float(_widths(supercell).min())
    if cutoff is not None and width < 2 * cutoff - 1e-6:
        notes.append(
            f"the supercell is {width:.1f} Å wide, less than twice the model's cutoff of {cutoff:g} Å: force constants "
            "of images overlap, and bands between the wave vectors that fit into it are interpolated"
        )
    notes += _about_imaginary(result)
    if len(set(result.primitive.symbols)) > 1:
        notes.append("without Born charges there is no splitting of optical modes at Γ, which polar crystals have")
    return notes


def _about_imaginary(result: PhononsResult) -> list[str]:
    if result.lowest >= IMAGINARY:
        return []
    at = ", ".join(f"{x:.3f}" for x in result.lowest_at)
    return [
        f"imaginary modes: down to {-result.lowest:.2f}i THz ({-result.lowest * INVERSE_CM:.0f}i 1/cm) at q = ({at}); "
        f"{100 * result.imaginary_share:.2g} % of the modes on the mesh, left out of thermal properties"
    ]
