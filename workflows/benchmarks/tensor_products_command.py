"""``atomsym benchmark tensor-products``: what every product can express and what it costs, by degree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from atomsym.artifacts import write_atomically
from atomsym.core import ConfigError
from atomsym.workflows.benchmarks import options
from atomsym.workflows.benchmarks.tensor_products import Progress, run_tensor_products
from atomsym.workflows.benchmarks.tensor_products_cases import ProductBenchmarkSettings
from atomsym.workflows.benchmarks.tensor_products_in_model import InModelSettings, in_model_markdown, run_in_model
from atomsym.workflows.benchmarks.tensor_products_kinds import KINDS, PLACES
from atomsym.workflows.benchmarks.tensor_products_tables import as_markdown
from atomsym.workflows.benchmarks.tensor_products_trained import read_trained, time_epochs, trained_markdown
from atomsym.workflows.status_line import status_line
from atomsym.workflows.stopping import StopRequest, exit_stopped, stoppable

_DEFAULT = ProductBenchmarkSettings()


def _joined(values: tuple[object, ...]) -> str:
    return ",".join(map(str, values))


def tensor_products_command(
    places: Annotated[str, typer.Option(help="edges, nodes, separated by commas.")] = _joined(PLACES),
    products: Annotated[str, typer.Option(help=f"Any of {', '.join(KINDS)}.", show_default="all")] = _joined(
        tuple(KINDS)
    ),
    backends: Annotated[
        str,
        typer.Option(
            help="reference, cpp, triton, e3nn, cuequivariance, separated by commas.", show_default="all there are"
        ),
    ] = "",
    degrees: Annotated[str, typer.Option(help="Largest degrees L.")] = _joined(_DEFAULT.degrees),
    channels: Annotated[
        str, typer.Option(help="The first for the sweep over degrees, further ones at --sweep-degree.")
    ] = _joined(_DEFAULT.channels),
    sizes: Annotated[str, typer.Option(help="Edges, or nodes; as --channels.")] = _joined(_DEFAULT.sizes),
    sweep_degree: Annotated[int, typer.Option(min=0, help="0: no sweeps over channels and sizes.")] = (
        _DEFAULT.sweep_degree
    ),
    feature_degree: Annotated[
        int, typer.Option(min=0, help="Largest degree of node features, as in MACE.", show_default="L")
    ] = 0,
    separate: Annotated[
        bool, typer.Option("--separate", help="Each coupling into a slot of its own, as before a linear layer.")
    ] = False,
    neighbors: Annotated[int, typer.Option(min=1, help="Edges of a receiver.")] = _DEFAULT.neighbors,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = _DEFAULT.dtype,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = _DEFAULT.device,
    max_seconds: Annotated[
        float, typer.Option(help="Calls with gradients that are foreseen to take longer are left out.")
    ] = _DEFAULT.max_seconds,
    quick: Annotated[bool, typer.Option("--quick", help="Degrees 1 to 3, few edges: about a minute.")] = False,
    in_model: Annotated[
        bool, typer.Option("--in-model", help="Measure the words of MACE's config `product` in whole models instead.")
    ] = False,
    trained: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of atomsym train, whose errors are listed with --in-model; may be repeated."),
    ] = None,
    time_rounds: Annotated[
        int,
        typer.Option(
            "--time-epochs",
            min=0,
            help="Train an epoch of each --trained run again, in turn, so many times: the smallest time makes the "
            "column of equal time, instead of the clock of the runs.",
            show_default="not",
        ),
    ] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the timings.")] = 1,
    output: options.Folder = Path("atomsym-tensor-products"),
    max_minutes: options.MaxMinutes = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure all tensor products beside each other and beside e3nn and cuEquivariance, where installed.

    Of each: couplings that occur and numbers that can be chosen on their own, errors under rotations and reflections,
    times of the product, its gradients and the derivatives that training on forces needs, peak memory, and the rate as
    a share of torch's matrix product. The folder gets `result.json`, `tables.md` and two pictures by degree. Times are
    the smallest of several calls, on one thread in processor time. The same command goes on with a folder.

    With `--in-model` one MACE recipe is measured with each product that models can have: time of energy and forces, of
    a step of training, and number of weights; of the other options only those of dtype, threads and results count.

    Example: `atomsym benchmark tensor-products --quick`
    """
    console = Console(stderr=True, quiet=as_json)
    if trained and not in_model:
        raise ConfigError("--trained goes with --in-model")
    if time_rounds and not trained:
        raise ConfigError("--time-epochs goes with --trained")
    if in_model:
        whole = InModelSettings(dtype=dtype)
        chosen = replace(whole, systems=("mol27",), channels=16, repeats=1) if quick else whole
        _in_model(chosen, trained or [], time_rounds, threads, output, max_minutes, console, as_json)
        return
    settings = ProductBenchmarkSettings(
        places=_words(places),
        products=_words(products),
        backends=_words(backends),
        degrees=_numbers("--degrees", degrees),
        channels=_numbers("--channels", channels),
        sizes=_numbers("--sizes", sizes),
        sweep_degree=sweep_degree,
        feature_degree=feature_degree,
        separate=separate,
        neighbors=neighbors,
        dtype=dtype,
        device=device,
        max_seconds=max_seconds,
    )
    if quick:
        settings = settings.quick()
    with _working(console, max_minutes, threads) as (stop, progress):
        result, finished = run_tensor_products(settings, output, progress, stop)
    from atomsym.workflows.benchmarks.tensor_products_plots import write_pictures  # matplotlib is slow to import

    text = as_markdown(result)
    write_atomically(output / "result.json", result.to_json().encode())
    write_atomically(output / "tables.md", text.encode())
    pictures = write_pictures(result, output)
    if as_json:
        typer.echo(result.to_json(), nl=False)
    else:
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        console.print(f"Folder: {output}\nPictures: {', '.join(map(str, pictures))}", soft_wrap=True)
    if not finished:
        raise exit_stopped(console, f"Stopped ({stop()})", "the same command")


def _in_model(
    settings: InModelSettings,
    trained: list[Path],
    time_rounds: int,
    threads: int,
    output: Path,
    max_minutes: float | None,
    console: Console,
    as_json: bool,
) -> None:
    runs = read_trained(trained)  # before the work
    with _working(console, max_minutes, threads) as (stop, progress):
        rows, finished = run_in_model(settings, output, progress, stop)
        if time_rounds and finished:
            seconds = time_epochs(trained, time_rounds, progress, lambda: bool(stop()))
            runs, finished = read_trained(trained, seconds), bool(seconds)
    found = {"models": [asdict(row) for row in rows], "trained": [asdict(run) for run in runs]}
    text = in_model_markdown(rows) + (f"\n{trained_markdown(runs)}" if runs else "")
    data = json.dumps(found, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomically(output / "in_model.json", data.encode())
    write_atomically(output / "in_model.md", text.encode())
    if as_json:
        typer.echo(data, nl=False)
    else:
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        console.print(f"Folder: {output}", soft_wrap=True)
    if not finished:
        raise exit_stopped(console, f"Stopped ({stop()})", "the same command")


@contextmanager
def _working(console: Console, max_minutes: float | None, threads: int) -> Iterator[tuple[StopRequest, Progress]]:
    """A number of threads, a line on the progress, and an open ear for wishes to stop."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with stoppable(console, "the same command", max_minutes) as stop, status_line(console) as say:
            yield stop, lambda done, of, what: say(f"{done} of {of}  {what}")
    finally:
        torch.set_num_threads(before)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _words(text))
    except ValueError:
        raise ConfigError(f"{option} takes whole numbers separated by commas; found '{text}'") from None
