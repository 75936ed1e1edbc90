"""``atomsym benchmark``: kernels and potentials by their names, and programs of their own options."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from atomsym.workflows.benchmarks.command import benchmark_command
from atomsym.workflows.benchmarks.frequencies_command import frequencies_command
from atomsym.workflows.benchmarks.generators_command import generators_command
from atomsym.workflows.benchmarks.geometry_optimization_command import geometry_optimization_command
from atomsym.workflows.benchmarks.guidance_command import guidance_command
from atomsym.workflows.benchmarks.realisation_command import realisation_command
from atomsym.workflows.benchmarks.symmetrizer_accuracy_command import symmetrizer_accuracy_command
from atomsym.workflows.benchmarks.symmetrizers_command import symmetrizers_command
from atomsym.workflows.benchmarks.tensor_products_command import tensor_products_command
from atomsym.workflows.benchmarks.transition_states_command import transition_states_command

KERNELS = "kernels"


class _KernelsUnlessNamed(TyperGroup):
    """``atomsym benchmark neighbors`` is short for ``atomsym benchmark kernels neighbors``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        named = first in self.commands or first in ("--help", "--show-completion", "--install-completion")
        return super().parse_args(ctx, args if named else [KERNELS, *args])


benchmark_app = typer.Typer(
    cls=_KernelsUnlessNamed,
    help="Measure kernels, potentials, symmetrizers and optimizers beside each other, frequencies beside a reference.",
    rich_markup_mode="markdown",
)
benchmark_app.command(KERNELS)(benchmark_command)
benchmark_app.command("geometry-optimization")(geometry_optimization_command)
benchmark_app.command("generators")(generators_command)
benchmark_app.command("guidance")(guidance_command)
benchmark_app.command("frequencies")(frequencies_command)
benchmark_app.command("realisation")(realisation_command)
benchmark_app.command("symmetrizer-accuracy")(symmetrizer_accuracy_command)
benchmark_app.command("symmetrizers")(symmetrizers_command)
benchmark_app.command("tensor-products")(tensor_products_command)
benchmark_app.command("transition-states")(transition_states_command)
