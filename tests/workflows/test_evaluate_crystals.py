"""Evaluation of generated crystals: sets whose every figure is known, broken input, and the command."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from typer.testing import CliRunner

from atomsym.core import ConfigError, DataError, InputError
from atomsym.datasets.crystals import CrystalRecord
from atomsym.metrics import is_charge_balanced
from atomsym.metrics.embedding import shipped_embedding
from atomsym.symmetry.wyckoff.analysis import analyse
from atomsym.symmetry.wyckoff.relabelling import canonical
from atomsym.testing.tolerances import ALGEBRA
from atomsym.workflows.cli import app
from atomsym.workflows.evaluate_crystals.describe import CrystalSet, describe, lattice_points
from atomsym.workflows.evaluate_crystals.evaluation import Evaluation, evaluate
from atomsym.workflows.evaluate_crystals.hull import Hull, read_hull
from atomsym.workflows.evaluate_crystals.read import read_generated
from atomsym.workflows.evaluate_crystals.settings import EvaluationSettings
from atomsym.workflows.formula import parse_formula

runner = CliRunner()


def record(atoms: Atoms, name: str = "", **properties: float) -> CrystalRecord:
    return CrystalRecord(
        name, np.array(atoms.cell), atoms.get_scaled_positions(), atoms.numbers.astype(np.int64), properties
    )


def salt(cation: str, anion: str, a: float) -> Atoms:
    return bulk(cation + anion, "rocksalt", a=a)


def rutile(cation: str, anion: str, a: float) -> Atoms:
    return crystal(
        [cation, anion], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[a, a, 0.64 * a, 90, 90, 90]
    )  # fmt: skip


def noisy(atoms: Atoms, seed: int) -> Atoms:
    """The same crystal in another setting, strained by half a percent, its atoms moved by 0.02 Å."""
    generator = np.random.default_rng(seed)
    found = atoms * (1, 1, 2) if seed % 2 else atoms.copy()
    found.rattle(0.02, rng=generator)
    strain = np.eye(3) + 0.005 * generator.normal(size=(3, 3))
    found.set_cell(np.array(found.cell) @ strain, scale_atoms=True)
    found.positions += generator.random(3)
    return found


REAL = [
    salt("Na", "Cl", 5.64), salt("K", "Cl", 6.29), salt("Mg", "O", 4.21), salt("Ca", "O", 4.81),
    rutile("Ti", "O", 4.59), rutile("Sn", "O", 4.74), rutile("Mg", "F", 4.62),
    bulk("Cu"), bulk("Si"), bulk("CsCl", "cesiumchloride", a=4.12),
    bulk("ZnS", "zincblende", a=5.41), bulk("GaAs", "zincblende", a=5.65),
]  # fmt: skip
OVERLAPPING = Atoms("Na2Cl2", scaled_positions=[[0, 0, 0], [0.05, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]],
                    cell=[5, 5, 5], pbc=True)  # fmt: skip
GENERATED = [
    salt("Na", "Cl", 5.64),  # known
    noisy(salt("Na", "Cl", 5.64), 1),  # the same again
    salt("Li", "F", 4.03),  # new, template known
    rutile("Ge", "O", 4.4),  # new, template known
    noisy(rutile("Ge", "O", 4.4), 2),  # the same again
    OVERLAPPING,  # 0.25 Å
    bulk("NaO", "rocksalt", a=4.6),  # NaO balances as a peroxide; new
    bulk("CaF", "cesiumchloride", a=3.3),  # charges do not balance; new
]


def described(name: str, crystals: list[Atoms], strict: float | None = 0.01) -> CrystalSet:
    records = [record(atoms, str(i)) for i, atoms in enumerate(crystals)]
    return describe(name, records, symprec=0.1, strict_symprec=strict, balanced=is_charge_balanced)


@pytest.fixture(scope="module")
def result() -> Evaluation:
    hull = np.array([0.0, 0.0, -0.01, 0.05, 0.05, -3.0, 0.2, np.nan])
    return evaluate(
        described("generated", GENERATED), described("real", REAL), [], EvaluationSettings(), shipped_embedding(),
        hull_distances=hull,
    )  # fmt: skip


def test_every_crystal_is_judged_as_it_was_made(result: Evaluation) -> None:
    v, j = result.generated.validity, result.judgement
    assert v.distances.tolist() == [True, True, True, True, True, False, True, True]
    assert v.charges.tolist() == [True, True, True, True, True, True, True, False]
    assert j.unique.tolist() == [True, False, True, True, False, True, True, True]
    assert j.novel.tolist() == [False, False, True, True, True, True, True, True]
    assert result.generated.groups[[0, 2, 3, 6, 7]].tolist() == [225, 225, 136, 225, 221]


def test_shares_are_of_all_crystals(result: Evaluation) -> None:
    """Eight crystals: stable are numbers 0, 1, 2 and 5, of which 5 is invalid; S.U.N. is number 2 alone."""
    r = result.rates
    assert (r.valid, r.charges, r.unique, r.novel, r.unique_novel) == (7 / 8, 7 / 8, 6 / 8, 6 / 8, 5 / 8)
    assert (r.stable, r.sun, r.ssun) == (4 / 8, 1 / 8, 1 / 8)
    assert (r.metastable, r.metastable_sun, r.metastable_ssun) == (6 / 8, 2 / 8, 2 / 8)
    assert r.hull_known == 7 / 8
    assert r.novel_templates == 0 or r.novel_templates == 125  # the noisy rutile may have lost its group


def test_groups_that_were_asked_for() -> None:
    generated = described("generated", GENERATED)
    asked = np.array([225.0, 225, 216, 136, 136, np.nan, 225, 221])
    found = evaluate(
        generated, described("real", REAL), [], EvaluationSettings(), shipped_embedding(), requested=asked
    )  # fmt: skip
    assert found.rates.requested == (generated.groups == asked).mean()
    assert found.rates.requested_strict == 4 / 8  # noise has taken away what was there
    assert found.real.requested is None


def test_ssun_leaves_out_p1() -> None:
    generator = np.random.default_rng(0)
    irregular = Atoms("LiOF", scaled_positions=[[0, 0, 0], [0.4, 0.45, 0.5], [0.8, 0.2, 0.7]], pbc=True,
                      cell=4.5 * np.eye(3) + 0.4 * generator.normal(size=(3, 3)))  # fmt: skip
    generated = described("generated", [irregular, rutile("Ge", "O", 4.4)])
    found = evaluate(
        generated, described("real", REAL), [], EvaluationSettings(), shipped_embedding(),
        hull_distances=np.array([-1.0, -1.0]),
    )  # fmt: skip
    assert generated.groups[0] == 1
    assert (found.rates.p1, found.rates.sun, found.rates.ssun) == (0.5, 1.0, 0.5)


def test_real_crystals_against_themselves() -> None:
    real = described("real", REAL)
    found = evaluate(real, real, [real], EvaluationSettings(recovery=True), shipped_embedding())
    r, d = found.rates, found.distances
    assert (r.valid, r.unique, r.novel, r.novel_templates, r.p1) == (1, 1, 0, 0, 0)
    distances = (d.elements, d.space_groups, d.sizes, d.arities, d.space_groups_chi_squared, d.density)
    assert distances == pytest.approx((0,) * 6, abs=ALGEBRA.float64)
    assert found.recovery is not None
    assert found.recovery.match_rate == 1
    assert found.recovery.corrected_rmse < 1e-3


def test_planted_copies_are_found_whatever_the_order() -> None:
    originals = [salt("Na", "Cl", 5.64), rutile("Ti", "O", 4.59), bulk("ZnS", "zincblende", a=5.41), REAL[9]]
    copies = [noisy(atoms, seed) for seed, atoms in enumerate(originals * 2)]
    for order in (np.arange(12), np.random.default_rng(0).permutation(12)):
        mixed = described("mixed", [(originals + copies)[i] for i in order], None)
        found = evaluate(mixed, described("real", REAL), [], EvaluationSettings(), shipped_embedding())
        assert int(found.judgement.unique.sum()) == 4
        assert found.n_compared < 12 * 4


def test_a_bucket_by_protostructure_would_miss_noisy_copies() -> None:
    """The planted bug: noise takes away the symmetry, so that labels differ where the matcher sees one crystal."""
    pair = describe(
        "pair", [record(rutile("Ti", "O", 4.59)), record(noisy(rutile("Ti", "O", 4.59), 2))], symprec=0.01,
        strict_symprec=None, balanced=is_charge_balanced,
    )  # fmt: skip
    assert pair.protostructures[0] != pair.protostructures[1]
    assert pair.formulas[0] == pair.formulas[1]


def test_letters_agree_with_the_analysis_and_sizes_with_primitive_cells() -> None:
    found = described("real", REAL)
    for atoms, structure, size in zip(REAL, found.protostructures, found.sizes, strict=True):
        whole = analyse(atoms.cell, atoms.get_scaled_positions(), atoms.numbers, symprec=0.1)
        assert structure == canonical(whole.protostructure)
        assert size == len(atoms)
    assert [lattice_points(group) for group in (1, 12, 166, 225, 229)] == [1, 2, 3, 4, 2]


def test_broken_crystals_are_counted_and_do_no_harm() -> None:
    broken = [
        CrystalRecord("none", np.zeros((3, 3)), np.zeros((0, 3)), np.zeros(0, dtype=np.int64)),
        CrystalRecord("nan", np.full((3, 3), np.nan), np.zeros((1, 3)), np.array([1])),
        record(OVERLAPPING),
        record(REAL[0]),
    ]
    found = describe("broken", broken, symprec=0.1, strict_symprec=0.01, balanced=is_charge_balanced)
    result = evaluate(found, described("real", REAL), [], EvaluationSettings(), shipped_embedding())
    assert result.rates.valid == result.rates.analysed == 1 / 4
    with pytest.raises(InputError, match="no crystal that can be used"):
        evaluate(found.subset([0, 1]), described("real", REAL), [], EvaluationSettings(), shipped_embedding())


# The hull -------------------------------------------------------------------------------------------------------------


PHASES = [("Li", 0.0), ("O2", 0.0), ("Li2O", -2.0), ("Li2O2", -1.65), ("LiO2", -0.4), ("Ti", 0.0), ("TiO2", -3.2),
          ("Ti2O3", -3.1), ("Li2TiO3", -3.0), ("Li4Ti5O12", -3.15), ("LiTiO2", -2.7)]  # fmt: skip


def test_distances_from_the_hull_agree_with_pymatgen() -> None:
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    entries = [PDEntry(Composition(f), e * Composition(f).num_atoms) for f, e in PHASES]
    diagram = PhaseDiagram(entries)
    hull = Hull([(parse_formula(f), e) for f, e in PHASES], formation=False)
    for formula, energy in [*PHASES, ("LiTi2O4", -2.9), ("Li3TiO4", -1.0), ("Li8TiO6", -2.4)]:
        composition = Composition(formula)
        expected = energy - diagram.get_hull_energy_per_atom(composition)
        assert hull.distance(parse_formula(formula), energy) == pytest.approx(expected, abs=1e-9)


def test_hull_by_hand() -> None:
    """Half of Li and half of Li₂O by atoms: −1; a new phase below the hull has a negative distance."""
    hull = Hull([(parse_formula("Li2O"), -2.0)], formation=True)
    assert hull.energy({3: 5, 8: 1}) == pytest.approx(-1.0, abs=ALGEBRA.float64)
    assert hull.distance({3: 5, 8: 1}, -1.2) == pytest.approx(-0.2, abs=ALGEBRA.float64)
    assert math.isnan(hull.energy({3: 1, 9: 1}))
    assert math.isnan(hull.distance({3: 2, 8: 1}, -68.0))


def test_formulas() -> None:
    assert parse_formula("Fe2 O3") == {8: 3, 26: 2}
    assert parse_formula("2H2O") == {1: 4, 8: 2}
    assert parse_formula("Fe(HO)2") == {1: 2, 8: 2, 26: 1}
    assert parse_formula("Mg3(Si2(PO4)2)2") == {8: 16, 12: 3, 14: 4, 15: 4}
    for bad in ("", "Fe2O3)", "(Fe", "fe", "Fe-O", "Xx2", "()"):
        with pytest.raises(InputError):
            parse_formula(bad)


def test_files_of_phases(tmp_path: Path) -> None:
    table, entries = tmp_path / "phases.csv", tmp_path / "phases.json"
    table.write_text("formula,formation_energy_per_atom\nLi2 O1,-2.0\n")
    entries.write_text(json.dumps([{"composition": {"Li": 2, "O": 1}, "energy": -14.0, "correction": -1.0}]))
    assert read_hull([str(table)]).energy({3: 1}) == 0
    assert read_hull([str(entries)]).energy({3: 4, 8: 2}) == pytest.approx(-5.0)
    with pytest.raises(DataError, match="one kind"):
        read_hull([str(table), str(entries)])
    table.write_text("formula,formation_energy_per_atom\nLi(OH,-2.0\n")
    with pytest.raises(DataError, match="not a chemical formula"):
        read_hull([str(table)])
    with pytest.raises(DataError, match="cannot read"):
        read_hull([str(tmp_path / "missing.csv")])


# Files and the command ------------------------------------------------------------------------------------------------


def test_all_formats_give_the_same_crystals(tmp_path: Path) -> None:
    from pymatgen.core import Structure

    crystals = GENERATED[:5]
    frames, folder = tmp_path / "crystals.extxyz", tmp_path / "folder"
    folder.mkdir()
    ase.io.write(frames, crystals)
    texts = []
    for index, atoms in enumerate(crystals):
        ase.io.write(folder / f"{index}.cif", atoms)
        texts.append((folder / f"{index}.cif").read_text())
    structures = [Structure(a.cell, a.symbols, a.get_scaled_positions()).to_json() for a in crystals]
    for column, values in (("cif", texts), ("structure", structures)):
        with (tmp_path / f"{column}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerows([["material_id", column, "e"], *([i, v, 0.5 * i] for i, v in enumerate(values))])
    (folder / "9.cif").write_text("nonsense")
    run = tmp_path / "run"
    (run / "cif").mkdir(parents=True)
    (run / "cif/0.cif").write_text(texts[0])
    (run / "crystals.extxyz").write_text(frames.read_text())
    assert len(read_generated(str(run))) == len(crystals)  # each once
    with (tmp_path / "cif.csv").open("a", newline="") as stream:
        csv.writer(stream).writerow([9, "nonsense", 1.0])
    for source in (frames, folder, tmp_path / "cif.csv", tmp_path / "structure.csv"):
        found = read_generated(str(source))
        for atoms, one in zip(crystals, found, strict=False):
            np.testing.assert_allclose(np.linalg.det(one.cell), atoms.get_volume(), rtol=1e-3)
            assert sorted(one.numbers.tolist()) == sorted(atoms.numbers.tolist())
        assert [len(one.numbers) for one in found[5:]] == (
            [0] if source.suffix != ".extxyz" and "struct" not in source.name else []
        )
    assert read_generated(str(tmp_path / "structure.csv"))[3].properties["e"] == 1.5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.csv", None, "neither a file"),
        ("empty.csv", "material_id,cif\n", "no crystal can be read"),
        ("columns.csv", "a,b\n1,2\n", "no column"),
        ("text.xyz", "nonsense", "ASE cannot read"),
    ],
)
def test_sources_without_crystals_are_refused(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_generated(str(tmp_path / name))


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="symprec"):
        EvaluationSettings(symprec=0)
    with pytest.raises(ConfigError, match="not above"):
        EvaluationSettings(stable=0.2)


def test_the_command_writes_report_plots_and_table(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "generated.extxyz", GENERATED)
    ase.io.write(tmp_path / "real.extxyz", REAL)
    arguments = ["evaluate-crystals", str(tmp_path / "generated.extxyz"), "--reference", str(tmp_path / "real.extxyz")]
    found = runner.invoke(app, [*arguments, "-o", str(tmp_path / "report"), "--json"])
    assert found.exit_code == 0, found.output
    data = json.loads(found.stdout)
    assert data["rates"]["unique"] == 6 / 8
    assert data["settings"]["symprec"] == 0.1
    assert data == json.loads((tmp_path / "report/report.json").read_text())
    text = (tmp_path / "report/report.md").read_text()
    for word in (
        "matcher 0.2/0.3/5°",
        "symprec 0.1 Å",
        "real.extxyz (12)",
        "χ²",
        data["embedding"]["content_hash"][:8],
    ):
        assert word in text
    rows = list(csv.DictReader((tmp_path / "report/crystals.csv").read_text().splitlines()))
    assert [row["unique"] for row in rows] == list("10110111")
    assert (tmp_path / "report/distributions.png").stat().st_size > 20_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hull-distance", "e_hull"], "no crystal has a property 'e_hull'"),
        (["--hull-distance", "e", "--hull", "f"], "give either"),
        (["--energy", "e"], "--energy names energies"),
        (["--metastable=-1"], "not above metastable"),
        (["--hull", "no-such-file.csv"], "cannot read phases"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: list[str], message: str) -> None:
    ase.io.write(tmp_path / "real.extxyz", REAL[:3])
    source = str(tmp_path / "real.extxyz")
    found = runner.invoke(app, ["evaluate-crystals", source, "--reference", source, *options])
    assert message in str(found.exception)
