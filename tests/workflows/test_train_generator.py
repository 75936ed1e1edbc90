"""The command train-generator and the benchmark of generators, as a user runs them."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from atomsym.artifacts import load_generator
from atomsym.core import ConfigError, DataError
from atomsym.core.elements import symbol_of
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal
from atomsym.training import read_log
from atomsym.training.config_files import read_config_of
from atomsym.training.generators import GeneratorTrainingConfig
from atomsym.workflows.cli import main
from atomsym.workflows.train_generator import AnalysedCrystals, analysed_sets, generator_data
from atomsym.workflows.train_generator.protostructure_files import read_protostructures, write_protostructures

CONFIG = """
generator: {architecture: wyformer, element_channels: 8, site_channels: 4, enumeration_channels: 4, layers: 1, heads: 2,
  hidden: 16, properties: [gap]}
data: {train: [salts.csv, more.csv], test: [test.csv], validation_fraction: 0.25, max_atoms: 60}
batch: {crystals: 8}
optimizer: {learning_rate: 0.01}
epochs: 2
output: {name: salts, licence: MIT, level_of_theory: none}
"""
SALTS = [(11, 17), (11, 35), (19, 17), (19, 35), (3, 9), (37, 53), (12, 8), (20, 8), (25, 8), (28, 8), (47, 9), (3, 17)]


def cif(crystal: SymmetricCrystal) -> str:
    lengths, atoms = np.linalg.norm(crystal.cell, axis=1), []
    for number, place in zip(crystal.numbers, crystal.fractional_positions, strict=True):
        atoms.append(
            f"  {symbol_of(int(number))}  {symbol_of(int(number))}1  1  {place[0]:f}  {place[1]:f}  {place[2]:f}  1"
        )
    sizes = [f"_cell_length_{axis}   {length:f}" for axis, length in zip("abc", lengths, strict=True)]
    angles = [f"_cell_angle_{name}   90.0" for name in ("alpha", "beta", "gamma")]
    columns = ("type_symbol", "label", "symmetry_multiplicity", "fract_x", "fract_y", "fract_z", "occupancy")
    names = [f" _atom_site_{name}" for name in columns]
    head = ["data_crystal", "_symmetry_space_group_name_H-M   'P 1'", *sizes, *angles, "loop_", *names]
    return "\n".join([*head, *atoms, ""])


def write_table(path: Path, crystals: dict[str, SymmetricCrystal]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["material_id", "gap", "cif"])
        writer.writerows(
            [name, len(name) / 10 + index, cif(each)] for index, (name, each) in enumerate(crystals.items())
        )


def salt(cation: int, anion: int, second: str = "b") -> SymmetricCrystal:
    orbits = ((cation, "a"), (anion, second))
    return SymmetricCrystal(Protostructure(225, orbits), 5.5 * np.eye(3), np.zeros((2, 3)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rock salts, fluorites and a crystal that is too large, in three tables that share identifiers."""
    place = tmp_path_factory.mktemp("salts")
    salts = {f"salt-{number}": salt(*pair) for number, pair in enumerate(SALTS)}
    general = Protostructure(225, ((14, "j"),))  # 96 atoms
    large = SymmetricCrystal(general, 20.0 * np.eye(3), np.array([[0.0, 0.11, 0.23]]))
    write_table(place / "salts.csv", {**salts, "large": large})
    write_table(place / "more.csv", {"salt-0": salts["salt-0"], "fluorite": salt(9, 20, "c")})
    write_table(place / "test.csv", {"salt-3": salts["salt-3"], "other": salt(9, 38, "c")})
    (place / "run.yaml").write_text(CONFIG)
    return place


def atomsym(*arguments: str, folder: Path) -> tuple[int, str, str]:
    """The command, run within this process: an own one would take seconds to start."""
    out, errors = io.StringIO(), io.StringIO()
    before, argv = Path.cwd(), sys.argv
    os.chdir(folder)
    sys.argv = ["atomsym", *arguments]
    code = 0
    try:
        with redirect_stdout(out), redirect_stderr(errors):
            main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        os.chdir(before)
        sys.argv = argv
    return code, out.getvalue(), errors.getvalue()


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    code, out, errors = atomsym("train-generator", "run.yaml", "-o", "run", "--json", folder=folder)
    assert code == 0, errors
    (folder / "result.json").write_text(out)
    return folder / "run"


