"""With nequip in another interpreter: random official models are converted and agree, in both precisions.

Run with ``ATOMSYM_NEQUIP_PYTHON=~/nequip/bin/python pytest tests/workflows/convert/test_nequip_oracle.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import nequip_peer
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from foreign_calculator import Peer

from atomsym.artifacts import load_model
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import InputError
from atomsym.models import NequIP
from atomsym.workflows.convert.command import convert

PYTHON = os.environ.get("ATOMSYM_NEQUIP_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="set ATOMSYM_NEQUIP_PYTHON to a Python that has nequip")

BOUNDS = {"float64": 1e-11, "float32": 1e-5}
FIVE = ["O", "H", "Cu", "C", "N"]
FULL = {"builder": "FullNequIPGNNModel", "type_embed_num_features": 6, "irreps_edge_sh": "0e+1o+2e"}
SHAPES: dict[str, dict[str, Any]] = {
    "degree 1, one element": {"type_names": ["Cu"], "r_max": 6.0, "num_features": 16, "polynomial_cutoff_p": 4},
    "degree 1, parity, ZBL": {"parity": True, "num_layers": 4, "num_features": 32, "r_max": 5.0, "zbl": 6},
    "degree 1, parity, deep": {"parity": True, "num_layers": 6, "num_features": 8},  # pseudoscalars reach the energy
    "degree 2": {"l_max": 2, "num_layers": 3, "num_features": 64, "type_names": FIVE, "r_max": 5.0},
    "degree 2, parity": {"l_max": 2, "parity": True, "num_layers": 3, "num_features": 16, "r_max": 4.5},
    "degree 3, channels by degree": {"l_max": 3, "num_layers": 3, "num_features": [24, 16, 8, 4], "type_names": FIVE,
                                     "r_max": 5.5, "polynomial_cutoff_p": 8, "zbl": 5},
    "degree 3, parity": {"l_max": 3, "parity": True, "num_layers": 3, "num_features": 16},
    "all by element": {
        "l_max": 2, "num_layers": 2, "avg_num_neighbors": {"H": 3.5, "C": 9.0, "O": 6.25}, "bessel_trainable": True,
        "per_edge_type_cutoff": {"H": {"H": 2.6, "C": 3.0}, "C": 3.6}, "type_embed_num_features": 5, "zbl": 3,
        "radial_mlp_depth": 2, "readout_mlp_hidden_layers_depth": 2, "readout_mlp_hidden_layers_width": 7,
        "per_type_energy_scales_trainable": True,
    },
    "no scales, no shifts": {"per_type_energy_scales": None, "per_type_energy_shifts": None, "radial_mlp_depth": 0},
    "one scale, one shift": {"per_type_energy_scales": 1.7, "per_type_energy_shifts": -4.2},
    "single precision, averaged weights": {"model_dtype": "float32", "ema": True, "l_max": 2, "num_features": 16},
    "layers of their own": {
        **FULL, "feature_irreps_hidden": ["5x0e+3x0o+4x1o+2x1e+3x2e", "2x1e+6x0e+7x1o+2x0o", "5x0e"],
        "radial_mlp_depth": [2, 2, 2], "radial_mlp_width": [4, 9, 7], "learnable_shift": True,
    },
    "no self-connections": {**FULL, "feature_irreps_hidden": ["4x0e+4x1o+4x2e", "4x0e"], "convnet_sc": False,
                            "radial_mlp_depth": [1, 1], "radial_mlp_width": [8, 8]},
    "package": {"l_max": 2, "num_features": 16, "zbl": 6, "r_max": 5.0, "package": True},
}  # fmt: skip
TWO = {
    "feature_irreps_hidden": ["4x0e+4x1o", "4x0e+4x1o", "4x0e"],
    "radial_mlp_depth": [1] * 3,
    "radial_mlp_width": [8] * 3,
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "norms": ({**FULL, **TWO, "convnet_nonlinearity_type": "norm"}, "nonlinearity NormActivation"),
    "residual updates": ({**FULL, **TWO, "convnet_resnet": True}, "residual updates .* in layer 1"),
    "another readout": ({"readout_mlp_hidden_layers_depth": 1, "readout_mlp_nonlinearity": "mish"}, "activation mish"),
    "Lennard-Jones": (
        {"pair_potential": {"_target_": "nequip.nn.pair_potential.LennardJones", "lj_sigma": 1.0, "lj_delta": 0.0,
                            "lj_epsilon": 0.1, "lj_sigma_trainable": False, "lj_delta_trainable": False,
                            "lj_epsilon_trainable": False}}, "the part LennardJones",
    ),
    "types of their own": ({"type_names": ["H", "C1", "C2"]}, "a type of atoms called 'C1'"),
}  # fmt: skip


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all random checkpoints, made by nequip itself; its processes take long to start."""
    folder = tmp_path_factory.mktemp("checkpoints")
    settings = SHAPES | {name: settings for name, (settings, _) in REFUSED.items()}
    command = [PYTHON, nequip_peer.__file__, "make", str(folder), json.dumps(settings)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return folder


def converted(checkpoints: Path, shape: str, folder: Path, bound: float, suffix: str = ".ckpt") -> tuple[Path, Path]:
    """The checkpoint, and the model file that the converter made of it and found equal."""
    foreign, own = checkpoints / f"{shape}{suffix}", folder / f"own{suffix}.safetensors"
    _, deviations = convert(foreign, own, trust=True, python=PYTHON)
    assert deviations.largest < bound, deviations
    assert deviations.n_structures == 4
    return foreign, own


def structures(names: list[str]) -> list[Atoms]:
    """A molecule and the same in a cell smaller than the cutoff, or a metal."""
    if "Cu" in names:
        metal = bulk("Cu", "fcc", a=3.6, cubic=True)
        metal.positions[0] += [0.1, 0.0, 0.05]
        return [metal]
    alone = molecule("CH3CH2OH")
    alone.rattle(0.05, seed=1)
    packed = alone.copy()
    packed.set_cell([4.4, 4.1, 4.7])
    packed.pbc = True
    return [alone, packed]


@pytest.mark.parametrize("shape", SHAPES)
def test_random_official_models_are_converted_and_agree(shape: str, checkpoints: Path, tmp_path: Path) -> None:
    bound = 1e-6 if "single precision" in shape else BOUNDS["float64"]
    _, own = converted(checkpoints, shape, tmp_path, bound)
    model = load_model(own)
    assert isinstance(model, NequIP)
    assert len(model.elements) == len(SHAPES[shape].get("type_names", nequip_peer.MODEL["type_names"]))


def test_a_package_becomes_the_same_file_as_its_checkpoint(checkpoints: Path, tmp_path: Path) -> None:
    """The code of the package is that of its own copy of nequip."""
    models = [
        load_model(converted(checkpoints, "package", tmp_path, BOUNDS["float64"], suffix)[1])
        for suffix in (".ckpt", ".nequip.zip")
    ]
    assert models[0].config == models[1].config
    for first, second in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert np.array_equal(first.detach().numpy(), second.detach().numpy())


@pytest.mark.parametrize(
    ("shape", "suffix", "dtype"),
    [
        ("package", ".nequip.zip", "float64"),
        ("all by element", ".ckpt", "float64"),
        ("degree 1, one element", ".ckpt", "float64"),
        ("single precision, averaged weights", ".ckpt", "float32"),
    ],
)
def test_both_calculators_say_the_same(shape: str, suffix: str, dtype: str, checkpoints: Path, tmp_path: Path) -> None:
    """Energies without those of isolated atoms, forces and stresses beside nequip's own calculator."""
    foreign, own = converted(checkpoints, shape, tmp_path, 1e-6, suffix)
    model = load_model(own)
    assert isinstance(model, NequIP)
    isolated = dict(zip(model.elements, model.config.atomic_energies, strict=True))
    bound = BOUNDS[dtype]
    with Peer(PYTHON, nequip_peer.__file__, str(foreign)) as peer:
        for atoms in structures(SHAPES[shape].get("type_names", [])):
            cell = atoms.cell.array.tolist() if atoms.pbc.any() else None
            said = peer.ask(atoms.numbers.tolist(), atoms.positions.tolist(), cell)
            atoms.calc = AtomsymCalculator(model, dtype=dtype)
            interaction = said["energy"] - sum(isolated[number] for number in atoms.numbers)
            forces = np.array(said["forces"])
            assert abs(atoms.get_potential_energy() - said["energy"]) < bound * abs(interaction)
            assert np.abs(atoms.get_forces() - forces).max() < bound * np.abs(forces).max()
            if cell is not None:
                stress = np.array(said["stress"])
                assert np.abs(atoms.get_stress() - stress).max() < bound * np.abs(stress).max()


@pytest.mark.parametrize("name", REFUSED)
def test_official_models_without_a_place_are_refused_by_name(name: str, checkpoints: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=REFUSED[name][1]):
        convert(checkpoints / f"{name}.ckpt", tmp_path / "own.safetensors", trust=True, python=PYTHON)
    assert not (tmp_path / "own.safetensors").exists()
