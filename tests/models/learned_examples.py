"""The learned potentials that the suite runs on: a new architecture is one more line in ``EXAMPLES``.

Weights are random, sizes small. Three elements and no other size of three: that is how the suite finds the weights
that belong to species.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from atomsym.core import AtomGraph
from atomsym.derivatives import Evaluation, evaluate
from atomsym.kernels.neighbors import connect
from atomsym.models import MACE, LearnedPotential, MACEConfig, NequIP, NequIPConfig
from atomsym.symmetry import random_rotations
from atomsym.testing.convolutions import deviation
from atomsym.testing.cutoff import one_sided_limits
from atomsym.testing.derivatives import five_point

CUTOFF, SKIN, STEP = 3.0, 0.4, 1e-3  # Å
ELEMENTS, ATOMIC_ENERGIES = (8, 14, 22), (-0.2, 0.1, -0.4)
COMMON: dict[str, Any] = {
    "elements": ELEMENTS,
    "cutoff": CUTOFF,
    "atomic_energies": ATOMIC_ENERGIES,
    "average_neighbors": 3.0,
    "scale": 0.7,
    "shift": -0.3,
    "channels": 4,
    "max_degree": 2,
    "n_layers": 2,
    "n_radial": 5,
    "radial_hidden": (8,),
}


@dataclass(frozen=True)
class Example:
    """A potential under test and what it does not promise.

    Attributes:
        make: builds it; weights come from torch's global generator.
        smooth: derivatives of the energy that are continuous at the cutoff.
        mirror: whether energies are the same for mirror images.
        by_radii: whether it knows more of the elements than weights do (covalent radii, nuclear charges).
    """

    make: Callable[[], LearnedPotential]
    smooth: int = 3
    mirror: bool = True
    by_radii: bool = False


def mace(**changes: Any) -> Callable[[], LearnedPotential]:
    return lambda: MACE(MACEConfig(**(COMMON | {"readout_hidden": 6} | changes)))


def nequip(**changes: Any) -> Callable[[], LearnedPotential]:
    """Three layers: in two, all that degrees above 0 do is meet once more in a scalar product, which hides bugs."""
    return lambda: NequIP(NequIPConfig(**(COMMON | {"n_layers": 3} | changes)))


def trained_frequencies() -> LearnedPotential:
    potential = nequip(trainable_frequencies=True)()
    with torch.no_grad():
        potential.get_parameter("frequencies").mul_(1.1)
    return potential


MAIN = {
    "mace": Example(mace()),
    "nequip": Example(nequip()),
}
"""One of each architecture, with everything that its defaults have: the costly tests run on these."""

EXAMPLES = {
    **MAIN,
    "mace-parities": Example(mace(hidden="0e+0o+1e+1o")),
    "mace-hidden-3": Example(mace(hidden="0e+1o+2e+3o", max_degree=3)),
    "mace-correlation-1": Example(mace(correlation=1)),
    "mace-correlation-2-degree-1": Example(mace(correlation=2, max_degree=1)),
    "mace-correlation-4": Example(mace(correlation=4)),
    "mace-degree-0": Example(mace(max_degree=0)),
    "mace-degree-4": Example(mace(max_degree=4, correlation=2)),
    "mace-one-layer": Example(mace(n_layers=1)),
    "mace-three-layers": Example(mace(n_layers=3, last_readout_only=True, readout_activation="tanh")),
    "mace-agnesi-density": Example(mace(distance_transform="agnesi", density=True), smooth=2, by_radii=True),
    "mace-chebyshev-on-weights": Example(
        mace(radial_basis="chebyshev", distance_transform="agnesi", cutoff_on_weights=True, density=True),
        smooth=2,
        by_radii=True,
    ),
    "mace-first-density": Example(mace(first_density=True)),
    "mace-frequencies": Example(mace(frequencies=(1.1, 2.0, 3.2, 4.1, 5.5)), smooth=2),
    "mace-gaussian": Example(mace(radial_basis="gaussian", average_neighbors=0.5), smooth=2),
    "mace-gaussian-on-weights": Example(
        mace(radial_basis="gaussian", cutoff_on_weights=True, average_neighbors=0.5), smooth=2
    ),
    "mace-soft": Example(mace(distance_transform="soft"), by_radii=True),
    "mace-plain": Example(mace(first_interaction="plain", interaction="plain", species_product=False)),
    "mace-repulsion": Example(mace(first_interaction="plain", repulsion="smooth"), by_radii=True),
    "mace-held": Example(
        mace(first_interaction="plain", repulsion="universal", repulsion_end=0.9, hold_below=1.0), by_radii=True
    ),
    "mace-published-repulsion": Example(mace(first_interaction="plain", repulsion="published"), by_radii=True),
    "mace-so2": Example(mace(product="so2", hidden="0e+0o+1e+1o")),
    "mace-cp": Example(mace(product="cp", max_degree=3)),
    "mace-gaunt": Example(mace(product="gaunt", max_degree=3)),
    "nequip-so2-without-parity": Example(nequip(product="so2", hidden="0e+1e+2e", parity=False), mirror=False),
    "nequip-cp": Example(nequip(product="cp")),
    "nequip-gaunt": Example(nequip(product="gaunt", hidden="0e+1o+3o", max_degree=3)),
    "nequip-parities": Example(nequip(hidden="0e+0o+1o+1e+2o+2e")),
    "nequip-hidden-3": Example(nequip(hidden="0e+1o+2e+3o", max_degree=3)),
    "nequip-degree-0": Example(nequip(max_degree=0)),
    "nequip-degree-4": Example(nequip(max_degree=4)),
    "nequip-one-layer": Example(nequip(n_layers=1)),
    "nequip-frequencies": Example(trained_frequencies, smooth=2),
    "nequip-by-element": Example(
        nequip(
            element_scales=(0.7, 1.2, 0.9),
            element_neighbors=(2.0, 4.0, 3.0),
            pair_cutoffs=((3.0, 2.6, 2.8), (2.6, 3.0, 2.9), (2.7, 2.9, 2.8)),
            readout_hidden=(6,),
            repulsion="published",
        ),
        smooth=2,
        by_radii=True,
    ),
    "nequip-without-parity": Example(nequip(hidden="0e+1e+2e", parity=False), mirror=False),
}


def build(example: Example, dtype: torch.dtype = torch.float64, seed: int = 0) -> LearnedPotential:
    """The potential with the weights of a seed; the global generator is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return example.make().to(dtype)