def test_a_run_leaves_a_generator_a_log_scores_and_a_picture(folder: Path, run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "config.yaml", "log.csv", "generator_checkpoint.safetensors", "generator.safetensors", "protostructures.npz",
        "scores.json", "learning.png",
    }  # fmt: skip
    result = json.loads((folder / "result.json").read_text())
    assert result["reason"] == "2 epochs done"
    assert set(result["losses_nats"]) == {"validation", "test.csv"}
    facts = result["samples"]
    assert 0 < facts["new"] <= facts["n"] / facts["n"]
    assert facts["p1"] == [0.0, 0.0]
    assert facts["group_distance"] == 0.0, "one space group only"
    assert [row["epoch"] for row in read_log(run / "log.csv")] == [1, 2]
    assert load_generator(run / "generator.safetensors").group_counts.sum() == 9


def test_a_finished_run_goes_on_with_more_epochs(run: Path, folder: Path) -> None:
    code, _, errors = atomsym("train-generator", "--resume", "run", "--set", "epochs=3", folder=folder)
    assert code == 0, errors
    assert "not among the training crystals" in errors
    assert len(read_log(run / "log.csv")) == 3


def test_an_identifier_counts_once_and_test_crystals_are_not_trained_on(folder: Path, tmp_path: Path) -> None:
    config = read_config_of(GeneratorTrainingConfig, folder / "run.yaml")
    names = {name: str(folder / name) for name in ("salts.csv", "more.csv", "test.csv")}
    data = replace(config.data, train=(names["salts.csv"], names["more.csv"]), test=(names["test.csv"],))
    config = replace(config, data=data)
    told: list[str] = []
    sets = analysed_sets(config, tmp_path, told.append)
    assert told
    assert [len(part) for part in sets.values()] == [13, 2, 2]
    found = generator_data(config, sets)
    assert len(found.train.groups) + len(found.validation.groups) == 12  # 12 salts and a fluorite, less one tested
    assert len(found.validation.groups) == 3
    trained = {tuple(row) for row in found.train.elements.tolist() + found.validation.elements.tolist()}
    assert (19, 35) not in trained
    assert len(trained) == 12
    assert len(found.tests[names["test.csv"]].groups) == 2
    told.clear()
    assert analysed_sets(config, tmp_path, told.append) == sets
    assert not told, "kept in the folder"
    whole = generator_data(replace(config, data=replace(data, max_atoms=0)), sets)
    assert len(whole.train.groups) + len(whole.validation.groups) == 13
    other = replace(config, generator={**config.generator, "properties": ["heat"]})
    with pytest.raises(ConfigError, match="no training crystal has the property 'heat'; known: gap"):
        generator_data(other, sets)
    validated = replace(data, train=data.train[:1], validation=data.train[1:])
    parts = generator_data(replace(config, data=validated), sets)
    assert (len(parts.train.groups), len(parts.validation.groups)) == (10, 2)


