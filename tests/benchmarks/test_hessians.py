"""The benchmark of Hessians: every way gives one matrix, ratios are what they are called, wrong names are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase.build import molecule

from atomsym.core import InputError, MissingDependencyError
from atomsym.testing.tolerances import BACKEND_PARITY, HESSIAN_FINITE_DIFFERENCE
from atomsym.workflows.benchmarks import hessians, hessians_case, potential
from atomsym.workflows.benchmarks.hessians import run
from atomsym.workflows.benchmarks.hessians_case import BATCHED, PEER_WAYS, SYSTEMS, WAYS

CASE: dict[str, Any] = {
    "system": "water", "size": "organic", "dtype": "float64", "threads": 1, "peers": [], "ways": list(WAYS),
}  # fmt: skip


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three atoms, few channels, few calls."""
    whole = hessians_case._configs
    config, head = whole("organic")
    small = replace(config, channels=4, n_layers=1), replace(head, channels=4)
    monkeypatch.setattr(hessians_case, "_configs", lambda size: small)
    monkeypatch.setattr(hessians_case, "_ROUNDS", 2)
    monkeypatch.setattr(hessians_case, "_SHARE", 0.0)
    monkeypatch.setitem(SYSTEMS, "water", lambda: molecule("H2O"))


def test_systems_have_the_atoms_that_tables_say() -> None:
    assert {name: len(make()) for name, make in SYSTEMS.items()} == {"acetone": 10, "mol27": 27}


def test_the_small_model_is_the_shipped_one_without_what_mace_torch_has_not() -> None:
    config, head = hessians_case._configs("organic")
    assert (config.channels, config.hidden, config.max_degree, config.cutoff) == (48, "0e+1o", 2, 4.5)
    assert (config.repulsion, head.channels, head.cutoff) == ("none", 32, 12.0)


@pytest.mark.usefixtures("small")
def test_every_way_is_timed_and_gives_the_same_matrix() -> None:
    found = hessians_case.measure_time(CASE)
    assert found["atoms"] == 3
    assert list(found["ways"]) == list(WAYS)
    assert all(way["ms"] > 0 for way in found["ways"].values())
    deviations = {name: way["deviation"] for name, way in found["ways"].items() if "deviation" in way}
    assert set(deviations) == {"finite-difference", "vmap", "rows"}
    assert deviations["rows"] == 0.0
    assert deviations["vmap"] < BACKEND_PARITY.float64
    assert deviations["finite-difference"] < HESSIAN_FINITE_DIFFERENCE.float64
    assert hessians_case.measure_memory({**CASE, "ways": ["predicted"]})["memory_mb"] >= 0


@pytest.mark.usefixtures("small")
def test_a_batch_holds_the_hessian_of_each() -> None:
    found = hessians_case.ways({**CASE, "ways": ["predicted", BATCHED]})
    alone, batched = (way(molecule("H2O")) for way in found.values())
    assert np.abs(alone - batched).max() < BACKEND_PARITY.float64 * np.abs(alone).max()


def test_rows_have_the_ratios_of_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    ms = dict(zip([*WAYS, *PEER_WAYS], (10.0, 5.0, 100.0, 400.0, 300.0, 3000.0, 2700.0), strict=True))

    def answer(module: str, case: dict[str, Any]) -> dict[str, Any]:
        if case["what"] == "memory":
            return {"memory_mb": 7.0}
        return {"atoms": 10, "ways": {name: {"ms": ms[name], "deviation": 1e-9} for name in case["ways"]}}

    monkeypatch.setattr(hessians, "in_own_process", answer)
    monkeypatch.setattr(potential, "find_spec", lambda module: object())
    rows = {row["way"]: row for row in run(("acetone",), peers=("mace-torch",))}
    assert list(rows) == [*WAYS, *PEER_WAYS]
    assert rows["rows"]["over predicted"] == pytest.approx(30.0)
    assert rows["predicted"]["get_hessian over it"] == pytest.approx(300.0)
    assert rows["finite-difference"]["row loop over it"] == pytest.approx(27.0)
    assert {row["memory_mb"] for row in rows.values()} == {7.0}
    (alone, *_) = run(("acetone",), peers=(), memory=False)
    assert set(alone) == {"case", "atoms", "way", "ms", "over predicted", "deviation"}


def test_wrong_names_are_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hessians, "in_own_process", lambda *_: pytest.fail("work was begun"))
    with pytest.raises(InputError, match="unknown system 'ice'; known: acetone, mol27"):
        run(("ice",), peers=())
    with pytest.raises(InputError, match="unknown size 'huge'; known: medium, organic"):
        run(sizes=("huge",), peers=())
    with pytest.raises(InputError, match="symmetrix has no Hessians"):
        run(peers=("symmetrix",))
    monkeypatch.setattr(potential, "find_spec", lambda module: None)
    with pytest.raises(MissingDependencyError, match=r"needs mace-torch, which is missing\. Install it"):
        run(peers=("mace-torch",))