def crystal(dtype: torch.dtype = torch.float64, skin: float = SKIN) -> AtomGraph:
    """Five atoms in a skewed periodic cell, several images of each within the cutoff."""
    cell = [[3.6, 0.2, 0.0], [-0.4, 3.3, 0.5], [0.3, 0.1, 4.1]]
    positions = [[0.1, 0.0, 0.2], [1.7, 1.5, 0.1], [1.6, 0.1, 1.9], [0.0, 1.8, 2.2], [2.9, 2.4, 3.1]]
    return connect(AtomGraph.from_arrays(positions, [14, 8, 22, 14, 8], cell, True, dtype=dtype), CUTOFF + skin)


def cluster(dtype: torch.dtype = torch.float64, skin: float = SKIN) -> AtomGraph:
    """Five atoms in free space without any symmetry; one pair lies between the cutoff and the end of the skin."""
    positions = [[0.0, 0.0, 0.0], [1.5, 0.3, -0.2], [-0.4, 1.6, 0.5], [0.9, 1.1, 1.8], [-1.3, -1.2, 0.9]]
    return connect(AtomGraph.from_arrays(positions, [14, 8, 22, 14, 8], dtype=dtype), CUTOFF + skin)


GRAPHS: dict[str, Callable[..., AtomGraph]] = {"crystal": crystal, "cluster": cluster}


def again(graph: AtomGraph, positions: Any, cell: Any = None, numbers: Any = None) -> AtomGraph:
    """One system with other positions, shape (n_atoms, 3), connected anew."""
    arrays = (
        np.asarray(positions),
        np.asarray(graph.numbers if numbers is None else numbers),
        np.asarray(graph.cell[0] if cell is None else cell),
        np.asarray(graph.pbc[0]),
    )
    assert graph.cutoff is not None
    return connect(AtomGraph.from_arrays(*arrays, dtype=graph.dtype), graph.cutoff)


def forces_of(result: Evaluation) -> torch.Tensor:
    assert result.forces is not None
    return result.forces


def rotation_errors(
    potential: LearnedPotential, graph: AtomGraph, *, improper: bool = True, n_rotations: int = 2
) -> tuple[float, float]:
    """Largest relative change of an atom's energy and of a turned force over random rotations."""
    plain = evaluate(potential, graph, ("forces",))
    generator = torch.Generator().manual_seed(2)
    rotations = random_rotations(n_rotations, generator=generator, dtype=torch.float64, improper=improper)
    if improper:
        rotations = torch.cat([rotations, -torch.eye(3, dtype=torch.float64).unsqueeze(0)])
    energies, forces = [], []
    for rotation in rotations:
        positions, cell = graph.positions.double() @ rotation.T, graph.cell[0].double() @ rotation.T
        turned = evaluate(potential, again(graph, positions, cell), ("forces",))
        energies.append(deviation(turned.energies, plain.energies))
        forces.append(deviation(forces_of(turned), forces_of(plain) @ rotation.T.to(graph.dtype)))
    return max(energies), max(forces)


