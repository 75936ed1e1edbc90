"""What FAENet promises: all that a potential must but the symmetry under rotations, which frames give it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import learned_examples as examples
import numpy as np
import pytest
import torch
from learned_examples import ATOMIC_ENERGIES, CUTOFF, ELEMENTS, GRAPHS, SKIN, Example, build, cluster, crystal
from torch import Tensor

from atomsym.artifacts import ModelCard, config_from_json, config_to_json, load_model, save_model
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import AtomGraph, ConfigError, InputError, UnsupportedElementError
from atomsym.derivatives import evaluate
from atomsym.kernels.neighbors import connect
from atomsym.models import DatasetStatistics, FAENet, FAENetConfig, LearnedPotential
from atomsym.models.faenet import interaction, linear, model
from atomsym.testing import Verdict, tolerances
from atomsym.testing.convolutions import deviation
from atomsym.workflows.check import CheckOptions, run_check

DTYPES = [torch.float64, torch.float32]
COMMON: dict[str, Any] = {
    "elements": ELEMENTS, "cutoff": CUTOFF, "atomic_energies": ATOMIC_ENERGIES, "average_neighbors": 3.0, "scale": 0.7,
    "shift": -0.3, "channels": 24, "filters": 10, "n_layers": 2, "n_gaussians": 6, "period_group_channels": 2,
    "force_channels": 7,
}  # fmt: skip
CLEARLY = 100.0  # how many times its tolerance a planted bug exceeds


def faenet(**changes: Any) -> Callable[[], LearnedPotential]:
    """Weights larger than usual, so that what they do stands out."""

    def make() -> LearnedPotential:
        potential = FAENet(FAENetConfig(**(COMMON | changes)))
        with torch.no_grad():
            for name in sorted(potential.decay_parameters()):
                potential.get_parameter(name).mul_(1.4)
        return potential

    return make


EXAMPLES: dict[str, Example] = {
    name: Example(faenet(**changes), smooth=2, mirror=False)
    for name, changes in {
        "default": {},
        "simple": {"interaction": "simple", "filters": 24, "skip": "none"},
        "base": {"interaction": "base", "skip": "add", "energy_head": "weighted_initial", "second_update": True},
        "updownscale": {"interaction": "updownscale", "skip": "concat_atom", "energy_head": "weighted_final"},
        "local-env": {"interaction": "updown_local_env", "properties": False},
        "system-norm": {"norm": "system", "property_channels": 3},
        "direct": {"direct_forces": True, "force_head": "res_updown", "force_norm": "layer"},
        "elements-by-properties": {"channels": 18, "second_layer": False},
    }.items()
}
LOCAL = sorted(set(EXAMPLES) - {"system-norm"})
CHECKS = ("F-1", "F-2", "F-3", "F-4", "F-5", "F-8")


@pytest.fixture(params=sorted(EXAMPLES))
def example(request: pytest.FixtureRequest) -> Example:
    return EXAMPLES[request.param]


def verdicts(potential: LearnedPotential, checks: tuple[str, ...] = CHECKS) -> dict[str, Verdict]:
    card = run_check(AtomsymCalculator(potential), CheckOptions(only=checks), name="example")
    return {result.id: result.verdict for result in card.results}


def test_the_report_card_is_clean_but_for_rotations() -> None:
    found = verdicts(build(EXAMPLES["default"]))
    assert {name for name, verdict in found.items() if verdict is Verdict.FAIL} == {"F-2"}


def test_energies_depend_on_the_orientation(example: Example) -> None:
    energy, forces = examples.rotation_errors(build(example), cluster(), improper=False)
    assert min(energy, forces) > 1e-3


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_f07_forces_are_minus_the_slope_of_the_energy(example: Example, name: str) -> None:
    potential, graph = build(example), GRAPHS[name]()
    assert examples.forces_of(evaluate(potential, graph, ("forces",))).abs().max() > 1e-3
    assert examples.force_error(potential, graph) < tolerances.FINITE_DIFFERENCE_FORCES.float64


def test_f11_two_derivatives_are_continuous_at_the_cutoff(example: Example) -> None:
    *jumps, third = examples.cutoff_jumps(build(example))
    assert max(jumps) < tolerances.CUTOFF_JUMP.float64
    assert third > tolerances.CUTOFF_THIRD_DERIVATIVE.float64


@pytest.mark.parametrize(("power", "broken"), [(0, 0), (-1, 1)])
def test_without_an_envelope_energies_jump_and_with_a_rough_one_forces(
    power: int, broken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rough(distance: Tensor, cutoff: float, **_: Any) -> Tensor:
        return (1 - distance / cutoff).clamp(min=0)

    example = Example(faenet(envelope_power=0)) if power == 0 else EXAMPLES["default"]
    if power:
        monkeypatch.setattr(model, "polynomial_cutoff", rough)
    potential = build(example)
    assert potential.continuous == (power != 0)
    assert examples.cutoff_jumps(potential)[broken] > CLEARLY * tolerances.CUTOFF_JUMP.float64


def test_edges_beyond_the_cutoff_contribute_exactly_nothing(example: Example) -> None:
    potential, distance = build(example), CUTOFF + SKIN / 2
    pair = AtomGraph.from_arrays([[0, 0, 0], [0, 0.6 * distance, 0.8 * distance]], [14, 8])
    near, far = (evaluate(potential, connect(pair, CUTOFF + skin), ("forces",)) for skin in (SKIN, 0.0))
    assert connect(pair, CUTOFF + SKIN).n_edges == 2
    assert torch.equal(near.energies, far.energies)
    assert torch.equal(examples.forces_of(near), torch.zeros(2, 3, dtype=torch.float64))


def test_f06_systems_of_a_batch_do_not_know_of_each_other(example: Example) -> None:
    potential = build(example)
    assert examples.batching_error(potential) < tolerances.BATCHING.float64
    if potential.direct_outputs:
        alone = [potential(graph())["forces"] for graph in GRAPHS.values()]
        together = potential(AtomGraph.batch([graph() for graph in GRAPHS.values()]))["forces"]
        assert deviation(together, torch.cat(alone)) < tolerances.BATCHING.float64


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_f05_the_energy_of_separate_parts_is_their_sum_unless_a_norm_sees_the_system(name: str) -> None:
    potential, positions, numbers = build(EXAMPLES[name]), cluster().positions.numpy(), cluster().numbers.numpy()
    beside = np.concatenate([positions, positions[:3] + np.array([40.0, 0, 0])]), np.concatenate([numbers, numbers[:3]])
    both = AtomGraph.from_arrays(*beside)
    parts = AtomGraph.from_arrays(positions, numbers), AtomGraph.from_arrays(positions[:3], numbers[:3])
    energies = [float(evaluate(potential, connect(g, CUTOFF), ("energy",)).energy) for g in (*parts, both)]
    error = abs(energies[0] + energies[1] - energies[2])
    assert (error < tolerances.EXTENSIVITY.float64 * both.n_atoms) == (name in LOCAL)


def test_atoms_without_neighbors_feel_nothing(example: Example) -> None:
    potential = build(example)
    lone = evaluate(potential, connect(AtomGraph.from_arrays([[1, 2, 3]], [8]), CUTOFF), ("forces",))
    assert torch.equal(examples.forces_of(lone), torch.zeros(1, 3, dtype=torch.float64))
    assert all(output.isfinite().all() for output in (lone.energies, *lone.outputs.values()))
    nothing = evaluate(potential, connect(AtomGraph.from_arrays([], []), CUTOFF), ("forces",))
    assert float(nothing.energy.sum()) == 0
    assert examples.forces_of(nothing).shape == (0, 3)


def test_i02_overlapping_atoms_have_finite_energies_and_forces(example: Example) -> None:
    for distance in (0.0, 1e-300, 1e-6, 0.05):
        pair = AtomGraph.from_arrays([[0, 0, 0], [0, 0.6 * distance, 0.8 * distance]], [14, 8])
        wiring = torch.tensor([[0, 1], [1, 0]]), torch.zeros(2, 3, dtype=torch.int32)
        evaluate(build(example), pair.with_edges(*wiring, CUTOFF), ("forces",))  # raises if anything is not finite


@pytest.mark.parametrize("name", LOCAL)
def test_an_atom_sees_as_far_as_there_are_layers(name: str) -> None:
    potential = build(EXAMPLES[name])
    positions = [[2.2 * k, 0.3 * (-1) ** k, 0.2 * (k % 3)] for k in range(5)]
    graph = connect(AtomGraph.from_arrays(positions, [14, 8, 22, 14, 8]), CUTOFF)
    x = graph.positions.requires_grad_()
    (gradient,) = torch.autograd.grad(potential(graph.with_positions(x))["energies"][0], x)
    assert (gradient[:3].abs().amax(dim=1) > 1e-12).all()
    assert torch.equal(gradient[3:], torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("name", ["default", "local-env", "system-norm"])
def test_f14_gradients_of_energies_direct_forces_and_of_the_squared_gradient(name: str) -> None:
    changes = {"default": {}, "local-env": {"interaction": "updown_local_env"}, "system-norm": {"norm": "system"}}
    small = {"channels": 6, "filters": 4, "period_group_channels": 1, "properties": False, "direct_forces": True}
    potential = build(Example(faenet(**(small | changes[name]))))
    graph = examples.again(cluster(), cluster().positions[:4], numbers=cluster().numbers[:4])
    potential.requires_grad_(False)

    def answers(x: Tensor) -> tuple[Tensor, Tensor]:
        output = potential(graph.with_positions(x))
        return output["energies"].sum(), output["forces"]

    x = graph.positions.requires_grad_()
    assert torch.autograd.gradcheck(answers, x)
    assert torch.autograd.gradgradcheck(lambda x: answers(x)[0], x)


def test_f14_gradients_of_a_training_step_equal_differences_of_the_loss() -> None:
    """Energy, forces, stress and direct forces; one direction in each weight."""
    potential, graph = build(EXAMPLES["direct"]), crystal()

    def loss() -> Tensor:
        result = evaluate(potential, graph, ("forces", "stress"), create_graph=True)
        assert result.stress is not None
        terms = (examples.forces_of(result), result.energy, result.stress, result.outputs["forces"])
        return torch.stack([term.square().sum() for term in terms]).sum()

    loss().backward()
    generator = torch.Generator().manual_seed(3)
    for name, weight in potential.named_parameters():
        assert weight.grad is not None, name
        direction = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        direction /= direction.norm()
        values = []
        original = weight.detach().clone()
        for step in (1e-4, -1e-4):
            with torch.no_grad():
                weight.copy_(original + step * direction)
            values.append(loss().item())
        with torch.no_grad():
            weight.copy_(original)
        expected, found = (values[0] - values[1]) / 2e-4, float((weight.grad * direction).sum())
        assert abs(found - expected) < 1e-6 * (1 + abs(expected)), name


def test_single_precision_is_close_to_double(example: Example) -> None:
    for make in GRAPHS.values():
        double = evaluate(build(example), make(), ("forces",))
        single = evaluate(build(example, torch.float32), make(torch.float32), ("forces",))
        assert single.energies.dtype == torch.float64
        assert deviation(single.energies, double.energies) < tolerances.BACKEND_PARITY.float32
        found, expected = examples.forces_of(single), examples.forces_of(double)
        assert deviation(found.double(), expected) < tolerances.BACKEND_PARITY.float32


def test_a_compiled_training_step_equals_an_eager_one() -> None:
    graph = crystal()
    assert graph.topology.n_edges

    def step(potential: LearnedPotential, positions: Tensor) -> tuple[Tensor, Tensor]:
        energy = potential(graph.with_positions(positions))["energies"].sum()
        (gradient,) = torch.autograd.grad(energy, positions, create_graph=True)
        return (gradient**2).sum() + energy**2, gradient

    torch._dynamo.reset()
    results = []
    with torch._dynamo.config.patch(trace_autograd_ops=True):
        for call in (torch.compile(step, fullgraph=True, backend="aot_eager"), step):
            potential, positions = build(EXAMPLES["default"]), graph.positions.clone().requires_grad_()
            loss, gradient = call(potential, positions)
            loss.backward()
            results.append([loss.detach(), gradient.detach(), *(weight.grad for weight in potential.parameters())])
    for found, expected in zip(*results, strict=True):
        assert deviation(found, expected) < tolerances.BACKEND_PARITY.float64


def test_files_and_configs_keep_the_potential(example: Example, tmp_path: Path) -> None:
    potential, path = build(example), tmp_path / "model.safetensors"
    assert config_from_json(type(potential.config), config_to_json(potential.config)) == potential.config
    save_model(potential, path, ModelCard("example", "none", "none", "MIT", "nobody"))
    loaded, expected = load_model(path)(crystal()), potential(crystal())
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_properties_in_a_file_stay_what_they_were(tmp_path: Path) -> None:
    """A model belongs to the properties that it was trained with, whatever the table says later."""
    potential = build(EXAMPLES["default"])
    with torch.no_grad():
        potential.get_buffer("elements_embedding.properties").add_(0.25)
    save_model(potential, tmp_path / "model.safetensors", ModelCard("example", "none", "none", "MIT", "nobody"))
    loaded = load_model(tmp_path / "model.safetensors")
    assert torch.equal(loaded(crystal())["energies"], potential(crystal())["energies"])


def test_weights_follow_from_the_seed_and_some_decay(example: Example) -> None:
    one, same, other = (build(example, seed=seed)(crystal())["energies"] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert deviation(other, one) > 1e-3
    potential = build(example)
    assert set() < potential.decay_parameters() < {name for name, _ in potential.named_parameters()}


def test_i03_unknown_elements_missing_edges_and_mixed_precision_are_refused() -> None:
    potential, graph = build(EXAMPLES["default"]), crystal()
    with pytest.raises(UnsupportedElementError, match=r"atoms\[0\] is Au"):
        potential(replace(graph, numbers=torch.tensor([79, 8, 8, 8, 14])))
    with pytest.raises(InputError, match="no edges yet"):
        potential(AtomGraph.from_arrays([[0, 0, 0]], [8]))
    with pytest.raises(InputError, match=r"the graph is torch\.float32"):
        potential(crystal(torch.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interaction": "gated"}, "interaction must be one of simple, base"),
        ({"norm": "batch"}, "norm must be one of none, system; found 'batch'"),
        ({"skip": "residual"}, "skip must be one of"),
        ({"energy_head": "mean"}, "energy_head must be one of"),
        ({"force_head": "simple"}, "force_head must be one of"),
        ({"force_norm": "system"}, "force_norm must be one of none, layer"),
        ({"channels": 17}, r"properties \(14\), period and group \(2 each\) leave no room in 17 channels"),
        ({"interaction": "simple"}, "filters must equal channels; found 10 and 24"),
        ({"envelope_power": 1}, "envelope_power must be 0 or at least 2"),
        ({"n_gaussians": 1}, "n_gaussians must be at least 2"),
        ({"n_layers": 0}, "n_layers must be at least 1"),
        ({"period_group_channels": -1}, "must not be negative"),
        ({"properties": False, "property_channels": 3}, "set properties: true"),
        ({"elements": (8, 14, 103)}, "ends with Z=100 and does not hold Lr"),
    ],
)
def test_i12_configs_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FAENetConfig(**(COMMON | changes))


def test_elements_known_by_properties_alone_need_no_examples() -> None:
    """An element that the training data lack gets energies of its own from its place in the periodic table."""
    changes = {"channels": 18, "second_layer": False}
    narrow = build(Example(faenet(**changes)))
    assert isinstance(narrow.config, FAENetConfig)
    assert narrow.config.element_channels == 0
    wider = faenet(**changes, elements=(*ELEMENTS, 78), atomic_energies=(*ATOMIC_ENERGIES, 0.0))
    potential = build(Example(wider))
    assert deviation(potential(crystal())["energies"], narrow(crystal())["energies"]) < 1e-14
    platinum = replace(crystal(), numbers=torch.tensor([14, 8, 78, 14, 8]))
    assert deviation(potential(platinum)["energies"], potential(crystal())["energies"]) > 1e-3


def test_the_data_decide_what_the_settings_leave_open() -> None:
    statistics = DatasetStatistics((1, 8), 5.0, 12.0, (-1.0, -2.0), -0.5, 0.8)
    config = FAENet.config_from_statistics({"channels": 128}, statistics)
    assert config == FAENetConfig((1, 8), 5.0, (-1.0, -2.0), 12.0, scale=0.8, shift=-0.5)


def test_direct_forces_are_declared_scaled_and_no_derivative() -> None:
    potential, plain = build(EXAMPLES["direct"]), build(EXAMPLES["default"])
    assert potential.direct_outputs == ("forces",)
    assert plain.direct_outputs == FAENet.direct_outputs == ()
    result = evaluate(potential, crystal(), ("forces",))
    assert result.outputs["forces"].shape == (5, 3)
    assert deviation(result.outputs["forces"], examples.forces_of(result)) > 1e-2
    doubled = FAENet(replace(potential.config, scale=2 * potential.config.scale)).double()  # type: ignore[arg-type]
    doubled.load_state_dict(potential.state_dict())
    assert deviation(doubled(crystal())["forces"], 2 * result.outputs["forces"]) < tolerances.ALGEBRA.float64


def test_mutant_a_norm_over_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    right = linear.segment_mean
    monkeypatch.setattr(linear, "segment_mean", lambda x, index, n: right(x, torch.zeros_like(index), n).expand(n, -1))
    assert examples.batching_error(build(EXAMPLES["system-norm"])) > CLEARLY * tolerances.BATCHING.float64


def test_mutant_messages_that_depend_on_the_order_of_the_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    right = interaction.tensor_product_convolution

    def ordered(x: Tensor, y: Tensor, w: Tensor, topology: Any, product: Any) -> Tensor:
        return right(
            x, y, w * (1 + 1e-3 * torch.arange(w.shape[0]).remainder(2).to(w))[:, None, None], topology, product
        )

    monkeypatch.setattr(interaction, "tensor_product_convolution", ordered)
    assert verdicts(build(EXAMPLES["default"]), ("F-3",))["F-3"] is Verdict.FAIL


def test_mutant_distances_that_carry_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    right = model.edge_lengths
    monkeypatch.setattr(model, "edge_lengths", lambda vectors: right(vectors.detach()))
    error = examples.force_error(build(EXAMPLES["default"]), crystal())
    assert error > CLEARLY * tolerances.FINITE_DIFFERENCE_FORCES.float64
