"""The benchmark of potentials runs its cases in processes of their own and says what is missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atomsym.core import InputError, MissingDependencyError
from atomsym.testing.tolerances import INFERENCE
from atomsym.workflows.benchmarks import potential, potential_case
from atomsym.workflows.benchmarks.potential import PEERS, SIZES, SYSTEM_NAMES, run
from atomsym.workflows.benchmarks.potential_peers import PEER_CALCULATORS
from atomsym.workflows.benchmarks.potential_systems import ELEMENTS, SYSTEMS


def test_systems_are_what_their_names_say() -> None:
    assert tuple(SYSTEMS) == SYSTEM_NAMES
    assert tuple(potential_case.HIDDEN) == SIZES
    assert tuple(PEER_CALCULATORS) == PEERS
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
    case = {"size": "small", "system": "mol27", "dtype": "float64", "threads": 1, "first_interaction": "plain"}
    row = potential_case.measure_time({**case, "calculators": ["atomsym-autograd", "atomsym"]})
    assert row["atoms"] == 27
    assert 0 < row["atomsym_ms"] <= row["atomsym_median_ms"]
    assert row["atomsym-autograd_speed_up"] == row["atomsym-autograd_ms"] / row["atomsym_ms"] > 0
    assert row["atomsym-autograd_force_deviation"] < INFERENCE.float64 * row["largest_force"]
    assert potential_case.measure_memory({**case, "calculators": ["atomsym"]})["atomsym_memory_mb"] >= 0


@pytest.mark.slow
def test_cases_run_in_processes_of_their_own() -> None:
    (row,) = run(("mol27",), sizes=("small",), peers=(), memory=False)
    assert row["case"] == "mol27 small"
    assert row["atomsym_ms"] > 0


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="unknown system 'ice'; known: mol27"):
        run(("ice",))
    with pytest.raises(InputError, match="unknown size 'huge'; known: small"):
        run(sizes=("huge",))
    with pytest.raises(InputError, match="unknown peer 'abacus'; known: mace-torch, symmetrix"):
        run(peers=("abacus",))


@pytest.mark.parametrize("peers", [("mace-torch",), PEERS, ("symmetrix",)])
def test_a_missing_peer_is_refused_by_name(peers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"mace-torch": "mace", "symmetrix": "symmetrix"}[peers[-1]]
    monkeypatch.setattr(potential, "find_spec", lambda module: None if module == absent else object())
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    with pytest.raises(MissingDependencyError, match=rf"needs {peers[-1]}, which is missing\. (Install|Build) it"):
        run(peers=peers)


def test_a_peer_of_one_thread_is_not_compared_on_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(InputError, match="symmetrix computes on one thread, and 2 are set"):
        run(peers=PEERS)
