"""Tables of errors for terminals and files."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, fields
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from atomsym.training import Errors, ErrorSums, plain_table
from atomsym.workflows.evaluate.run import EvaluationResult, StructureErrors

_COLUMNS = (
    ("energy", "energy, meV/atom"),
    ("forces", "forces, meV/Å"),
    ("stress", "stress, meV/Å³"),
    ("hessian", "predicted Hessian, meV/Å²"),
    ("direct_forces", "direct forces, meV/Å"),
)


def error_table(errors: ErrorSums, title: str) -> Table:
    """Mean absolute and root mean square errors, a line for each group and element."""
    found = errors.table()
    present = [pair for pair in _COLUMNS if any(pair[0] in row for row in found.values())]
    table = Table(title=escape(title), title_style="bold", box=SIMPLE_HEAD)
    table.add_column("")
    for _, label in present:
        table.add_column(f"{label}\nMAE", justify="right")
        table.add_column("RMSE", justify="right")
    for name, row in found.items():
        cells = [cell for quantity, _ in present for cell in _cells(row.get(quantity))]
        table.add_row(escape(name), *cells, style="bold" if name == "all" else "")
    return table


def _cells(errors: Errors | None) -> tuple[str, str]:
    return ("", "") if errors is None else (f"{1e3 * errors.mae:.3g}", f"{1e3 * errors.rmse:.3g}")


def result_as_data(result: EvaluationResult, **labels: Any) -> dict[str, Any]:
    """Everything but the single structures as plain data; units eV/atom, eV/Å and eV/Å³."""
    return {
        **labels,
        "n_structures": result.n_structures,
        "n_atoms": result.n_atoms,
        "units": {
            "energy": "eV/atom",
            "forces": "eV/Å",
            "stress": "eV/Å³",
            "hessian": "eV/Å²",
            "direct_forces": "eV/Å",
        },
        "errors": plain_table(result.errors),
    }


_UNITS = {
    "energy": "energy_eV", "predicted_energy": "predicted_energy_eV", "energy_error": "energy_error_eV/atom",
    "forces_mae": "forces_mae_eV/A", "forces_largest": "forces_largest_eV/A", "stress_mae": "stress_mae_eV/A^3",
}  # fmt: skip


def structures_as_csv(rows: list[StructureErrors]) -> str:
    """One line for each structure, with units in the header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(StructureErrors)]
    writer.writerow([_UNITS.get(name, name) for name in names])
    for row in rows:
        writer.writerow(["" if value is None else value for value in asdict(row).values()])
    return text.getvalue()
