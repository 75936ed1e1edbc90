"""What every learned potential promises, asked of eSEN: the tests of ``test_learned.py`` on examples of its own."""

from __future__ import annotations

import math

import learned_examples as examples
import learned_suite
import pytest
import torch
from edge_frame_suite import (  # noqa: F401
    test_an_atom_sees_one_cutoff_further_than_there_are_layers,
    test_f15_compiled_and_reference_backends_agree,
)
from esen_examples import EXAMPLES, MAIN
from learned_examples import CUTOFF, Example, build, cluster, forces_of
from learned_suite import (  # noqa: F401
    THOROUGH,
    _quiet_compiler,
    failures,
    results_and_gradients,
    test_atoms_without_neighbors_feel_nothing,
    test_edges_beyond_the_cutoff_contribute_exactly_nothing,
    test_elements_differ_by_their_weights_only,
    test_energies_are_float64_and_keep_small_differences_beside_large_atomic_energies,
    test_f02_energies_stay_and_forces_turn_under_rotations_and_reflections,
    test_f06_systems_of_a_batch_do_not_know_of_each_other,
    test_f07_forces_are_minus_the_slope_of_the_energy,
    test_f14_gradients_in_single_precision_are_close_to_double,
    test_f14_gradients_of_a_training_step_equal_differences_of_the_loss,
    test_f14_gradients_of_the_energy_in_the_positions,
    test_files_and_configs_keep_the_potential,
    test_i02_overlapping_atoms_have_finite_energies_and_forces,
    test_i03_unknown_elements_missing_edges_and_mixed_precision_are_refused,
    test_i04_no_atoms_have_no_energy,
    test_single_precision_is_close_to_double,
    test_some_but_not_all_weights_decay,
    test_weights_cast_to_single_precision_and_back_give_what_double_precision_gives,
    test_weights_follow_from_the_seed,
)

from atomsym.core import AtomGraph
from atomsym.derivatives import evaluate, hessian
from atomsym.kernels.neighbors import connect
from atomsym.testing import tolerances


@pytest.fixture(params=sorted(EXAMPLES))
def example(request: pytest.FixtureRequest) -> Example:
    return EXAMPLES[request.param]


@pytest.fixture(params=[pytest.param("esen", marks=pytest.mark.slow), "esen-all"])
def main(request: pytest.FixtureRequest) -> Example:
    return MAIN[request.param]


def test_the_quick_part_of_the_report_card_is_clean() -> None:
    """Here what other tests leave out; all of it is slow."""
    assert not failures(build(MAIN["esen-all"]), "float64", ("F-4", "F-8"))


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet_compiler")
@pytest.mark.parametrize("compiler", ["aot_eager", "inductor"])
def test_a_compiled_training_step_equals_an_eager_one(main: Example, compiler: str) -> None:
    learned_suite.test_a_compiled_training_step_equals_an_eager_one(main, compiler)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(name for name, example in EXAMPLES.items() if example.mirror))
def test_the_whole_report_card_is_clean(name: str, dtype: str) -> None:
    checks = (*THOROUGH, "F-10", "F-11") if EXAMPLES[name].smooth >= 3 else THOROUGH
    assert not failures(build(EXAMPLES[name]), dtype, checks)


def test_without_parity_mirror_images_differ() -> None:
    energy, _ = examples.rotation_errors(build(EXAMPLES["esen-without-parity"]), cluster(), improper=True)
    assert energy > 1e3 * tolerances.EQUIVARIANCE.float64


def test_the_last_neighbor_leaves_smoothly(example: Example) -> None:
    """With attention a share of the whole would stay with it up to the cutoff."""
    if example.smooth < 3:
        pytest.skip("fewer derivatives are promised")
    potential = build(example)

    def force(distance: float) -> float:
        graph = connect(AtomGraph.from_arrays([[0, 0, 0], [0, 0, distance]], [14, 8]), CUTOFF + 0.4)
        return float(forces_of(evaluate(potential, graph, ("forces",)))[1, 2])

    largest = max(abs(force(CUTOFF - by)) for by in (1.0, 1.3, 1.6))
    assert largest > 0.01
    assert abs(force(CUTOFF - 0.02)) < 1e-3 * largest  # the slope of the envelope's fourth power is 2e-5 there


SEEN_ALWAYS = ("esen-attention", "esen-rough")
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in sorted(EXAMPLES) if name not in SEEN_ALWAYS]


@pytest.mark.parametrize("name", [*SEEN_ALWAYS, *OTHERS])
def test_f11_the_promised_derivatives_are_continuous_at_the_cutoff(name: str) -> None:
    *jumps, third = examples.cutoff_jumps(build(EXAMPLES[name]))
    assert max(jumps) < tolerances.CUTOFF_JUMP.float64
    assert (third < tolerances.CUTOFF_THIRD_DERIVATIVE.float64) == (EXAMPLES[name].smooth >= 3)


def test_hessians_of_edges_along_the_polar_axis_are_those_of_others(main: Example) -> None:
    """A chain along ±y, turned by nothing, by 1e-9 and by 40 degrees."""
    potential = build(main)
    chain = torch.tensor([[0, 0, 0], [0, 1.6, 0], [0, 3.4, 0], [1.1, 3.9, 0.3]], dtype=torch.float64)
    results = []
    for angle in (0.0, 1e-9, 0.7):
        c, s = math.cos(angle), math.sin(angle)
        turn = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float64)
        graph = connect(AtomGraph.from_arrays((chain @ turn.T).numpy(), [14, 8, 22, 8]), CUTOFF)
        whole = torch.block_diag(*[turn] * 4)
        results.append(whole.T @ hessian(potential, graph).reshape(12, 12) @ whole)
    assert results[0].abs().max() > 0.1
    for other in results[1:]:
        assert (other - results[0]).abs().max() < 1e-8 * results[0].abs().max()
