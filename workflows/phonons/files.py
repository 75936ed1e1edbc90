"""Files of a calculation of phonons: tables of what is drawn, and the force constants for phonopy."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from atomsym.artifacts import write_atomically
from atomsym.workflows.phonons.result import PhononsResult

if TYPE_CHECKING:
    from phonopy import Phonopy


def write_files(result: PhononsResult, phonon: Phonopy, folder: Path) -> None:
    """Write ``result.json``, ``phonopy_params.yaml`` (for ``phonopy.load``) and the tables of what is drawn."""
    write_atomically(folder / "result.json", result.to_json().encode())
    phonon.save(str(folder / "phonopy_params.yaml"), settings={"force_constants": True})
    bands, density, thermal = result.bands, result.density, result.thermal
    rows = [
        (f"{start}-{end}", f"{x:.8f}", *(f"{value:.8f}" for value in values))
        for (start, end), xs, piece in zip(bands.ends, bands.distances, bands.frequencies, strict=True)
        for x, values in zip(xs, piece, strict=True)
    ]
    names = [f"band_{k + 1}_THz" for k in range(len(result.gamma))]
    _table(folder / "bands.csv", ("piece", "distance_1_A", *names), rows)
    columns = (density.frequencies, density.total, *density.by_element.values())
    header = ("frequency_THz", "total_per_THz", *(f"{name}_per_THz" for name in density.by_element))
    _table(folder / "dos.csv", header, [tuple(f"{x:.8g}" for x in row) for row in zip(*columns, strict=True)])
    columns = (thermal.temperatures, thermal.free_energy, thermal.entropy, thermal.heat_capacity)
    header = ("temperature_K", "free_energy_kJ_mol", "entropy_J_mol_K", "heat_capacity_J_mol_K")
    _table(folder / "thermal.csv", header, [tuple(f"{x:.8g}" for x in row) for row in zip(*columns, strict=True)])


def _table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
