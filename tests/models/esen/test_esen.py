"""What is eSEN's own: frames without a preferred turn, attention, config, heads, training; and planted bugs."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import learned_examples as examples
import numpy as np
import pytest
import torch
import training_problem as problem
from esen_examples import EXAMPLES, MAIN, SMALL, esen
from learned_examples import Example, build, cluster, crystal
from torch import Tensor

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import AtomGraph, AtomsymError, ConfigError
from atomsym.derivatives import evaluate
from atomsym.heads import HessianHeadConfig, HessianPotential
from atomsym.kernels.neighbors import connect
from atomsym.kernels.so2_convolution import frames as frames_module
from atomsym.models import ESEN, DatasetStatistics, ESENConfig, LearnedPotential
from atomsym.models.esen import edges as edges_module
from atomsym.models.esen.attention import Attention
from atomsym.models.esen.model import Edges
from atomsym.models.zbl import ending_repulsion
from atomsym.symmetry import random_rotations, representation_matrix
from atomsym.testing import Verdict, tolerances
from atomsym.testing.convolutions import deviation
from atomsym.training import TrainingData, read_log, train
from atomsym.workflows.check import CheckOptions, run_check

CLEARLY = 100.0  # how many times its tolerance a planted bug exceeds


@pytest.mark.parametrize("name", ["esen", "esen-grid", "esen-attention", "esen-degree-4-order-1"])
def test_the_turn_of_frames_about_their_edges_does_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    potential, graph = build(EXAMPLES[name]), crystal()
    plain = evaluate(potential, graph, ("forces",))
    right = frames_module.rotation_to_polar_axis
    n_calls = 0

    def rolled(vectors: Tensor) -> Tensor:
        nonlocal n_calls
        n_calls += 1
        angle = torch.linspace(0, 50, len(vectors), dtype=vectors.dtype)
        c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
        turn = torch.stack([torch.stack(row, -1) for row in ((c, zero, s), (zero, one, zero), (-s, zero, c))], -2)
        return turn @ right(vectors)

    monkeypatch.setattr(frames_module, "rotation_to_polar_axis", rolled)
    monkeypatch.setattr(frames_module, "_select", lambda *_: "reference")
    other = evaluate(potential, graph, ("forces",))
    assert n_calls
    assert deviation(other.energies, plain.energies) < tolerances.ALGEBRA.float64
    assert deviation(examples.forces_of(other), examples.forces_of(plain)) < tolerances.ALGEBRA.float64


def test_orders_above_the_largest_are_not_there_and_all_orders_are_the_default() -> None:
    assert ESENConfig(**SMALL).orders == 2
    whole, cut = build(EXAMPLES["esen"]), build(Example(esen(max_order=1)))
    n_weights = [sum(weight.numel() for weight in potential.parameters()) for potential in (cut, whole)]
    assert n_weights[0] < n_weights[1]
    explicit = build(Example(esen(max_order=2)))
    assert torch.equal(explicit(crystal())["energies"], whole(crystal())["energies"])


@pytest.mark.parametrize("name", ["esen", "esen-attention"])
def test_edges_in_blocks_give_the_same_and_blocks_hold_whole_receivers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Energies, forces and the gradients of a loss of both; what a block made is made again, not kept."""
    potential, graph = build(EXAMPLES[name]), crystal()
    assert isinstance(potential, ESEN)

    def results() -> list[Tensor]:
        found = evaluate(potential, graph, ("forces",), create_graph=True)
        (examples.forces_of(found).square().sum() + found.energy.sum()).backward()
        gradients = [weight.grad for weight in potential.parameters() if weight.grad is not None]
        potential.zero_grad()
        return [found.energies.detach(), examples.forces_of(found).detach(), *gradients]

    whole = results()
    for size in (1, 60):
        edges = potential.edges(graph, potential.species(graph.numbers))
        blocks = edges.blocks(size)
        receivers = [set(block.topology.receiver.tolist()) for block in blocks]
        assert len(blocks) == (5 if size == 1 else len(blocks)) > 1
        assert all(not one & other for one, other in pairwise(receivers))
        assert sum(block.topology.n_edges for block in blocks) == graph.n_edges
        monkeypatch.setattr(edges_module, "EDGES_OF_BLOCK", size)
        pairs = list(zip(results(), whole, strict=True))
        assert all(deviation(*pair) < tolerances.ALGEBRA.float64 for pair in pairs)
        monkeypatch.undo()


