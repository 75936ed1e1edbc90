"""The set that comes with the package: there without any folder, whole, and what the engine says today."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from atomsym.datasets import check_dataset, known_sets, load_isolated_energies, load_known, overlap
from atomsym.datasets.known import SHIPPED

NAME = "organic-xtb-small"


def test_it_needs_no_folder_and_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATOMSYM_DATA", raising=False)
    parts = load_known(NAME)
    assert list(parts) == ["train", "validation", "test"]
    assert sum(len(part) for part in parts.values()) > 2500
    assert sum(one.hessian is not None for part in parts.values() for one in part) >= 200
    kinds = Counter(one.group for part in parts.values() for one in part)
    assert {"minimum", "modes", "dynamics", "stretch", "bend", "transfer", "dimer"} <= set(kinds)
    assert all(check_dataset(part).ok for part in parts.values())
    assert overlap(parts["train"], parts["test"]) == []
    assert overlap(parts["train"], parts["validation"]) == []
    assert sorted(load_isolated_energies(NAME)) == [1, 6, 7, 8, 9]
    assert sum(path.stat().st_size for path in (SHIPPED / NAME).iterdir()) < 3_000_000


def test_its_licence_and_command_are_stated() -> None:
    known = known_sets()[NAME]
    text = (SHIPPED / NAME / "README.md").read_text()
    assert known.licence.split()[0] in text
    command = known.origin.partition("atomsym organic-xtb ")[2]
    assert command in text.replace("--out organic-xtb-small ", "")


def test_its_labels_are_those_of_the_engine() -> None:
    pytest.importorskip("tblite")
    from atomsym.workflows.label import make_engine

    engine = make_engine("gfn2-xtb")
    for structure in load_known(NAME)["test"][::60]:
        labels = engine.label(structure, hessian=structure.hessian is not None)
        assert structure.energy == pytest.approx(labels.energy, abs=1e-4)
        assert structure.forces == pytest.approx(labels.forces, abs=2e-3)
        if structure.hessian is not None:
            assert labels.hessian is not None
            assert np.abs(structure.hessian - labels.hessian).max() < 0.02
