"""With fairchem in another interpreter: random official models are converted and agree, in both precisions.

Run with ``ATOMSYM_FAIRCHEM_PYTHON=~/fairchem/bin/python pytest tests/workflows/convert/test_fairchem_oracle.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import fairchem_peer
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from foreign_calculator import Peer

from atomsym.artifacts import load_model
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import InputError
from atomsym.models import ESCNMD
from atomsym.workflows.convert.command import convert

PYTHON = os.environ.get("ATOMSYM_FAIRCHEM_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="set ATOMSYM_FAIRCHEM_PYTHON to a Python that has fairchem-core")

BOUNDS = {"float64": 1e-8, "float32": 1e-5}
EXPERTS = {"num_experts": 4, "use_composition_embedding": True}
SHAPES: dict[str, dict[str, Any]] = {
    "esen of all elements": {},
    "both calculators": {
        "backbone": {"sphere_channels": 32, "hidden_channels": 32, "edge_channels": 32, "num_distance_basis": 64,
                     "cutoff": 6.0}, "elements": (1, 6, 8, 29),
    },
    "degree 4, order 2": {
        "backbone": {"lmax": 4, "num_layers": 1, "hidden_channels": 6}, "elements": (1, 6, 8),
    },
    "degree 6, charges by position": {
        "backbone": {"lmax": 6, "num_layers": 1, "chg_spin_emb_type": "pos_emb"}, "elements": (1, 6, 8),
    },
    "experts of charge, spin and data set": {"backbone": {"num_experts": 4}, "datasets": ["omol", "oc20"],
                                             "model_id": "UMA-S-1.1", "elements": (1, 6, 8)},
    "experts of the composition": {"backbone": EXPERTS, "datasets": ["omol", "oc20"], "model_id": "UMA-S-1.1"},
    "experts, size in the mean": {"backbone": EXPERTS, "model_id": "UMA-S-1.2", "elements": (1, 6, 8)},
}  # fmt: skip


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "direct forces": ({"backbone": {"direct_forces": True, "regress_stress": False}}, "direct forces"),
    "feed-forward on a grid": ({"backbone": {"ff_type": "grid"}}, "feed forward 'grid'"),
    "experts of unknown mixture": ({"backbone": EXPERTS, "model_id": "UMA-S-1.1"}, "--composition"),
}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all random checkpoints, made by fairchem itself; its processes take long to start."""
    folder = tmp_path_factory.mktemp("checkpoints")
    settings = SHAPES | {name: settings for name, (settings, _) in REFUSED.items()}
    command = [PYTHON, fairchem_peer.__file__, "make", str(folder), json.dumps(settings)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return folder


def converted(checkpoints: Path, shape: str, folder: Path, **options: Any) -> tuple[Path, Path]:
    """The checkpoint, and the model file that the converter made of it and found equal."""
    foreign, own = checkpoints / f"{shape}.pt", folder / "own.safetensors"
    if SHAPES[shape].get("backbone", {}).get("use_composition_embedding"):
        options["composition"] = "C2H6O"
    _, deviations = convert(foreign, own, trust=True, python=PYTHON, **options)
    assert deviations.largest < BOUNDS["float64"]
    assert deviations.n_structures == 4
    return foreign, own


def structures() -> list[Atoms]:
    """A molecule, the same in a cell smaller than the cutoff, and a metal."""
    alone = molecule("CH3CH2OH")
    alone.rattle(0.05, seed=1)
    packed = alone.copy()
    packed.set_cell([4.4, 4.1, 4.7])
    packed.pbc = True
    packed.positions += 0.1
    metal = bulk("Cu", "fcc", a=3.6, cubic=True)
    metal.positions[0] += [0.1, 0.0, 0.05]
    return [alone, packed, metal]


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "both calculators"])
def test_random_official_models_are_converted_and_agree(shape: str, checkpoints: Path, tmp_path: Path) -> None:
    _, own = converted(checkpoints, shape, tmp_path, head="omol", charge=-1, spin=2)
    model = load_model(own)
    assert isinstance(model, ESCNMD)
    known = SHAPES[shape].get("elements", range(1, 100))
    assert set(model.elements) == ({1, 6, 8} if model.config.composition else set(known))


def test_both_calculators_say_the_same_in_both_precisions(checkpoints: Path, tmp_path: Path) -> None:
    """Energies without those of isolated atoms, and forces, of the converted file beside fairchem's own calculator.

    The metal has edges on the polar axis, where fairchem's frames change their chart.
    """
    foreign, own = converted(checkpoints, "both calculators", tmp_path)
    model = load_model(own)
    assert isinstance(model, ESCNMD)
    isolated = dict(zip(model.elements, model.config.atomic_energies, strict=True))
    for dtype, bound in BOUNDS.items():
        with Peer(PYTHON, fairchem_peer.__file__, str(foreign), dtype=dtype) as peer:
            for atoms in structures():
                cell = atoms.cell.array.tolist() if atoms.pbc.any() else None
                said = peer.ask(atoms.numbers.tolist(), atoms.positions.tolist(), cell)
                atoms.calc = AtomsymCalculator(model, dtype=dtype)
                interaction = said["energy"] - sum(isolated[number] for number in atoms.numbers)
                forces = np.array(said["forces"])
                assert abs(atoms.get_potential_energy() - said["energy"]) < bound * abs(interaction)
                assert np.abs(atoms.get_forces() - forces).max() < bound * np.abs(forces).max()


@pytest.mark.parametrize("name", REFUSED)
def test_official_models_without_a_place_are_refused_by_name(name: str, checkpoints: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=REFUSED[name][1]):
        convert(checkpoints / f"{name}.pt", tmp_path / "own.safetensors", trust=True, python=PYTHON)
    assert not (tmp_path / "own.safetensors").exists()
