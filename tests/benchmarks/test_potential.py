"""The benchmark of potentials runs its cases in processes of their own and says what is missing."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from atomsym.core import InputError, MissingDependencyError
from atomsym.workflows.benchmarks import potential_case
from atomsym.workflows.benchmarks.potential import SIZES, SYSTEM_NAMES, run
from atomsym.workflows.benchmarks.potential_systems import ELEMENTS, SYSTEMS


def test_systems_are_what_their_names_say() -> None:
    assert tuple(SYSTEMS) == SYSTEM_NAMES
    assert tuple(potential_case.HIDDEN) == SIZES
    for name, make in SYSTEMS.items():
        atoms = make()
        assert len(atoms) == int("".join(filter(str.isdigit, name)))
        assert set(atoms.numbers) <= set(ELEMENTS)
        distances = atoms.get_all_distances(mic=bool(atoms.pbc.any())) + 9 * np.eye(len(atoms))
        assert distances.min() > 0.75
    assert SYSTEMS["mol27"]().get_chemical_formula() == "C12H12N2O"


def test_rows_have_times_of_engine_and_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(potential_case, "_CHANNELS", 4)
    monkeypatch.setattr(potential_case, "_BUDGET", 0.0)
    case = {"size": "small", "system": "mol27", "dtype": "float64", "threads": 1}
    row = potential_case.measure_time({**case, "calculators": ["atomsym", "atomsym-autograd"]})
    assert row["atoms"] == 27
    assert 0 < row["atomsym_ms"] <= row["atomsym_median_ms"]
    assert row["atomsym-autograd_ms"] > 0
    assert potential_case.measure_memory({**case, "calculators": ["atomsym"]})["atomsym_memory_mb"] >= 0


@pytest.mark.slow
def test_cases_run_in_processes_of_their_own() -> None:
    (row,) = run(("mol27",), sizes=("small",), baseline=False, memory=False)
    assert row["case"] == "mol27 small"
    assert row["atomsym_ms"] > 0


def test_unknown_names_and_a_missing_peer_are_refused() -> None:
    with pytest.raises(InputError, match="unknown system 'ice'; known: mol27"):
        run(("ice",))
    with pytest.raises(InputError, match="unknown size 'huge'; known: small"):
        run(sizes=("huge",))
    if importlib.util.find_spec("mace") is None:
        with pytest.raises(MissingDependencyError, match="mace-torch"):
            run()
