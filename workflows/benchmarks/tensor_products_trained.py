"""What training folders say of models with different products: errors, also at equal time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atomsym.artifacts import load_model
from atomsym.core import InputError
from atomsym.training import parse_yaml, read_log

_FORCES = "validation_forces_mae_meV/A"


@dataclass(frozen=True)
class TrainedRow:
    """One training run.

    Attributes:
        errors: by part of the data: mean absolute errors of energy (meV/atom) and forces (meV/Å).
        hours: of training.
        forces_then: smallest validation error of the forces, meV/Å, when the quickest of the runs on the same data had
            ended: accuracy at equal time.
    """

    folder: str
    product: str
    data: str
    weights: int
    epochs: int
    hours: float
    errors: dict[str, tuple[float, float]]
    forces_then: float | None


def read_trained(folders: Sequence[Path]) -> list[TrainedRow]:
    """What folders of ``atomsym train`` say of their models.

    Raises:
        InputError: if a folder is none of a finished training, or its model has no choice of a product.
        ArtifactError: if its model is damaged.
    """
    read = [_read(folder) for folder in folders]
    ends: dict[str, float] = {}
    for row, log in read:
        ends[row["data"]] = min(ends.get(row["data"], float("inf")), log[-1]["seconds"])
    rows = []
    for row, log in read:
        until = [entry for entry in log if entry["seconds"] <= ends[row["data"]]]
        forces = [entry[_FORCES] for entry in until if _FORCES in entry]
        rows.append(TrainedRow(**row, forces_then=min(forces) if forces else None))
    return rows


def _read(folder: Path) -> tuple[dict[str, Any], list[dict[str, float]]]:
    try:
        config = parse_yaml((folder / "config.yaml").read_text(), str(folder / "config.yaml"))
        errors = json.loads((folder / "errors.json").read_text())
        product = config["model"]["product"]
        parts = {
            name: (1e3 * part["errors"]["all"]["energy"]["mae"], 1e3 * part["errors"]["all"]["forces"]["mae"])
            for name, part in errors.items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} holds no finished training of a model with a choice of products "
            f"({type(error).__name__}: {error}); give folders that atomsym train made"
        ) from error
    log = read_log(folder / "log.csv")
    if not log:
        raise InputError(f"{folder / 'log.csv'} has no complete epoch")
    model = load_model(folder / "model.safetensors")
    row = {
        "folder": folder.name,
        "product": product,
        "data": str(config.get("data", {}).get("known_set") or "own"),
        "weights": sum(weight.numel() for weight in model.parameters()),
        "epochs": int(log[-1]["epoch"]),
        "hours": log[-1]["seconds"] / 3600,
        "errors": parts,
    }
    return row, log


def trained_markdown(rows: Sequence[TrainedRow]) -> str:
    """As a table."""
    names = list(dict.fromkeys(name for row in rows for name in row.errors))
    header = ["run", "product", "data", "weights", "epochs", "hours", *names, "validation forces at equal time"]
    lines = [f"| {' | '.join(header)} |", f"| {' | '.join(['---'] * len(header))} |"]
    for row in rows:
        cells = [
            f"{row.errors[name][0]:.2f} / {row.errors[name][1]:.1f}" if name in row.errors else "–" for name in names
        ]
        then = "–" if row.forces_then is None else f"{row.forces_then:.1f}"
        facts = [row.folder, row.product, row.data, f"{row.weights:,}", f"{row.epochs}", f"{row.hours:.2f}"]
        lines.append(f"| {' | '.join([*facts, *cells, then])} |")
    note = "Mean absolute errors: energy (meV/atom) / forces (meV/Å)."
    return "## Trained models\n\n" + "\n".join(lines) + f"\n\n{note}\n"