def test_a_file_of_protostructures_gives_them_back(tmp_path: Path) -> None:
    crystals = AnalysedCrystals(
        ("a", "b"),
        (Protostructure(225, ((11, "a"), (17, "b"))), Protostructure(47, ((118, "A"), (8, "i"), (8, "i")))),
        ({"gap": 1.0}, {"heat": -2.5}),
        3,
    )
    empty = AnalysedCrystals((), (), ())
    path = tmp_path / "protostructures.npz"
    assert read_protostructures(path, "key") is None
    write_protostructures(path, {"one": crystals, "none": empty}, "key")
    assert read_protostructures(path, "key") == {"one": crystals, "none": empty}
    assert read_protostructures(path, "other") is None
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="delete it"):
        read_protostructures(path, "key")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train-generator"], "name a CONFIG.yaml"),
        (["train-generator", "run.yaml", "--resume", "run"], "leave out CONFIG"),
        (["train-generator", "run.yaml", "-o", "new", "--set", "epoch=2"], "did you mean 'epochs'"),
        (["train-generator", "run.yaml", "-o", "new", "--set", "generator.heads=3"], "do not divide"),
        (["train-generator", "run.yaml", "-o", "new", "--set", "data.train=[none.csv]"], "none.csv"),
        (["train-generator", "run.yaml", "-o", "run"], "atomsym train-generator --resume"),
        (["train", "--resume", "run"], "atomsym train-generator --resume"),
        (["train-generator", "--resume", "run", "--set", "seed=3"], "not seed"),
    ],
)
def test_wrong_use_is_one_message(folder: Path, run: Path, arguments: list[str], message: str) -> None:
    code, _, errors = atomsym(*arguments, folder=folder)
    assert code == 2
    assert message in errors.replace("\n", " ")


def test_the_benchmark_counts_protostructures(run: Path, folder: Path) -> None:
    file = "run/generator.safetensors"
    arguments = ("-n", "12", "--batch", "10", "--repeats", "2", "--json", "--case", "at most 24", "--case", "no cond")
    code, out, errors = atomsym("benchmark", "generators", file, *arguments, folder=folder)
    assert code == 0, errors
    shown = json.loads(out)
    assert list(shown["generators"]) == [file]
    cases = shown["generators"][file]
    assert [row["case"] for row in cases] == ["no condition", "at most 24 atoms"]
    for row in cases:
        assert row["n"] == 12
        assert row["per_second"] == pytest.approx(12 / row["seconds"])
        assert row["seconds"] <= row["first"]
        assert 1 / 12 <= row["different"] <= 1
        assert (row["forced"], row["redrawn"]) == (0, 0), "this generator is never forced"
    again = json.loads(atomsym("benchmark", "generators", file, *arguments, folder=folder)[1])
    same = ("case", "n", "different", "forced", "redrawn", "orbits")
    both = (cases, again["generators"][file])
    assert len({json.dumps([[row[name] for name in same] for row in each]) for each in both}) == 1
    for wrong, message in (("-n", "0"), "must be at least 1"), (("--case", "x"), "no case has this in its name"):
        code, _, errors = atomsym("benchmark", "generators", file, *wrong, folder=folder)
        assert code == 2
        assert message in errors


def test_one_line_of_a_recipe_makes_a_generator_that_aims_at_a_property(folder: Path, tmp_path: Path) -> None:
    """``properties: [gap]``: in the table the metals have a low one and the salts a high one."""
    metals, salts = ({f"{kind}-{number}": crystal for number in range(30)} for kind, crystal in KINDS.items())
    write_table(tmp_path / "both.csv", {**metals, **salts})
    text = CONFIG.replace("[salts.csv, more.csv]", "[both.csv]").replace("test: [test.csv], ", "")
    (tmp_path / "run.yaml").write_text(text)
    settings = ("--set", "epochs=18", "--set", "generator.dropout=0")
    code, _, errors = atomsym("train-generator", "run.yaml", "-o", "run", *settings, "--json", folder=tmp_path)
    assert code == 0, errors
    generator = load_generator(tmp_path / "run" / "generator.safetensors")
    assert generator.properties == ("gap",)

    def part_of_metals(gap: float) -> float:
        random = torch.Generator().manual_seed(0)
        drawn = generator.sample(200, generator=random, targets={"gap": gap}, guidance=2.0)
        return sum(each.protostructure.elements == (29,) for each in drawn) / 200

    low, high = part_of_metals(15.0), part_of_metals(45.0)
    assert low > high + 0.4, (low, high)


KINDS = {
    "metal": SymmetricCrystal(Protostructure(225, ((29, "a"),)), 3.6 * np.eye(3), np.zeros((1, 3))),
    "salt": salt(11, 17),
}
