"""The files of a run: log, trajectory and restart file, which agree with each other at every moment.

The restart file is replaced in one atomic step and knows how long log and trajectory were. A run that goes on from it
cuts them back to that length first, so nothing is there twice.
"""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import ase.io
import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from ase.io.extxyz import write_extxyz

from atomsym.artifacts import write_atomically
from atomsym.core import InputError
from atomsym.workflows.structures import held_atoms

RESTART_FORMAT = 2


@dataclass
class RestartState:
    """All that determines how a run goes on.

    Attributes:
        step: number of finished steps.
        atoms: positions, momenta, cell, masses, pbc, held atoms and plain entries of ``info``.
        generator: state of the random generator, as numpy gives it.
        integrator: the integrator's own variables.
        model_hash: content hash of the model file; empty for models that are not files.
    """

    step: int
    atoms: Atoms
    generator: dict[str, Any]
    integrator: dict[str, np.ndarray] = field(default_factory=dict)
    model_hash: str = ""


class RunFiles:
    """Log, trajectory and restart file in a run's folder.

    Args:
        folder: of the run.
        columns: of the log.
        with_momenta: whether frames have momenta.
    """

    def __init__(self, folder: Path, columns: tuple[str, ...], *, with_momenta: bool = True) -> None:
        self.folder, self.columns = folder, columns
        self._arrays = ["symbols", "positions", *(["momenta"] if with_momenta else []), "forces"]
        self.log = folder / "log.csv"
        self.trajectory = folder / "trajectory.extxyz"
        self.restart = folder / "restart.npz"

    def start(self) -> None:
        """Empty log and trajectory."""
        self.trajectory.write_bytes(b"")
        self.log.write_text(",".join(self.columns) + "\n")

    def add_row(self, row: tuple[object, ...]) -> None:
        """Append to the log; None becomes an empty field."""
        with self.log.open("a", newline="") as stream:
            csv.writer(stream).writerow(row)

    def add_frame(self, frame: Atoms) -> None:
        """Append to the trajectory: positions, momenta, and what the frame's calculator knows."""
        text = io.StringIO()
        write_extxyz(text, [frame], columns=self._arrays)
        with self.trajectory.open("a") as stream:
            stream.write(text.getvalue())  # in one piece, so that a reader rarely sees half a frame

    def save(self, state: RestartState) -> None:
        """Write the restart file."""
        atoms, buffer = state.atoms, io.BytesIO()
        contents: dict[str, Any] = {
            "format": RESTART_FORMAT,
            "step": state.step,
            "numbers": atoms.numbers,
            "positions": atoms.positions,
            "momenta": atoms.get_momenta(),
            "masses": atoms.get_masses(),
            "cell": np.asarray(atoms.cell),
            "pbc": atoms.pbc,
            "held": held_atoms(atoms),
            "info": json.dumps(_plain(atoms.info)),
            "generator": json.dumps(state.generator),
            "model_hash": state.model_hash,
            "log_bytes": self.log.stat().st_size,
            "trajectory_bytes": self.trajectory.stat().st_size,
        }
        contents.update({f"integrator_{name}": value for name, value in state.integrator.items()})
        np.savez(buffer, **contents)
        write_atomically(self.restart, buffer.getvalue())

    def load(self) -> RestartState:
        """Read the restart file and cut log and trajectory back to it.

        Raises:
            InputError: if the restart file is damaged, or log or trajectory are shorter than it says.
        """
        try:
            content = io.BytesIO(self.restart.read_bytes())
            with np.load(content, allow_pickle=False) as found:
                state = _state(found)
                sizes = (int(found["log_bytes"]), int(found["trajectory_bytes"]))
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise InputError(f"{self.restart}: not a usable restart file") from error
        for path, size in zip((self.log, self.trajectory), sizes, strict=True):
            if not path.is_file() or path.stat().st_size < size:
                raise InputError(
                    f"{path} is missing or shorter than the restart file says; the run cannot be continued"
                )
        for path, size in zip((self.log, self.trajectory), sizes, strict=True):
            os.truncate(path, size)
        return state


def read_trajectory(folder: Path) -> list[Atoms]:
    """The frames of a run: of dynamics those of production."""
    path = folder / "trajectory.extxyz"
    return list(ase.io.iread(path, index=":", format="extxyz")) if path.stat().st_size else []


def read_log(folder: Path) -> dict[str, np.ndarray]:
    """The log's columns by name; NaN where a quantity does not exist."""
    with (folder / "log.csv").open(newline="") as stream:
        names, *rows = csv.reader(stream)
    return {name: _column(name, [row[number] for row in rows]) for number, name in enumerate(names)}


def _column(name: str, values: list[str]) -> np.ndarray:
    return np.array(values if name == "phase" else [float(value or "nan") for value in values])


def _state(found: Any) -> RestartState:
    if int(found["format"]) != RESTART_FORMAT:
        raise ValueError("another format")
    atoms = Atoms(
        numbers=found["numbers"],
        positions=found["positions"],
        momenta=found["momenta"],
        masses=found["masses"],
        cell=found["cell"],
        pbc=found["pbc"],
        info=json.loads(str(found["info"])),
    )
    if found["held"].any():
        atoms.set_constraint(FixAtoms(mask=found["held"]))
    return RestartState(
        step=int(found["step"]),
        atoms=atoms,
        generator=json.loads(str(found["generator"])),
        integrator={
            key.removeprefix("integrator_"): found[key] for key in found.files if key.startswith("integrator_")
        },
        model_hash=str(found["model_hash"]),
    )


def _plain(info: dict[str, Any]) -> dict[str, Any]:
    """The entries that are plain data: charge and spin, for example."""
    return {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in info.items()
        if isinstance(key, str) and isinstance(value, bool | int | float | str | np.generic)
    }
