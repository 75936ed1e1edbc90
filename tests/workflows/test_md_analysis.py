"""What is read off a trajectory, and how it is drawn beside measurements."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from atomsym.core import InputError, MissingDependencyError
from atomsym.kernels.neighbors import neighbor_list
from atomsym.workflows.md import MdSettings, run_md
from atomsym.workflows.md.analysis import (
    Curve,
    diffusion_coefficient,
    energy_drift,
    maxima,
    mean_squared_displacements,
    standard_error,
)
from atomsym.workflows.md.radial_distribution import radial_distributions
from atomsym.workflows.md.references import REFERENCES, by_pair, read_reference, reference_for
from atomsym.workflows.md.report import write_report
from atomsym.workflows.structures import BUILTIN_STRUCTURES, load_structure
from atomsym.workflows.water_box import water_box

WATER = next(reference for reference in REFERENCES if "O" in reference.composition)


# Radial distribution --------------------------------------------------------------------------------------------------


def counted(frames: list[Atoms], first: int, second: int, edges: np.ndarray) -> np.ndarray:
    """g(r) by an independent way: every pair of a neighbor list that knows all images."""
    total, density = np.zeros(len(edges) - 1), 0.0
    for frame in frames:
        positions, cell = torch.from_numpy(frame.positions), torch.from_numpy(np.asarray(frame.cell))
        found = neighbor_list(positions, float(edges[-1]), cell=cell, pbc=torch.from_numpy(frame.pbc))
        i, j = found.edge_index
        r = (positions[j] - positions[i] + found.edge_shift.to(cell.dtype) @ cell).norm(dim=1).numpy()
        chosen = (frame.numbers[i] == first) & (frame.numbers[j] == second)
        total += np.histogram(r[chosen], bins=edges)[0]
        density += 1 / frame.get_volume()
    n_first, n_second = (frames[0].numbers == first).sum(), (frames[0].numbers == second).sum()
    pairs = n_first * (n_second - 1 if first == second else n_second)
    return total / (pairs * density * 4 / 3 * np.pi * np.diff(edges**3))


@pytest.mark.parametrize("shape", ["cubic", "skewed", "left-handed"])
def test_radial_distributions_count_every_pair_whatever_the_cell(shape: str) -> None:
    generator = np.random.default_rng(0)
    cell = np.diag([11.0, 12.0, 13.0])
    if shape != "cubic":
        cell = np.array([[15.0, 0.5, 0.0], [7.0, 14.0, 1.0], [-4.0, 5.0, 15.0]])
    if shape == "left-handed":
        cell = cell[[1, 0, 2]]
    frames = []
    for _ in range(5):
        strained = cell * generator.uniform(0.97, 1.03)
        numbers = [8] * 20 + [1] * 40
        positions = generator.uniform(-2, 3, (60, 3)) @ strained  # far outside of the cell
        frames.append(Atoms(numbers=numbers, positions=positions, cell=strained, pbc=True))
    curves = radial_distributions(frames, bin_width=0.2)
    assert list(curves) == ["O-O", "O-H", "H-H"]
    for pair, (first, second) in {"O-O": (8, 8), "O-H": (8, 1), "H-H": (1, 1)}.items():
        curve = curves[pair]
        edges = np.append(curve.x - 0.1, curve.x[-1] + 0.1)
        assert edges[-1] > 4.5
        expected = counted(frames, first, second, edges)
        # single precision moves a few pairs to the next bin
        assert np.abs(np.cumsum((curve.y - expected) * curve.x**2)).max() < 2e-2 * (expected * curve.x**2).sum() / 20
    half = radial_distributions(frames, max_distance=2.0)
    assert half["O-O"].x[-1] < 2.0


def test_radial_distribution_of_a_small_cell_sees_the_images() -> None:
    curve = radial_distributions([bulk("Cu", a=3.6)], bin_width=0.1)["Cu-Cu"]
    peaks = [r for r, _ in maxima(curve, window=0.15)]
    assert peaks[:3] == pytest.approx([3.6 / 2**0.5, 3.6, 3.6 * 1.5**0.5], abs=0.1)


def test_many_pairs_are_sampled_without_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    frames = [Atoms("Ar300", positions=generator.uniform(0, 12, (300, 3)), cell=[12] * 3, pbc=True) for _ in range(6)]
    monkeypatch.setattr("atomsym.workflows.md.radial_distribution.MOST_PAIRS", 20_000)
    monkeypatch.setattr("atomsym.workflows.md.radial_distribution.MOST_DISTANCES", 50_000)
    curve = radial_distributions(frames, bin_width=0.5)["Ar-Ar"]
    assert curve.y[4:] == pytest.approx(np.ones(len(curve.y) - 4), abs=0.1)  # a gas without forces


def test_radial_distribution_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="periodic in three directions"):
        radial_distributions([Atoms("Ar2")])
    with pytest.raises(InputError, match="half the cell"):
        radial_distributions([bulk("Ar", cubic=True) * 3], max_distance=20.0)
    monkeypatch.setitem(sys.modules, "mdtraj", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'atomsym\[md\]'"):
        radial_distributions([bulk("Ar", cubic=True)])


# Diffusion, drift, maxima ---------------------------------------------------------------------------------------------


def test_diffusion_coefficients_of_random_walks_are_found_by_element() -> None:
    generator = np.random.default_rng(0)
    widths = np.where(np.arange(400) < 200, 0.1, 0.2)[:, None]
    walk = generator.normal(scale=widths, size=(300, 400, 3)).cumsum(axis=0)
    frames = [Atoms("O200H200", positions=positions) for positions in walk]
    # ⟨Δx²⟩ = 3 · 0.01 Å² a frame of 10 fs = 3 Å²/ps, so D = 0.5 Å²/ps = 5 · 1e-5 cm²/s; four times that of H
    found = {s: diffusion_coefficient(c) for s, c in mean_squared_displacements(frames, 10.0).items()}
    assert list(found) == ["O", "H"]
    assert found["O"] == pytest.approx(5.0, rel=0.1)
    assert found["H"] == pytest.approx(20.0, rel=0.1)


def test_breathing_of_the_cell_is_no_diffusion() -> None:
    start = bulk("Ar", cubic=True) * 3
    frames = []
    for scale in 1 + 0.05 * np.sin(np.arange(40)):
        frame = start.copy()
        frame.set_cell(start.cell * scale, scale_atoms=True)
        frames.append(frame)
    assert mean_squared_displacements(frames, 10.0)["Ar"].y.max() < 1e-20


def test_drift_and_rms_of_a_line_with_noise() -> None:
    time = np.arange(1000.0)
    slope, rms = energy_drift(time, 2e-9 * time + np.where(np.arange(1000) % 2, 1e-3, -1e-3))
    assert slope == pytest.approx(2.0, abs=0.02 * 1e3)
    assert rms == pytest.approx(1.0, rel=1e-3)
    assert energy_drift(time[:2], time[:2]) == (0.0, 0.0)


def test_standard_error_of_correlated_values() -> None:
    generator = np.random.default_rng(0)
    independent = generator.normal(size=1000)
    assert standard_error(np.repeat(independent, 50)) == pytest.approx(1 / np.sqrt(1000), rel=0.5)
    assert np.isnan(standard_error(independent[:5]))


def test_maxima_are_refined_between_grid_points() -> None:
    x = np.arange(0, 8, 0.05)
    curve = Curve(x, 2.5 * np.exp(-(((x - 2.81) / 0.3) ** 2)) + np.exp(-(((x - 4.5) / 0.5) ** 2)))
    assert np.array(maxima(curve)) == pytest.approx(np.array([(2.81, 2.5), (4.5, 1.0)]), abs=2e-3)


# References -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbols", "temperature", "density", "known"),
    [
        ("OHH" * 3, 300.0, 0.997, True),
        ("OHH" * 3, 350.0, 0.997, False),
        ("OHH" * 3, 300.0, 0.8, False),
        ("OHH" * 3, 300.0, None, False),
        ("OH" * 3, 300.0, 0.997, False),
        ("N", 300.0, 0.997, False),
    ],
)
def test_measurements_are_shown_for_their_own_liquid_only(
    symbols: str, temperature: float, density: float | None, known: bool
) -> None:
    assert (reference_for(list(symbols), temperature, density) is WATER) is known


def test_curves_are_read_from_files_with_headers(tmp_path: Path) -> None:
    file = tmp_path / "goh.dat"
    file.write_text('# distance g error\n"# quoted, header"\n1.0 0.5 0.1\n2.0, 0.7\n\nend of data\n')
    name, curve = read_reference(f"H-O={file}")
    assert (name, curve.x.tolist(), curve.y.tolist()) == ("H-O", [1.0, 2.0], [0.5, 0.7])
    assert list(by_pair([(name, curve), ("", curve)], ["O-O", "O-H"])) == ["O-H", "O-O"]
    with pytest.raises(InputError, match="no such pair"):
        by_pair([("C-C", curve)], ["O-O"])
    file.write_text("nothing\n")
    with pytest.raises(InputError, match="no lines of two numbers"):
        read_reference(str(file))
    with pytest.raises(InputError, match="cannot be read"):
        read_reference(str(tmp_path / "missing.dat"))


# Report ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> MdSettings:
    ase.io.write(tmp_path / "argon.extxyz", bulk("Ar", "fcc", a=5.6, cubic=True) * (2, 2, 2))
    return MdSettings(
        str(tmp_path / "argon.extxyz"), "argon", temperature=90.0, timestep=4.0, steps=60, trajectory_every=5
    )


@pytest.mark.parametrize("ensemble", ["nve", "npt"])
def test_the_report_has_a_picture_a_table_and_numbers(settings: MdSettings, tmp_path: Path, ensemble: str) -> None:
    settings = dataclasses.replace(settings, ensemble=ensemble)
    result = run_md(settings, tmp_path / "run")
    picture, analysis = write_report(settings, result, [("", Curve(np.array([1.0, 5.0]), np.array([0.0, 1.0])))])
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert list(analysis.overlays) == ["Ar-Ar"]
    rows = (tmp_path / "run/rdf.csv").read_text().splitlines()
    assert rows[0] == "r_A,g_Ar-Ar"
    numbers = json.loads((tmp_path / "run/analysis.json").read_text())
    assert numbers["rdf_maxima"]["Ar-Ar"][0][0] == pytest.approx(5.6 / 2**0.5, abs=0.3)
    assert numbers["diffusion_1e-5_cm2_s"] == {}  # a quarter of a picosecond tells nothing about it


def test_a_run_of_some_picoseconds_has_a_diffusion_coefficient(settings: MdSettings, tmp_path: Path) -> None:
    settings = dataclasses.replace(settings, timestep=10.0, steps=200, trajectory_every=10, thermostat_time=100.0)
    _, analysis = write_report(settings, run_md(settings, tmp_path / "run"))
    numbers = json.loads((tmp_path / "run/analysis.json").read_text())
    assert numbers["diffusion_1e-5_cm2_s"]["Ar"] == pytest.approx(analysis.diffusion["Ar"])


def test_a_report_without_mdtraj_says_how_to_install_it(
    settings: MdSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    result = run_md(settings, tmp_path / "run")
    monkeypatch.setitem(sys.modules, "mdtraj", None)
    _, analysis = write_report(settings, result)
    assert "atomsym[md]" in analysis.missing
    assert "atomsym[md]" in caplog.text
    assert not (tmp_path / "run/rdf.csv").exists()


# Structures -----------------------------------------------------------------------------------------------------------


def test_the_water_box_is_water() -> None:
    box = water_box(27, sweeps=20)
    assert box == water_box(27, sweeps=20)
    assert box != water_box(27, sweeps=20, seed=1)
    assert box.get_masses().sum() / 6.02214e23 / (box.get_volume() * 1e-24) == pytest.approx(0.997, abs=1e-3)
    distances = box.get_all_distances(mic=True)
    molecule = np.arange(81) // 3
    bonds = [distances[3 * m, 3 * m + h] for m in range(27) for h in (1, 2)]
    assert bonds == pytest.approx([0.98] * 54)
    assert distances[molecule[:, None] != molecule].min() > 1.3
    oxygens = distances[::3, ::3][~np.eye(27, dtype=bool)]
    assert 2.4 < oxygens.min() < 2.8  # hydrogen bonds; on the lattice it is 3.1 Å


@pytest.mark.parametrize(("name", "n_atoms"), [("argon", 500), ("copper", 108), ("silicon", 64), ("water", 192)])
def test_built_in_structures_are_periodic_and_apart(name: str, n_atoms: int) -> None:
    atoms = load_structure(name)
    assert name in BUILTIN_STRUCTURES
    assert len(atoms) == n_atoms
    assert atoms.pbc.all()
    assert radial_distributions([atoms], max_distance=0.8)[f"{atoms.symbols[0]}-{atoms.symbols[0]}"].y.max() == 0


def test_a_run_stopped_before_production_has_a_report_too(settings: MdSettings, tmp_path: Path) -> None:
    settings = dataclasses.replace(settings, equilibration_steps=50)
    result = run_md(settings, tmp_path / "run", should_stop=lambda: True)
    assert result.steps_done == 1
    picture, analysis = write_report(settings, result)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert analysis.missing == "no frames yet"
