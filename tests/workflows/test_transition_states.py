"""Transition states: found, verified, connected; refused where there is none; gone on with after a stop."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixBondLengths
from scipy.spatial.transform import Rotation

from atomsym.calculators.ase.load import load_calculator
from atomsym.core import AtomsymError, CalculationError, ConfigError, InputError
from atomsym.workflows.optimizers import PRFO, RFO
from atomsym.workflows.run_files import read_log
from atomsym.workflows.transition_states import TransitionStateSettings, resume_ts, run_ts
from atomsym.workflows.transition_states.bonds import bonds_of, changes
from atomsym.workflows.transition_states.end_points import aligned, distance, nearest_order, require_reaction
from atomsym.workflows.transition_states.report import write_report

EMT_NAME = "ase.calculators.emt:EMT"
XTB: dict[str, Any] = {"model": "tblite.ase:TBLite", "kwargs": {"method": "GFN2-xTB", "verbosity": 0}}


def saved(atoms: Atoms, folder: Path, name: str) -> str:
    path = folder / f"{name}.xyz"
    ase.io.write(path, atoms, format="extxyz")
    return str(path)


def hydrogen_cyanide(bent: bool = True) -> Atoms:
    return Atoms("CNH", [[0, 0, 0], [1.2, 0, 0], [0.5 if bent else -1.07, 1.1 if bent else 0, 0.0]])


@pytest.fixture
def guess(tmp_path: Path) -> TransitionStateSettings:
    pytest.importorskip("tblite")
    return TransitionStateSettings(guess=saved(hydrogen_cyanide(), tmp_path, "guess"), **XTB)


def test_hydrogen_cyanide_isomerises_over_one_imaginary_mode(guess: TransitionStateSettings, tmp_path: Path) -> None:
    result = run_ts(guess, tmp_path / "run")
    assert result.verified, result.findings
    assert result.saddle is not None
    assert result.saddle.n_imaginary == 1
    assert result.saddle.curvatures[0] < -5 < 0 < result.saddle.curvatures[1]
    assert result.saddle.wavenumbers[0] == pytest.approx(-1426, abs=15)
    assert (result.barrier, result.barrier_backward) == (pytest.approx(3.175, abs=0.01), pytest.approx(2.307, abs=0.01))
    assert [bond[:5] for bond in (*result.bonds_broken, *result.bonds_formed)] == ["C0–H2", "N1–H2"]
    _check_files(guess, tmp_path / "run")


def _check_files(settings: TransitionStateSettings, folder: Path) -> None:
    written = json.loads((folder / "result.json").read_text())
    assert written["verified"] is True
    assert written["barrier_with_zero_point"] < written["barrier"]
    assert len(ase.io.read(folder / "mode.extxyz", ":")) == 20
    assert ase.io.read(folder / "descent_plus.extxyz").get_potential_energy() < written["saddle"]["energy"]
    again = resume_ts(folder)  # a finished run: nothing changes
    assert again.verified
    assert write_report(settings, again).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="resume it with: atomsym ts --resume"):
        run_ts(settings, folder)


def test_a_turned_guess_takes_the_same_steps(guess: TransitionStateSettings, tmp_path: Path) -> None:
    atoms = hydrogen_cyanide()
    atoms.positions = atoms.positions @ Rotation.from_rotvec([0.3, 1.0, -0.4]).as_matrix().T
    turned = dataclasses.replace(guess, guess=saved(atoms, tmp_path, "turned"))
    first, second = run_ts(guess, tmp_path / "a"), run_ts(turned, tmp_path / "b")
    assert first.steps == second.steps
    assert first.barrier == pytest.approx(second.barrier, abs=1e-4)


def test_two_ends_on_a_line_are_connected(tmp_path: Path) -> None:
    """On a line the hydrogen would have to go through the carbon: the band is bent aside first."""
    pytest.importorskip("tblite")
    settings = TransitionStateSettings(
        reactant=saved(hydrogen_cyanide(bent=False), tmp_path, "hcn"),
        product=saved(Atoms("CNH", [[0, 0, 0], [0, 0, 1.17], [0, 0, 2.17]]), tmp_path, "hnc"),
        **XTB,
    )
    result = run_ts(settings, tmp_path / "run")
    assert result.verified, result.findings
    assert result.connects_ends
    assert result.barrier == pytest.approx(3.175, abs=0.01)
    assert result.reaction_energy == pytest.approx(0.868, abs=0.01)
    assert write_report(settings, result).is_file()


def test_formaldehyde_loses_hydrogen(tmp_path: Path) -> None:
    pytest.importorskip("tblite")
    start = Atoms("COH2", [[0, 0, 0], [0, 0, 1.15], [0.98, 0, -0.57], [0.98, 0, -1.86]])
    settings = TransitionStateSettings(guess=saved(start, tmp_path, "h2co"), max_steps=100, **XTB)
    result = run_ts(settings, tmp_path / "run")
    assert result.saddle is not None
    assert result.saddle.n_imaginary == 1
    assert result.verified, result.findings


@pytest.mark.parametrize("stop_after", [2, 30, 90])  # in the first Hessian, later in the search, on the way down
def test_a_stopped_run_goes_on_to_the_same_result(
    guess: TransitionStateSettings, tmp_path: Path, stop_after: int
) -> None:
    whole = run_ts(guess, tmp_path / "whole")
    calls = iter(range(1000))
    first = run_ts(guess, tmp_path / "run", should_stop=lambda: next(calls) == stop_after)
    assert first.stopped
    assert not first.verified
    assert not first.findings
    second = resume_ts(tmp_path / "run")
    assert second.verified
    assert second.steps == whole.steps
    assert second.saddle is not None
    assert whole.saddle is not None
    # tblite starts from the density it had last, so a displaced structure's energy depends on the one before by 1e-11
    assert second.saddle.energy == pytest.approx(whole.saddle.energy, abs=1e-8)
    whole_log, log = (read_log(tmp_path / name) for name in ("whole", "run"))
    for name, column in whole_log.items():
        assert log[name] == pytest.approx(column, rel=1e-3, abs=1e-5, nan_ok=True)


def test_a_stopped_band_is_kept(tmp_path: Path) -> None:
    pytest.importorskip("tblite")
    ends = {"reactant": hydrogen_cyanide(bent=False), "product": Atoms("CNH", [[0, 0, 0], [0, 0, 1.17], [0, 0, 2.17]])}
    files = {name: saved(atoms, tmp_path, name) for name, atoms in ends.items()}
    settings = TransitionStateSettings(**files, images=5, **XTB)
    seen: list[str] = []

    def stop() -> bool:
        return seen.count("band") == 3

    first = run_ts(settings, tmp_path / "run", lambda stage, *_: seen.append(stage), stop)
    assert first.stopped == "band"
    assert json.loads((tmp_path / "run/path.json").read_text()) == {"steps": 2, "finished": False}
    assert write_report(settings, first).is_file()
    later: list[str] = []
    assert resume_ts(tmp_path / "run", lambda stage, *_: later.append(stage)).verified
    assert "relaxing the reactant" not in later


def test_the_wrong_sign_along_the_followed_mode_is_not_verified(
    guess: TransitionStateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: downhill along the followed mode leads to a minimum."""
    right = PRFO.choose_step

    def wrong(self: PRFO, model: Any, radius: float) -> np.ndarray:
        step = right(self, model, radius)
        step[0] *= -1
        return step

    monkeypatch.setattr(PRFO, "choose_step", wrong)
    result = run_ts(dataclasses.replace(guess, max_steps=30), tmp_path / "run")
    assert not result.verified
    assert result.saddle is not None
    assert "0 imaginary modes beyond 30 1/cm instead of one" in result.findings or not result.saddle.converged


