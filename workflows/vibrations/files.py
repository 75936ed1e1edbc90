"""Files of a calculation of vibrations: tables, the Hessian, and modes as trajectories that any viewer plays."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io.extxyz import write_extxyz
from numpy.typing import NDArray

from atomsym.artifacts import write_atomically
from atomsym.workflows.paths import make_folder
from atomsym.workflows.vibrations.result import VibrationsResult
from atomsym.workflows.vibrations.settings import VibrationsSettings

FRAMES = 24
LARGEST = 0.3
"""Å, displacement of the atom that moves most in a trajectory: to be seen, not a physical amplitude."""


def write_files(settings: VibrationsSettings, result: VibrationsResult, folder: Path) -> None:
    """Write ``result.json``, ``modes.csv``, ``hessian.npz``, ``structure.extxyz``, ``modes.xyz`` and ``modes/``."""
    write_atomically(folder / "result.json", result.to_json().encode())
    write_atomically(folder / "modes.csv", _table(result).encode())
    write_atomically(folder / "hessian.npz", _arrays(result))
    write_atomically(folder / "structure.extxyz", _frames([result.atoms], ["symbols", "positions"]).encode())
    chosen = shown_modes(result, settings.trajectories)
    if len(chosen):
        write_atomically(folder / "modes.xyz", "".join(_arrows(result, int(k)) for k in chosen).encode())
        make_folder(folder / "modes")
    for k in chosen:
        text = _frames(mode_trajectory(result, int(k)), ["symbols", "positions"])
        write_atomically(folder / "modes" / f"{_name(result, int(k))}.xyz", text.encode())


def shown_modes(result: VibrationsResult, limit: int) -> NDArray[np.int64]:
    """The first modes, imaginary ones and then the softest: they are in rising order."""
    return np.arange(min(limit, len(result.modes)))


def mode_trajectory(result: VibrationsResult, mode: int, frames: int = FRAMES) -> list[Atoms]:
    """One period of a mode, largest displacement 0.3 Å; begins and ends at the structure, so that it can be looped.

    Args:
        result: of the vibrations.
        mode: counted from 0 in rising order of wavenumbers.
        frames: number of structures.
    """
    direction = np.zeros_like(result.atoms.positions)
    direction[result.hessian.indices] = result.modes.displacements[mode]
    direction *= LARGEST / np.linalg.norm(direction, axis=1).max()
    movie = []
    for k in range(frames):
        frame = result.atoms.copy()
        frame.set_constraint()
        frame.positions += math.sin(2 * math.pi * k / frames) * direction
        frame.info = {"mode": mode + 1, "wavenumber_1_cm": round(float(result.modes.wavenumbers[mode]), 3)}
        movie.append(frame)
    return movie


def _name(result: VibrationsResult, mode: int) -> str:
    wavenumber = float(result.modes.wavenumbers[mode])
    return f"mode-{mode + 1:03d}_{abs(wavenumber):.0f}{'i' if wavenumber < 0 else ''}"


def _frames(frames: list[Atoms], columns: list[str]) -> str:
    """Extended XYZ with nothing but symbols and positions in its rows: plain XYZ to programs that know no more."""
    text = io.StringIO()
    write_extxyz(text, frames, columns=columns, write_results=False)
    return text.getvalue()


def _arrows(result: VibrationsResult, mode: int) -> str:
    """One frame whose rows are symbol, position and displacement: vibrations as Jmol and its successors read them."""
    rows = np.zeros_like(result.atoms.positions)
    rows[result.hessian.indices] = result.modes.displacements[mode]
    lines = [f"{len(rows)}", f"mode {mode + 1}, {result.modes.wavenumbers[mode]:.2f} 1/cm"]
    for symbol, position, arrow in zip(result.atoms.symbols, result.atoms.positions, rows, strict=True):
        numbers = " ".join(f"{value:12.6f}" for value in (*position, *arrow))
        lines.append(f"{symbol:2s} {numbers}")
    return "\n".join(lines) + "\n"


def _table(result: VibrationsResult) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["mode", "wavenumber_1_cm", "reduced_mass_amu", "force_constant_eV_A2", "infrared_km_mol"])
    modes = result.modes
    for k in range(len(modes)):
        intensity = "" if result.intensities is None else f"{result.intensities[k]:.6g}"
        numbers = (modes.wavenumbers[k], modes.reduced_masses[k], modes.force_constants[k])
        writer.writerow([k + 1, *(f"{value:.8g}" for value in numbers), intensity])
    return text.getvalue()


def _arrays(result: VibrationsResult) -> bytes:
    data = io.BytesIO()
    atoms = result.atoms
    np.savez_compressed(
        data,
        hessian_eV_A2=result.hessian.hessian,
        moving_atoms=result.hessian.indices,
        wavenumbers_1_cm=result.modes.wavenumbers,
        displacements=result.modes.displacements,
        numbers=atoms.numbers,
        positions_A=atoms.positions,
        masses_amu=atoms.get_masses(),
        cell_A=atoms.cell.array,
        pbc=np.asarray(atoms.pbc),
    )
    return data.getvalue()
