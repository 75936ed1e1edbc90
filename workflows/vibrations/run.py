"""A calculation of vibrations from a structure to the files of its folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from atomsym.artifacts import write_atomically
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import InputError, MissingDependencyError
from atomsym.workflows.calculator import absolute, make_calculator, require_known_charge
from atomsym.workflows.hessian_source import HessianResult, forces_of, hessian_of, require_hessian
from atomsym.workflows.paths import make_folder
from atomsym.workflows.relax import RelaxSettings, resume_relax, run_relax
from atomsym.workflows.run_folders import require_no_run, require_run_of
from atomsym.workflows.stopping import Stop, StoppedError
from atomsym.workflows.structures import load_structure
from atomsym.workflows.vibrations.files import write_files
from atomsym.workflows.vibrations.infrared import along_modes, dipole_slopes, gives_dipole, infrared_intensities
from atomsym.workflows.vibrations.modes import NormalModes, normal_modes
from atomsym.workflows.vibrations.molecules import (
    SymmetryNumber,
    fragments,
    multiplicity,
    smallest_gap,
    symmetry_number,
)
from atomsym.workflows.vibrations.result import VibrationsResult
from atomsym.workflows.vibrations.settings import VibrationsSettings
from atomsym.workflows.vibrations.thermochemistry import Conditions, Thermochemistry, ideal_gas, oscillators

RESTING = 0.01
"""eV/Å: with larger forces the structure is no stationary point, and wavenumbers depend on coordinates."""
STILL = 10.0
"""1/cm: a free translation or rotation may have as much, or a fifth of the softest vibration, before it is told."""
NOISY = 1e-2
"""Asymmetry of a Hessian above which its differences are dominated by noise or by too long a step."""

Progress = Callable[[str, int, int], None]


def run_vibrations(
    settings: VibrationsSettings,
    folder: Path,
    progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> VibrationsResult:
    """Vibrations of a structure, written to a new or empty folder.

    Args:
        settings: what to do.
        folder: created; must not hold another run.
        progress: called with a word for the present work, and the finished and total number of its parts.
        should_stop: asked between them.

    Raises:
        InputError: if the folder holds a run already, or the structure or model cannot be used.
        ConfigError: if a setting does not fit the structure.
        CalculationError: if the model fails or its answer cannot be used.
        StoppedError: if ``should_stop`` said yes; ``resume_vibrations`` goes on.
    """
    require_no_run(folder)
    settings = dataclasses.replace(settings, system=absolute(settings.system), model=absolute(settings.model))
    atoms = _checked(settings)  # bad input ends here, before anything is written
    make_folder(folder)
    write_atomically(folder / "settings.json", settings.to_json().encode())
    return _in_folder(settings, atoms, folder, progress, should_stop)


def resume_vibrations(
    folder: Path, progress: Progress | None = None, should_stop: Stop | None = None
) -> VibrationsResult:
    """Go on where a calculation in ``folder`` was stopped: finished displacements are not computed again.

    Args:
        folder: of the calculation.
        progress, should_stop: see ``run_vibrations``.

    Raises:
        ConfigError, InputError, CalculationError, StoppedError: see ``run_vibrations``; or the folder holds no such
            calculation.
    """
    require_run_of("vibrations", folder)
    settings = VibrationsSettings.from_file(folder / "settings.json")
    return _in_folder(settings, _checked(settings), folder, progress, should_stop)


def _checked(settings: VibrationsSettings) -> Atoms:
    """The structure with its calculator, which can compute it."""
    atoms = load_structure(settings.system)
    atoms.calc = _calculator(settings)
    _charge_notes(atoms)
    multiplicity(atoms, settings.charge, settings.multiplicity)
    forces_of(atoms)
    require_hessian(atoms, settings.source)
    return atoms


def _in_folder(
    settings: VibrationsSettings, atoms: Atoms, folder: Path, progress: Progress | None, should_stop: Stop | None
) -> VibrationsResult:
    def report(what: str, done: int, of: int) -> None:
        if progress is not None:
            progress(what, done, of)
        if done < of and should_stop is not None and should_stop():
            raise StoppedError(what)

    notes = _relaxed(atoms, settings, folder / "relax", progress, should_stop) if settings.relax else []
    kept = folder / "displacements.journal"
    result = vibrations_of(atoms, settings, report, kept)
    result = dataclasses.replace(result, folder=folder, warnings=(*notes, *result.warnings))
    write_files(settings, result, folder)
    kept.unlink(missing_ok=True)
    return result


def vibrations_of(
    atoms: Atoms,
    settings: VibrationsSettings | None = None,
    progress: Progress | None = None,
    kept: Path | None = None,
) -> VibrationsResult:
    """Vibrations of a structure with the calculator it has; no results are written.

    Args:
        atoms: with a calculator; not changed.
        settings: how; its system, model and relaxation are not used here.
        progress: see ``run_vibrations``.
        kept: file of finished displacements, from which an interrupted calculation goes on.

    Raises:
        InputError, ConfigError, CalculationError, PropertyNotAvailableError: see ``run_vibrations``.

    Example:
        >>> from ase.build import molecule
        >>> from ase.calculators.emt import EMT
        >>> nitrogen = molecule("N2", calculator=EMT())
        >>> len(vibrations_of(nitrogen).modes)
        1
    """
    settings = settings or VibrationsSettings("", "")
    spin = multiplicity(atoms, settings.charge, settings.multiplicity)
    notes = _charge_notes(atoms)
    report = None if progress is None else (lambda done, of: progress("displacements", done, of))
    forces, energy, dipoles = forces_of(atoms), float(atoms.get_potential_energy()), gives_dipole(atoms)
    hessian = hessian_of(atoms, source=settings.source, step=settings.step, dipoles=dipoles, kept=kept, progress=report)
    force = float(np.linalg.norm(forces[hessian.indices], axis=1).max())
    modes = normal_modes(atoms, hessian)
    intensities = _intensities(atoms, modes, hessian, settings.step) if dipoles else None
    thermochemistry, more = _thermochemistry(atoms, modes, settings, spin)
    labels = fragments(atoms)
    plain = atoms.copy()
    plain.calc = None
    return VibrationsResult(
        folder=None,
        atoms=plain,
        energy=energy,
        max_force=force,
        hessian=hessian,
        modes=modes,
        intensities=intensities,
        thermochemistry=thermochemistry,
        n_fragments=int(labels.max()) + 1,
        warnings=(*notes, *_findings(atoms, force, hessian, modes), *_fragment_notes(atoms, labels), *more),
    )


def _intensities(atoms: Atoms, modes: NormalModes, hessian: HessianResult, step: float) -> np.ndarray:
    if hessian.dipole_derivatives is not None:
        return infrared_intensities(modes, along_modes(modes, hessian.dipole_derivatives))
    return infrared_intensities(modes, dipole_slopes(atoms, modes, hessian.indices, step))


def _calculator(settings: VibrationsSettings) -> BaseCalculator:
    return make_calculator(settings.model, settings.device, settings.dtype, kwargs=settings.kwargs)


def _relaxed(
    atoms: Atoms, settings: VibrationsSettings, folder: Path, progress: Progress | None, should_stop: Stop | None
) -> list[str]:
    """Move the atoms to rest, in place: masses, charges and constraints stay those of the structure."""
    report = None if progress is None else (lambda step, _: progress("relaxation steps", step, 0))
    if (folder / "restart.npz").exists():
        found = resume_relax(folder, report, should_stop)
    else:
        chosen = RelaxSettings(
            settings.system,
            settings.model,
            settings.kwargs,
            fmax=settings.relax_fmax,
            device=settings.device,
            dtype=settings.dtype,
        )
        found = run_relax(chosen, folder, report, should_stop)
    atoms.positions = load_structure(str(found.structure)).positions
    if not found.converged and should_stop is not None and should_stop():
        raise StoppedError("relaxation")
    return [] if found.converged else [f"the relaxation has not converged in {found.steps} steps: see {folder}"]


def _charge_notes(atoms: Atoms) -> list[str]:
    """Refuse a charge that a model of this package would not see; say where it is not known whether it is seen.

    Raises:
        InputError: if the structure is charged, and its calculator takes it for neutral.
    """
    require_known_charge(atoms)
    on_atoms, in_info = float(atoms.get_initial_charges().sum()), atoms.info.get("charge", 0)
    if isinstance(atoms.calc, AtomsymCalculator):
        known = getattr(atoms.calc.potential, "info_keys", ())
        if abs(on_atoms) > 1e-6 and not {"charge", "total_charge"} & set(known):
            raise InputError(
                f"the initial charges of the structure add up to {on_atoms:+g} e, which the model does not know: it "
                "would be treated as neutral. Take another model, or remove the charges"
            )
    elif in_info and abs(on_atoms - float(in_info)) > 1e-6:
        return [
            f"the structure has charge = {in_info} in its info; whether {type(atoms.calc).__name__} reads it is not "
            "known here (many calculators read initial charges instead)"
        ]
    return []


def _findings(atoms: Atoms, force: float, hessian: HessianResult, modes: NormalModes) -> list[str]:
    notes = []
    if force > RESTING:
        notes.append(
            f"not at rest: the largest force is {force:.3g} eV/Å; wavenumbers of a structure that is no stationary "
            "point are not defined. Relax it first (--relax)"
        )
    if hessian.asymmetry > NOISY:
        notes.append(f"the Hessian is asymmetric by {hessian.asymmetry:.1g} of its largest value: noise, or a bad step")
    residual = float(np.abs(modes.residual_wavenumbers).max(initial=0.0))
    softest = float(np.abs(modes.wavenumbers).min(initial=np.inf))
    if residual > STILL and residual > 0.2 * softest:
        notes.append(
            f"translations and rotations, projected out, have up to {residual:.0f} 1/cm instead of 0, and the softest "
            f"vibration {softest:.0f} 1/cm: it is uncertain. Relax further (--fmax), or take another --step"
        )
    if modes.n_imaginary:
        listed = ", ".join(f"{-value:.0f}i" for value in modes.wavenumbers[modes.wavenumbers < 0][:5])
        plural = "s" if modes.n_imaginary > 1 else ""
        notes.append(f"no minimum: {modes.n_imaginary} imaginary mode{plural} ({listed} 1/cm), left out of energies")
    return notes


def _fragment_notes(atoms: Atoms, labels: np.ndarray) -> list[str]:
    count = int(labels.max()) + 1
    if count == 1 or atoms.pbc.any():
        return []
    return [
        f"the structure falls apart into {count} molecules, {smallest_gap(atoms, labels):.2f} Å from each other: each "
        "has up to 6 motions near zero of its own, only 6 of all are projected out, and soft modes between them are "
        "not harmonic"
    ]


def _thermochemistry(
    atoms: Atoms, modes: NormalModes, settings: VibrationsSettings, spin: int
) -> tuple[Thermochemistry, list[str]]:
    if modes.shape in ("periodic", "held"):
        return oscillators(modes, settings.temperature), []
    notes: list[str] = []
    if settings.symmetry_number is not None:
        symmetry = SymmetryNumber(settings.symmetry_number, None, "given")
    else:
        try:
            symmetry = symmetry_number(atoms, linear=modes.shape == "linear")
        except MissingDependencyError as error:
            symmetry = SymmetryNumber(1, None, "assumed")
            notes.append(f"entropy with a symmetry number of 1, which is a guess: {error}")
    conditions = Conditions(settings.temperature, settings.pressure, spin, settings.entropy, settings.rotor_cutoff)
    return ideal_gas(atoms, modes, symmetry, conditions), notes
