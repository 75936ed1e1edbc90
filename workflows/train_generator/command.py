"""``atomsym train-generator``: the command line of a training run of a generator."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from atomsym.training.generators import (
    GENERATOR_RUN,
    RESUME_ENTRIES,
    GeneratorData,
    GeneratorTrainingResult,
    new_generator,
    resume_generator,
    train_generator,
)
from atomsym.workflows.paths import make_folder
from atomsym.workflows.run_folders import require_no_run
from atomsym.workflows.status_line import status_line
from atomsym.workflows.stopping import exit_stopped, stoppable
from atomsym.workflows.train import options
from atomsym.workflows.train_generator.data import analysed_sets, generator_data
from atomsym.workflows.train_generator.progress import GeneratorProgress
from atomsym.workflows.train_generator.scores import GeneratorScores, finish_generator_run


def train_generator_command(
    config_file: options.ConfigFile = None,
    overrides: Annotated[list[str] | None, options.overrides("batch.crystals=512")] = None,
    output: options.Output = None,
    resume_folder: Annotated[Path | None, options.resume(RESUME_ENTRIES)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Train a generator of crystals' space groups and occupied Wyckoff positions.

    The folder of the run gets the complete config, the symmetry of all crystals (found once), a log, a checkpoint, the
    best generator (`generator.safetensors`, averaged weights), its scores and a learning curve. A run that is stopped
    (Ctrl-C, SIGTERM, `max_minutes`) writes a checkpoint; `--resume FOLDER` goes on exactly where it was.

    Example: `atomsym train-generator wyformer-mp20.yaml --set seed=1`.
    """
    config, folder, changes = options.asked_for(
        "train-generator", GENERATOR_RUN, config_file, overrides, output, resume_folder
    )
    if resume_folder is None:
        require_no_run(folder)
    new_generator(config)  # a wrong setting ends here, before any data are read
    console = Console(stderr=True, quiet=as_json)
    make_folder(folder)
    with status_line(console) as show:
        data = generator_data(config, analysed_sets(config, folder, show))
    _show_data(data, console)
    go_on = f"atomsym train-generator --resume {folder}"
    observer = GeneratorProgress(console)
    with stoppable(console, go_on) as stop:
        if resume_folder is not None:
            result = resume_generator(folder, data, changes=changes, observer=observer, stop=stop)
        else:
            result = train_generator(config, data, folder, observer=observer, stop=stop)
    if not result.complete:
        raise exit_stopped(console, f"Stopped ({result.reason})", go_on)
    _show_result(result, finish_generator_run(result, data), console, as_json)


def _show_data(data: GeneratorData, console: Console) -> None:
    parts = {"training": data.train, "validation": data.validation, **data.tests}
    sizes = ", ".join(f"{len(part.groups)} {name}" for name, part in parts.items())
    console.print(f"Crystals: {sizes}", highlight=False, soft_wrap=True)


def _show_result(result: GeneratorTrainingResult, scores: GeneratorScores, console: Console, as_json: bool) -> None:
    if as_json:
        shown = {
            "folder": str(result.folder), "generator": str(result.generator_file), "reason": result.reason,
            "best_epoch": result.progress.best_epoch, "steps": result.progress.step,
            "seconds": round(result.progress.seconds, 1), "losses_nats": scores.losses,
            "samples": asdict(scores.samples),
        }  # fmt: skip
        typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    table = Table("what", "training crystals", "samples", title=f"{scores.samples.n} samples")
    facts = scores.samples
    table.add_row("different", "", f"{facts.unique:.1%}")
    table.add_row("not among the training crystals", "", f"{facts.new:.1%}")
    table.add_row("without symmetry (P1)", f"{facts.p1[0]:.2%}", f"{facts.p1[1]:.2%}")
    table.add_row("occupied orbits, mean", f"{facts.orbits[0]:.2f}", f"{facts.orbits[1]:.2f}")
    table.add_row("distance of the distributions of space groups", "", f"{facts.group_distance:.3f}")
    console.print(table)
    for name, loss in scores.losses.items():
        console.print(f"{name}: {loss:.3f} nats a crystal", highlight=False)
    done = f"{result.reason} in {result.progress.seconds:.0f} s, best epoch {result.progress.best_epoch}"
    console.print(f"{done}. Generator: {result.generator_file}", highlight=False, soft_wrap=True)
    for path in scores.files:
        console.print(f"Written: {path}", highlight=False, soft_wrap=True)
