"""``atomsym organic-xtb``: the command line that makes the set of organic molecules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from atomsym.core import ConfigError
from atomsym.workflows.label.command import progress_bar
from atomsym.workflows.organic_xtb.compact import write_compact
from atomsym.workflows.organic_xtb.graphs import MOST_HEAVY_ATOMS
from atomsym.workflows.organic_xtb.run import SETTINGS, OrganicResult, run_organic
from atomsym.workflows.organic_xtb.settings import OrganicSettings
from atomsym.workflows.stopping import exit_stopped, stoppable

_DEFAULT = OrganicSettings()


def organic_xtb_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the set.")] = Path("organic-xtb"),
    molecules: Annotated[int, typer.Option(help="How many molecules.")] = _DEFAULT.molecules,
    frames: Annotated[
        int, typer.Option("--frames-per-molecule", help="Labelled geometries of each.")
    ] = _DEFAULT.frames_per_molecule,
    hessians: Annotated[
        int, typer.Option("--hessians-per-molecule", help="Of these, with a Hessian.")
    ] = _DEFAULT.hessians_per_molecule,
    elements: Annotated[str, typer.Option(help="H, C and any of N, O, F, S, Cl.")] = ",".join(_DEFAULT.elements),
    max_heavy: Annotated[int, typer.Option(help=f"Most heavy atoms, up to {MOST_HEAVY_ATOMS}.")] = MOST_HEAVY_ATOMS,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = _DEFAULT.seed,
    workers: Annotated[int, typer.Option("--workers", "-j", help="Processes of one thread each.")] = 1,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this time.", show_default="no limit")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on in this folder, with the settings it was begun with.")
    ] = False,
    compact: Annotated[bool, typer.Option("--compact", help="Write each part as rounded PART.extxyz.gz too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Make a set of small organic molecules with GFN2-xTB energies, forces and Hessians, from nothing.

    Molecules are enumerated within the rules of valence; each is relaxed and then displaced, heated, stretched, bent,
    paired with another. The set is divided by molecule into train, validation and test. The same settings give the same
    set with any number of workers.

    Example: `atomsym organic-xtb --out small --molecules 100 --frames-per-molecule 20 --workers 4`.
    """
    console = Console(stderr=True, quiet=as_json)
    if resume and not (out / SETTINGS).exists():
        raise ConfigError(f"{out} holds no set to go on with: there is no {SETTINGS} in it; leave out --resume")
    if resume:
        settings = OrganicSettings.from_file(out / SETTINGS)
    else:
        kinds = tuple(elements.replace(" ", "").split(","))
        settings = OrganicSettings(molecules, frames, hessians, kinds, max_heavy, seed=seed)
    go_on = f"atomsym organic-xtb --out {out} --resume"
    with stoppable(console, go_on, max_minutes) as stop, progress_bar(console, "molecules") as bar:
        task = bar.add_task("choosing molecules", total=None)

        def progress(done: int, total: int, structures: int) -> None:
            bar.update(task, completed=done, total=total, description=f"{structures} structures")

        result = run_organic(settings, out, workers=workers, resume=resume, progress=progress, should_stop=stop)
    if as_json:
        typer.echo(result.to_json(), nl=False)
    if not result.complete:
        raise exit_stopped(console, f"Stopped ({result.reason})", go_on)
    for path in write_compact(out) if compact else []:
        console.print(f"Written: {path}", highlight=False, soft_wrap=True)
    console.print(_table(result))


def _table(result: OrganicResult) -> Table:
    title = f"{result.molecules - result.failed} molecules in {result.folder} ({result.failed} without a minimum)"
    table = Table("part", "structures", "Hessians", title=title)
    for part, count in result.structures.items():
        table.add_row(part, str(count), str(result.hessians[part]))
    return table