def test_attention_equals_its_equation() -> None:
    potential, graph = build(EXAMPLES["esen-attention"]), crystal()
    edges = potential.edges(graph, potential.species(graph.numbers))  # type: ignore[operator]
    attention = potential.get_submodule("blocks.0.messages.attention")
    assert isinstance(attention, Attention)
    scalars = torch.randn(graph.n_edges, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    found, queries = attention(scalars, edges).detach(), attention.queries.detach()
    for edge in range(0, graph.n_edges, 7):
        receiver = int(graph.edge_index[0, edge])
        around = [other for other in range(graph.n_edges) if int(graph.edge_index[0, other]) == receiver]
        for head in range(2):

            def weight(other: int, head: int = head) -> float:
                x = scalars[other].reshape(5, 2)[:, head]
                raw = float((1.6791767923989418 * x * torch.sigmoid(x) * queries[:, head]).sum()) / 5**0.5
                return float(edges.envelope[other]) * math.exp(8 * math.tanh(raw / 8))

            expected = weight(edge) / (1 + sum(weight(other) for other in around))
            assert abs(float(found[edge, head]) - expected) < tolerances.ALGEBRA.float64


def test_features_of_all_degrees_turn_with_the_structure() -> None:
    potential, graph = build(MAIN["esen-all"]), cluster()
    assert isinstance(potential, ESEN)
    assert str(potential.feature_irreps) == "0e+1o+2e"
    assert str(build(EXAMPLES["esen-without-parity"]).feature_irreps) == "0e+1e+2e"  # type: ignore[attr-defined]
    (rotation,) = random_rotations(1, generator=torch.Generator().manual_seed(0), dtype=torch.float64, improper=True)
    plain = potential.describe(graph).features.detach()
    assert plain.shape == (5, 9, potential.feature_channels)
    assert all(float(plain[:, degree**2 : (degree + 1) ** 2].abs().max()) > 0.01 for degree in range(3))
    turned = potential.describe(examples.again(graph, graph.positions @ rotation.T)).features.detach()
    matrix = representation_matrix(potential.feature_irreps, rotation)
    assert deviation(turned, torch.einsum("ij,njc->nic", matrix, plain)) < tolerances.EQUIVARIANCE.float64


def test_a_hessian_head_reads_its_features() -> None:
    head = HessianHeadConfig(cutoff=4.5, channels=5, n_radial=6, hidden=7)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        potential = HessianPotential.of("esen", ESENConfig(**SMALL), head).double()
    graph = cluster()
    (matrix,) = potential.hessians(graph)
    assert matrix.shape == (15, 15)
    assert (matrix - matrix.T).abs().max() < 1e-12 * matrix.abs().max()
    (rotation,) = random_rotations(1, generator=torch.Generator().manual_seed(0), dtype=torch.float64, improper=True)
    (turned,) = potential.hessians(examples.again(graph, graph.positions @ rotation.T))
    whole = torch.block_diag(*[rotation] * 5)
    assert deviation(turned, whole @ matrix @ whole.T) < tolerances.EQUIVARIANCE.float64
    loss = sum(blocks.square().sum() for blocks in potential.with_hessians(graph).hessians.matrices())
    loss.backward()
    reached = [name for name, weight in potential.backbone.named_parameters() if weight.grad is not None]
    assert any("blocks.0.messages.first" in name for name in reached)
    with pytest.raises(ConfigError, match="with 2e"):
        HessianPotential.of("esen", ESENConfig(**(SMALL | {"max_degree": 1})), head)


def test_the_repulsion_is_the_shared_one_and_held_networks_leave_close_atoms_to_it() -> None:
    plain, repulsive = build(Example(esen())), build(Example(esen(repulsion="universal", repulsion_end=0.8)))
    graph = crystal()
    numbers = graph.numbers[graph.edge_index[0]], graph.numbers[graph.edge_index[1]]
    half = ending_repulsion(torch.linalg.vector_norm(graph.edge_vectors(), dim=1), *numbers, 0.8, repulsive.cutoff)
    expected = torch.zeros(graph.n_atoms, dtype=torch.float64).index_add(0, graph.edge_index[0], half)
    assert expected.max() > 0.01
    assert deviation(repulsive(graph)["energies"] - plain(graph)["energies"], expected) < tolerances.ALGEBRA.float64
    held = build(Example(esen(repulsion="universal", repulsion_end=0.8, hold_below=0.6)))

    def by_network(potential: LearnedPotential, distance: float) -> float:
        pair = connect(AtomGraph.from_arrays([[0, 0, 0], [0, distance, 0]], [14, 8], dtype=torch.float64), 3.4)
        half = ending_repulsion(torch.tensor([distance], dtype=torch.float64), *pair.numbers[:, None], 0.8, 3.0)
        return float((potential(pair)["energies"].sum() - 2 * half.sum()).detach())

    assert abs(by_network(held, 1.3) - by_network(repulsive, 1.3)) < 1e-10  # 0.6 of their radii: 1.06 Å
    assert abs(by_network(held, 0.3) - by_network(held, 0.5)) < 1e-10
    assert abs(by_network(repulsive, 0.3) - by_network(repulsive, 0.5)) > 0.01


def test_training_lowers_the_loss_and_the_model_passes_structural_checks(tmp_path: Path) -> None:
    structures = problem.make_structures()
    settings = {
        "architecture": "esen", "cutoff": 5.0, "channels": 6, "edge_channels": 6, "feed_forward_channels": 8,
        "max_degree": 1, "n_layers": 1, "radial_hidden": [16], "repulsion": "universal", "repulsion_end": 0.75,
    }  # fmt: skip
    config = problem.config(
        model=settings, optimizer={"learning_rate": 0.01, "weight_decay": 1e-6}, epochs=15, dtype="float64"
    )
    train(config, TrainingData(structures[:12], structures[12:], description="Lennard-Jones argon"), tmp_path)
    rows = read_log(tmp_path / "log.csv")
    assert rows[-1]["validation_loss"] < 0.3 * rows[0]["validation_loss"]
    checks = ("F-1", "F-3", "F-5", "F-6", "F-18")
    calculator = AtomsymCalculator(tmp_path / "model.safetensors", dtype="float64")
    card = run_check(calculator, CheckOptions(only=checks), name="trained")
    failed = [result.id for result in card.results if result.verdict in (Verdict.FAIL, Verdict.ERROR)]
    assert not failed
    assert sum(result.verdict is Verdict.PASS for result in card.results) >= 4
    assert {result.id: result.verdict for result in card.results}["F-18"] is Verdict.PASS


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"atomic_energies": (0.0,)}, "1 atomic_energies for 3 elements"),
    ({"average_neighbors": 0.0}, "average_neighbors positive"),
    ({"scale": math.nan}, "must be finite"),
    ({"elements": (22, 14, 8)}, "increasing"),
    ({"cutoff": -1.0}, "cutoff must be"),
    ({"radial_hidden": (8, 0)}, "radial_hidden must be at least 1"),
    *(
        ({name: 0}, f"{name} must be at least 1; found 0")
        for name in ("channels", "n_layers", "edge_channels", "feed_forward_channels", "species_channels")
    ),
    ({"attention_channels": 0}, "attention_channels must be at least 1"),
    ({"readout_hidden": 0}, "readout_hidden must be at least 1"),
    ({"max_degree": -1}, "max_degree must be >= 0"),
    ({"max_order": 3}, "max_order 0 to max_degree; found 2 and 3"),
    ({"max_order": -1}, "max_order 0 to max_degree"),
    ({"n_radial": 1}, "n_radial and envelope_order must be at least 2; found 1"),
    ({"envelope_order": 1}, "envelope_order must be at least 2; found 5 and 1"),
    ({"edge_activation": "relu"}, "edge_activation must be one of gate, grid; found 'relu'"),
    ({"feed_forward": "relu"}, "feed_forward must be one of gate, grid"),
    ({"attention_heads": 3}, "attention_heads must be 0 or divide edge_channels; found 3 and 4"),
    ({"attention_heads": -1}, "attention_heads must be 0 or divide"),
    ({"repulsion": "smooth"}, "repulsion must be one of none, universal; found 'smooth'"),
    ({"repulsion": "universal", "repulsion_end": 1.2}, "repulsion_end must be above 0 and at most 1"),
    ({"repulsion": "universal", "hold_below": -0.1}, "hold_below 0 to 1"),
    ({"repulsion_end": 0.8}, "need a repulsion"),
    ({"hold_below": 0.5}, "need a repulsion"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_configs_refuse_what_cannot_work(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AtomsymError, match=message):
        ESENConfig(**(SMALL | changes))


def test_configs_take_from_the_data_what_is_not_set() -> None:
    statistics = DatasetStatistics((1, 6, 8), 4.5, 11.0, (-13.6, -1029.0, -2041.0), -4.2, 1.3)
    config: Any = ESEN.config_from_statistics({"channels": 8}, statistics)
    assert isinstance(config, ESENConfig)
    assert (config.elements, config.cutoff, config.channels, config.average_neighbors) == ((1, 6, 8), 4.5, 8, 11.0)
    assert (config.scale, config.shift) == (1.3, -4.2)


# Planted bugs --------------------------------------------------------------------------------------------------------

Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Wrapper], None]:
    """Replace a function in all modules of the architecture that use it."""

    def planted(function: str, wrapper: Wrapper) -> None:
        users = [
            module
            for path, module in sys.modules.items()
            if path.startswith("atomsym.models.esen.") and hasattr(module, function)
        ]
        assert users
        for module in users:
            monkeypatch.setattr(module, function, wrapper(getattr(module, function)))

    return planted


