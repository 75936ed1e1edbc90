"""The kernels as one network: what an interatomic potential built from them can rely on.

A small message-passing energy goes through every kernel twice; its derivatives are compared with finite differences of
the energy alone, so that each of them is checked against something that knows nothing about gradients.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.derivatives import evaluate, hessian
from atomsym.kernels.neighbors import connect
from atomsym.kernels.segments import segment_sum
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.kernels.symmetric_contraction import SymmetricContraction, symmetric_contraction
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.nn import bessel_basis, edge_lengths, polynomial_envelope
from atomsym.symmetry import Irreps, random_rotations
from atomsym.testing import tolerances
from atomsym.testing.convolutions import deviation
from atomsym.testing.derivatives import five_point

CUTOFF, SKIN, N_BASIS, CHANNELS, MAX_DEGREE = 3.0, 0.4, 4, 3, 2
STEP = 1e-3  # Å, and relative change of weights
ELEMENTS = (8, 14)


class Layer(torch.nn.Module):
    """Messages along the edges, summed, and multiplied with themselves: node features → node features."""

    def __init__(self, irreps_in: Irreps, irreps_out: Irreps, generator: torch.Generator) -> None:
        super().__init__()
        messages = Irreps.parse("0e+1o+2e")
        self.product = ChannelwiseProduct.merged(irreps_in, Irreps.spherical_harmonics(MAX_DEGREE), messages)
        self.contraction = SymmetricContraction(messages, irreps_out, 3)
        radial = (N_BASIS, self.product.n_paths * CHANNELS)
        many_body = (len(ELEMENTS), self.contraction.n_paths, CHANNELS)
        self.radial = torch.nn.Parameter(torch.randn(radial, generator=generator, dtype=torch.float64))
        self.many_body = torch.nn.Parameter(torch.randn(many_body, generator=generator, dtype=torch.float64) / 3)

    def forward(
        self, features: Tensor, harmonics: Tensor, basis: Tensor, graph: AtomGraph, species: Tensor, backend: str
    ) -> Tensor:
        weights = (basis @ self.radial).unflatten(1, (-1, CHANNELS))
        messages = tensor_product_convolution(
            features, harmonics, weights, graph.topology, self.product, backend=backend
        )
        return symmetric_contraction(messages, self.many_body, species, self.contraction, backend=backend)


class Network(torch.nn.Module):
    """Energies of the atoms from two layers and a linear readout of their scalars, plus a pair repulsion."""

    def __init__(self, backend: str = "auto") -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(11)
        self.backend = backend
        embedding = torch.randn(len(ELEMENTS), 1, CHANNELS, generator=generator, dtype=torch.float64)
        self.embedding = torch.nn.Parameter(embedding)
        hidden = Irreps.parse("0e+1o")
        self.first = Layer(Irreps.parse("0e"), hidden, generator)
        self.second = Layer(hidden, Irreps.parse("0e"), generator)
        self.readout = torch.nn.Parameter(torch.randn(2 * CHANNELS, generator=generator, dtype=torch.float64) / 10)
        self.repulsion = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def forward(self, graph: AtomGraph) -> Tensor:
        vectors = graph.edge_vectors()
        distance = edge_lengths(vectors)
        envelope = polynomial_envelope(distance, CUTOFF)
        basis = bessel_basis(distance, CUTOFF, N_BASIS) * envelope.unsqueeze(-1)
        harmonics = spherical_harmonics(vectors, MAX_DEGREE, backend=self.backend)
        species = (graph.numbers == ELEMENTS[1]).long()
        edges = (harmonics, basis, graph, species, self.backend)
        first = self.first(self.embedding[species], *edges)
        second = self.second(first, *edges)
        scalars = torch.cat([first[:, 0], second[:, 0]], dim=1).tanh()
        pairs = self.repulsion * envelope * torch.exp(-distance)
        return scalars @ self.readout + segment_sum(pairs, graph.edge_index[0], graph.n_atoms, backend=self.backend)


def crystal() -> AtomGraph:
    """Five atoms in a skewed periodic cell, several images of each within the cutoff."""
    cell = [[3.6, 0.2, 0.0], [-0.4, 3.3, 0.5], [0.3, 0.1, 4.1]]
    positions = [[0.1, 0.0, 0.2], [1.7, 1.5, 0.1], [1.6, 0.1, 1.9], [0.0, 1.8, 2.2], [2.9, 2.4, 3.1]]
    return connect(AtomGraph.from_arrays(positions, [14, 8, 8, 14, 8], cell, True), CUTOFF + SKIN)


def cluster() -> AtomGraph:
    """Four atoms in free space."""
    positions = [[0.0, 0.0, 0.0], [1.5, 0.3, -0.2], [-0.4, 1.6, 0.5], [0.9, 1.1, 1.8]]
    return connect(AtomGraph.from_arrays(positions, [14, 8, 8, 14]), CUTOFF + SKIN)


GRAPHS: dict[str, Callable[[], AtomGraph]] = {"crystal": crystal, "cluster": cluster}


@pytest.fixture(params=list(GRAPHS))
def graph(request: pytest.FixtureRequest) -> AtomGraph:
    return GRAPHS[request.param]()


def energy_of(network: Network, graph: AtomGraph) -> float:
    with torch.no_grad():
        return float(network(graph).sum())


def relative(found: float, expected: float) -> float:
    return abs(found - expected) / (1 + abs(expected))


def test_the_network_is_worth_testing() -> None:
    """Forces are not small, every weight matters, and messages of all degrees are there."""
    network, graph = Network(), crystal()
    forces = evaluate(network, graph, ("forces",), create_graph=True).forces
    assert forces is not None
    assert forces.abs().max() > 0.1
    for gradient in torch.autograd.grad((forces**2).sum(), list(network.parameters())):
        assert (gradient.flatten(0, -2) if gradient.ndim > 1 else gradient).abs().max() > 1e-3


def test_forces_equal_differences_of_the_energy(graph: AtomGraph) -> None:
    network = Network()
    forces = evaluate(network, graph, ("forces",)).forces
    for atom in range(graph.n_atoms):
        for axis in range(3):

            def energy(by: float, atom: int = atom, axis: int = axis) -> Any:
                moved = graph.positions.clone()
                moved[atom, axis] += by
                return energy_of(network, graph.with_positions(moved))

            error = relative(float(forces[atom, axis]), -five_point(energy, STEP))
            assert error < tolerances.FINITE_DIFFERENCE_FORCES.float64


def test_stress_equals_differences_of_the_energy() -> None:
    network, graph = Network(), crystal()
    stress = evaluate(network, graph, ("stress",)).stress[0]
    for a in range(3):
        for b in range(3):

            def energy(by: float, a: int = a, b: int = b) -> Any:
                strain = torch.zeros(1, 3, 3, dtype=torch.float64)
                strain[0, a, b] += by / 2
                strain[0, b, a] += by / 2
                return energy_of(network, graph.with_positions(graph.positions, strain))

            slope = five_point(energy, STEP) / float(graph.volume)
            assert abs(float(stress[a, b]) - slope) < tolerances.STRESS.float64


def test_energies_are_invariant_and_forces_turn_under_rotations_and_inversion(graph: AtomGraph) -> None:
    network = Network()
    plain = evaluate(network, graph, ("forces",))
    generator = torch.Generator().manual_seed(2)
    rotations = random_rotations(3, generator=generator, dtype=torch.float64, improper=True)
    for rotation in (*rotations, -torch.eye(3, dtype=torch.float64)):
        arrays = (graph.positions @ rotation.T, graph.numbers, graph.cell[0] @ rotation.T, graph.pbc[0])
        turned = connect(AtomGraph.from_arrays(*(array.numpy() for array in arrays)), CUTOFF + SKIN)
        result = evaluate(network, turned, ("forces",))
        assert deviation(result.energies, plain.energies) < tolerances.EQUIVARIANCE.float64
        assert deviation(result.forces, plain.forces @ rotation.T) < tolerances.EQUIVARIANCE.float64


def test_hessian_is_the_same_in_batches_row_by_row_and_from_differences(graph: AtomGraph) -> None:
    network = Network()
    batched = hessian(network, graph, method="vmap", chunk_size=4, symmetrize=False)
    rows = hessian(network, graph, method="rows", symmetrize=False)
    differences = hessian(network, graph, method="finite-difference", step=STEP / 4)
    assert deviation(batched, rows) < tolerances.BACKEND_PARITY.float64
    assert deviation(batched, batched.T) < tolerances.HESSIAN_SYMMETRY.float64
    assert deviation(differences, batched) < tolerances.HESSIAN_FINITE_DIFFERENCE.float64
    again = torch.func.jacrev(torch.func.jacrev(lambda x: network(graph.with_positions(x)).sum()))(graph.positions)
    assert deviation(again.detach().reshape(batched.shape), batched) < tolerances.BACKEND_PARITY.float64


def targets(graph: AtomGraph) -> Tensor:
    return torch.randn(graph.positions.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def loss_by_evaluate(network: Network, graph: AtomGraph) -> Tensor:
    """What training minimises: squared errors of energy, forces and stress."""
    result = evaluate(network, graph, ("forces", "stress"), create_graph=True)
    assert result.forces is not None
    assert result.stress is not None
    errors = (result.forces - targets(graph)) ** 2
    return errors.sum() + (result.energy**2).sum() + (result.stress**2).sum()


def test_gradients_of_a_training_step_equal_differences_of_the_loss() -> None:
    network, graph = Network(), crystal()
    loss_by_evaluate(network, graph).backward()
    generator = torch.Generator().manual_seed(3)
    for name, weight in network.named_parameters():
        direction = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        direction /= direction.norm()

        def loss(by: float, weight: Tensor = weight, direction: Tensor = direction) -> Any:
            original = weight.detach().clone()
            with torch.no_grad():
                weight.copy_(original + by * direction)
            value = loss_by_evaluate(network, graph).item()
            with torch.no_grad():
                weight.copy_(original)
            return value

        found = float((weight.grad * direction).sum())
        assert abs(found) > 1e-6, name
        assert relative(found, five_point(loss, STEP)) < tolerances.FINITE_DIFFERENCE_FORCES.float64, name


@pytest.fixture
def _quiet_compiler() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while compiling
        torch._dynamo.reset()
        with torch._dynamo.config.patch(trace_autograd_ops=True):
            yield


@pytest.mark.usefixtures("_quiet_compiler")
@pytest.mark.parametrize("compiler", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_training_step_equals_an_eager_one(compiler: str) -> None:
    graph = crystal()
    wanted, _ = targets(graph), graph.topology  # a compiled function can read the topology but not build it

    def step(network: Network, positions: Tensor) -> tuple[Tensor, Tensor]:
        energy = network(graph.with_positions(positions)).sum()
        (gradient,) = torch.autograd.grad(energy, positions, create_graph=True)
        return ((gradient + wanted) ** 2).sum() + energy**2, gradient

    results = []
    for call in (torch.compile(step, fullgraph=True, backend=compiler), step):
        network, positions = Network(), graph.positions.clone().requires_grad_()
        loss, gradient = call(network, positions)
        loss.backward()
        gradients = [weight.grad for weight in network.parameters()]
        assert all(found is not None and found.abs().max() > 0 for found in gradients)
        results.append([loss.detach(), gradient.detach(), positions.grad, *gradients])
    for found, expected in zip(*results, strict=True):
        assert deviation(found, expected) < tolerances.BACKEND_PARITY.float64


def test_backends_agree(graph: AtomGraph) -> None:
    properties = ("forces", "virial")
    expected = evaluate(Network("reference"), graph, properties)
    found = evaluate(Network("cpp"), graph, properties)
    for name in ("energies", "forces", "virial"):
        assert deviation(getattr(found, name), getattr(expected, name)) < tolerances.BACKEND_PARITY.float64


def test_single_precision_is_close_to_double(graph: AtomGraph) -> None:
    double = evaluate(Network(), graph, ("forces",))
    single = evaluate(Network().float(), graph.to(dtype=torch.float32), ("forces",))
    assert single.forces is not None
    assert single.forces.dtype == torch.float32
    assert deviation(single.energies.double(), double.energies) < tolerances.BACKEND_PARITY.float32
    assert deviation(single.forces.double(), double.forces) < tolerances.BACKEND_PARITY.float32


def test_atoms_without_neighbors_and_an_empty_graph() -> None:
    network = Network()
    apart = connect(AtomGraph.from_arrays([[0, 0, 0], [9, 0, 0]], [14, 8]), CUTOFF)
    result = evaluate(network, apart, ("forces",))
    assert torch.equal(result.forces, torch.zeros(2, 3, dtype=torch.float64))
    nothing = connect(AtomGraph.from_arrays([], []), CUTOFF)
    empty = evaluate(network, nothing, ("forces",))
    assert float(empty.energy.sum()) == 0
    assert empty.forces is not None
    assert empty.forces.shape == (0, 3)
