"""The report card passes a good calculator and catches each mutant with the check that is meant for it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import check_subjects as subjects
import numpy as np
import pytest
import torch

from atomsym.core import ConfigError
from atomsym.testing import (
    CHECKS,
    CheckResult,
    Evaluator,
    Result,
    Samples,
    Settings,
    Structure,
    Verdict,
    detect_precision,
    find_cutoff,
    run_check,
    run_checks,
)
from atomsym.testing.dimers import check_dimers

SETTINGS = Settings(timestep=2.0, temperature=400.0, duration=1.0)


@cache
def samples() -> Samples:
    made = subjects.argon_samples()
    assert made.crystal is not None
    return replace(made, dynamics=made.crystal.repeated((2, 2, 2)))


def result_of(subject: Evaluator, identifier: str, settings: Settings = SETTINGS) -> CheckResult:
    (result,) = run_checks(subject, samples(), settings, only=[identifier])
    return result


APPLICABLE = [check.id for check in CHECKS if check.id not in ("F-14", "F-15")]


@pytest.mark.parametrize("identifier", APPLICABLE)
def test_good_calculator_passes(identifier: str) -> None:
    result = result_of(subjects.PairPotential(), identifier)
    assert result.verdict is Verdict.PASS, (result.explanation, result.measurements)
    assert result.measurements
    assert result.evaluations > 0


@pytest.mark.parametrize("identifier", [i for i in APPLICABLE if i != "F-16"])
def test_single_precision_calculator_passes_at_its_own_bounds(identifier: str) -> None:
    settings = replace(SETTINGS, dtype=torch.float32)
    assert result_of(subjects.SinglePrecision(hessian=False), identifier, settings).verdict in (
        Verdict.PASS,
        Verdict.NOT_APPLICABLE,
    )


MUTANTS: list[tuple[Any, str, str]] = [
    (subjects.Pinned, "F-1", "shifted"),
    (subjects.Anisotropic, "F-2", "turned"),
    (subjects.Chiral, "F-2", "turned"),
    (subjects.OrderDependent, "F-3", "renumbered"),
    (subjects.DroppedImage, "F-4", ""),
    (subjects.MinimumImage, "F-5", "supercell"),
    (subjects.MeanField, "F-5", ""),
    (subjects.Leaking, "F-6", "order of calls"),
    (subjects.CellBlindCache, "F-6", "order of calls"),
    (subjects.HoldsInput, "F-6", "in place"),
    (subjects.WritesInput, "F-6", "inputs"),
    (subjects.Aliasing, "F-6", "returned results"),
    (subjects.BatchLeaking, "F-6", "batch"),
    (subjects.WrongSign, "F-7", "wrong sign"),
    (subjects.WrongComponent, "F-7", ""),
    (subjects.ReorderedStress, "F-8", "another order"),
    (subjects.NegatedStress, "F-8", "wrong sign"),
    (subjects.UndividedStress, "F-8", "not divided by the volume"),
    (subjects.SignedVolumeStress, "F-8", "skewed"),
    (subjects.NonConservative, "F-9", "not the gradient"),
    (subjects.AsymmetricHessian, "F-10", "asymmetry"),
    (subjects.WrongHessian, "F-10", "derivative of the forces"),
    (lambda: subjects.PairPotential(subjects.truncated_pair), "F-11", "energy (by"),
    (lambda: subjects.PairPotential(subjects.shifted_pair), "F-11", "jump: force (by"),
    (lambda: subjects.PairPotential(subjects.hessian_jump_pair), "F-11", "jump: Hessian (by"),
    (lambda: subjects.PairPotential(subjects.third_jump_pair), "F-11", "jump: third derivative (by"),
    (subjects.NearestNeighborsOnly, "F-12", "truncated list"),
    (subjects.FrameAveraged, "F-13", "energy jump"),
    (subjects.BackendsDiffer, "F-15", "against reference"),
    (subjects.WrongGradients, "F-14", "second derivatives"),
    (subjects.StaleList, "F-16", "not conserved"),
    (lambda: subjects.PairPotential(subjects.truncated_pair), "F-16", "where dt^2 is right"),
    (subjects.Hole, "F-18", ""),
    (subjects.Infinite, "F-18", "finite energy"),
]


def test_models_of_many_elements_are_looked_at_evenly() -> None:
    pairs = tuple((a, b, 2.0) for a in range(1, 60) for b in range(a, 60))
    finding = check_dimers(subjects.PairPotential(), replace(samples(), pairs=pairs), Settings())
    assert finding.good.startswith("36 of 1770 pairs")
    names = set(finding.data["curves"])
    assert {"H–H", "Pr–Pr"} <= names
    assert len({name.split("–")[0] for name in names}) > 15


@pytest.mark.parametrize(("make", "identifier", "words"), MUTANTS)
def test_mutant_is_caught(make: Any, identifier: str, words: str) -> None:
    result = result_of(make(), identifier)
    assert result.verdict is Verdict.FAIL, (result.explanation, result.measurements)
    assert words.lower() in result.explanation.lower()
    assert result.worst is not None
    assert not result.worst.passed


@pytest.mark.parametrize(
    ("make", "identifier"),
    [
        (subjects.FrameAveraged, "F-13"),
        (lambda: subjects.PairPotential(subjects.shifted_pair), "F-11"),
        (lambda: subjects.PairPotential(subjects.truncated_pair), "F-11"),
        (subjects.WrongSign, "F-7"),
        (subjects.NonConservative, "F-9"),
        (subjects.NegatedStress, "F-8"),
    ],
)
def test_mutant_is_caught_at_single_precision_bounds(make: Any, identifier: str) -> None:
    result = result_of(make(), identifier, replace(SETTINGS, dtype=torch.float32))
    assert result.verdict is Verdict.FAIL, (result.explanation, result.measurements)


def test_third_derivative_jump_only_warns_without_a_hessian() -> None:
    result = result_of(subjects.PairPotential(subjects.third_jump_pair, hessian=False), "F-11")
    assert result.verdict is Verdict.WARN


def test_rewritten_stored_results_warn() -> None:
    result = result_of(subjects.StoredAliasing(), "F-6")
    assert result.verdict is Verdict.WARN
    assert "rewrites" in result.explanation


def test_agreeing_backends_and_right_gradients_pass() -> None:
    assert result_of(subjects.BackendsAgree(), "F-15").verdict is Verdict.PASS
    assert result_of(subjects.RightGradients(), "F-14").verdict is Verdict.PASS


def test_batch_equal_to_single_calls_passes() -> None:
    result = result_of(subjects.Batching(), "F-6")
    assert result.verdict is Verdict.PASS
    assert any("batch" in m.name for m in result.measurements)


def test_check_that_cannot_be_made_says_why() -> None:
    subject = subjects.PairPotential()
    subject.properties = frozenset({"energy", "forces"})
    for identifier, word in (("F-8", "no stress"), ("F-10", "no analytic Hessian"), ("F-15", "backends")):
        result = result_of(subject, identifier)
        assert result.verdict is Verdict.NOT_APPLICABLE
        assert word in result.explanation


def test_nothing_is_applicable_without_structures() -> None:
    results = list(run_checks(subjects.PairPotential(), Samples(), SETTINGS))
    assert {result.verdict for result in results} == {Verdict.NOT_APPLICABLE}
    assert all(result.explanation.endswith(".") for result in results)


def test_broken_calculator_gives_errors_and_stops_nothing() -> None:
    results = list(run_checks(subjects.Broken(), samples(), SETTINGS))
    assert len(results) == len(CHECKS)
    errors = [result for result in results if result.verdict is Verdict.ERROR]
    assert len(errors) >= 12
    assert all(result.explanation == "RuntimeError: out of order" for result in errors)


def test_calculator_that_returns_nan_fails() -> None:
    for identifier in ("F-1", "F-2", "F-3", "F-7", "F-9", "F-16", "F-18", "F-6", "F-11", "F-12", "F-13"):
        assert result_of(subjects.NotANumber(), identifier).verdict is Verdict.FAIL, identifier


def test_unknown_check_is_refused() -> None:
    with pytest.raises(ConfigError, match="F-99"):
        list(run_checks(subjects.PairPotential(), samples(), SETTINGS, only=["F-99"]))


def test_same_seed_gives_the_same_numbers() -> None:
    for identifier in ("F-2", "F-7", "F-16"):
        first, second = (result_of(subjects.PairPotential(), identifier) for _ in range(2))
        assert first.measurements == second.measurements


@pytest.mark.parametrize("pair", [subjects.smooth_pair, subjects.shifted_pair, subjects.truncated_pair])
def test_cutoff_is_found(pair: subjects.Pair) -> None:
    found = find_cutoff(subjects.PairPotential(pair), (18, 18))
    assert found is not None
    # A smooth energy is below rounding just inside: (1 − r²/rc²)⁵ < 1e-16 there.
    assert abs(found - subjects.CUTOFF) < (0.01 if pair is subjects.smooth_pair else 1e-9)


def test_no_cutoff_is_found_for_long_range() -> None:
    class Coulomb(subjects.PairPotential):
        def evaluate(self, structure: Structure, properties: Any = ()) -> Result:
            apart = structure.positions[1] - structure.positions[0]
            r = float(np.linalg.norm(apart))
            forces = np.outer([-1.0, 1.0], apart / r**3)
            return Result(1.0 / r, forces)

    assert find_cutoff(Coulomb(), (18, 18)) is None


def test_precision_is_detected() -> None:
    cluster = samples().cluster
    assert cluster is not None
    assert detect_precision(subjects.PairPotential(), cluster)[0] == torch.float64
    assert detect_precision(subjects.SinglePrecision(), cluster)[0] == torch.float32
    assert detect_precision(subjects.Noisy(), cluster)[0] == torch.float32


def test_checks_change_no_sample() -> None:
    before = [structure.copy() for _, structure in samples().small()]
    for check in CHECKS:
        if check.id != "F-16":
            run_check(check, subjects.PairPotential(), samples(), SETTINGS)
    for old, (_, new) in zip(before, samples().small(), strict=True):
        assert np.array_equal(old.positions, new.positions)
        assert np.array_equal(old.cell, new.cell)


@pytest.mark.slow
def test_calibration_of_the_dynamics_check() -> None:
    """The pass lines for pair potentials hold for the smooth one, at 2 fs over 24 ps from 400 K."""
    settings = replace(SETTINGS, duration=24.0, slope_bound=0.02, rms_bound=0.002)
    assert result_of(subjects.PairPotential(), "F-16", settings).verdict is Verdict.PASS
