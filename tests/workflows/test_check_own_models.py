"""``atomsym check`` on our own models: the shipped ones pass in both precisions, and more can be asked of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from ase import Atoms
from torch import Tensor

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import AtomGraph
from atomsym.models import Potential
from atomsym.testing import Verdict
from atomsym.workflows.check import CheckOptions, load_calculator, run_check
from atomsym.workflows.check.ase_evaluator import structure_of
from atomsym.workflows.check.own_models import OwnModelEvaluator

QUICK = ("F-1", "F-2", "F-3", "F-4", "F-5", "F-6", "F-7", "F-8", "F-9", "F-10", "F-11", "F-13", "F-14", "F-15", "F-18")


@pytest.mark.parametrize("model", ["argon", "copper-morse"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_shipped_pair_potentials_pass(model: str, dtype: str) -> None:
    card = run_check(load_calculator(model, {"dtype": dtype}), CheckOptions(only=QUICK), name=model)
    failed = [(r.id, r.verdict, r.explanation) for r in card.results if r.verdict in (Verdict.FAIL, Verdict.ERROR)]
    assert not failed
    found = {result.id: result.verdict for result in card.results}
    assert found["F-7"] is Verdict.PASS
    assert found["F-14"] is (Verdict.PASS if dtype == "float64" else Verdict.NOT_APPLICABLE)
    assert card.conditions["precision"] == f"{dtype} (declared by the calculator)"


def test_wrong_second_derivative_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose forces are right and whose double backward is not."""

    class Halved(torch.autograd.Function):
        """The identity; its first derivative is right, the derivative of that is half of what it should be."""

        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, *g: Tensor) -> Tensor:
            return 0.5 * g[0] + 0.5 * g[0].detach()

    calculator = AtomsymCalculator("argon")
    potential = calculator.potential
    right: Callable[..., object] = type(potential).forward

    def wrong(self: Potential, graph: AtomGraph) -> object:
        return right(self, graph.with_positions(Halved.apply(graph.positions)))

    structure = structure_of(Atoms("Ar3", positions=np.array([[0, 0, 0], [3.7, 0.2, 0], [1.0, 3.5, 0.4]])))
    good = OwnModelEvaluator(calculator).gradient_errors(structure)
    assert max(good.values()) < 1e-6
    monkeypatch.setattr(type(potential), "forward", wrong)
    bad = OwnModelEvaluator(calculator).gradient_errors(structure)
    assert bad["first derivatives"] < 1e-6
    assert bad["second derivatives"] > 1e-3
