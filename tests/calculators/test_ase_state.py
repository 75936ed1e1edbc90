"""I-10, R-11, R-12: nothing stale, nothing shared, nothing leaked; calculators pickle, copy and travel."""

from __future__ import annotations

import copy
import gc
import json
import multiprocessing
import operator
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators import calculator as ase_errors
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect as open_database
from ase.io import read, write
from ase.io.jsonio import encode
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS

from atomsym.artifacts import ModelCard, save_model
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import ArtifactError, AtomGraph, ConfigError
from atomsym.models import LennardJones, Potential, PotentialOutput

MakeCrystal = Callable[..., Atoms]
CARD = ModelCard("tiny", "empirical", "none", "CC0-1.0", "nobody")


# I-10: what changed is noticed, what was given stays ------------------------------------------------------------------


def changes() -> dict[str, Callable[[Atoms], Any]]:
    return {
        "position in place": lambda a: operator.iadd(a.positions[1:2, 0], 1e-3),
        "one bit": lambda a: a.positions.__setitem__((0, 0), np.nextafter(a.positions[0, 0], 9)),
        "positions array": lambda a: a.arrays.update(positions=a.positions * 1.01),
        "cell in place": lambda a: operator.imul(a.cell.array[0], 1.01),
        "cell replaced": lambda a: a.set_cell(a.cell.array * 1.02),
        "pbc": lambda a: a.set_pbc((True, True, False)),
        "pbc in place": lambda a: a.pbc.__setitem__(2, False),
        "atom added": lambda a: a.append("Ar") or a.positions.__setitem__(-1, [2.65, 2.65, 2.65]),
        "atom removed": lambda a: a.pop(),
    }


@pytest.mark.parametrize("case", changes())
@pytest.mark.parametrize("skin", [0.0, 1.0])
def test_i10_any_change_of_the_structure_is_noticed(case: str, skin: float, argon_crystal: MakeCrystal) -> None:
    atoms = argon_crystal(1)
    calculator = AtomsymCalculator("argon", skin=skin)
    calculator.get_forces(atoms)
    assert calculator.check_state(atoms) == []
    changes()[case](atoms)
    assert calculator.check_state(atoms) != []
    expected = AtomsymCalculator("argon").get_forces(atoms.copy())
    assert np.abs(calculator.get_forces(atoms) - expected).max() < 1e-13


def test_i10_elements_are_noticed(argon_crystal: MakeCrystal) -> None:
    atoms, calculator = argon_crystal(1), AtomsymCalculator("argon")
    calculator.get_forces(atoms)
    atoms.numbers[0] = 10
    with pytest.raises(ase_errors.InputError, match="Ne"):
        calculator.get_forces(atoms)


def test_i10_results_are_not_changed_by_later_calls_nor_by_the_caller(argon_crystal: MakeCrystal) -> None:
    atoms, calculator = argon_crystal(1), AtomsymCalculator("argon")
    calculator.calculate(atoms, ["energy", "forces", "stress", "hessian"])
    names = ("forces", "stress", "energies", "hessian")
    kept = {name: calculator.get_property(name, atoms) for name in names} | {"raw": calculator.results["forces"]}
    before = copy.deepcopy(kept)
    first = calculator.results
    atoms.rattle(0.1, seed=3)
    calculator.calculate(atoms, ["energy", "forces", "stress", "hessian"])
    assert calculator.results is not first
    assert all(np.array_equal(kept[name], before[name]) for name in kept)
    given = calculator.get_forces(atoms)
    given[:] = 7
    assert not (calculator.get_forces(atoms) == 7).any()


def test_i10_results_are_kept_when_more_is_asked_of_the_same_structure(argon_crystal: MakeCrystal) -> None:
    atoms, calculator = argon_crystal(1), AtomsymCalculator("argon")
    stress = calculator.get_stress(atoms)
    calculator.get_forces(atoms)
    assert np.array_equal(calculator.results["stress"], stress)
    calculator.calculate(atoms.copy(), ["energy"])
    assert set(calculator.results) == {"energy", "free_energy", "energies", "forces", "stress"}


def test_i10_one_calculator_serves_two_structures(argon_crystal: MakeCrystal, cluster: Atoms) -> None:
    shared, crystal = AtomsymCalculator("argon", skin=0.5), argon_crystal(1)
    crystal.calc = cluster.calc = shared
    twin = crystal.copy()
    twin.positions[0] += 0.2
    twin.calc = shared
    everyone = (crystal, cluster, twin)
    expected = [AtomsymCalculator("argon").get_forces(one) for one in everyone]
    for _ in range(3):
        for one, forces in zip(everyone, expected, strict=True):
            assert np.abs(one.get_forces() - forces).max() < 1e-13


