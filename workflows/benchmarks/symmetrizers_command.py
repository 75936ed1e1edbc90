"""``atomsym benchmark symmetrizers``: exactness, jumps and price of every symmetrizer, of one potential."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from atomsym.artifacts import write_atomically
from atomsym.workflows.benchmarks.options import AsJson
from atomsym.workflows.benchmarks.symmetrizers import (
    SymmetrizerBenchmark,
    SymmetrizerBenchmarkSettings,
    run_symmetrizers,
)
from atomsym.workflows.paths import make_folder


def symmetrizers_command(
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="A model that knows H, C and O.", show_default="FAENet with random weights"),
    ] = None,
    rotations: Annotated[int, typer.Option(min=1, help="Random rotations that invariance is measured with.")] = 8,
    batch: Annotated[int, typer.Option(min=1, help="Molecules in the batch that is timed.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of weights and rotations.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the timings.")] = 1,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the results.")] = Path(
        "atomsym-symmetrizers"
    ),
    as_json: AsJson = False,
) -> None:
    """Measure one potential under every symmetrizer: invariance, continuity, and time by the number of frames.

    The same weights are used throughout, on rattled ethanol in double precision. The folder gets a table
    (`result.json`) and a picture of the energy on a path on which two principal axes of the molecule change places.

    Example: `atomsym benchmark symmetrizers`
    """
    console = Console(stderr=True, quiet=as_json)
    settings = SymmetrizerBenchmarkSettings(model or "", rotations, batch, seed)
    make_folder(output)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with console.status("…") as status:
            result = run_symmetrizers(settings, lambda name: status.update(f"measuring {name} …"))
    finally:
        torch.set_num_threads(before)
    from atomsym.workflows.benchmarks.symmetrizers_plot import write_picture  # matplotlib is slow to import

    write_atomically(output / "result.json", result.to_json().encode())
    picture = write_picture(result, output / "symmetrizers.png")
    if as_json:
        typer.echo(result.to_json(), nl=False)
    else:
        console.print(_table(result))
        console.print(f"Folder: {output}\nPicture: {picture}", soft_wrap=True)


def _table(result: SymmetrizerBenchmark) -> Table:
    """Fits in 80 columns."""
    title, caption = (
        f"Symmetrizers of {result.model}",
        "exact for which group; cont.: continuous; eV; times over the bare model",
    )
    table = Table(box=SIMPLE_HEAD, padding=0, title=title, caption=caption)
    table.add_column("symmetrizer", min_width=20)
    for name in ("exact", "cont."):
        table.add_column(name, no_wrap=True)
    for name in ("frames", "rotated", "mirrored", "jump", "ms", "/ bare"):
        table.add_column(name, justify="right", min_width=max(len(name), 5))
    for row in result.rows:
        errors = (f"{value:.1e}" for value in (row.rotation_error, row.mirror_error, row.jump))
        properties = (row.exact or "–", "yes" if row.continuous else "no", str(row.frames))
        table.add_row(row.name, *properties, *errors, f"{row.milliseconds:.1f}", f"{row.over_bare:.1f}")
    return table
