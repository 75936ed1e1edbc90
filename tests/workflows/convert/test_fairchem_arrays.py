"""Models in fairchem's layout are converted to what their equations say, and refused by name where they cannot be."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fairchem_arrays import ELEMENTS, energies_by_equations, random_model, with_settings

from atomsym.core import AtomGraph, InputError
from atomsym.derivatives import evaluate
from atomsym.kernels.neighbors import connect
from atomsym.testing import tolerances
from atomsym.workflows.convert import extract_fairchem
from atomsym.workflows.convert.checkpoint import Checkpoint, kind_of
from atomsym.workflows.convert.fairchem import escnmd_from_arrays
from atomsym.workflows.convert.fairchem_config import Selection, config_of
from atomsym.workflows.convert.isolated import FAIRCHEM, extract, read_files

POSITIONS = [[0.0, 0.0, 0.0], [0.0, 1.3, 0.0], [1.1, -0.4, 0.7], [-0.8, 0.5, 1.9]]
NUMBERS = [6, 8, 1, 1]


def energies(model: Any) -> torch.Tensor:
    """Of four atoms, one of them on the polar axis of another."""
    graph = connect(AtomGraph.from_arrays(POSITIONS, NUMBERS), model.cutoff)
    return evaluate(model, graph, ("energies",)).energies


def test_a_converted_model_gives_what_the_equations_say() -> None:
    foreign = random_model()
    numbers = torch.tensor(NUMBERS)
    expected = energies_by_equations(foreign, numbers, torch.tensor(POSITIONS, dtype=torch.float64))
    references = torch.tensor(foreign.description["tasks"]["energy"]["references"], dtype=torch.float64)
    found = energies(escnmd_from_arrays(foreign)) - references[numbers]
    assert expected.std() > 0.01
    torch.testing.assert_close(found, 1.5 * expected, rtol=tolerances.BACKEND_PARITY.float64, atol=1e-11)


@pytest.mark.parametrize(
    "name",
    sorted(name for name in random_model().arrays if name not in ("backbone.mix_csd.weight", "head.4.bias")),
)
def test_every_weight_matters(name: str) -> None:
    """Otherwise the comparison above would not see where it went. Centres of Gaussians cannot be moved."""
    if name == "gaussian.centres":
        pytest.skip("a basis of its own is refused")
    foreign = random_model()
    scale = 1.2 if name in ("gaussian.factor", "envelope.power", "degree.divisor") else 1.01
    changed = replace(foreign, arrays=foreign.arrays | {name: foreign.arrays[name] * scale})
    before, after = energies(escnmd_from_arrays(foreign)), energies(escnmd_from_arrays(changed))
    assert float((after - before).abs().max()) > 1e-7


def test_settings_of_the_converted_model() -> None:
    config = config_of(random_model())
    assert config.elements == tuple(ELEMENTS)
    assert config.atomic_energies == (-13.0, -1000.0, -2000.0)
    assert (config.average_neighbors, config.radial_width, config.envelope_power) == (25.0, 2.0, 5)
    assert (config.scale, config.max_order, config.composition) == (1.5, 2, ())


UNIT = {"mean": 0.0, "rmsd": 1.5, "references": None}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another backbone": ({"class": "AllScAIPBackbone"}, "backbone AllScAIPBackbone"),
    "no data set named": ({"head": ""}, "several data sets; choose one with --head: oc20, omol"),
    "an unknown data set": ({"head": "omat"}, "no data set 'omat'"),
    "direct forces": ({"direct": True}, "direct forces cannot be converted"),
    "balanced channels": ({"balanced": [0, 3]}, "balanced charge or spin"),
    "two heads": ({"energy_heads": ["MLP_EFS_Head"] * 2}, "energy heads MLP_EFS_Head, MLP_EFS_Head"),
    "another head": ({"energy_heads": ["Linear_Energy_Head"]}, "energy heads Linear_Energy_Head"),
    "mean energies": ({"reduce": ["mean"]}, "energy heads"),
    "unmerged experts": ({"experts": 8, "needs_composition": True}, "mixes 8 experts .* --composition"),
    "other experts": ({"experts": 8, "experts_of": "all"}, "experts of the kind 'all'"),
    "no energies": ({"tasks": {"forces": UNIT}}, "'omol' without energies"),
    "a shift": ({"tasks": {"energy": {**UNIT, "mean": 0.3}}}, "mean energy of 0.3 eV"),
    "other forces": ({"tasks": {"energy": UNIT, "forces": {**UNIT, "rmsd": 1.0}}}, "forces in other units"),
    "no elements": ({"elements": []}, "elements are unknown"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_place_is_refused_by_name(name: str) -> None:
    changes, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        escnmd_from_arrays(random_model(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "layer_norm"}, "norm 'layer_norm'"),
        ({"edge_activation": "s2"}, "edge activation 's2'"),
        ({"feed_forward": "grid"}, "feed forward 'grid'"),
        ({"max_neighbors": 30}, "at most 30 neighbors"),
        ({"channels": 5}, "has the shape"),
        ({"n_layers": 3}, r"no weights 'backbone\.blocks\.2"),
        ({"n_layers": 1}, r"weights 'backbone\.blocks\.1.* no place"),
        ({"max_order": 7}, "settings do not fit"),
    ],
)
def test_settings_without_a_place_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        escnmd_from_arrays(with_settings(random_model(), **changes))


def test_merged_experts_serve_their_composition_only() -> None:
    foreign = random_model(experts=8, needs_composition=True)
    model = escnmd_from_arrays(replace(foreign, selection=Selection("omol", composition={1: 2, 6: 1, 8: 1})))
    assert model.config.composition == (2, 1, 1)
    whole = escnmd_from_arrays(random_model())
    torch.testing.assert_close(energies(model), energies(whole), rtol=0, atol=0)
    twice = [[x + 30, y, z] for x, y, z in POSITIONS]
    both = connect(AtomGraph.from_arrays(POSITIONS + twice, NUMBERS * 2), model.cutoff)
    assert len(model(both)["energies"]) == 8
    with pytest.raises(InputError, match=r"system 0 is HCO, but the experts .* composition H2CO"):
        model(connect(AtomGraph.from_arrays(POSITIONS[:3], NUMBERS[:3]), model.cutoff))
    with pytest.raises(InputError, match=r"elements \[9\]"):
        config_of(replace(foreign, selection=Selection("omol", composition={9: 1})))
    with pytest.raises(InputError, match="leave out --composition"):
        config_of(replace(random_model(), selection=Selection("omol", composition={1: 1})))


def archive(path: Path, module: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", b"\x80\x02c" + module + b"\nMLIPInferenceCheckpoint\n.")
    return path


def test_checkpoints_are_told_apart_and_options_belong_to_one_kind(tmp_path: Path) -> None:
    assert kind_of(archive(tmp_path / "a.pt", b"fairchem.core.units.mlip_unit.api.inference")) is Checkpoint.FAIRCHEM
    with pytest.raises(InputError, match="belong to fairchem's models"):
        extract(archive(tmp_path / "b.model", b"mace.modules"), trust=True, selection=Selection(charge=1))


def test_a_checkpoint_without_a_model_is_refused(tmp_path: Path) -> None:
    about = {"format": extract_fairchem.FORMAT, "class": "dict", "not_a_module": True}
    extract_fairchem._sibling("extract_mace").write(str(tmp_path), about, {})
    with pytest.raises(InputError, match="holds a dict, not a model"):
        read_files(tmp_path, FAIRCHEM)
    assert json.loads((tmp_path / "description.json").read_text())["class"] == "dict"