class Charged(LennardJones):
    """Declares that it uses a charge; counts its evaluations."""

    info_keys = ("charge",)
    calls = 0

    def forward(self, graph: AtomGraph) -> PotentialOutput:
        type(self).calls += 1
        return super().forward(graph)


def test_i10_info_that_the_model_uses_is_watched(short_potential: Potential, argon_crystal: MakeCrystal) -> None:
    atoms, calculator = argon_crystal(1), AtomsymCalculator(Charged(short_potential.config))
    Charged.calls = 0
    for charge, spin, calls in [(0, 1, 1), (0, 2, 1), (1, 2, 2), (1, 2, 2), (np.array([1, 2]), 2, 3), (None, 2, 4)]:
        atoms.info = {"charge": charge, "spin": spin}
        calculator.get_potential_energy(atoms)
        assert Charged.calls == calls
    assert pickle.loads(pickle.dumps(calculator)).check_state(atoms) == []  # noqa: S301
    atoms.info["charge"] = 3
    assert calculator.check_state(atoms) == ["info"]


def test_nothing_is_kept_of_a_failed_calculation(argon_crystal: MakeCrystal) -> None:
    atoms, calculator = argon_crystal(1), AtomsymCalculator("argon", skin=1.0)
    forces = calculator.get_forces(atoms)
    broken = atoms.copy()
    broken.positions[0, 0] = np.nan
    with pytest.raises(ase_errors.InputError):
        calculator.get_forces(broken)
    assert np.array_equal(calculator.get_forces(atoms), forces)