def force_error(potential: LearnedPotential, graph: AtomGraph, n_directions: int = 3) -> float:
    """Largest error of forces against differences of the energy along random directions, over 1 + |slope|."""
    forces = forces_of(evaluate(potential, graph, ("forces",)))
    generator = torch.Generator().manual_seed(4)
    worst = 0.0
    for _ in range(n_directions):
        direction = torch.randn(graph.positions.shape, generator=generator, dtype=graph.dtype)
        direction /= direction.norm()

        def energy(by: float, direction: torch.Tensor = direction) -> Any:
            with torch.no_grad():
                return float(potential(graph.with_positions(graph.positions + by * direction))["energies"].sum())

        slope = -float((forces * direction).sum())
        worst = max(worst, abs(slope - float(five_point(energy, STEP))) / (1 + abs(slope)))
    return worst


def cutoff_jumps(potential: LearnedPotential) -> list[float]:
    """Relative jumps of E, F, dF/dt and d²F/dt² where an atom enters the cutoff of one of three others."""
    numbers = [8, 14, 22, 8]
    direction = np.array([0.6, -0.64, 0.48])

    def values(t: float) -> Any:
        entering = (CUTOFF + t) * direction
        positions = [[0, 0, 0], [-0.4, 1.7, 0.3], [1.2, 0.4, -1.5], entering]
        result = evaluate(potential, connect(AtomGraph.from_arrays(positions, numbers), CUTOFF + SKIN), ("forces",))
        return np.concatenate([[float(result.energy)], forces_of(result).numpy().ravel()])

    inside = np.array([values(t) for t in np.linspace(-1.0, -0.02, 50)])
    first = np.gradient(inside[:, 1:], 0.02, axis=0)
    scales = [
        np.ptp(inside[:, 0]),
        *(np.abs(x).max() for x in (inside[:, 1:], first, np.gradient(first, 0.02, axis=0))),
    ]
    found = []
    for step in (0.015, 0.008, 0.004, 0.002):
        difference = np.abs(one_sided_limits(values, step) - one_sided_limits(values, -step))
        found.append([difference[0, 0], *difference[:, 1:].max(axis=1)])
    return [float(jump / scale) for jump, scale in zip(np.min(found, axis=0), scales, strict=True)]


def batching_error(potential: LearnedPotential) -> float:
    """Largest change of energies, forces and virials when systems are evaluated together, relative."""
    alone = AtomGraph.from_arrays([[0.0, 0.0, 0.0]], [22])
    graphs = [crystal(), connect(alone, CUTOFF + SKIN), cluster()]
    together = evaluate(potential, AtomGraph.batch(graphs), ("forces", "virial"))
    each = [evaluate(potential, graph, ("forces", "virial")) for graph in graphs]
    names = ("energies", "forces", "virial")
    return max(deviation(getattr(together, n), torch.cat([getattr(part, n) for part in each])) for n in names)


def renaming_error(example: Example) -> tuple[float, float]:
    """Relative change of the interaction energies when elements are renamed in weights and structure, and in weights.

    The first is zero if elements differ by their weights only, the second is not if those matter.
    """
    potential, renamed, graph = build(example), build(example), crystal()
    order = torch.tensor([1, 2, 0])
    owned = [weight for weight in renamed.parameters() if weight.shape[0] == len(order)]
    assert len(owned) >= 2
    with torch.no_grad():
        for weight in owned:
            weight[order] = weight.clone()
    elements, species = torch.tensor(ELEMENTS), potential.species(graph.numbers)
    isolated = torch.tensor(ATOMIC_ENERGIES, dtype=torch.float64)
    before = evaluate(potential, graph, ("energies",)).energies - isolated[species]
    weights = evaluate(renamed, graph, ("energies",)).energies - isolated[species]
    both = evaluate(renamed, replace(graph, numbers=elements[order[species]]), ("energies",)).energies
    return deviation(both - isolated[order[species]], before), deviation(weights, before)


def error_beside_large_atomic_energies(potential: LearnedPotential, graph: AtomGraph) -> float:
    """Largest change of an atom's energy, eV, when 10⁶ eV are added to it by way of the config."""
    energies = tuple(energy + 1e6 for energy in ATOMIC_ENERGIES)
    large = type(potential)(replace(potential.config, atomic_energies=energies)).to(graph.dtype)
    large.load_state_dict(potential.state_dict())
    before, after = (evaluate(model, graph, ("energies",)).energies for model in (potential, large))
    return float((after - before - 1e6).abs().max())
