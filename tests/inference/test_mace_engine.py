"""The engine gives what autograd gives, for every choice that the architecture takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from atomsym.core import AtomGraph, CalculationError, InputError, PropertyNotAvailableError, UnsupportedElementError
from atomsym.derivatives import Evaluation, evaluate
from atomsym.inference import Engine, NotCoveredError, engine_for, evaluate_with_engine
from atomsym.inference.mace import MACEEngine
from atomsym.kernels.neighbors import connect
from atomsym.models import ARGON, LennardJones
from atomsym.testing import tolerances
from atomsym.testing.convolutions import deviation
from atomsym.testing.derivatives import five_point

from .conftest import CUTOFF, GRAPHS, cluster, crystal, model

ALL = ("forces", "stress", "virial")


def engine_of(variant: str = "default", dtype: torch.dtype = torch.float64, **changes: Any) -> Engine:
    engine = engine_for(model(variant, dtype, **changes), dtype)
    assert isinstance(engine, MACEEngine)
    return engine


def assert_agrees(found: Evaluation, expected: Evaluation, bound: float) -> None:
    isolated = expected.energies.abs().max()
    assert float((found.energies - expected.energies).abs().max()) < bound * float(isolated)
    assert deviation(found.energy, expected.energy) < bound
    for name in ALL:
        ours, wanted = getattr(found, name), getattr(expected, name)
        assert (ours is None) == (wanted is None)
        if wanted is not None:
            assert ours.dtype == wanted.dtype
            assert ours.shape == wanted.shape
            assert wanted.abs().max() > 1e-4
            assert deviation(ours, wanted) < bound


@pytest.mark.parametrize("name", list(GRAPHS))
def test_energies_forces_and_stress_equal_those_of_autograd(variant: str, name: str) -> None:
    potential, graph = model(variant), GRAPHS[name]()
    properties = ALL if name == "crystal" else ("forces", "virial")
    engine = engine_for(potential, torch.float64)
    assert engine is not None
    found, expected = evaluate_with_engine(engine, graph, properties), evaluate(potential, graph, properties)
    assert_agrees(found, expected, tolerances.INFERENCE.float64)
    interaction = expected.energies - found.energies.new_tensor(
        [-10.0 * z for z in graph.numbers.tolist()]
    )  # isolated atoms would hide an error
    assert float((found.energies - expected.energies).abs().max()) < 1e-7 * float(interaction.abs().max())


@pytest.mark.parametrize("variant", ["default", "agnesi", "plain", "density", "repulsion", "published repulsion"])
def test_single_precision_is_close_to_double(variant: str) -> None:
    expected = evaluate(model(variant), crystal(), ALL)
    found = evaluate_with_engine(engine_of(variant, torch.float32), crystal(torch.float32), ALL)
    assert found.forces is not None
    assert found.forces.dtype == torch.float32
    assert found.energy.dtype == torch.float64
    assert deviation(found.energy, expected.energy) < tolerances.INFERENCE.float32
    for name in ALL:
        assert deviation(getattr(found, name).double(), getattr(expected, name)) < 10 * tolerances.INFERENCE.float32


def test_forces_are_the_derivatives_of_the_engines_own_energy() -> None:
    """To more digits than the tables have: energy is conserved whatever their error."""
    engine, graph = engine_of("agnesi"), cluster()
    forces = evaluate_with_engine(engine, graph, ("forces",)).forces
    for atom, axis in ((0, 0), (2, 1), (3, 2)):

        def energy(by: float, atom: int = atom, axis: int = axis) -> float:
            moved = graph.positions.clone()
            moved[atom, axis] += by
            return float(evaluate_with_engine(engine, graph.with_positions(moved), ("energy",)).energy)

        error = abs(float(forces[atom, axis]) + five_point(energy, 1e-4))
        assert error < tolerances.FINITE_DIFFERENCE_FORCES.float64 * (1 + float(forces.abs().max()))


def test_a_batch_equals_its_members() -> None:
    engine = engine_of("agnesi")
    members = [crystal(reach=CUTOFF), cluster(), crystal(reach=CUTOFF)]
    together = evaluate_with_engine(engine, AtomGraph.batch(members), ("forces", "virial"))
    apart = [evaluate_with_engine(engine, member, ("forces", "virial")) for member in members]
    for name in ("energy", "energies", "forces", "virial"):
        expected = torch.cat([getattr(result, name) for result in apart])
        assert deviation(getattr(together, name), expected) < tolerances.BATCHING.float64


def test_calls_do_not_remember_each_other() -> None:
    """Species, tables and buffers of another structure leave no trace."""
    engine = engine_of("agnesi")
    first = evaluate_with_engine(engine, crystal(), ALL)
    evaluate_with_engine(engine, cluster(), ("forces",))
    again = evaluate_with_engine(engine, crystal(), ALL)
    for name in ("energies", *ALL):
        assert torch.equal(getattr(first, name), getattr(again, name))


def test_isolated_atoms_and_no_atoms() -> None:
    engine = engine_of()
    apart = connect(AtomGraph.from_arrays([[0, 0, 0], [9, 0, 0]], [14, 8]), CUTOFF)
    result = evaluate_with_engine(engine, apart, ("forces", "virial"))
    assert deviation(result.energies, evaluate(model(), apart, ("energy",)).energies) < tolerances.ALGEBRA.float64
    assert torch.equal(result.forces, torch.zeros(2, 3, dtype=torch.float64))
    nothing = connect(AtomGraph.from_arrays([], []), CUTOFF)
    empty = evaluate_with_engine(engine, nothing, ("forces",))
    assert float(empty.energy.sum()) == 0
    assert empty.forces is not None
    assert empty.forces.shape == (0, 3)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    engine, former, results = engine_of("default", torch.float32), torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(evaluate_with_engine(engine, crystal(torch.float32), ALL))
    finally:
        torch.set_num_threads(former)
    for name in ("energies", *ALL):
        assert deviation(getattr(results[0], name), getattr(results[1], name)) < tolerances.BACKEND_PARITY.float32


def test_only_tables_of_pairs_that_occur_are_made() -> None:
    """A model of all elements starts as quickly as one of two."""
    elements = tuple(range(1, 90))
    potential = model("agnesi", elements=elements, channels=4)
    engine = engine_for(potential, torch.float64)
    assert isinstance(engine, MACEEngine)
    graph = cluster()
    found = evaluate_with_engine(engine, graph, ("forces", "virial"))
    assert_agrees(found, evaluate(potential, graph, ("forces", "virial")), tolerances.INFERENCE.float64)
    senders = graph.numbers[graph.edge_index]
    ordered = {tuple(pair) for pair in senders.T.tolist()}
    assert engine.table_counts() == [len(ordered), len({tuple(sorted(pair)) for pair in ordered})]


def test_atoms_closer_than_the_tables_reach_are_left_to_autograd() -> None:
    close = connect(AtomGraph.from_arrays([[0, 0, 0], [0.05, 0, 0]], [14, 8]), CUTOFF)
    with pytest.raises(NotCoveredError, match="closer"):
        evaluate_with_engine(engine_of(), close, ("forces",))


def test_what_does_not_fit_is_refused() -> None:
    engine, graph = engine_of(), crystal()
    with pytest.raises(PropertyNotAvailableError):
        evaluate_with_engine(engine, graph, ("dipole",))
    with pytest.raises(InputError, match="float64"):
        evaluate_with_engine(engine, crystal(torch.float32))
    with pytest.raises(InputError, match="no volume"):
        evaluate_with_engine(engine, cluster(), ("stress",))
    with pytest.raises(InputError, match="strain"):
        evaluate_with_engine(engine, graph.with_positions(graph.positions, torch.zeros(1, 3, 3).double()))
    with pytest.raises(UnsupportedElementError):
        evaluate_with_engine(engine, connect(AtomGraph.from_arrays([[0, 0, 0]], [2]), CUTOFF), ("forces",))
    with pytest.raises(InputError, match="no edges"):
        evaluate_with_engine(engine, AtomGraph.from_arrays([[0, 0, 0]], [8]), ("forces",))


def test_an_energy_that_is_not_finite_is_an_error() -> None:
    potential = model()
    with torch.no_grad():
        next(iter(potential.readouts.parameters())).fill_(torch.inf)
    engine = engine_for(potential, torch.float64)
    assert engine is not None
    with pytest.raises(CalculationError, match="energies"):
        evaluate_with_engine(engine, crystal(), ("energy",))


def test_an_engine_knows_when_its_weights_have_changed() -> None:
    potential = model()
    engine = engine_for(potential, torch.float64)
    assert engine is not None
    assert not engine.outdated()
    with torch.no_grad():
        potential.embedding.mul_(1.1)
    assert engine.outdated()


def test_nothing_is_attached_to_autograd_and_no_mode_is_changed() -> None:
    graph = crystal()
    graph = graph.with_positions(graph.positions.clone().requires_grad_())
    result = evaluate_with_engine(engine_of("repulsion"), graph, ALL)
    assert not any(getattr(result, name).requires_grad for name in ("energy", "energies", *ALL))
    assert torch.is_grad_enabled()
    engine = engine_of("repulsion")
    with torch.inference_mode():
        again = evaluate_with_engine(engine, crystal(), ALL)
    assert deviation(again.forces, result.forces) < tolerances.BACKEND_PARITY.float64


def test_architectures_without_an_engine_have_none() -> None:
    assert engine_for(LennardJones(ARGON), torch.float64) is None
    assert engine_for(model(hidden="0e", max_degree=5, correlation=1), torch.float64) is None
