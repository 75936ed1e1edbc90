"""Evaluation of generators: phases that matter, samples that are kept, tables whose every figure is known."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from atomsym.artifacts import ModelCard
from atomsym.artifacts.generators import save_generator
from atomsym.core import AtomsymError, ConfigError, DataError
from atomsym.datasets.crystals import CrystalRecord
from atomsym.generators import generator_class
from atomsym.symmetry.wyckoff import Protostructure, canonical
from atomsym.workflows.evaluate_crystals.hull import read_hull
from atomsym.workflows.evaluate_generators.__main__ import evaluate_generators
from atomsym.workflows.evaluate_generators.phases import Phase, competing, hull_of, phases_as_csv
from atomsym.workflows.evaluate_generators.settings import EvaluateGeneratorsSettings
from atomsym.workflows.evaluate_generators.summary import draw_facts

pytest.importorskip("pymatgen")  # not a required package
LJ = "ase.calculators.lj:LennardJones"

SALTS = (("NaCl", 5.64, -2.1), ("KCl", 6.29, -2.2), ("MgO", 4.21, -3.0), ("CaO", 4.81, -3.3), ("LiF", 4.03, -3.1))


def record(atoms: Atoms, energy: float | None = None) -> CrystalRecord:
    properties = {} if energy is None else {"formation_energy_per_atom": energy}
    places = atoms.get_scaled_positions()
    return CrystalRecord(str(atoms.symbols), np.array(atoms.cell), places, atoms.numbers.astype(np.int64), properties)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of five salts with energies of formation."""
    path = tmp_path_factory.mktemp("known") / "salts.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["material_id", "formation_energy_per_atom", "cif"])
        for formula, a, energy in SALTS:
            text = io.BytesIO()
            ase.io.write(text, bulk(formula, "rocksalt", a=a), format="cif")
            writer.writerow([formula, energy, text.getvalue().decode()])
    return path


