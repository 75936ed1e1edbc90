"""The products inside one MACE recipe: what a step of training and a step of dynamics cost.

All models have the same settings but for the word of the product, and random weights.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import torch
from ase import Atoms

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import AtomGraph, ConfigError
from atomsym.derivatives import evaluate
from atomsym.kernels.neighbors import connect
from atomsym.models import MACE, MACEConfig
from atomsym.nn.edge_product import ProductName
from atomsym.workflows.benchmarks.case_log import append_case, read_cases, require_same_settings
from atomsym.workflows.benchmarks.machine import best_seconds
from atomsym.workflows.benchmarks.potential_case import stepper
from atomsym.workflows.benchmarks.potential_systems import ELEMENTS, SYSTEMS
from atomsym.workflows.benchmarks.tensor_products import Progress
from atomsym.workflows.paths import make_folder
from atomsym.workflows.stopping import Stop

PRODUCT_WORDS: tuple[ProductName, ...] = get_args(ProductName)


@dataclass(frozen=True)
class InModelSettings:
    """What is compared; names of ``MACEConfig`` where they are the same.

    Attributes:
        systems: mol27, water192, cu108, cu864.
        dtype: float32 or float64.
        repeats: timed calls; the fastest counts.
    """

    systems: tuple[str, ...] = ("mol27", "water192")
    channels: int = 64
    hidden: str = "0e+1o"
    max_degree: int = 3
    correlation: int = 3
    cutoff: float = 5.0
    dtype: str = "float32"
    repeats: int = 5

    def __post_init__(self) -> None:
        unknown = [name for name in self.systems if name not in SYSTEMS]
        if unknown or not self.systems:
            raise ConfigError(f"systems can be {', '.join(SYSTEMS)}; found '{', '.join(unknown)}'")
        if self.dtype not in ("float32", "float64") or self.repeats < 1:
            raise ConfigError(
                f"dtype must be float32 or float64, repeats at least 1; found {self.dtype}, {self.repeats}"
            )

    def config(self, product: ProductName) -> MACEConfig:
        """Of the model with this product."""
        return MACEConfig(
            *(ELEMENTS, self.cutoff, (0.0,) * len(ELEMENTS), 40.0),
            channels=self.channels,
            hidden=self.hidden,
            max_degree=self.max_degree,
            correlation=self.correlation,
            product=product,
        )


@dataclass(frozen=True)
class InModelRow:
    """One product on one system; times in ms.

    Attributes:
        weights: trainable numbers of the model.
        step_ms: energy and forces of the general path, through autograd.
        training_ms: a step of training on energy and forces, without the optimizer.
        calculator_ms: energy and forces (and stress, if periodic) in the calculator, by the fastest engine there is.
    """

    product: str
    system: str
    atoms: int
    edges: int
    weights: int
    step_ms: float
    training_ms: float
    calculator_ms: float


def run_in_model(
    settings: InModelSettings, folder: Path, progress: Progress | None = None, should_stop: Stop | None = None
) -> tuple[list[InModelRow], bool]:
    """Measure every word and system that the folder does not hold yet, with torch's present number of threads.

    Returns:
        The rows, and whether these are all.

    Raises:
        ConfigError: if the folder was begun with other settings, or a product cannot be had with these.
        InputError: if the folder's file of cases cannot be read.
    """
    cases = [(word, system) for system in settings.systems for word in PRODUCT_WORDS]
    configs = {word: settings.config(word) for word in PRODUCT_WORDS}
    make_folder(folder)
    plain = json.loads(json.dumps({**asdict(settings), "threads": torch.get_num_threads()}))
    require_same_settings(folder, plain)
    done = {(row.product, row.system): row for row in read_cases(folder, InModelRow)}
    for number, (word, system) in enumerate(cases):
        if (word, system) in done:
            continue
        if should_stop is not None and should_stop():
            break
        if progress is not None:
            progress(number, len(cases), f"MACE with {word}, {system}")
        row = _row(configs[word], system, settings)
        append_case(folder, row)
        done[word, system] = row
    return [done[case] for case in cases if case in done], all(case in done for case in cases)


def _row(config: MACEConfig, system: str, settings: InModelSettings) -> InModelRow:
    dtype = getattr(torch, settings.dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MACE(config).to(dtype)
    atoms = SYSTEMS[system]()
    graph = _graph(atoms, config.cutoff, dtype)
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    def step() -> None:
        evaluate(model, graph, ("energy", "forces"))

    def training() -> None:
        found = evaluate(model, graph, ("energy", "forces"), create_graph=True)
        if found.forces is None:
            raise ConfigError("no forces")
        loss = found.energy.square().sum() + found.forces.square().sum()
        torch.autograd.grad(loss, weights, allow_unused=True)

    calculator = AtomsymCalculator(model.eval(), dtype=settings.dtype)
    dynamics = stepper(atoms, calculator)
    step_s, training_s, dynamics_s = (
        best_seconds(task, repeats=settings.repeats) for task in (step, training, dynamics)
    )
    return InModelRow(
        product=config.product,
        system=system,
        atoms=len(atoms),
        edges=graph.n_edges,
        weights=sum(weight.numel() for weight in weights),
        step_ms=1e3 * step_s,
        training_ms=1e3 * training_s,
        calculator_ms=1e3 * dynamics_s,
    )


def _graph(atoms: Atoms, cutoff: float, dtype: torch.dtype) -> AtomGraph:
    arrays = (torch.from_numpy(atoms.get_positions()), torch.from_numpy(atoms.get_atomic_numbers()))
    cell, pbc = torch.from_numpy(atoms.cell.array.copy()), torch.from_numpy(atoms.pbc.copy())
    return connect(AtomGraph.without_edges(arrays[0].to(dtype), arrays[1], cell.to(dtype), pbc), cutoff)


def in_model_markdown(rows: Sequence[InModelRow]) -> str:
    """As a table."""
    lines = [
        "| product | system | atoms, edges | weights | energy and forces (ms) | training step (ms) | calculator (ms) |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.product} | {row.system} | {row.atoms}, {row.edges:,} | {row.weights:,} | {row.step_ms:.1f} "
        f"| {row.training_ms:.1f} | {row.calculator_ms:.1f} |"
        for row in rows
    ]
    return "## In a MACE model\n\n" + "\n".join(lines) + "\n"
