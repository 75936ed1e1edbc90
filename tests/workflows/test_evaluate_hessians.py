"""Errors of Hessians: what each number means, on Hessians whose errors are known, and the command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from typer.testing import CliRunner

from atomsym.artifacts import ModelCard, save_model
from atomsym.core import ConfigError, DataError, LabelledStructure
from atomsym.datasets import read_sources
from atomsym.heads import HessianHeadConfig, HessianPotential
from atomsym.models import MACEConfig
from atomsym.workflows.cli import app
from atomsym.workflows.evaluate.hessian_errors import NEGATIVE, compare_hessians, hessian_errors
from atomsym.workflows.evaluate.hessians_command import structures_with_hessians
from atomsym.workflows.vibrations.thermochemistry import zero_point_energy

SPRING = 30.0  # eV/Å²


def springs(atoms: Atoms, constants: dict[tuple[int, int], float]) -> np.ndarray:
    """The Hessian of springs at rest: a sum over pairs of k n nᵀ."""
    n = len(atoms)
    hessian = np.zeros((n, 3, n, 3))
    for (i, j), k in constants.items():
        direction = atoms.positions[j] - atoms.positions[i]
        block = k * np.outer(direction, direction) / (direction @ direction)
        for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
            hessian[a, :, b, :] += sign * block
    return hessian.reshape(3 * n, 3 * n)


WATER = molecule("H2O")
REFERENCE = springs(WATER, {(0, 1): SPRING, (0, 2): SPRING, (1, 2): 2.0})


def labelled(atoms: Atoms, hessian: np.ndarray | None) -> LabelledStructure:
    return LabelledStructure(atoms.numbers, atoms.positions, np.zeros((3, 3)), np.zeros(3, bool), hessian=hessian)


def test_a_hessian_has_no_errors_against_itself() -> None:
    errors, (reference, found) = hessian_errors(WATER, REFERENCE, REFERENCE)
    assert errors.entries == errors.eigenvalues == errors.wavenumbers == errors.zero_point_energy == 0
    assert errors.lowest_mode == pytest.approx(1, abs=1e-12)
    assert (errors.negative_modes, errors.reference_negative_modes) == (0, 0)
    assert len(reference) == len(found) == 3


def test_a_scaled_hessian_has_the_errors_that_scaling_makes() -> None:
    """H' = 1.21 H: every wavenumber and the zero-point energy grow by a tenth, modes stay."""
    errors, (reference, found) = hessian_errors(WATER, 1.21 * REFERENCE, REFERENCE)
    np.testing.assert_allclose(found, 1.1 * reference, rtol=1e-10)
    assert errors.zero_point_energy == pytest.approx(0.1 * zero_point_energy(reference), rel=1e-10)
    assert errors.entries == pytest.approx(0.21 * np.abs(REFERENCE).mean(), rel=1e-12)
    assert errors.eigenvalues == pytest.approx(0.21 * np.linalg.eigvalsh(REFERENCE).sum() / 9, rel=1e-10)
    assert errors.lowest_mode == pytest.approx(1, abs=1e-10)


def test_a_hydrogen_molecule_has_the_wavenumber_of_its_oscillator() -> None:
    """ν = √(k / μ) / 2πc; the zero-point energy is half its quantum."""
    h2 = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])
    stretched = springs(h2, {(0, 1): SPRING})
    errors, (reference, _) = hessian_errors(h2, -stretched, stretched)
    expected = math.sqrt(SPRING * 2 / 1.008) * 521.4708
    assert reference == pytest.approx([expected], rel=1e-5)
    assert (errors.negative_modes, errors.reference_negative_modes) == (1, 0)
    assert errors.zero_point_energy == pytest.approx(-0.5 * 1.239841984e-4 * expected, rel=1e-5)
    assert errors.wavenumbers == pytest.approx(2 * expected, rel=1e-5)


def test_another_softest_mode_shows_in_the_cosine_and_not_in_the_energy() -> None:
    """Two modes of a bent triatomic that change places: the same spectrum, an orthogonal lowest mode."""
    values, vectors = np.linalg.eigh(REFERENCE)
    swapped = values.copy()
    swapped[[6, 7]] = swapped[[7, 6]]
    errors, _ = hessian_errors(WATER, vectors @ np.diag(swapped) @ vectors.T, REFERENCE)
    assert errors.eigenvalues < 1e-12
    assert errors.lowest_mode < 0.7