def test_messages_that_know_the_turn_of_their_frame(plant: Callable[[str, Wrapper], None]) -> None:
    """Components +m that are a little larger: what a wrong sign or a mixed-up pair in the linear map would do."""

    def wrong(gate: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def gated(*arguments: Any) -> Tensor:
            rows = gate(*arguments)  # three of order 0, two of +1, two of −1, one each of +2 and −2
            if rows.shape[1] != 9 * SMALL["edge_channels"]:
                return rows
            factors = rows.new_tensor([1, 1, 1, 1.001, 1.001, 1, 1, 1.001, 1])
            return rows * factors.repeat_interleave(SMALL["edge_channels"])

        return gated

    potential = build(EXAMPLES["esen"])
    plant("row_gate", wrong)
    energies, forces = examples.rotation_errors(potential, cluster(), improper=False)
    assert min(energies, forces) > CLEARLY * tolerances.EQUIVARIANCE.float64


def test_a_map_that_the_inversion_forbids() -> None:
    """Only reflections can tell."""
    potential = build(EXAMPLES["esen-without-parity"])
    assert max(examples.rotation_errors(potential, cluster(), improper=False)) < tolerances.EQUIVARIANCE.float64
    energies, _ = examples.rotation_errors(potential, cluster())
    assert energies > CLEARLY * tolerances.EQUIVARIANCE.float64


@pytest.mark.parametrize(
    ("order", "broken"),
    [pytest.param(0, 0, marks=pytest.mark.slow), pytest.param(1, 1, marks=pytest.mark.slow), (2, 2)],
)
def test_an_envelope_that_is_not_smooth_enough(order: int, broken: int, plant: Callable[[str, Wrapper], None]) -> None:
    def rough(_: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def envelope(distance: Tensor, cutoff: float, **__: Any) -> Tensor:
            inside = (distance < cutoff).to(distance.dtype)
            return inside * (1 - distance / cutoff).clamp(min=0).pow(order) if order else inside

        return envelope

    plant("polynomial_envelope", rough)
    jumps = examples.cutoff_jumps(build(EXAMPLES["esen"]))
    assert jumps[broken] > CLEARLY * tolerances.CUTOFF_JUMP.float64


def test_attention_that_does_not_know_the_envelope(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Attention.forward

    def wrong(self: Attention, scalars: Tensor, edges: Edges) -> Tensor:
        return right(self, scalars, replace(edges, envelope=(edges.envelope > 0).double()))

    monkeypatch.setattr(Attention, "forward", wrong)
    assert examples.cutoff_jumps(build(EXAMPLES["esen-attention"]))[0] > CLEARLY * tolerances.CUTOFF_JUMP.float64


def test_a_norm_over_the_whole_batch(plant: Callable[[str, Wrapper], None]) -> None:
    def normalized(total: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda rows, frames, weights, topology: (
            total(rows, frames, weights, topology) / (1 + topology.n_edges / topology.n_nodes)
        )

    potential = build(EXAMPLES["esen"])
    plant("sum_out_of_frames", normalized)
    assert examples.batching_error(potential) > CLEARLY * tolerances.BATCHING.float64


def test_distances_that_carry_no_gradient(plant: Callable[[str, Wrapper], None]) -> None:
    potential = build(EXAMPLES["esen"])
    plant("edge_lengths", lambda lengths: lambda vectors: lengths(vectors.detach()))
    error = examples.force_error(potential, crystal())
    assert error > CLEARLY * tolerances.FINITE_DIFFERENCE_FORCES.float64


def test_a_layer_that_mistakes_the_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LearnedPotential.species
    monkeypatch.setattr(LearnedPotential, "species", lambda self, numbers: right(self, numbers).clamp(max=1))
    both, _ = examples.renaming_error(EXAMPLES["esen"])
    assert both > CLEARLY * tolerances.ALGEBRA.float64


def test_energies_of_random_weights_are_of_the_size_that_the_scale_says() -> None:
    energies = np.concatenate(
        [build(MAIN["esen"], seed=seed)(crystal())["energies"].detach().numpy() for seed in range(6)]
    )
    assert 0.05 < np.std(energies) / 0.7 < 3
