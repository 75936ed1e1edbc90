"""A tiny potential without any symmetry but translations and permutations, and structures to try it on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.kernels.neighbors import connect
from atomsym.models import LearnedConfig, LearnedPotential, PotentialOutput
from atomsym.models.registry import register_architecture
from atomsym.nn import edge_lengths, polynomial_envelope
from atomsym.symmetrizers import SymmetrizedPotential

CUTOFF = 4.5
ELEMENTS = (1, 6, 8, 14)


@dataclass(frozen=True)
class UnconstrainedConfig(LearnedConfig):
    """Description of the potential; with ``direct_forces`` it also predicts forces."""

    channels: int = 5
    direct_forces: bool = False


@register_architecture
class Unconstrained(LearnedPotential):
    """E_i = Σ_k c_k tanh(ρ_ik),  ρ_ik = Σ_j w(d_ij) q_k(z_j) cos(a_k · r_ij + φ_k), with a_k in general directions.

    Many-body, smooth, and neither odd nor symmetric in any axis: jumps cannot hide.
    """

    architecture = "unconstrained"
    Config = UnconstrainedConfig
    config: UnconstrainedConfig

    def __init__(self, config: UnconstrainedConfig) -> None:
        super().__init__(config)
        n = config.channels
        self.directions = torch.nn.Parameter(torch.randn(3, n))
        self.phases = torch.nn.Parameter(torch.randn(n))
        self.charges = torch.nn.Parameter(1 + 0.5 * torch.randn(len(config.elements), n))
        self.combination = torch.nn.Parameter(torch.randn(n))
        self.direct_outputs = ("forces",) if config.direct_forces else ()  # type: ignore[misc]

    def forward(self, graph: AtomGraph) -> PotentialOutput:
        self.require_edges(graph)
        species = self.species(graph.numbers)
        receiver, sender = graph.edge_index
        vectors = graph.edge_vectors()
        weights = polynomial_envelope(edge_lengths(vectors), self.cutoff).unsqueeze(1)
        waves = weights * self.charges[species[sender]] * torch.cos(vectors @ self.directions + self.phases)
        density = waves.new_zeros(graph.n_atoms, self.config.channels).index_add(0, receiver, waves)
        output: PotentialOutput = {"energies": self.total(density.tanh() @ self.combination, species)}
        if self.config.direct_forces:
            pulls = waves.sum(1, keepdim=True) * torch.cat([vectors[:, 1:] ** 2, vectors[:, :1]], dim=1)
            output["forces"] = pulls.new_zeros(graph.n_atoms, 3).index_add(0, receiver, pulls)
        return output


CONFIG = UnconstrainedConfig(ELEMENTS, CUTOFF, (0.0, -1.0, -2.0, -3.0), average_neighbors=4.0)


def symmetrized(method: str, dtype: torch.dtype = torch.float64, **settings: Any) -> SymmetrizedPotential:
    """The potential with a symmetrizer, in evaluation mode; the same weights every time."""
    forces = settings.pop("direct_forces", False)
    config = UnconstrainedConfig(ELEMENTS, CUTOFF, CONFIG.atomic_energies, 4.0, direct_forces=forces)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        potential = SymmetrizedPotential.of("unconstrained", config, {"method": method, **settings})
    return potential.to(dtype).eval()


def bare() -> Unconstrained:
    """The potential itself."""
    found = symmetrized("full").model
    assert isinstance(found, Unconstrained)
    return found


def molecule(n: int = 6, seed: int = 0) -> AtomGraph:
    """Atoms in a box of different edges, none too near to another."""
    generator = torch.Generator().manual_seed(seed)
    places: list[Tensor] = []
    while len(places) < n:
        place = torch.rand(3, generator=generator, dtype=torch.float64) * torch.tensor([4.5, 3.2, 2.2])
        if all(float((place - other).norm()) > 0.9 for other in places):
            places.append(place)
    numbers = torch.tensor([ELEMENTS[k % 3] for k in range(n)])
    return connect(AtomGraph.without_edges(torch.stack(places), numbers), CUTOFF)


def crystal() -> AtomGraph:
    """A triclinic crystal with three atoms in its cell."""
    cell = torch.tensor([[3.1, 0.2, 0.0], [0.0, 3.4, 0.4], [0.3, 0.0, 3.8]], dtype=torch.float64)
    fractional = torch.tensor([[0.1, 0.2, 0.3], [0.55, 0.6, 0.85], [0.9, 0.1, 0.5]], dtype=torch.float64)
    return periodic(fractional @ cell, torch.tensor([14, 8, 8]), cell)


def periodic(positions: Tensor, numbers: Tensor, cell: Tensor, pbc: tuple[bool, bool, bool] = (True,) * 3) -> AtomGraph:
    """A periodic structure with edges."""
    return connect(AtomGraph.without_edges(positions, numbers, cell, torch.tensor(pbc)), CUTOFF)


def slab() -> AtomGraph:
    """Four atoms in a cell that is periodic in x and y."""
    cell = torch.tensor([[3.4, 0.3, 0.0], [0.2, 3.9, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    x = torch.tensor([[0.1, 0.2, 0.0], [1.6, 2.0, 0.5], [0.4, 1.1, 1.7], [2.3, 0.2, 2.6]], dtype=torch.float64)
    return periodic(x, torch.tensor([14, 14, 8, 1]), cell, (True, True, False))


def moved(graph: AtomGraph, operation: Tensor, shift: float = 0.0) -> AtomGraph:
    """The structure turned as a whole, connected anew."""
    bare_graph = AtomGraph.without_edges(
        graph.positions @ operation.T + shift, graph.numbers, graph.cell[0] @ operation.T, graph.pbc[0]
    )
    return connect(bare_graph, CUTOFF)
