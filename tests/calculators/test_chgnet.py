"""CHGNet by its short name: silent about the one remark that means nothing, and about nothing else."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from ase.build import bulk

from atomsym.calculators.ase.load import load_calculator

dynamics = pytest.importorskip("chgnet.model.dynamics")


def test_it_calculates_without_a_warning() -> None:
    """Any warning is an error here."""
    atoms = bulk("TiO", "rocksalt", a=4.2)
    atoms.calc = load_calculator("chgnet")
    assert isinstance(atoms.calc, dynamics.CHGNetCalculator)
    assert atoms.get_potential_energy() < 0
    before = list(warnings.filters)
    atoms.rattle(0.01)
    atoms.get_forces()
    assert warnings.filters == before


@pytest.mark.parametrize("text", ["another remark", "Converting a tensor with requires_grad=True to a scalar"])
def test_other_warnings_are_shown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same words from elsewhere than the package chgnet count as another warning."""

    def calculate(self: Any, *args: Any, **kwargs: Any) -> None:
        warnings.warn(text, UserWarning, stacklevel=1)

    monkeypatch.setattr(dynamics.CHGNetCalculator, "calculate", calculate)
    calculator: Any = load_calculator("chgnet")
    with pytest.warns(UserWarning, match=text):
        calculator.calculate()
