"""What every learned potential promises; ``learned_examples.EXAMPLES`` lists them.

The physics checks that need nothing but energies and forces are those of ``atomsym check``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import learned_examples as examples
import pytest
import torch
from learned_examples import EXAMPLES, GRAPHS, MAIN, SKIN, Example, build, cluster, crystal, forces_of
from torch import Tensor

from atomsym.artifacts import ModelCard, config_from_json, config_to_json, load_model, save_model
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import AtomGraph, InputError, UnsupportedElementError
from atomsym.derivatives import evaluate
from atomsym.kernels.backends import Backend, Operation
from atomsym.kernels.neighbors import connect
from atomsym.models import LearnedPotential
from atomsym.testing import Verdict, tolerances
from atomsym.testing.convolutions import deviation
from atomsym.testing.derivatives import five_point
from atomsym.workflows.check import CheckOptions, run_check

CUTOFF = examples.CUTOFF
DTYPES = [torch.float64, torch.float32]
QUICK = ("F-1", "F-3", "F-4", "F-5", "F-6", "F-8", "F-10")
THOROUGH = ("F-1", "F-2", "F-3", "F-4", "F-5", "F-6", "F-7", "F-8", "F-9", "F-13", "F-14", "F-15")


@pytest.fixture(params=sorted(EXAMPLES))
def example(request: pytest.FixtureRequest) -> Example:
    return EXAMPLES[request.param]


@pytest.fixture(params=sorted(MAIN))
def main(request: pytest.FixtureRequest) -> Example:
    return MAIN[request.param]


def failures(potential: LearnedPotential, dtype: str, checks: tuple[str, ...]) -> list[tuple[str, str]]:
    card = run_check(AtomsymCalculator(potential, dtype=dtype), CheckOptions(only=checks), name="example")
    judged = [result for result in card.results if result.verdict is not Verdict.NOT_APPLICABLE]
    assert len(judged) > len(checks) // 2
    return [(result.id, result.explanation) for result in judged if result.verdict is not Verdict.PASS]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_report_card_is_clean(main: Example, dtype: str) -> None:
    assert not failures(build(main), dtype, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(name for name, example in EXAMPLES.items() if example.mirror))
def test_the_whole_report_card_is_clean(name: str, dtype: str) -> None:
    """Without F-10: it looks for a minimum, and potentials of random weights may have none but overlapping atoms."""
    checks = (*THOROUGH, "F-11") if EXAMPLES[name].smooth >= 3 else THOROUGH
    assert not failures(build(EXAMPLES[name]), dtype, checks)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_f02_energies_stay_and_forces_turn_under_rotations_and_reflections(
    example: Example, name: str, dtype: torch.dtype
) -> None:
    potential = build(example, dtype)
    errors = examples.rotation_errors(potential, GRAPHS[name](dtype), improper=example.mirror)
    assert max(errors) < tolerances.EQUIVARIANCE.of(dtype)


@pytest.mark.parametrize("name", sorted(name for name, example in EXAMPLES.items() if not example.mirror))
def test_without_parity_mirror_images_differ(name: str) -> None:
    energy, _ = examples.rotation_errors(build(EXAMPLES[name]), cluster(), improper=True)
    assert energy > 1e3 * tolerances.EQUIVARIANCE.float64


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_f07_forces_are_minus_the_slope_of_the_energy(example: Example, name: str) -> None:
    potential, graph = build(example), GRAPHS[name]()
    assert forces_of(evaluate(potential, graph, ("forces",))).abs().max() > 1e-3
    assert examples.force_error(potential, graph) < tolerances.FINITE_DIFFERENCE_FORCES.float64


def test_f11_the_promised_derivatives_are_continuous_at_the_cutoff(example: Example) -> None:
    *jumps, third = examples.cutoff_jumps(build(example))
    assert max(jumps) < tolerances.CUTOFF_JUMP.float64
    assert (third < tolerances.CUTOFF_THIRD_DERIVATIVE.float64) == (example.smooth >= 3)


def test_edges_beyond_the_cutoff_contribute_exactly_nothing(example: Example) -> None:
    potential = build(example)
    distance = CUTOFF + SKIN / 2
    pair = AtomGraph.from_arrays([[0, 0, 0], [0, 0.6 * distance, 0.8 * distance]], [14, 8])
    near, far = (evaluate(potential, connect(pair, CUTOFF + skin), ("forces",)) for skin in (SKIN, 0.0))
    assert connect(pair, CUTOFF + SKIN).n_edges == 2
    assert torch.equal(near.energies, far.energies)
    assert torch.equal(forces_of(near), torch.zeros(2, 3, dtype=torch.float64))
    short, long = (evaluate(potential, crystal(skin=skin), ("forces", "virial")) for skin in (0.0, SKIN))
    assert crystal().n_edges > crystal(skin=0.0).n_edges
    for name in ("energies", "forces", "virial"):
        assert deviation(getattr(long, name), getattr(short, name)) < tolerances.ALGEBRA.float64


def test_f06_systems_of_a_batch_do_not_know_of_each_other(example: Example) -> None:
    assert examples.batching_error(build(example)) < tolerances.BATCHING.float64


def test_atoms_without_neighbors_feel_nothing(example: Example) -> None:
    potential = build(example)
    lone = evaluate(potential, connect(AtomGraph.from_arrays([[1, 2, 3]], [8]), CUTOFF), ("forces",))
    assert torch.equal(forces_of(lone), torch.zeros(1, 3, dtype=torch.float64))
    assert lone.energies.isfinite().all()
    apart = connect(AtomGraph.from_arrays([[0, 0, 0], [9, 0, 0], [0, 9, 0]], [14, 8, 8]), CUTOFF)
    result = evaluate(potential, apart, ("forces",))
    assert torch.equal(forces_of(result), torch.zeros(3, 3, dtype=torch.float64))
    torch.testing.assert_close(result.energies[1:], lone.energies.expand(2), rtol=1e-14, atol=0)
    boxed = connect(AtomGraph.from_arrays([[0, 0, 0]], [8], 20 * torch.eye(3).numpy(), True), CUTOFF)
    stress = evaluate(potential, boxed, ("stress",)).stress
    assert torch.equal(stress, torch.zeros(1, 3, 3, dtype=torch.float64))


def test_i04_no_atoms_have_no_energy(example: Example) -> None:
    nothing = evaluate(build(example), connect(AtomGraph.from_arrays([], []), CUTOFF), ("forces",))
    assert float(nothing.energy.sum()) == 0
    assert forces_of(nothing).shape == (0, 3)


def test_i02_overlapping_atoms_have_finite_energies_and_forces(example: Example) -> None:
    potential = build(example)
    for distance in (0.0, 1e-300, 1e-6, 0.05, 0.1):
        pair = AtomGraph.from_arrays([[0, 0, 0], [0, 0.6 * distance, 0.8 * distance]], [14, 8])
        wiring = torch.tensor([[0, 1], [1, 0]]), torch.zeros(2, 3, dtype=torch.int32)
        evaluate(potential, pair.with_edges(*wiring, CUTOFF), ("forces",))  # raises if anything is not finite


def test_an_atom_sees_as_far_as_there_are_layers(example: Example) -> None:
    """A chain whose atoms reach the next one only: the energy of the first depends on exactly n_layers others."""
    potential = build(example)
    positions = [[2.2 * k, 0.3 * (-1) ** k, 0.2 * (k % 3)] for k in range(6)]
    graph = connect(AtomGraph.from_arrays(positions, [14, 8, 22, 14, 8, 22]), CUTOFF)
    assert graph.n_edges == 10
    x = graph.positions.requires_grad_()
    (gradient,) = torch.autograd.grad(potential(graph.with_positions(x))["energies"][0], x)
    n_layers = potential.config.n_layers  # type: ignore[attr-defined]
    reached = gradient.abs().amax(dim=1) > 1e-12
    assert reached[: n_layers + 1].all()
    assert torch.equal(gradient[n_layers + 1 :], torch.zeros(5 - n_layers, 3, dtype=torch.float64))


def test_elements_differ_by_their_weights_only(example: Example) -> None:
    """The same network with the elements renamed, in its weights and in the structure, gives the same energies."""
    if example.by_radii:
        pytest.skip("covalent radii and nuclear charges do not change their owner")
    both, weights = examples.renaming_error(example)
    assert both < tolerances.ALGEBRA.float64
    assert weights > 1e-2


@pytest.mark.parametrize("dtype", DTYPES)
def test_energies_are_float64_and_keep_small_differences_beside_large_atomic_energies(
    example: Example, dtype: torch.dtype
) -> None:
    potential, graph = build(example, dtype), crystal(dtype)
    result = evaluate(potential, graph, ("forces",))
    assert result.energies.dtype == torch.float64
    assert forces_of(result).dtype == dtype
    assert examples.error_beside_large_atomic_energies(potential, graph) < 1e-8


def test_single_precision_is_close_to_double(example: Example) -> None:
    for name, make in GRAPHS.items():
        double = evaluate(build(example), make(), ("forces",))
        single = evaluate(build(example, torch.float32), make(torch.float32), ("forces",))
        assert deviation(single.energies, double.energies) < tolerances.BACKEND_PARITY.float32, name
        assert deviation(forces_of(single).double(), forces_of(double)) < tolerances.BACKEND_PARITY.float32, name


def test_weights_cast_to_single_precision_and_back_give_what_double_precision_gives(example: Example) -> None:
    """Nothing but the weights is rounded: constants keep their digits."""
    potential = build(example, torch.float32)  # weights are drawn in single precision, so casting loses nothing
    expected = evaluate(build(example), crystal(), ("forces",)).energies
    assert deviation(evaluate(potential.double(), crystal(), ("forces",)).energies, expected) < 1e-14


def force_loss(potential: LearnedPotential, graph: AtomGraph) -> Tensor:
    """What training minimises: squared errors of energy, forces and stress against arbitrary targets."""
    result = evaluate(potential, graph, ("forces", "stress"), create_graph=True)
    generator = torch.Generator().manual_seed(7)
    wanted = torch.randn(graph.positions.shape, generator=generator, dtype=torch.float64).to(graph.dtype)
    assert result.stress is not None
    return ((forces_of(result) - wanted) ** 2).sum() + (result.energy**2).sum() + (result.stress**2).sum()


def results_and_gradients(potential: LearnedPotential, graph: AtomGraph) -> dict[str, Tensor]:
    result = evaluate(potential, graph, ("forces", "virial"))
    found = {name: getattr(result, name) for name in ("energies", "forces", "virial")}
    names, weights = zip(*potential.named_parameters(), strict=True)
    gradients = torch.autograd.grad(force_loss(potential, graph), weights, allow_unused=True)
    return found | {name: g for name, g in zip(names, gradients, strict=True) if g is not None}


def test_f15_compiled_and_reference_backends_agree(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    found = results_and_gradients(build(example), crystal())
    asked = []

    def reference(operation: Operation, name: str, **_: Any) -> Backend:
        asked.append(operation.name)
        return operation["reference"]

    monkeypatch.setattr(Operation, "select", reference)
    expected = results_and_gradients(build(example), crystal())
    convolution = {"so2": "so2_convolution", "gaunt": "gaunt_convolution", "cp": "cp_convolution"}.get(
        getattr(build(example).config, "product", ""), "tensor_product_convolution"
    )
    assert {convolution, "spherical_harmonics"} <= set(asked)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert (found[name] - values).abs().max() <= tolerances.BACKEND_PARITY.float64 * values.abs().max(), name


def test_f14_gradients_of_the_energy_in_the_positions(main: Example) -> None:
    potential = build(main)
    graph = examples.again(cluster(), cluster().positions[:4], numbers=cluster().numbers[:4])

    def energy(x: Tensor) -> Tensor:
        return potential(graph.with_positions(x))["energies"].sum()

    x = graph.positions.requires_grad_()
    potential.requires_grad_(False)
    assert torch.autograd.gradcheck(energy, x)
    assert torch.autograd.gradgradcheck(energy, x)


def test_f14_gradients_of_a_training_step_equal_differences_of_the_loss(main: Example) -> None:
    potential, graph = build(main), crystal()
    force_loss(potential, graph).backward()
    generator = torch.Generator().manual_seed(3)
    for name, weight in potential.named_parameters():
        direction = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        direction /= direction.norm()

        def loss(by: float, weight: Tensor = weight, direction: Tensor = direction) -> Any:
            original = weight.detach().clone()
            with torch.no_grad():
                weight.copy_(original + by * direction)
            value = force_loss(potential, graph).item()
            with torch.no_grad():
                weight.copy_(original)
            return value

        assert weight.grad is not None, name
        found = float((weight.grad * direction).sum())
        assert float(weight.grad.abs().max()) > 1e-8, name
        expected = float(five_point(loss, examples.STEP))
        assert abs(found - expected) < tolerances.FINITE_DIFFERENCE_FORCES.float64 * (1 + abs(expected)), name


def test_f14_gradients_in_single_precision_are_close_to_double(main: Example) -> None:
    found = results_and_gradients(build(main, torch.float32), crystal(torch.float32))
    for name, expected in results_and_gradients(build(main), crystal()).items():
        assert (found[name].double() - expected).abs().max() < 1e-4 * expected.abs().max(), name


@pytest.fixture
def _quiet_compiler() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while compiling
        torch._dynamo.reset()
        with torch._dynamo.config.patch(trace_autograd_ops=True):
            yield


@pytest.mark.usefixtures("_quiet_compiler")
@pytest.mark.parametrize("compiler", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_training_step_equals_an_eager_one(main: Example, compiler: str) -> None:
    graph = crystal()
    assert graph.topology.n_edges  # a compiled function can read the topology but not build it

    def step(potential: LearnedPotential, positions: Tensor) -> tuple[Tensor, Tensor]:
        energy = potential(graph.with_positions(positions))["energies"].sum()
        (gradient,) = torch.autograd.grad(energy, positions, create_graph=True)
        return (gradient**2).sum() + energy**2, gradient

    results = []
    for call in (torch.compile(step, fullgraph=True, backend=compiler), step):
        potential, positions = build(main), graph.positions.clone().requires_grad_()
        loss, gradient = call(potential, positions)
        loss.backward()
        weights = [weight.grad for weight in potential.parameters()]
        results.append([loss.detach(), gradient.detach(), positions.grad, *weights])
    for found, expected in zip(*results, strict=True):
        assert found is not None
        assert deviation(found, expected) < tolerances.BACKEND_PARITY.float64


def test_files_and_configs_keep_the_potential(example: Example, tmp_path: Path) -> None:
    potential, path = build(example), tmp_path / "model.safetensors"
    assert config_from_json(type(potential.config), config_to_json(potential.config)) == potential.config
    save_model(potential, path, ModelCard("example", "none", "none", "MIT", "nobody"))
    loaded = load_model(path)
    assert type(loaded) is type(potential)
    assert torch.equal(loaded(crystal())["energies"], potential(crystal())["energies"])


def test_weights_follow_from_the_seed(example: Example) -> None:
    one, same, other = (build(example, seed=seed)(crystal())["energies"] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert deviation(other, one) > 1e-3


def test_i03_unknown_elements_missing_edges_and_mixed_precision_are_refused(example: Example) -> None:
    potential = build(example)
    graph = crystal()
    with pytest.raises(UnsupportedElementError, match=r"atoms\[0\] is Au"):
        potential(replace(graph, numbers=torch.tensor([79, 8, 8, 8, 14])))
    with pytest.raises(InputError, match="no edges yet"):
        potential(AtomGraph.from_arrays([[0, 0, 0]], [8]))
    with pytest.raises(InputError, match=r"the graph is torch\.float32, the weights are torch\.float64"):
        potential(crystal(torch.float32))


def test_some_but_not_all_weights_decay(example: Example) -> None:
    potential = build(example)
    names = {name for name, _ in potential.named_parameters()}
    assert set() < potential.decay_parameters() < names
