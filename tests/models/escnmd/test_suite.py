"""What every learned potential promises, asked of eSCN-MD: the tests of ``test_learned.py`` on examples of its own."""

from __future__ import annotations

import learned_examples as examples
import learned_suite
import pytest
from edge_frame_suite import (  # noqa: F401
    test_an_atom_sees_one_cutoff_further_than_there_are_layers,
    test_f15_compiled_and_reference_backends_agree,
)
from escnmd_examples import EXAMPLES
from learned_examples import Example, build, cluster
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
    test_f11_the_promised_derivatives_are_continuous_at_the_cutoff,
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

from atomsym.testing import tolerances


@pytest.fixture(params=["escnmd", "escnmd-order-1", pytest.param("escnmd-degree-0", marks=pytest.mark.slow)])
def example(request: pytest.FixtureRequest) -> Example:
    return EXAMPLES[request.param]


@pytest.fixture
def main() -> Example:
    return EXAMPLES["escnmd-order-1"]


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet_compiler")
@pytest.mark.parametrize("compiler", ["aot_eager", "inductor"])
def test_a_compiled_training_step_equals_an_eager_one(main: Example, compiler: str) -> None:
    learned_suite.test_a_compiled_training_step_equals_an_eager_one(main, compiler)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_whole_report_card_is_clean_without_reflections(dtype: str) -> None:
    """F-2 turns and reflects; turns alone are tested above."""
    checks = tuple(check for check in THOROUGH if check != "F-2")
    assert not failures(build(EXAMPLES["escnmd"]), dtype, checks)


def test_mirror_images_differ() -> None:
    energy, _ = examples.rotation_errors(build(EXAMPLES["escnmd"]), cluster(), improper=True)
    assert energy > 1e3 * tolerances.EQUIVARIANCE.float64
