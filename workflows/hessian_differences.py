"""Central differences along Cartesian coordinates, whose finished rows are kept in a file so that a run can go on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from atomsym.workflows.calculator import content_hash_of
from atomsym.workflows.journal import LABELS, Journal

FloatArray = NDArray[np.float64]
Progress = Callable[[int, int], None]


def central_differences(
    answer: Callable[[Atoms], FloatArray],
    atoms: Atoms,
    moving: NDArray[np.int64],
    step: float,
    *,
    kept: Path | None = None,
    progress: Progress | None = None,
) -> FloatArray:
    """Derivatives of whatever a calculator answers by the positions of some atoms.

    (a(x + h) − a(x − h)) / 2h, with an error of order h².

    Args:
        answer: of a displaced structure, which has the calculator of ``atoms``; a vector of fixed length k.
        atoms: with a calculator; not changed.
        moving: atoms that are displaced, shape (m,).
        step: h, Å.
        kept: file in which finished rows are kept and found again; one of another structure, step or model is begun
            anew.
        progress: called with the finished and the total number of displaced coordinates; what it raises ends the work,
            and nothing finished is lost if there is a file.

    Returns:
        Shape (3m, k), a row a displaced coordinate: x1 y1 z1 x2 …
    """
    displaced = atoms.copy()  # the caller's positions never change, also if the calculator fails half way
    displaced.set_constraint()
    displaced.calc = atoms.calc

    def row(atom: int, axis: int) -> FloatArray:
        pair = []
        for sign in (1.0, -1.0):
            displaced.positions[:] = atoms.positions
            displaced.positions[atom, axis] += sign * step
            pair.append(answer(displaced))
        return (pair[0] - pair[1]) / (2 * step)

    rows = []
    with _opened(kept, _mark(atoms, moving, step)) if kept is not None else nullcontext() as journal:
        for number, (atom, axis) in enumerate((int(atom), axis) for atom in moving for axis in range(3)):
            if journal is not None and number + 1 in journal:
                rows.append(np.frombuffer(journal.content(number + 1)))
                continue
            rows.append(row(atom, axis))
            if journal is not None:
                journal.append(number + 1, LABELS, rows[-1].tobytes())
            if progress is not None:
                progress(number + 1, 3 * len(moving))
    return np.array(rows)


def _opened(kept: Path, mark: bytes) -> Journal:
    """The journal of these differences: entry 0 says of what they are."""
    journal = Journal(kept)
    if 0 in journal and journal.content(0) == mark:
        return journal
    journal.close()
    kept.unlink()
    journal = Journal(kept)
    journal.append(0, LABELS, mark)
    return journal


def _mark(atoms: Atoms, moving: NDArray[np.int64], step: float) -> bytes:
    content = hashlib.sha256(content_hash_of(atoms.calc).encode())
    for array in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, moving, np.array(step)):
        content.update(np.ascontiguousarray(array).tobytes())
    return content.digest()
