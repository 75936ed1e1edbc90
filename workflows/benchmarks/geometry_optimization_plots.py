"""Performance profiles of optimizers, and how many steps they take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, ScalarFormatter

from atomsym.workflows.benchmarks.geometry_optimization_case import Outcome
from atomsym.workflows.benchmarks.geometry_optimization_tables import costs_of, performance_profile
from atomsym.workflows.plot_style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, plot_style, save_picture

LOOKS = {  # a colour a method, dotted with a Hessian at the start only; LBFGS mostly lies on BFGS, so it is broken
    "bfgs": (GREY, "-"), "lbfgs": (ORANGE, "--"), "fire": (RED, "-"), "bfgs-linesearch": (PURPLE, "-"),
    "rfo": (BLUE, "-"), "rfo-5": (BLUE, "-."), "rfo-start": (BLUE, ":"), "rfo-predicted": (BLUE, "--"),
    "newton": (GREEN, "-"), "newton-start": (GREEN, ":"), "newton-predicted": (GREEN, "--"),
    "geometric": (INK, "-"), "geometric-ts": (INK, "-"),
    "prfo": (BLUE, "-"), "prfo-5": (GREEN, "-."), "prfo-start": (ORANGE, ":"), "prfo-predicted": (BLUE, "--"),
}  # fmt: skip
QUANTITIES = {
    "steps": "steps, relative to the fewest",
    "all_evaluations": "force evaluations with those of Hessians,\nrelative to the fewest",
    "cpu_s": "processor time, relative to the shortest",
}


def write_profiles(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Draw ``profile-SET.png`` for each set and return the paths."""
    paths = []
    for set_name in dict.fromkeys(outcome.set_name for outcome in outcomes):
        chosen = [outcome for outcome in outcomes if outcome.set_name == set_name]
        with plot_style():
            paths.append(save_picture(_draw(chosen, set_name), folder / f"profile-{set_name}.png"))
    return paths


def _draw(outcomes: Sequence[Outcome], set_name: str) -> Figure:
    optimizers = list(dict.fromkeys(outcome.optimizer for outcome in outcomes))
    quantities = {name: QUANTITIES[name] for name in _quantities(outcomes)}
    figure = Figure(figsize=(5.2 * len(quantities) + 1.4, 4.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(quantities), sharey=True))
    for axes, (quantity, label) in zip(panels, quantities.items(), strict=True):
        costs = costs_of(outcomes, optimizers, quantity)
        _draw_profile(axes, costs, optimizers)
        axes.set_xlabel(label)
    panels[0].set_ylabel("solved")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    calculators = ", ".join(dict.fromkeys(o.calculator.rpartition(":")[2] for o in outcomes))
    figure.suptitle(f"Performance profiles: {len(costs)} problems of the set “{set_name}”, {calculators}")
    return figure


def _quantities(outcomes: Sequence[Outcome]) -> list[str]:
    """Steps, and what Hessians cost: evaluations where they are differences, else time, as far as it was measured."""
    if any(outcome.hessian_evaluations for outcome in outcomes):
        return ["steps", "all_evaluations"]
    timed = all(outcome.cpu_s is not None for outcome in outcomes)
    return ["steps", "cpu_s"] if timed and any(outcome.hessians for outcome in outcomes) else ["steps"]


def _draw_profile(axes: Axes, costs: np.ndarray, optimizers: Sequence[str]) -> None:
    profiles = performance_profile(costs)
    end = 1.1 * max((float(tau[-1]) for tau, _ in profiles if len(tau)), default=1.0)
    for name, (tau, fraction) in zip(optimizers, profiles, strict=True):
        color, line = LOOKS.get(name, (GREY, "-"))
        # before its first ratio a solver has solved nothing; after its last it solves no more
        x, y = np.concatenate([[1.0], tau, [end]]), np.concatenate([[0.0], fraction, fraction[-1:]])
        if len(y) < len(x):
            y = np.zeros(2)  # it has solved nothing at all
        axes.step(x, y, where="post", color=color, linestyle=line, linewidth=1.8, label=name)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlim=(1.0, end), ylim=(0, 1.03))
    axes.grid(True)
