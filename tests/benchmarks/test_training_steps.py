"""What a training step with forces and an evaluation cost, eSEN beside MACE, in the sizes of the recipes.

    python tests/benchmarks/test_training_steps.py [--repeats 5] [ethanol 3bpa copper]

prints processor time of one thread, the best of all repeats, models in turn: on a busy machine ratios within a line of
data mean more than the times.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from atomsym.core import AtomGraph
from atomsym.derivatives import evaluate
from atomsym.kernels.neighbors import connect
from atomsym.models import ESEN, MACE, ESENConfig, LearnedPotential, MACEConfig

CUTOFF = 5.0
BENZYLOXYPYRIDINE = "CCCCCCCONCCCCCNHHHHHHHHHHHH"  # atoms of 3BPA, as many and as dense: positions are drawn

MODELS: dict[str, dict[str, tuple[type[LearnedPotential], dict[str, Any]]]] = {
    "ethanol": {
        "MACE 64x0e+64x1o, l <= 3": (MACE, {"channels": 64, "hidden": "0e+1o", "max_degree": 3}),
        "eSEN 32 channels, l <= 2": (ESEN, {}),
        "eSEN 16 channels, l <= 2": (ESEN, {"channels": 16, "edge_channels": 16, "feed_forward_channels": 32}),
        "eSEN 32 channels, l <= 3, m <= 1": (ESEN, {"max_degree": 3, "max_order": 1}),
    },
    "copper": {
        "MACE 32x0e+32x1o, l <= 2": (MACE, {"channels": 32, "hidden": "0e+1o", "max_degree": 2}),
        "eSEN 16 channels, l <= 2": (ESEN, {"channels": 16, "edge_channels": 16, "feed_forward_channels": 32}),
        "eSEN 32 channels, l <= 2": (ESEN, {}),
    },
}
MODELS["3bpa"] = MODELS["ethanol"]


def structures(name: str) -> list[Atoms]:
    """A batch as in training."""
    generator = np.random.default_rng(0)
    if name == "copper":
        atoms = [bulk("Cu", "fcc", a=3.61, cubic=True).repeat(3)]
    elif name == "ethanol":
        atoms = [molecule("CH3CH2OH") for _ in range(5)]
    else:
        atoms = [_spread(BENZYLOXYPYRIDINE, generator) for _ in range(5)]
    for each in atoms:
        each.positions += 0.05 * generator.normal(size=each.positions.shape)
    return atoms


def _spread(symbols: str, generator: np.random.Generator) -> Atoms:
    """Atoms 1.2 Å apart at least, in an ellipsoid in which they have about 17 neighbors each, as 3BPA has."""
    chosen: list[np.ndarray] = []
    while len(chosen) < len(symbols):
        point = generator.uniform(-1, 1, 3)
        place = point * np.array([6.5, 3.4, 2.2])
        if np.linalg.norm(point) < 1 and all(np.linalg.norm(place - other) > 1.2 for other in chosen):
            chosen.append(place)
    return Atoms(list(symbols), chosen)


def batch_of(atoms: list[Atoms]) -> AtomGraph:
    graphs = [
        AtomGraph.from_arrays(a.positions, a.numbers, a.cell.array, bool(a.pbc.all()), dtype=torch.float32)
        if a.pbc.any()
        else AtomGraph.from_arrays(a.positions, a.numbers, dtype=torch.float32)
        for a in atoms
    ]
    return connect(AtomGraph.batch(graphs), CUTOFF)


def build(kind: type[LearnedPotential], settings: dict[str, Any], graph: AtomGraph) -> LearnedPotential:
    elements = tuple(graph.numbers.unique().tolist())
    config = MACEConfig if kind is MACE else ESENConfig
    neighbors = graph.n_edges / graph.n_atoms
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(config(elements, CUTOFF, (0.0,) * len(elements), average_neighbors=neighbors, **settings))


def training_step(potential: LearnedPotential, graph: AtomGraph) -> None:
    potential.zero_grad()
    found = evaluate(potential, graph, ("forces",), create_graph=True)
    assert found.forces is not None
    (found.forces.square().sum() + found.energy.square().sum()).backward()


def energy_and_forces(potential: LearnedPotential, graph: AtomGraph) -> None:
    evaluate(potential, graph, ("forces",))


def processor_time(call: Callable[[], None]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MODELS))
def test_a_training_step(benchmark: Any, name: str) -> None:
    graph = batch_of(structures(name))
    kind, settings = next(iter(reversed(MODELS[name].values())))
    benchmark(training_step, build(kind, settings, graph), graph)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", nargs="*", help=f"of {', '.join(MODELS)}; default: all")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.data or MODELS:
        graph = batch_of(structures(name))
        print(f"{name}: {graph.n_atoms} atoms, {graph.n_edges / graph.n_atoms:.0f} neighbors each")
        potentials = {label: build(*model, graph) for label, model in MODELS[name].items()}
        best = {(label, call): np.inf for label in potentials for call in (training_step, energy_and_forces)}
        for repeat in range(arguments.repeats + 1):
            for label, call in best:
                seconds = processor_time(partial(call, potentials[label], graph))
                if repeat:  # the first one warms up
                    best[label, call] = min(best[label, call], seconds)
        for label, potential in potentials.items():
            n_weights = sum(weight.numel() for weight in potential.parameters())
            times = [best[label, call] / graph.n_atoms * 1e6 for call in (training_step, energy_and_forces)]
            print(f"  {label:34} {n_weights / 1000:5.0f} k weights  step {times[0]:6.0f} µs  forces {times[1]:6.0f} µs")


if __name__ == "__main__":
    main()