@pytest.fixture(scope="module")
def generator_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights and two space groups."""
    kind = generator_class("wyformer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(kind.Config(hidden=32, layers=1))
    model.group_counts[[123, 225]] = 1
    path = tmp_path_factory.mktemp("generator") / "random.safetensors"
    save_generator(model, path, ModelCard("random", "none", "none", "MIT", "none"))
    return path


def settings_of(known: Path) -> EvaluateGeneratorsSettings:
    return EvaluateGeneratorsSettings(
        n=6,
        max_atoms=8,
        relax=LJ,
        realisations=2,
        prototypes=(str(known),),
        max_steps=4,
        reference=str(known),
        known=(str(known),),
        margin=0.1,
    )


def test_only_phases_that_compete_are_relaxed() -> None:
    """NaCl at two energies, Na₃Cl above the hull, and salts of other elements."""
    sodium = bulk("Na")
    rich = Atoms("Na3Cl", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]], cell=[4, 4, 4],
                 pbc=True)  # fmt: skip
    crystals = [
        record(bulk("NaCl", "rocksalt", a=5.6), -2.0), record(bulk("NaCl", "cesiumchloride", a=3.5), -1.97),
        record(bulk("NaCl", "zincblende", a=6.1), -1.5), record(rich, -0.9), record(sodium, 0.0),
        record(bulk("KCl", "rocksalt", a=6.3), -2.2), record(bulk("MgO", "rocksalt", a=4.2), -3.0), record(sodium),
    ]  # fmt: skip
    system = [frozenset({11, 17})]
    assert competing(crystals, system, 0.01) == [0, 4]
    assert competing(crystals, system, 0.05) == [0, 1, 4]
    assert competing(crystals, system, 0.2) == [0, 1, 3, 4]
    assert competing(crystals, [frozenset({12, 8}), frozenset({19, 17, 8})], 0.01) == [5, 6]
    with pytest.raises(DataError, match="formation_energy"):
        competing([record(sodium)], system, 0.01)


def test_phases_are_read_back_as_a_hull(tmp_path: Path) -> None:
    phases = [Phase("a", {11: 2}, -1.3), Phase("b", {17: 1}, -1.8), Phase("c", {11: 1, 17: 1}, -3.4)]
    file = tmp_path / "phases.csv"
    file.write_text(phases_as_csv(phases))
    for hull in (hull_of(phases), read_hull([str(file)])):
        assert hull.distance({11: 1, 17: 1}, -3.3) == pytest.approx(0.1)
        assert hull.energy({11: 3, 17: 1}) == pytest.approx(0.5 * -3.4 + 0.5 * -1.3)


def test_facts_of_draws() -> None:
    salt, moved = Protostructure(225, ((11, "a"), (17, "b"))), Protostructure(225, ((17, "a"), (11, "b")))
    other, impossible = Protostructure(221, ((55, "a"), (17, "b"))), Protostructure(225, ((9, "a"), (9, "b")))
    facts = draw_facts([salt, moved, other, impossible], {canonical(moved)}, seed=0, forced_orbits=[0, 0, 2, 0])
    assert (facts.n, facts.different, facts.new, facts.degenerate) == (4, 3 / 4, 2 / 4, 1 / 4)
    assert facts.forced == 1 / 4
    assert facts.orbits == (2, 2, 2, 2)
    assert facts.atoms[0] == (8 + 8 + 2 + 8) / 4
    assert facts.elements == 7 / 4
    bare = draw_facts([salt], set(), seed=None)
    assert (bare.degenerate, bare.forced) == (None, None)


@pytest.mark.filterwarnings("ignore")
def test_an_evaluation_goes_on_where_it_was(known: Path, generator_file: Path, tmp_path: Path) -> None:
    """A larger number of relaxations continues the same run; the result is that of a run without interruption."""
    sources = [str(generator_file), str(known)]
    first = evaluate_generators(sources, tmp_path / "run", settings_of(known), 2)
    again = evaluate_generators(sources, tmp_path / "run", settings_of(known), 5)
    whole = evaluate_generators(sources, tmp_path / "whole", settings_of(known), 5)
    assert list(again) == ["random, drawn", "random, relaxed", "salts, relaxed"]
    assert [len(each.generated) for each in first.values()] == [6, 2, 2]
    assert [len(each.generated) for each in again.values()] == [6, 5, 5]
    assert (tmp_path / "run" / "table.md").read_text() == (tmp_path / "whole" / "table.md").read_text()
    data = json.loads((tmp_path / "run" / "random" / "relaxed.json").read_text())
    assert data["relaxations"]["mean_steps"] <= 4
    salts = again["salts, relaxed"]
    assert (salts.rates.novel, salts.rates.hull_known, salts.rates.unique) == (0, 1, 1)
    assert np.isfinite(salts.judgement.hull_distances).all()
    assert whole["random, relaxed"].rates == again["random, relaxed"].rates


@pytest.mark.filterwarnings("ignore")
def test_bad_requests_are_refused_before_any_work(known: Path, generator_file: Path, tmp_path: Path) -> None:
    settings = settings_of(known)
    for sources, n_relaxed, error in (
        ([], 2, "different names"), ([str(known), str(known)], 2, "different names"), ([str(known)], 7, "1 to 6"),
        ([str(known)], 0, "1 to 6"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=error):
            evaluate_generators(sources, tmp_path / "none", settings, n_relaxed)
    assert not (tmp_path / "none").exists()
    with pytest.raises(AtomsymError, match="no-such"):
        evaluate_generators(["no-such"], tmp_path / "other", settings, 2)
    begun = tmp_path / "begun"
    begun.mkdir()
    settings.keep_in(begun)
    settings.keep_in(begun)
    with pytest.raises(ConfigError, match="other settings"):
        evaluate_generators([str(known)], begun, EvaluateGeneratorsSettings(n=6, seed=1), 2)
    for change in ({"n": 0}, {"relax": ""}, {"margin": 0.0}, {"metastable": -1.0}, {"seed": -1}):
        with pytest.raises(ConfigError):
            EvaluateGeneratorsSettings(**change)
