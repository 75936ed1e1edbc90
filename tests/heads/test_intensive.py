"""Intensive properties: the mean over atoms, of any network, in the same files and the same training as potentials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from hessian_examples import BACKBONES

from atomsym.artifacts import ModelCard, config_from_dict, load_model, read_card, save_model
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import AtomGraph, ConfigError, InputError, LabelledStructure
from atomsym.heads import IntensiveProperty, IntensivePropertyConfig, intensive_property
from atomsym.kernels.neighbors import connect
from atomsym.models import ARGON, FAENetConfig, Potential, Sum
from atomsym.symmetrizers import SymmetrizedPotential
from atomsym.symmetry.frames import random_elements
from atomsym.testing import tolerances
from atomsym.training import TrainingConfig, TrainingData, train

QUANTITY, UNIT = "log10 of the bulk modulus", "log10(GPa)"
CARD = ModelCard("tiny", level_of_theory="none", training_data="made", licence="MIT", citation="none")
FAENET = FAENetConfig(
    (8, 14, 22), 3.0, (-0.2, 0.1, -0.4), average_neighbors=3.0, channels=24, filters=8, n_layers=2,
    n_gaussians=6, period_group_channels=2,
)  # fmt: skip
NETWORKS = {"mace": BACKBONES["mace"], "nequip": BACKBONES["nequip"], "faenet": FAENET}
POSITIONS = np.array([[0.0, 0.0, 0.0], [1.7, 0.2, 0.1], [0.1, 1.8, 1.6]])
NUMBERS = np.array([22, 8, 14])
CELL = np.array([[3.4, 0.1, 0.0], [0.2, 3.6, 0.3], [0.1, 0.0, 3.5]])


def model(name: str = "faenet") -> IntensiveProperty:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return IntensiveProperty.of(name, NETWORKS[name], QUANTITY, UNIT).to(torch.float64).eval()


def crystal(repeats: tuple[int, int, int] = (1, 1, 1), rotation: Any = None) -> AtomGraph:
    rotation = np.eye(3) if rotation is None else rotation
    atoms = Atoms(NUMBERS, POSITIONS, cell=CELL, pbc=True) * repeats
    return AtomGraph.from_arrays(atoms.positions @ rotation, atoms.numbers, np.array(atoms.cell) @ rotation, True)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_property_does_not_grow_with_the_cell(name: str) -> None:
    one, large = model(name), crystal((2, 1, 3))
    value = intensive_property(one, crystal())
    assert value.shape == (1,)
    assert value.dtype == torch.float64
    assert float((intensive_property(one, large) - value).abs()) < tolerances.EXTENSIVITY.float64
    total = float(one(connect(large, one.cutoff))["energies"].detach().sum())  # what a sum would give
    assert abs(total - float(value)) > 1e-2
    batch = AtomGraph.batch([crystal(), large, crystal()])
    torch.testing.assert_close(
        intensive_property(one, batch), value.expand(3), rtol=0, atol=tolerances.BATCHING.float64
    )


def test_frames_make_it_invariant() -> None:
    torch.manual_seed(2)
    bare = model()
    wrapped = SymmetrizedPotential.of("intensive", bare.config, {"method": "weighted", "samples": 4})
    wrapped.model.load_state_dict(bare.state_dict())
    wrapped = wrapped.to(torch.float64).eval()
    assert (wrapped.quantity, wrapped.unit) == (QUANTITY, UNIT)
    (rotation,) = random_elements(1, "E3", generator=torch.Generator().manual_seed(0)).numpy()
    limit = tolerances.ROTATION_ENERGY.float64
    change = intensive_property(wrapped, crystal(rotation=rotation)) - intensive_property(wrapped, crystal())
    assert float(change.abs()) < limit
    alone = intensive_property(bare, crystal(rotation=rotation)) - intensive_property(bare, crystal())
    assert float(alone.abs()) > 1e3 * limit


def test_files_keep_what_it_is_and_calculators_refuse_it(tmp_path: Path) -> None:
    bare = model()
    wrapped = SymmetrizedPotential.of("intensive", bare.config, "full").to(torch.float64).eval()
    potentials: list[Potential] = [bare, wrapped]
    for number, potential in enumerate(potentials):
        file = tmp_path / f"{number}.safetensors"
        save_model(potential, file, CARD)
        again = load_model(file, dtype=torch.float64)
        assert (again.quantity, again.unit) == (QUANTITY, UNIT)
        assert torch.equal(intensive_property(again, crystal()), intensive_property(potential, crystal()))
        for given in (file, again):
            with pytest.raises(InputError, match=r"gives the log10 of the bulk modulus \(log10\(GPa\)\), not energies"):
                AtomsymCalculator(given)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="quantity and unit in words"):
        IntensiveProperty.of("faenet", FAENET, " ", UNIT)
    with pytest.raises(ConfigError, match="quantity and unit in words"):
        IntensiveProperty.of("faenet", FAENET, "energy", "eV")
    with pytest.raises(ConfigError, match="elements and cutoff"):
        IntensiveProperty(IntensivePropertyConfig((8, 14), 3.0, dict(model().config.model), QUANTITY, UNIT))
    with pytest.raises(ConfigError, match="gives the log10 of the bulk modulus already"):
        IntensiveProperty.of("intensive", model().config, "other", "1")
    with pytest.raises(ConfigError, match="no room for the log10"):
        Sum.of(model())
    with pytest.raises(InputError, match="gives energies"):
        intensive_property(model().model, crystal())
    nothing = AtomGraph.from_arrays(np.zeros((0, 3)), np.zeros(0, dtype=int))
    with pytest.raises(InputError, match="without atoms"):
        intensive_property(model(), nothing)
    statistics: Any = None
    with pytest.raises(ConfigError, match="lack: unit"):
        IntensiveProperty.config_from_statistics({"model": {}, "quantity": QUANTITY}, statistics)
    assert IntensiveProperty.of("lennard-jones", ARGON, QUANTITY, UNIT).continuous


def test_the_training_of_potentials_learns_it(tmp_path: Path) -> None:
    """Labels are n y: cells of one to three repeats have the same y, so that a loss by the sum could not fit them."""
    rng, structures = np.random.default_rng(0), []
    for number in range(24):
        atoms = Atoms(NUMBERS, POSITIONS, cell=CELL, pbc=True) * (1 + number % 3, 1, 1)
        scale = rng.uniform(0.92, 1.08)
        atoms.set_cell(scale * np.array(atoms.cell), scale_atoms=True)
        label = len(atoms) * (2.0 - 8.0 * (scale - 1.0))
        structures.append(
            LabelledStructure(
                atoms.numbers.astype(np.int64), atoms.positions, np.array(atoms.cell), np.ones(3, bool), energy=label
            )
        )
    network: dict[str, Any] = {"architecture": "faenet", "cutoff": 3.5, "channels": 24, "filters": 8, "n_layers": 1}
    network |= {"n_gaussians": 8, "period_group_channels": 2}
    described = {"architecture": "intensive", "quantity": QUANTITY, "unit": UNIT, "model": network}
    config = config_from_dict(
        TrainingConfig,
        {
            "model": {**described, "symmetrizer": "stochastic"}, "loss": {"energy": 1.0, "forces": 0.0},
            "batch": {"structures": 4}, "epochs": 20, "optimizer": {"learning_rate": 0.01},
            "output": {"name": "tiny", "licence": "MIT"},
        },
    )  # fmt: skip
    result = train(config, TrainingData(structures[:18], structures[18:]), tmp_path)
    assert result.model_file is not None
    trained = load_model(result.model_file, dtype=torch.float64)
    assert (trained.quantity, trained.unit) == (QUANTITY, UNIT)
    found, labels = [], []
    for structure in structures[18:]:
        graph = AtomGraph.from_arrays(structure.positions, structure.numbers, structure.cell, True)
        found.append(float(intensive_property(trained, graph)))
        labels.append((structure.energy or 0.0) / structure.n_atoms)
    spread = float(np.abs(np.array(labels) - np.mean(labels)).mean())
    assert float(np.abs(np.array(found) - labels).mean()) < 0.35 * spread
    record = json.loads(read_card(result.model_file).card.training)
    assert record["units"]["energy"] == UNIT