def test_translations_and_rotations_are_not_modes() -> None:
    """Curvature along them alone (in mass-weighted coordinates) changes entries, but no mode, count or energy."""
    masses = np.repeat(WATER.get_masses(), 3)
    turn = 0.2 * masses * np.cross([0, 0, 1.0], WATER.positions - WATER.get_center_of_mass()).ravel()
    shift = 0.2 * masses * np.tile([0, 0, 1.0], 3)
    spoiled = REFERENCE - np.outer(turn, turn) - np.outer(shift, shift)
    errors, _ = hessian_errors(WATER, spoiled, REFERENCE)
    assert errors.entries > 0.1
    assert errors.eigenvalues > 0.1
    assert errors.wavenumbers < 1e-6
    assert errors.negative_modes == 0


def test_the_threshold_of_a_negative_mode() -> None:
    assert pytest.approx(1e-6 * 27.211386 / 0.5291772**2, rel=1e-6) == NEGATIVE


def test_means_weigh_entries_by_size_and_modes_by_structure() -> None:
    ammonia = molecule("NH3")
    other = springs(ammonia, {(0, 1): 25.0, (0, 2): 25.0, (0, 3): 25.0, (1, 2): 2, (1, 3): 2, (2, 3): 2})
    times = iter([0.0, 1.0, 1.0, 4.0])
    found = compare_hessians(
        [labelled(WATER, REFERENCE), labelled(ammonia, other)],
        lambda atoms: REFERENCE + 0.1 if len(atoms) == 3 else other,
        clock=lambda: next(times),
    )
    summary = found.summary()
    assert summary.n_structures == 2
    assert summary.entries == pytest.approx(0.1 * 81 / (81 + 144), rel=1e-10)
    assert summary.eigenvalues == pytest.approx(0.5 * found.errors[0].eigenvalues)
    assert summary.right_negative_modes == 1.0
    assert summary.seconds == 2.0


def test_structures_without_hessians_are_left_out_and_a_draw_is_reproducible() -> None:
    structures = [labelled(WATER, REFERENCE if k % 2 else None) for k in range(10)]
    assert len(structures_with_hessians(structures)) == 5
    first, again = structures_with_hessians(structures, 3, seed=1), structures_with_hessians(structures, 3, seed=1)
    assert [id(s) for s in first] == [id(s) for s in again]
    with pytest.raises(DataError, match="5 of 10 structures have a Hessian; needed: 6"):
        structures_with_hessians(structures, 6)
    with pytest.raises(DataError, match="has no Hessian"):
        compare_hessians([replace(structures[0])], lambda atoms: REFERENCE, clock=lambda: 0.0)


def test_parts_of_known_sets_are_named_like_files(tmp_path: Path) -> None:
    assert len(read_sources(["organic-xtb-small:test", "organic-xtb-small:validation"], index=":2")) == 4
    with pytest.raises(ConfigError, match="has the parts"):
        read_sources(["organic-xtb-small:exam"])
    with pytest.raises(ConfigError, match="leave out keys"):
        read_sources(["organic-xtb-small:test"], group="molecule")
    with pytest.raises(DataError, match="does not exist"):
        read_sources([str(tmp_path / "none.xyz")])


def random_model() -> HessianPotential:
    elements = (1, 6, 7, 8, 9)
    backbone = MACEConfig(elements, 3.0, (0.0,) * 5, 3.0, channels=4, max_degree=2, hidden="0e+1o+2e", n_radial=4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return HessianPotential.of("mace", backbone, HessianHeadConfig(cutoff=6.0, channels=4, n_radial=5, hidden=6))


def test_the_command_compares_the_head_with_the_derivative(tmp_path: Path) -> None:
    model = tmp_path / "head.safetensors"
    save_model(random_model().double(), model, ModelCard("head", "none", "none", "MIT", "none"))
    arguments = [str(model), "--data", "organic-xtb-small:test", "--n", "2"]
    out, picture = tmp_path / "errors.json", tmp_path / "errors.png"
    result = CliRunner().invoke(app, ["evaluate-hessians", *arguments, "--out", str(out), "--plot", str(picture)])
    assert result.exit_code == 0, result.output
    errors = json.loads(out.read_text())["errors"]
    assert set(errors) == {"head, finite-difference", "head, predicted"}
    assert all(row["n_structures"] == 2 and row["entries"] > 0 for row in errors.values())
    assert errors["head, predicted"]["entries"] != errors["head, finite-difference"]["entries"]
    assert picture.read_bytes()[:4] == b"\x89PNG"
    wrong = CliRunner().invoke(app, ["evaluate-hessians", "predicted@water", "--data", "organic-xtb-small:test"])
    assert isinstance(wrong.exception, ConfigError)
    assert "no Hessian head" in str(wrong.exception)
