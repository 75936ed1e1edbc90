"""Many structures at once: the same answers and the same relaxations as one by one, and failures that stay alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from atomsym.calculators import batches
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.calculators.batches import evaluate_many
from atomsym.calculators.evaluator import Evaluator
from atomsym.calculators.symmetric_relaxation import EvaluateMany, relax_symmetric, relax_symmetric_many
from atomsym.core import ConfigError, UnsupportedElementError
from atomsym.generators.realisation import realise
from atomsym.models import FAENet, FAENetConfig
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal
from atomsym.testing import tolerances

BOUND = tolerances.BATCHING.float64
MODELS = ["copper-morse", "cu"]


def batched(model: str) -> EvaluateMany:
    found = evaluate_many(AtomsymCalculator(model))
    assert found is not None
    return found


def structures() -> list[Atoms]:
    random = np.random.default_rng(4)
    made = [bulk("Cu", cubic=True), bulk("Cu", "bcc", a=2.9), bulk("Cu", "hcp", a=2.6, c=4.2), bulk("Cu") * (2, 1, 1)]
    for atoms in made:
        atoms.rattle(0.05, rng=random)
    return made


def crystals() -> list[SymmetricCrystal]:
    some = [(225, "a"), (194, "c"), (229, "a"), (62, "c"), (12, "i"), (136, "f"), (166, "a")]
    return [
        realise(Protostructure(group, ((29, letter),)), generator=np.random.default_rng(group)).crystal
        for group, letter in some
    ]


@pytest.mark.parametrize("model", MODELS)
def test_answers_are_those_of_single_structures(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, evaluate = structures(), batched(model)
    for largest in (4096, 5):  # everything at once, and a few at a time
        monkeypatch.setattr(batches, "LARGEST_BATCH", largest)
        for atoms, answer in zip(made, evaluate(made), strict=True):
            assert not isinstance(answer, Exception)
            atoms.calc = AtomsymCalculator(model)
            energy, forces, stress = answer
            assert energy == pytest.approx(atoms.get_potential_energy(), abs=BOUND * len(atoms))
            assert np.abs(forces - atoms.get_forces()).max() < BOUND
            assert np.abs(stress - atoms.get_stress(voigt=False)).max() < BOUND
    assert evaluate([]) == []


def test_one_that_fails_does_not_touch_the_others() -> None:
    evaluate = batched("copper-morse")
    good, wrong = structures()[0], bulk("Al")
    close = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 1e-3]], cell=5 * np.eye(3), pbc=True)
    answers = evaluate([good, wrong, close, good])
    assert isinstance(answers[1], UnsupportedElementError)
    assert isinstance(answers[2], Exception)
    assert not isinstance(answers[0], Exception)
    assert not isinstance(answers[3], Exception)
    assert answers[0][0] == pytest.approx(answers[3][0], rel=1e-12)


def test_settings_of_the_calculator_hold() -> None:
    close = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 0.05]], cell=6 * np.eye(3), pbc=True)
    refusing, allowing = (
        evaluate_many(AtomsymCalculator("copper-morse", allow_overlap=allow)) for allow in (False, True)
    )
    assert refusing is not None
    assert allowing is not None
    assert isinstance(refusing([close])[0], Exception)
    assert not isinstance(allowing([close])[0], Exception)


def test_direct_forces_stay_direct() -> None:
    torch.manual_seed(0)
    config = FAENetConfig(
        (29,),
        4.0,
        (0.0,),
        12.0,
        channels=24,
        filters=8,
        period_group_channels=2,
        n_layers=1,
        n_gaussians=5,
        direct_forces=True,
    )
    model = FAENet(config).to(torch.float64)
    direct, derived = AtomsymCalculator(model, forces="direct"), AtomsymCalculator(model)
    evaluate, made = evaluate_many(direct), structures()
    assert evaluate is not None
    for atoms, answer in zip(made, evaluate(made), strict=True):
        assert not isinstance(answer, Exception)
        assert np.abs(answer[1] - direct.get_property("forces", atoms)).max() < BOUND
        assert np.abs(answer[1] - derived.get_property("forces", atoms)).max() > 1e-3


def test_an_error_of_the_whole_batch_is_looked_for_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate, real = batched("copper-morse"), Evaluator.evaluate

    def fails_with_four(self: Any, graph: Any, properties: Any) -> Any:
        if 4 in graph.atoms_per_system:
            raise RuntimeError("four atoms")
        return real(self, graph, properties)

    monkeypatch.setattr(Evaluator, "evaluate", fails_with_four)
    answers = evaluate(structures())
    assert [isinstance(answer, RuntimeError) for answer in answers] == [True, False, False, False]


def test_calculators_that_cannot_are_told_apart() -> None:
    assert evaluate_many(EMT()) is None


@pytest.mark.parametrize("together", [1, 3, 32])
def test_relaxations_are_those_of_single_crystals(together: int) -> None:
    made = crystals()
    found = dict(relax_symmetric_many(made, batched("copper-morse"), fmax=0.02, max_steps=60, together=together))
    assert sorted(found) == list(range(len(made)))
    assert sum(each.converged for each in found.values()) >= 5
    for place, crystal in enumerate(made):
        alone = relax_symmetric(crystal, AtomsymCalculator("copper-morse"), fmax=0.02, max_steps=60)
        assert (found[place].steps, found[place].reason) == (alone.steps, alone.reason)
        assert found[place].energy == pytest.approx(alone.energy, abs=1e-7)


def test_structures_go_together() -> None:
    sizes: list[int] = []
    evaluate = batched("copper-morse")

    def counting(asked: Sequence[Atoms]) -> Any:
        sizes.append(len(asked))
        return evaluate(asked)

    list(relax_symmetric_many(crystals(), counting, together=4))
    assert sizes[0] == 4
    assert max(sizes) == 4
    assert sum(size > 1 for size in sizes) > len(sizes) / 2


def failing(which: int) -> EvaluateMany:
    evaluate = batched("copper-morse")

    def evaluate_all_but_some(asked: Sequence[Atoms]) -> Any:
        answers = list(evaluate(asked))
        return [
            ValueError("no") if len(atoms) == which else answer for atoms, answer in zip(asked, answers, strict=True)
        ]

    return evaluate_all_but_some


def test_failures_limits_and_stops() -> None:
    made, evaluate = crystals(), batched("copper-morse")
    found = dict(relax_symmetric_many(made, failing(which=2)))
    failed = [place for place, each in found.items() if "ValueError: no" in each.reason]
    assert 0 < len(failed) < len(made)
    reasons = {each.reason for _, each in relax_symmetric_many(made[3:5], evaluate, max_steps=2)}
    assert reasons == {"2 steps"}
    assert {each.reason for _, each in relax_symmetric_many(made[3:5], evaluate, time_limit=1e-9)} == {"time limit"}
    assert list(relax_symmetric_many(made, evaluate, should_stop=lambda: True)) == []
    ended = dict(relax_symmetric_many(made, evaluate, should_stop=after(20), together=2, fmax=1e-4, smax=1e-5))
    assert 0 < len(ended) < len(made)
    assert "stopped" in {each.reason for each in ended.values()}
    for wrong in ({"together": 0}, {"fmax": 0.0}, {"time_limit": -1.0}):
        with pytest.raises(ConfigError):
            relax_symmetric_many(made, evaluate, **wrong)  # type: ignore[arg-type]


def after(n: int) -> Callable[[], bool]:
    asked = iter(range(10**6))
    return lambda: next(asked) > n
