"""``atomsym train``: the command line of a training run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atomsym.artifacts import usable_device
from atomsym.core.elements import symbol_of
from atomsym.core.precision import dtype_named
from atomsym.datasets import check_dataset
from atomsym.models import Potential
from atomsym.training import (
    RESUME_ENTRIES,
    Observer,
    Observers,
    Ranks,
    Samples,
    TrainingConfig,
    TrainingData,
    TrainingResult,
    config_to_yaml,
    model_cutoff,
    new_potential,
    resolved_config,
    resume,
    train,
)
from atomsym.training.checkpoints import POTENTIAL_RUN
from atomsym.training.resolve import model_settings
from atomsym.training.start import starting_potential
from atomsym.workflows.datasets import show_report
from atomsym.workflows.evaluate.table import error_table, result_as_data
from atomsym.workflows.paths import make_folder
from atomsym.workflows.run_folders import require_no_run
from atomsym.workflows.stopping import exit_stopped, stoppable
from atomsym.workflows.train import options
from atomsym.workflows.train.data import load_data, with_reference_energies
from atomsym.workflows.train.progress import TensorBoardLog, TerminalProgress
from atomsym.workflows.train.run import FinalErrors, finish_run


def train_command(
    config_file: options.ConfigFile = None,
    overrides: Annotated[list[str] | None, options.overrides("loss.forces=10")] = None,
    output: options.Output = None,
    resume_folder: Annotated[Path | None, options.resume(RESUME_ENTRIES)] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the complete config and what is in the data; train nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Train a potential on labelled structures.

    The folder of the run gets the complete config, a log, checkpoints, the best model (`model.safetensors`, averaged
    weights), its errors and plots. A run that is stopped (Ctrl-C, SIGTERM, `max_minutes`) writes a checkpoint;
    `--resume FOLDER` goes on exactly where it was. Several processes:
    `torchrun --nproc-per-node 4 --no-python atomsym train CONFIG.yaml`.

    Examples: `atomsym train ethanol.yaml --set loss.forces=10 --set seed=1`, `atomsym train --resume
    atomsym-train-ethanol --set epochs=400`.
    """
    config, folder, changes = options.asked_for("train", POTENTIAL_RUN, config_file, overrides, output, resume_folder)
    if resume_folder is None and not dry_run:
        require_no_run(folder)
    start = None
    if resume_folder is None:
        start = starting_potential(config)
        model_settings(config, start)  # a wrong setting ends here, before any data are read
    ranks = Ranks.of_environment(usable_device(config.device))
    console = Console(stderr=True, quiet=as_json or not ranks.writes)
    go_on = f"atomsym train --resume {folder}"
    try:
        data = load_data(config)
        if resume_folder is None:
            config = with_reference_energies(config)
        if dry_run:
            _show_plan(config, data, start)
            return
        make_folder(folder)
        observer = _observer(console, folder, config, ranks)
        with stoppable(console, go_on) as stop:
            if resume_folder is not None:
                result = resume(folder, data, changes=changes, observer=observer, stop=stop, ranks=ranks)
            else:
                result = train(config, data, folder, observer=observer, stop=stop, ranks=ranks, start=start)
    finally:
        ranks.close()
    if not result.complete:
        raise exit_stopped(console, f"Stopped ({result.reason})", go_on)
    if ranks.writes:
        _show_result(result, finish_run(result, data), console, as_json)


def _observer(console: Console, folder: Path, config: TrainingConfig, ranks: Ranks) -> Observer:
    if not ranks.writes:
        return Observer()
    observers: list[Observer] = [TerminalProgress(console)]
    if config.output.tensorboard:
        observers.append(TensorBoardLog(folder))
    return Observers(observers)


def _show_plan(config: TrainingConfig, data: TrainingData, start: Potential | None) -> None:
    samples = Samples(data.train, model_cutoff(config, start), dtype_named(config.dtype))
    complete, statistics = resolved_config(config, samples, start)
    model = new_potential(complete)
    n_weights = sum(weight.numel() for weight in model.parameters())
    typer.echo(config_to_yaml(complete), nl=False)
    console = Console(stderr=True)
    for name, part in {"training": data.train, "validation": data.validation, **data.tests}.items():
        console.print(f"[bold]{escape(name)}[/]")
        show_report(check_dataset(part), console)
    table = Table(title="What the model takes from the training data", show_header=False)
    values = zip(statistics.elements, statistics.atomic_energies, strict=True)
    of_elements = f"{', '.join(f'{symbol_of(z)} {value:.4f}' for z, value in values)} {model.unit}"
    is_energy = model.quantity == "energy"
    table.add_row("atomic energies" if is_energy else f"{model.quantity} of the elements", of_elements)
    table.add_row("neighbors of an atom", f"{statistics.average_neighbors:.1f} within {statistics.cutoff:g} Å")
    if is_energy:
        table.add_row("interaction energy", f"{statistics.mean_interaction_energy:.4f} eV/atom on average")
        table.add_row("rms force component", f"{statistics.rms_forces:.4f} eV/Å")
    table.add_row("weights of the model", f"{n_weights:,}")
    console.print(table)


def _show_result(result: TrainingResult, final: FinalErrors, console: Console, as_json: bool) -> None:
    if as_json:
        parts = {name: result_as_data(part) for name, part in final.parts.items()}
        shown = {
            "folder": str(result.folder), "model": str(result.model_file), "reason": result.reason,
            "best_epoch": result.progress.best_epoch, "steps": result.progress.step,
            "seconds": round(result.progress.seconds, 1), "errors": parts,
        }  # fmt: skip
        typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    for name, part in final.parts.items():
        console.print(error_table(part.errors, f"{result.config.output.name} on {name}"))
    done = f"{result.reason} in {result.progress.seconds:.0f} s, best epoch {result.progress.best_epoch}"
    console.print(f"{done}. Model: {result.model_file}", highlight=False, soft_wrap=True)
    for path in final.files:
        console.print(f"Written: {path}", highlight=False, soft_wrap=True)
