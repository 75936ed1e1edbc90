"""What a saddle point is: its imaginary modes, and the two minima on either side of it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms, units
from ase.io.extxyz import write_extxyz
from numpy.typing import NDArray

from atomsym.artifacts import write_atomically
from atomsym.workflows.hessian_source import HessianResult
from atomsym.workflows.optimizers import RFO
from atomsym.workflows.optimizers.rigid_motions import internal_space
from atomsym.workflows.transition_states.molecules import Work, explained, largest_force, snapshot
from atomsym.workflows.transition_states.result import Stationary
from atomsym.workflows.vibrations.modes import NormalModes, normal_modes

FloatArray = NDArray[np.float64]

SIDES = {"minus": -1.0, "plus": 1.0}
MOVIE = np.sin(np.linspace(0, 2 * np.pi, 20, endpoint=False))
MOVIE_AMPLITUDE = 0.4  # Å, of the atom that moves most
RADIUS, LARGEST_RADIUS = 0.03, 0.1  # Å: short steps stay in the valley that the mode leads into
HESSIAN_EVERY = 10
RIDGES = 2  # so many further saddle points may lie on the way down


@dataclass(frozen=True)
class Saddle:
    """A saddle point with its modes.

    Attributes:
        atoms: with its calculator.
        point: energy, forces, wavenumbers.
        mode: displacements along the lowest mode, shape (n, 3), of the atom that moves most 1.
    """

    atoms: Atoms
    point: Stationary
    mode: FloatArray


def examine(work: Work, folder: Path, atoms: Atoms, converged: bool) -> Saddle:
    """Hessian and modes of what the search found; writes ``saddle.extxyz`` and the movie ``mode.extxyz``."""
    with explained("the Hessian of the saddle point"):
        point, modes, hessian = _stationary(work, atoms, folder / "saddle.extxyz", converged)
    mode, frames = _lowest_mode(atoms, modes, hessian), []
    for amplitude in MOVIE_AMPLITUDE * MOVIE:
        frame = Atoms(atoms.numbers, atoms.positions + amplitude * mode, info={"amplitude_A": float(amplitude)})
        frames.append(frame)
    _write(folder / "mode.extxyz", frames)
    return Saddle(atoms, point, mode)


def minimum_beside(work: Work, folder: Path, saddle: Saddle, side: str) -> Stationary:
    """Displace along the mode and relax: the minimum on one side, in ``minimum_<side>.extxyz``.

    A symmetric descent may end on another saddle point; it is left along its own lowest mode.
    """
    settings, atoms = work.settings, saddle.atoms.copy()
    atoms.calc = work.calculator
    push = SIDES[side] * settings.displacement * saddle.mode
    frames: list[Atoms] = []
    for _ in range(1 + RIDGES):
        atoms.positions += push
        with explained(f"relaxing the {side} side"):
            converged = _relax(work, atoms, side, frames)
            point, modes, hessian = _stationary(work, atoms, folder / f"minimum_{side}.extxyz", converged)
        if not converged or not point.n_imaginary:
            break
        push = settings.displacement * _lowest_mode(atoms, modes, hessian)
    _write(folder / f"descent_{side}.extxyz", frames)
    return point


def _relax(work: Work, atoms: Atoms, side: str, frames: list[Atoms]) -> bool:
    optimizer = RFO(
        atoms,
        hessian_every=HESSIAN_EVERY,
        hessian=lambda atoms: work.hessian(atoms).hessian,
        trust_radius=RADIUS,
        largest_radius=LARGEST_RADIUS,
    )
    for _ in optimizer.irun(fmax=work.settings.fmax, steps=work.settings.max_steps):
        frames.append(snapshot(atoms))
        work.report(f"relaxing the {side} side", optimizer.nsteps, atoms)
    return bool(optimizer.converged())


def _lowest_mode(atoms: Atoms, modes: NormalModes, hessian: HessianResult) -> FloatArray:
    """Displacements along the lowest mode, shape (n, 3), of the atom that moves most 1."""
    mode = np.zeros_like(atoms.positions)
    mode[hessian.indices] = modes.displacements[0]
    return mode / np.linalg.norm(mode, axis=1).max()


def _stationary(work: Work, atoms: Atoms, file: Path, converged: bool) -> tuple[Stationary, NormalModes, HessianResult]:
    hessian = work.hessian(atoms)
    modes = normal_modes(atoms, hessian)
    held = np.ones(len(atoms), dtype=bool)
    held[hessian.indices] = False
    basis = internal_space(atoms.positions, held, periodic=False)
    real = modes.wavenumbers[modes.wavenumbers > work.settings.imaginary]
    point = Stationary(
        file=file,
        converged=converged,
        energy=float(atoms.get_potential_energy()),
        max_force=largest_force(atoms),
        wavenumbers=tuple(float(value) for value in modes.wavenumbers),
        n_imaginary=int((modes.wavenumbers < -work.settings.imaginary).sum()),
        curvatures=tuple(float(value) for value in np.linalg.eigvalsh(basis.T @ hessian.hessian @ basis)[:3]),
        zero_point_energy=0.5 * float(real.sum()) * units.invcm,
    )
    _write(file, [snapshot(atoms)])
    return point, modes, hessian


def _write(file: Path, frames: list[Atoms]) -> None:
    text = io.StringIO()
    write_extxyz(text, frames)
    write_atomically(file, text.getvalue().encode())


def read_structure(file: Path) -> Atoms:
    """A structure that this module wrote, with its energy."""
    return ase.io.read(file, index=0, format="extxyz")
