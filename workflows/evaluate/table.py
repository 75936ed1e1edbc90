"""Tables of errors for terminals and files."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, fields
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from atomsym.training import TARGET, Errors, ErrorSums, plain_table
from atomsym.workflows.evaluate.run import EvaluationResult


def error_table(errors: ErrorSums, title: str) -> Table:
    """Mean absolute and root mean square errors, a line for each group and element."""
    found = errors.table()
    present = {n: q for n, q in errors.quantities.items() if any(n in row for row in found.values())}
    table = Table(title=escape(title), title_style="bold", box=SIMPLE_HEAD)
    table.add_column("")
    for quantity in present.values():
        table.add_column(f"{quantity.label}, {quantity.error_unit}\nMAE", justify="right")
        table.add_column("RMSE", justify="right")
    for name, row in found.items():
        cells = [cell for key, quantity in present.items() for cell in _cells(row.get(key), quantity.scale)]
        table.add_row(escape(name), *cells, style="bold" if name == "all" else "")
    return table


def _cells(errors: Errors | None, scale: float) -> tuple[str, str]:
    return ("", "") if errors is None else (f"{scale * errors.mae:.3g}", f"{scale * errors.rmse:.3g}")


def result_as_data(result: EvaluationResult, **labels: Any) -> dict[str, Any]:
    """Everything but the single structures as plain data, with units, and the name of a target."""
    quantities = result.errors.quantities
    return {
        **labels,
        **({TARGET: quantities[TARGET].label} if TARGET in quantities else {}),
        "n_structures": result.n_structures,
        "n_atoms": result.n_atoms,
        "units": {name: quantity.unit for name, quantity in quantities.items()},
        "errors": plain_table(result.errors),
    }


_UNITS = {
    "energy": "energy_eV", "predicted_energy": "predicted_energy_eV", "energy_error": "energy_error_eV/atom",
    "forces_mae": "forces_mae_eV/A", "forces_largest": "forces_largest_eV/A", "stress_mae": "stress_mae_eV/A^3",
}  # fmt: skip


def structures_as_csv(result: EvaluationResult) -> str:
    """One line for each structure, with units in the header."""
    units = _UNITS
    if TARGET in result.errors.quantities:
        unit = result.errors.quantities[TARGET].unit
        units = {name: f"{name}_{unit}" for name in ("target", "predicted_target", "target_error")}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(result.structures[0])]
    writer.writerow([units.get(name, name) for name in names])
    for row in result.structures:
        writer.writerow(["" if value is None else value for value in asdict(row).values()])
    return text.getvalue()
