"""The ``atomsym`` command: one program, one subcommand for each job."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

import atomsym
from atomsym.core import AtomsymError
from atomsym.workflows.benchmarks.commands import benchmark_app
from atomsym.workflows.check.command import check_command
from atomsym.workflows.convert.command import convert_command
from atomsym.workflows.datasets import datasets_command
from atomsym.workflows.evaluate.command import evaluate_command
from atomsym.workflows.evaluate.hessians_command import evaluate_hessians_command
from atomsym.workflows.evaluate_crystals.command import evaluate_crystals_command
from atomsym.workflows.generate.command import generate_command
from atomsym.workflows.label.command import label_command
from atomsym.workflows.md.command import md_command
from atomsym.workflows.models import models_command
from atomsym.workflows.organic_xtb.command import organic_xtb_command
from atomsym.workflows.phonons.command import phonons_command
from atomsym.workflows.relax.command import relax_command
from atomsym.workflows.stopping import EXIT_CODES
from atomsym.workflows.symmetry import symmetry_command
from atomsym.workflows.train.command import train_command
from atomsym.workflows.train_generator.command import train_generator_command
from atomsym.workflows.transition_states.command import ts_command
from atomsym.workflows.vibrations.command import vibrations_command

EXIT_BAD_INPUT = 2

app = typer.Typer(
    name="atomsym",
    help="Symmetry-aware machine-learned simulation: run, train, check and benchmark interatomic potentials.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(atomsym.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command("md", epilog=EXIT_CODES, rich_help_panel="Simulate")(md_command)
app.command("train", epilog=EXIT_CODES, rich_help_panel="Learn")(train_command)
app.command("train-generator", epilog=EXIT_CODES, rich_help_panel="Learn")(train_generator_command)
app.command("evaluate", rich_help_panel="Learn")(evaluate_command)
app.command("evaluate-hessians", rich_help_panel="Learn")(evaluate_hessians_command)
app.command("evaluate-crystals", rich_help_panel="Generate")(evaluate_crystals_command)
app.command("relax", epilog=EXIT_CODES, rich_help_panel="Simulate")(relax_command)
app.command("vibrations", epilog=EXIT_CODES, rich_help_panel="Simulate")(vibrations_command)
app.command("ts", epilog=EXIT_CODES, rich_help_panel="Simulate")(ts_command)
app.command("phonons", rich_help_panel="Simulate")(phonons_command)
app.command("generate", epilog=EXIT_CODES, rich_help_panel="Generate")(generate_command)
app.command("symmetry", rich_help_panel="Generate")(symmetry_command)
app.command("check", rich_help_panel="Trust")(check_command)
app.add_typer(benchmark_app, name="benchmark", rich_help_panel="Trust")
app.command("label", epilog=EXIT_CODES, rich_help_panel="Learn")(label_command)
app.command("organic-xtb", epilog=EXIT_CODES, rich_help_panel="Learn")(organic_xtb_command)
app.command("datasets", rich_help_panel="Learn")(datasets_command)
app.command("models", rich_help_panel="Models")(models_command)
app.command("convert", rich_help_panel="Models")(convert_command)


def main() -> None:
    """Entry point: an error that the user can act on is one message and exit code 2, never a traceback."""
    try:
        app()
    except (AtomsymError, OSError) as error:  # OSError: a path that cannot be read or written
        message = f"[bold red]error:[/] {escape(str(error))}"
        Console(stderr=True).print(message, highlight=False, soft_wrap=True)
        sys.exit(EXIT_BAD_INPUT)