def test_held_atoms_take_no_part(tmp_path: Path) -> None:
    """A copper atom over the bridge of two others, all held but it: a saddle point between the two sides in EMT."""
    atoms = Atoms("Cu5", [[0, 0, 0], [2.6, 0, 0], [0, 3.6, 0], [2.6, 3.6, 0], [1.3, 0.1, 2.1]])
    atoms.set_constraint(FixAtoms([0, 1, 2, 3]))
    result = run_ts(
        TransitionStateSettings(guess=saved_with_constraint(atoms, tmp_path), model=EMT_NAME), tmp_path / "run"
    )
    found = ase.io.read(tmp_path / "run/saddle.extxyz")
    assert found.positions[:4] == pytest.approx(atoms.positions[:4], abs=1e-6)
    assert result.saddle is not None
    assert len(result.saddle.wavenumbers) == 3


def saved_with_constraint(atoms: Atoms, folder: Path) -> str:
    path = folder / "held.traj"
    ase.io.write(path, atoms)
    return str(path)


# What is refused -----------------------------------------------------------------------------------------------------


def test_a_guess_that_is_a_minimum_is_called_one(tmp_path: Path) -> None:
    pytest.importorskip("tblite")
    atoms = hydrogen_cyanide(bent=False)
    atoms.calc = load_calculator(XTB["model"], XTB["kwargs"])
    assert RFO(atoms).run(fmax=0.01, steps=20)
    settings = TransitionStateSettings(guess=saved(atoms, tmp_path, "hcn"), **XTB)
    with pytest.raises(InputError, match=r"the guess is a minimum: .* name the --mode"):
        run_ts(settings, tmp_path / "run")
    with pytest.raises(ConfigError, match="the guess has 4 modes; mode 4 does not exist"):
        run_ts(dataclasses.replace(settings, mode=4), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def structures() -> list[tuple[Atoms, dict[str, Any], str]]:
    ion, bonded = molecule("H2O"), molecule("H2O")
    ion.info["charge"] = 1
    bonded.set_constraint(FixBondLengths([[0, 1]]))
    copper = bulk("Cu", cubic=True)
    return [
        (Atoms("Cu"), {"model": EMT_NAME}, "has one atom"),
        (copper, {"model": EMT_NAME}, "is periodic"),
        (ion, {"model": "water"}, "charge = 1"),
        (ion, {"model": "tblite.ase:TBLite", "kwargs": {"verbosity": 0}}, "made for 0; say so with --kwargs"),
        (bonded, {"model": EMT_NAME}, "FixBondLengths"),
        (molecule("CH3Cl"), {"model": EMT_NAME}, "Cl"),
    ]


@pytest.mark.parametrize(("atoms", "chosen", "message"), structures(), ids=lambda value: str(value)[:20])
def test_structures_that_do_not_fit_are_refused(
    atoms: Atoms, chosen: dict[str, Any], message: str, tmp_path: Path
) -> None:
    if "tblite" in chosen["model"]:
        pytest.importorskip("tblite")
    path = tmp_path / "start.traj"
    ase.io.write(path, atoms)
    with pytest.raises(AtomsymError, match=message):
        run_ts(TransitionStateSettings(guess=str(path), **chosen), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_ends_that_are_no_reaction_are_refused() -> None:
    ethane, ethanol = molecule("C2H6"), molecule("CH3CH2OH")
    with pytest.raises(InputError, match="the reactant is C2H6 and the product C2H6O"):
        require_reaction(ethane, ethanol)
    with pytest.raises(InputError, match=r"another order: atoms\[0\] is C in the reactant and H"):
        require_reaction(ethane, ethane[::-1])
    turned = ethane.copy()
    turned.rotate(40, "x")
    with pytest.raises(InputError, match="are the same structure"):
        require_reaction(ethane, turned)


def test_permuted_atoms_are_noticed_and_can_be_insisted_on() -> None:
    ethane = molecule("C2H6")
    order = [0, 1, 5, 3, 4, 2, 6, 7]  # a hydrogen of each carbon exchanged
    permuted = ethane[order]
    with pytest.raises(InputError, match=r"equal atoms seem to be permuted: 4 bonds change .* 0 if"):
        require_reaction(ethane, permuted)
    require_reaction(ethane, permuted, trust_order=True)
    assert distance(ethane, permuted[nearest_order(ethane, permuted)]) < 1e-6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give a GUESS"),
        ({"guess": "a", "reactant": "b", "product": "c"}, "give a GUESS"),
        ({"reactant": "b"}, "give a GUESS"),
        ({"reactant": "b", "product": "c", "mode": 1}, "--mode belongs to a GUESS"),
        ({"guess": "a", "mode": -1}, "mode must be 0"),
        ({"guess": "a", "fmax": 0.0}, "fmax must be positive"),
        ({"guess": "a", "hessian_every": -1}, "hessian_every must be 0"),
        ({"guess": "a", "images": 3}, "5 images or more"),
        ({"guess": "a", "dtype": "float16"}, "float16"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TransitionStateSettings(model="argon", **settings)


def test_a_search_that_climbs_and_climbs_is_called_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug of an optimizer that goes uphill everywhere; the verdict is the same when it is resumed."""
    monkeypatch.setattr(
        PRFO, "choose_step", lambda self, model, radius: radius * model.gradient / np.linalg.norm(model.gradient)
    )
    bent = hydrogen_cyanide()
    settings = TransitionStateSettings(model="organic", guess=saved(bent, tmp_path, "guess"), hessian_every=0)
    seen: list[int] = []
    stopped = run_ts(settings, tmp_path / "run", lambda stage, step, _: seen.append(step), lambda: seen[-1:] == [1])
    assert stopped.stopped
    with pytest.raises(
        CalculationError, match=r"the search is lost: after \d+ steps it lies 1\d\.\d eV above its guess"
    ):
        resume_ts(tmp_path / "run")


def test_a_failing_calculator_names_the_stage(
    guess: TransitionStateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tblite.ase
    from ase.calculators.calculator import CalculationFailed

    right, calls = tblite.ase.TBLite.calculate, iter(range(10000))

    def broken(self: Any, *arguments: Any, **named: Any) -> None:
        if next(calls) > 25:
            raise CalculationFailed("no convergence")
        right(self, *arguments, **named)

    monkeypatch.setattr(tblite.ase.TBLite, "calculate", broken)
    with pytest.raises(CalculationError, match="no convergence"):
        run_ts(guess, tmp_path / "run")
    monkeypatch.undo()
    assert resume_ts(tmp_path / "run").verified  # nothing that was found is lost


# Pieces --------------------------------------------------------------------------------------------------------------


def test_bonds_and_their_changes() -> None:
    water = molecule("H2O")
    apart = water.copy()
    apart.positions[2] *= 3
    assert sorted(bonds_of(water)) == [(0, 1), (0, 2)]
    broken, formed = changes(water, apart)
    assert [text[:5] for text in broken] == ["O0–H2"]
    assert formed == ()
    assert len(bonds_of(molecule("H2"))) == 1


def test_superposition_ignores_where_a_molecule_is() -> None:
    first, second = molecule("CH3CH2OH"), molecule("CH3CH2OH")
    second.rotate(77, (1, 2, 3))
    second.translate((1, 2, 3))
    assert distance(first, second) < 1e-6
    assert aligned(second, first).positions == pytest.approx(first.positions, abs=1e-6)
    mirrored = molecule("CH3CH2OH")
    mirrored.positions[:, 2] *= -1
    mirrored.positions[5] += 0.5
    assert distance(first, mirrored) > 0.05
