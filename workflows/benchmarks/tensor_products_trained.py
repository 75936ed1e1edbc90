"""What training folders say of models with different products: errors, also at equal time."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atomsym.artifacts import load_model
from atomsym.core import InputError
from atomsym.training import TrainingData, parse_yaml, read_config, read_log, train
from atomsym.workflows.benchmarks.tensor_products import Progress
from atomsym.workflows.stopping import Stop
from atomsym.workflows.train.data import load_data

_FORCES = "validation_forces_mae_meV/A"


@dataclass(frozen=True)
class TrainedRow:
    """One training run.

    Attributes:
        errors: by part of the data: mean absolute errors of energy (meV/atom) and forces (meV/Å).
        hours: of training.
        epoch_seconds: of one epoch that was trained again, in turn with those of the other runs; None if none was.
        forces_then: smallest validation error of the forces, meV/Å, when the quickest of the runs on the same data had
            ended: accuracy at equal time. By ``epoch_seconds`` if they were measured, else by the clock of the runs.
    """

    folder: str
    product: str
    data: str
    weights: int
    epochs: int
    hours: float
    epoch_seconds: float | None
    errors: dict[str, tuple[float, float]]
    forces_then: float | None


def read_trained(folders: Sequence[Path], epoch_seconds: Sequence[float] = ()) -> list[TrainedRow]:
    """What folders of ``atomsym train`` say of their models.

    Args:
        folders: of finished runs.
        epoch_seconds: see ``time_epochs``; empty: the clock of the runs counts.

    Raises:
        InputError: if a folder is none of a finished training, or its model has no choice of a product.
        ArtifactError: if its model is damaged.
    """
    read = [_read(folder) for folder in folders]
    measured: list[float | None] = [*epoch_seconds] if epoch_seconds else [None] * len(read)
    clocks = [_clock(log, seconds) for (_, log), seconds in zip(read, measured, strict=True)]
    ends: dict[str, float] = {}
    for (row, _), clock in zip(read, clocks, strict=True):
        ends[row["data"]] = min(ends.get(row["data"], float("inf")), clock[-1])
    rows = []
    for (row, log), clock, seconds in zip(read, clocks, measured, strict=True):
        until = [entry for entry, end in zip(log, clock, strict=True) if end <= ends[row["data"]]]
        forces = [entry[_FORCES] for entry in until if _FORCES in entry]
        rows.append(TrainedRow(**row, epoch_seconds=seconds, forces_then=min(forces) if forces else None))
    return rows


def _clock(log: list[dict[str, float]], epoch_seconds: float | None) -> list[float]:
    """When each epoch of a log ended, in seconds since the start of the run."""
    if epoch_seconds is None:
        return [entry["seconds"] for entry in log]
    return [entry["epoch"] * epoch_seconds for entry in log]


def time_epochs(
    folders: Sequence[Path], rounds: int, progress: Progress | None = None, should_stop: Stop | None = None
) -> list[float]:
    """Seconds of an epoch of each run, validation included; empty if it was asked to stop.

    Minutes in the logs of runs depend on what else the machine did. Here one epoch of each run is trained again from
    the start, all runs in turn, and the smallest time of the rounds counts, with torch's present number of threads.

    Raises:
        ConfigError, DataError: if the data of a run are not there any more.
    """
    configs = [replace(read_config(folder / "config.yaml"), epochs=1, stages=()) for folder in folders]
    data: list[TrainingData] = []
    for number, config in enumerate(configs):
        same = next((earlier for earlier in range(number) if configs[earlier].data == config.data), None)
        data.append(load_data(config) if same is None else data[same])
    best = [float("inf")] * len(folders)
    for turn in range(rounds):
        for number, (config, own) in enumerate(zip(configs, data, strict=True)):
            if progress is not None:
                progress(turn * len(folders) + number, rounds * len(folders), f"an epoch of {folders[number].name}")
            with tempfile.TemporaryDirectory() as scratch:
                train(config, own, Path(scratch), stop=lambda: "asked to" if should_stop and should_stop() else "")
                log = read_log(Path(scratch) / "log.csv")
            if not log:
                return []
            best[number] = min(best[number], log[0]["seconds"])
    return best


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
    header = ["run", "product", "data", "weights", "epochs", "hours", "an epoch, in turn (s)", *names]
    header.append("validation forces at equal time")
    lines = [f"| {' | '.join(header)} |", f"| {' | '.join(['---'] * len(header))} |"]
    for row in rows:
        cells = [
            f"{row.errors[name][0]:.2f} / {row.errors[name][1]:.1f}" if name in row.errors else "–" for name in names
        ]
        then = "–" if row.forces_then is None else f"{row.forces_then:.1f}"
        facts = [row.folder, row.product, row.data, f"{row.weights:,}", f"{row.epochs}", f"{row.hours:.2f}"]
        facts.append("–" if row.epoch_seconds is None else f"{row.epoch_seconds:.1f}")
        lines.append(f"| {' | '.join([*facts, *cells, then])} |")
    note = "Mean absolute errors: energy (meV/atom) / forces (meV/Å)."
    return "## Trained models\n\n" + "\n".join(lines) + f"\n\n{note}\n"