# memory ---------------------------------------------------------------------------------------------------------


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads do not pay for a few atoms, and cost a lot where processors are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def assert_memory_is_flat(atoms: Atoms, calls: int, **settings: Any) -> None:
    atoms.calc = AtomsymCalculator("argon", **settings)
    generator = np.random.default_rng(0)

    def run(n: int) -> None:
        for _ in range(n):
            atoms.positions += generator.normal(0, 1e-3, atoms.positions.shape)
            atoms.get_forces()

    run(calls // 5)
    gc.collect()
    before = resident_bytes()
    run(calls)
    gc.collect()
    assert resident_bytes() < 1.01 * before


needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory use from /proc")


@needs_proc
@pytest.mark.parametrize("skin", [0.0, 0.5])
def test_r11_memory_is_flat_over_a_thousand_calls(argon_crystal: MakeCrystal, skin: float, one_thread: None) -> None:
    assert_memory_is_flat(argon_crystal(1), 1000, skin=skin)


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_r11_memory_is_flat_over_ten_thousand_calls(argon_crystal: MakeCrystal, dtype: str, one_thread: None) -> None:
    assert_memory_is_flat(argon_crystal(2), 10_000, dtype=dtype)


def test_r11_calculators_are_freed(argon_crystal: MakeCrystal) -> None:
    atoms = argon_crystal(1)
    atoms.calc = AtomsymCalculator("argon", skin=0.5)
    atoms.get_forces()
    calculator, potential = weakref.ref(atoms.calc), weakref.ref(atoms.calc.potential)
    atoms.calc = None
    gc.collect()
    assert calculator() is None
    assert potential() is None


# pickles, copies, workers ---------------------------------------------------------------------------------------


def again(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - our own bytes


@pytest.fixture(params=["name", "path", "object"])
def any_model(request: pytest.FixtureRequest, short_potential: Potential, tmp_path: Path) -> Any:
    if request.param == "name":
        return "argon"
    if request.param == "object":
        return short_potential
    save_model(short_potential, tmp_path / "tiny.safetensors", CARD)
    return tmp_path / "tiny.safetensors"


@pytest.mark.parametrize("dtype", ["float32", "float64", "auto"])
@pytest.mark.parametrize("duplicate", [again, copy.deepcopy, copy.copy])
def test_r12_duplicates_give_identical_results(
    any_model: Any, duplicate: Callable[[Any], Any], dtype: str, argon_crystal: MakeCrystal
) -> None:
    atoms = argon_crystal(1)
    atoms.calc = AtomsymCalculator(any_model, dtype=dtype, skin=0.3)
    fresh = duplicate(atoms.calc)
    expected = atoms.get_potential_energy(), atoms.get_forces(), atoms.calc.get_hessian(atoms)
    used = duplicate(atoms.calc)
    assert used.check_state(atoms) == []
    for twin in (fresh, used):
        found = twin.get_potential_energy(atoms), twin.get_forces(atoms), twin.get_hessian(atoms)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
        assert twin.todict() == atoms.calc.todict() | twin.todict()
        moved = atoms.copy()
        moved.rattle(0.1, seed=8)
        forces = twin.get_forces(moved)
        assert np.abs(forces - expected[1]).max() > 1e-3
        assert np.array_equal(atoms.get_forces(), expected[1])


def test_r12_a_pickle_is_a_reference_and_is_loaded_when_needed(
    short_potential: Potential, tmp_path: Path, argon_crystal: MakeCrystal
) -> None:
    path, atoms = tmp_path / "tiny.safetensors", argon_crystal(1)
    save_model(short_potential, path, CARD)
    calculator = AtomsymCalculator(path)
    energy = calculator.get_potential_energy(atoms)
    small = pickle.dumps(AtomsymCalculator(path))
    assert len(small) < 2000
    assert b"sigma" not in small
    travelled, unused = again(calculator), again(calculator)
    save_model(LennardJones(short_potential.config), path, CARD, created_with="someone else")
    assert travelled.get_potential_energy(atoms) == energy  # known already: nothing is loaded
    with pytest.raises(ArtifactError, match="content hash") as caught:
        travelled.get_forces(atoms)
    assert isinstance(caught.value, ase_errors.CalculatorSetupError)
    path.unlink()
    with pytest.raises(ase_errors.InputError, match="no model and no file"):
        unused.get_forces(atoms)


def test_r12_a_content_hash_pins_the_model(argon_crystal: MakeCrystal) -> None:
    settings = AtomsymCalculator("argon").todict()
    assert AtomsymCalculator(**settings).todict() == settings
    with pytest.raises(ArtifactError, match="was asked for"):
        AtomsymCalculator("argon", content_hash="0" * 64)


def test_r12_deep_copies_share_the_weights(short_potential: Potential) -> None:
    for model in ("argon", short_potential):
        calculator = AtomsymCalculator(model)
        assert copy.deepcopy(calculator).potential.sigma.data_ptr() == calculator.potential.sigma.data_ptr()


def test_r12_relative_paths_survive_a_change_of_folder(
    short_potential: Potential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argon_crystal: MakeCrystal
) -> None:
    save_model(short_potential, tmp_path / "tiny.safetensors", CARD)
    monkeypatch.chdir(tmp_path)
    calculator = again(AtomsymCalculator("tiny.safetensors"))
    monkeypatch.chdir("/")
    assert np.isfinite(calculator.get_potential_energy(argon_crystal(1)))


def test_r12_spawned_workers_give_identical_results(argon_crystal: MakeCrystal, short_potential: Potential) -> None:
    structures = [argon_crystal(1, seed=seed) for seed in range(3)]
    for atoms, model in zip(structures, ["argon", "argon", short_potential], strict=True):
        atoms.calc = AtomsymCalculator(model)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.map(operator.methodcaller("get_forces"), structures)
    for atoms, forces in zip(structures, found, strict=True):
        assert np.array_equal(atoms.get_forces(), forces)


def test_r12_calculators_of_both_precisions_do_not_disturb_each_other(argon_crystal: MakeCrystal) -> None:
    atoms, moved = argon_crystal(1), argon_crystal(1, seed=9)
    alone = {dtype: AtomsymCalculator("argon", dtype=dtype).get_forces(atoms) for dtype in ("float32", "float64")}
    pair = {dtype: AtomsymCalculator("argon", dtype=dtype, skin=0.2) for dtype in ("float32", "float64")}
    for structure in (atoms, moved, atoms):
        for dtype, calculator in pair.items():
            forces = calculator.get_forces(structure)
            calculator.get_hessian(structure, indices=[0])
            if structure is atoms:
                assert np.abs(forces - alone[dtype]).max() < (1e-14 if dtype == "float64" else 1e-7)
    assert 0 < np.abs(alone["float32"] - alone["float64"]).max() < 1e-5


FRESH = """
import sys, json
from ase.build import bulk
from atomsym.calculators.ase import AtomsymCalculator
atoms = bulk("Ar", a=5.3, cubic=True)
atoms.rattle(0.1, seed=0)
sys.stdout.write(json.dumps(AtomsymCalculator("argon", dtype=sys.argv[1]).get_forces(atoms).tolist()))
"""


def test_r12_a_fresh_process_gives_identical_results(argon_crystal: MakeCrystal) -> None:
    atoms = argon_crystal(1)
    AtomsymCalculator("argon", dtype="float32").get_forces(atoms)  # what came before must not matter
    forces = AtomsymCalculator("argon").get_forces(atoms)
    result = subprocess.run([sys.executable, "-c", FRESH, "float64"], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == forces.tolist()


# Life in ASE ----------------------------------------------------------------------------------------------------------


def test_todict_is_plain_data_for_any_model(any_model: Any) -> None:
    calculator = AtomsymCalculator(any_model, dtype="float32")
    data = calculator.todict()
    assert data["dtype"] == "float32"
    assert "device" not in data
    assert "device" in calculator.todict(skip_default=False)
    assert json.loads(encode(data))["model"]
    json.dumps(calculator.provenance)


def test_settings_can_be_changed(argon_crystal: MakeCrystal) -> None:
    atoms, calculator = argon_crystal(1), AtomsymCalculator("argon")
    forces = calculator.get_forces(atoms)
    assert calculator.set(dtype="float64") == {}
    assert calculator.results
    assert calculator.set(dtype="float32") == {"dtype": "float32"}
    assert calculator.results == {}
    assert calculator.provenance["dtype"] == "float32"
    assert 0 < np.abs(calculator.get_forces(atoms) - forces).max() < 1e-5
    with pytest.raises(ConfigError, match="did you mean 'dtype'"):
        calculator.set(dtpe="float64")
    with pytest.raises(ConfigError, match="allowed are"):
        calculator.set(dtype="float16")
    assert calculator.provenance["dtype"] == "float32"


def test_files_and_databases_keep_the_results(argon_crystal: MakeCrystal, tmp_path: Path) -> None:
    atoms = argon_crystal(1)
    atoms.calc = AtomsymCalculator("argon")
    energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    atoms.calc.get_hessian(atoms)
    for name in ("a.traj", "a.extxyz", "a.json"):
        write(tmp_path / name, atoms)
        found = read(tmp_path / name)
        assert isinstance(found.calc, SinglePointCalculator)
        assert found.get_potential_energy() == pytest.approx(energy, abs=1e-7)
        assert np.allclose(found.get_forces(), forces, atol=1e-7)
        assert np.allclose(found.get_stress(), stress, atol=1e-7)
    with open_database(tmp_path / "a.db") as database:
        database.write(atoms)
    row = open_database(tmp_path / "a.db").get(1)
    assert row.calculator == "atomsym"
    assert row.calculator_parameters["model"] == "argon"


def test_optimizers_dynamics_and_bands_run(argon_crystal: MakeCrystal, cluster: Atoms, tmp_path: Path) -> None:
    cluster.calc = AtomsymCalculator("argon")
    assert BFGS(cluster, logfile=None).run(fmax=1e-3, steps=300)
    crystal = argon_crystal(2, stdev=0.02)
    crystal.calc = AtomsymCalculator("argon", skin=0.5)
    start = crystal.get_total_energy()
    VelocityVerlet(crystal, timestep=0.1).run(20)
    assert crystal.get_total_energy() == pytest.approx(start, abs=1e-4)
    images = [cluster.copy() for _ in range(3)]
    images[-1].positions[0] += 0.3
    band = NEB(images, allow_shared_calculator=True, method="improvedtangent")
    band.interpolate()
    for image in images:
        image.calc = cluster.calc
    assert np.isfinite(band.get_forces()).all()


def test_the_plugin_is_listed_by_ase() -> None:
    pytest.importorskip("ase._4.plugins")
    from ase._4.plugins import PluginCollection

    found = [plugin for plugin in PluginCollection.from_entry_points().calculators if plugin.name == "atomsym"]
    assert len(found) == 1
    assert found[0].implementation is AtomsymCalculator
    command = [sys.executable, "-m", "ase", "info", "--plugins"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [line for line in shown.splitlines() if line.split()[:1] == ["atomsym"]]


def test_importing_the_calculator_changes_no_state_of_ase() -> None:
    assert "atomsym" not in ase_errors.external_calculators
    assert AtomsymCalculator("argon").get_potential_energy(bulk("Ar", a=5.3)) < 0
    assert torch.get_default_dtype() == torch.float32
