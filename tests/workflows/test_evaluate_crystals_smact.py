"""SMACT's rule, against the package where it is installed, and with a stand-in where it is not."""

from __future__ import annotations

import importlib.util
import sys
import types

import pytest

from atomsym.core import MissingDependencyError
from atomsym.workflows.evaluate_crystals.smact_rule import smact_rule


@pytest.mark.skipif(importlib.util.find_spec("smact") is not None, reason="smact is installed")
def test_a_missing_package_is_named() -> None:
    with pytest.raises(MissingDependencyError, match="pip install smact"):
        smact_rule()


def test_formulas_are_reduced_and_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def smact_validity(formula: str, *, oxidation_states_set: str) -> bool:
        asked.append((formula, oxidation_states_set))
        if "Ds" in formula:
            raise KeyError("Elemental data for Ds not found.")
        return formula == "O2Ti1"

    package, screening = types.ModuleType("smact"), types.ModuleType("smact.screening")
    screening.smact_validity = smact_validity  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "smact", package)
    monkeypatch.setitem(sys.modules, "smact.screening", screening)
    rule = smact_rule()
    assert [rule({8: 4, 22: 2}), rule({8: 2, 22: 1}), rule({8: 5, 22: 1})] == [True, True, False]
    assert asked == [("O2Ti1", "smact14"), ("O5Ti1", "smact14")]
    assert not rule({110: 1, 8: 1})


def test_the_package_agrees_on_well_known_compounds() -> None:
    pytest.importorskip("smact")
    rule = smact_rule()
    assert [rule({8: 2, 22: 1}), rule({9: 2, 19: 1}), rule({29: 3, 79: 1}), rule({8: 2, 110: 1})] == [
        True,
        False,
        True,
        False,
    ]
