"""Models in nequip's layout are converted to what their equations say, and refused by name where they cannot be."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from e3nn import o3
from e3nn.nn import Gate
from nequip_arrays import energies_by_equations, random_model, with_layer

from atomsym.core import AtomGraph, ConfigError, InputError, MissingDependencyError
from atomsym.derivatives import evaluate
from atomsym.kernels.neighbors import connect
from atomsym.testing import tolerances
from atomsym.workflows.convert import extract_nequip
from atomsym.workflows.convert.checkpoint import Checkpoint, kind_of
from atomsym.workflows.convert.command import convert
from atomsym.workflows.convert.fairchem_config import Selection
from atomsym.workflows.convert.isolated import NEQUIP, extract, read_files
from atomsym.workflows.convert.nequip import nequip_from_arrays
from atomsym.workflows.convert.nequip_config import ForeignNequIP, config_of

POSITIONS = [[0.0, 0.0, 0.0], [0.0, 1.3, 0.0], [1.1, -0.4, 0.7], [-0.8, 0.5, 1.9], [2.2, 1.4, -1.8]]
NUMBERS = [6, 8, 1, 1, 6]


def energies(foreign: ForeignNequIP) -> torch.Tensor:
    """Of five atoms, by the converted potential."""
    model = nequip_from_arrays(foreign)
    graph = connect(AtomGraph.from_arrays(POSITIONS, NUMBERS), model.cutoff)
    found = evaluate(model, graph, ("energies",)).energies
    assert found is not None
    return found


def test_a_converted_model_gives_what_the_equations_say() -> None:
    foreign = random_model()
    bare = replace(foreign, arrays={**foreign.arrays, "scales": 0 * foreign.arrays["scales"]})
    positions = torch.tensor(POSITIONS, dtype=torch.float64)
    expected = energies_by_equations(foreign, NUMBERS, positions)
    assert (expected - energies_by_equations(bare, NUMBERS, positions)).abs().max() > 0.1  # the network says something
    torch.testing.assert_close(energies(foreign), expected, rtol=tolerances.BACKEND_PARITY.float64, atol=1e-11)


CONSTANTS = ("harmonics", "nuclear_charges")  # may not be others


def test_every_array_matters() -> None:
    """Otherwise the comparison above would not see where it went."""
    foreign = random_model()
    before, idle = energies(foreign), []
    for name in sorted(set(foreign.arrays) - set(CONSTANTS)):
        arrays = {**foreign.arrays, name: foreign.arrays[name] * 0.97}
        if name.endswith("neighbors"):
            arrays |= {key: arrays[name] for key in arrays if key.endswith("neighbors")}
        if float((energies(replace(foreign, arrays=arrays)) - before).abs().max()) < 1e-7:
            idle.append(name)
    assert not idle


def test_settings_of_the_converted_model() -> None:
    foreign = random_model()
    config = config_of(foreign)
    assert (config.elements, config.cutoff, config.hidden, config.channels) == ((1, 6, 8), 4.0, "0e+0o+1e+1o", 5)
    assert config.atomic_energies == tuple(foreign.arrays["shifts"][[1, 2, 0]].tolist())
    assert config.element_scales == tuple(foreign.arrays["scales"][[1, 2, 0]].tolist())
    assert config.pair_cutoffs[0] == tuple(foreign.arrays["pair_cutoffs"][1, [1, 2, 0]].tolist())
    assert (config.n_layers, config.n_radial, config.radial_hidden, config.readout_hidden) == (6, 4, (6,), (6,))
    assert (config.envelope_power, config.repulsion, config.repulsion_power) == (5, "published", 3)
    assert config.trainable_frequencies


def test_a_model_without_options_needs_none() -> None:
    """Neither of the config's, nor weights for them."""
    foreign = random_model()
    left_out = ("pair_cutoffs", "nuclear_charges", "scales", "shifts")
    arrays = {name: array for name, array in foreign.arrays.items() if name not in left_out}
    arrays |= {name: torch.tensor([9.0]) for name in arrays if name.endswith("neighbors")}
    arrays["bessel"] = torch.arange(1.0, 5.0, dtype=torch.float64)
    about = {key: value for key, value in foreign.description.items() if key != "repulsion"}
    about["parts"] = [part for part in about["parts"] if part[1] != "ZBL"]
    config = config_of(ForeignNequIP(about, arrays))
    assert (config.element_scales, config.element_neighbors, config.pair_cutoffs, config.repulsion) == (
        (),
        (),
        (),
        "none",
    )
    assert (config.average_neighbors, config.scale, config.atomic_energies) == (9.0, 1.0, (0.0, 0.0, 0.0))
    assert not config.trainable_frequencies
    assert nequip_from_arrays(ForeignNequIP(about, arrays)).frequencies is None


PARTS = random_model().description["parts"]


def test_embeddings_may_come_in_any_order() -> None:
    """Between versions of nequip it differs."""
    foreign = random_model(parts=[*PARTS[1:5], PARTS[0], *PARTS[5:]])
    assert config_of(foreign) == config_of(random_model())


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no model named": ({"head": "", "heads": ["a", "b"]}, "several models; choose one with --head: a, b"),
    "an unknown model": ({"head": "c", "heads": ["a", "b"]}, "no model 'c'"),
    "Allegro": ({"packages": ["allegro", "nequip"]}, "the architecture Allegro"),
    "an unknown part": ({"parts": [*PARTS[:9], ["x", "LayerNorm"], *PARTS[9:]]}, "the part LayerNorm"),
    "parts in disorder": ({"parts": [*PARTS[:-2], PARTS[-1], PARTS[-2]]}, "and then ConvNetLayer.* ZBL, Atom"),
    "partial forces": ({"class": "PartialForceOutput"}, "the output PartialForceOutput"),
    "mean energies": ({"sum": ["mean", 1.0]}, "energies reduced by mean"),
    "charges": ({"graph_fields": ["charge"]}, "embeddings of charge"),
    "types": ({"type_names": ["O", "H1", "C"]}, "a type of atoms called 'H1'"),
    "harmonics": ({"harmonics": "1x0e+1x1e"}, r"the harmonics 1x0e\+1x1e"),
    "powers": ({"envelope_power": 5.5}, "a polynomial cutoff of the power"),
    "readout": ({"readout": {"activations": ["mish"], "biased": False}}, r"activation mish in a network \(readout\)"),
    "units": ({"repulsion": {"power": 6.0, "prefactor": 166.0}}, "in other units than eV"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_place_is_refused_by_name(name: str) -> None:
    changes, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        nequip_from_arrays(random_model(**changes))


@pytest.mark.parametrize(
    ("number", "changes", "message"),
    [
        (1, {"nonlinearity": "NormActivation"}, "the nonlinearity NormActivation"),
        (1, {"resnet": True}, "residual updates .* in layer 1"),
        (1, {"functions": {"0e": ["abs", 1.0]}}, "activation abs of scalars 0e"),
        (2, {"functions": {"0o": ["silu", 1.0]}}, "activation silu of scalars 0o"),
        (1, {"gates": {"1o": ["tanh", 1.0]}}, "activation tanh of the gates of 1o"),
        (0, {"radial": {"activations": ["silu"], "biased": True}}, r"biases in a network \(layer 0\)"),
        (5, {"gated": "2x1o"}, "a last layer of 4x0e 2x1o"),
        (5, {"scalars": "4x0e+1x0o"}, "a last layer of"),
    ],
)
def test_layers_without_a_place_are_refused_by_name(number: int, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        nequip_from_arrays(with_layer(random_model(), number, **changes))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("harmonics", lambda array: 1.1 * array, "harmonics of another normalisation"),
        ("nuclear_charges", lambda array: array + 1, "ZBL repulsion of other elements"),
        ("layers.1.neighbors", lambda array: array + 1, "differ from layer to layer"),
        ("layers.1.coupling.1", lambda array: array.flip(1), "another basis than e3nn's"),
    ],
)
def test_constants_of_their_own_are_refused(name: str, change: Any, message: str) -> None:
    foreign = random_model()
    with pytest.raises(InputError, match=message):
        nequip_from_arrays(replace(foreign, arrays={**foreign.arrays, name: change(foreign.arrays[name])}))


# The extractor, on parts of e3nn, which nequip is made of -------------------------------------------------------------


def test_linear_maps_are_read_as_matrices_by_slot_and_irrep() -> None:
    irreps_in, irreps_out = o3.Irreps("2x1o+3x0e+1x1o"), o3.Irreps("4x0e+5x1o")
    linear = o3.Linear(irreps_in, irreps_out).double()
    maps = extract_nequip._maps(lambda x: (linear(x),), irreps_in, [irreps_out])
    assert sorted(maps) == [(0, 0, "1o"), (1, 0, "0e"), (2, 0, "1o")]
    x = torch.randn(1, 12, dtype=torch.float64)
    vectors = np.concatenate([x[0, :6].reshape(2, 3), x[0, 9:].reshape(1, 3)])
    matrix = np.concatenate([maps[0, 0, "1o"], maps[2, 0, "1o"]])
    expected = np.concatenate([x[0, 6:9].numpy() @ maps[1, 0, "0e"], (matrix.T @ vectors).ravel()])
    np.testing.assert_allclose(linear(x)[0].detach().numpy(), expected, rtol=0, atol=1e-14)


def test_paths_are_read_with_all_their_factors() -> None:
    first, second, third = o3.Irreps("2x0e+3x1o"), o3.Irreps("0e+1o"), o3.Irreps("2x1o+3x0e+3x1e")
    instructions = [(0, 1, 0, "uvu", True), (1, 1, 1, "uvu", True), (1, 1, 2, "uvu", True, 2.5)]
    product = o3.TensorProduct(
        first, second, third, instructions, shared_weights=False, internal_weights=False
    ).double()  # fmt: skip
    arrays: dict[str, np.ndarray] = {}
    paths = extract_nequip._paths(product, "layer", arrays)
    assert [(path["in"], path["degree"], path["out"], path["columns"]) for path in paths] == [
        ("0e", 1, "1o", [0, 2]), ("1o", 1, "0e", [2, 5]), ("1o", 1, "1e", [5, 8]),
    ]  # fmt: skip
    x, y, w = (torch.randn(1, n, dtype=torch.float64) for n in (first.dim, second.dim, 8))
    expected = product(x, y, w)[0].detach().numpy()
    parts = {"0e": x[0, :2].reshape(2, 1).numpy(), "1o": x[0, 2:].reshape(3, 3).numpy()}
    found = [
        w[0, slice(*path["columns"])].numpy()[:, None]
        * np.einsum("ui,f,ifk->uk", parts[path["in"]], y[0, 1:].numpy(), arrays[f"layer.coupling.{k}"])
        for k, path in enumerate(paths)
    ]
    np.testing.assert_allclose(np.concatenate([part.ravel() for part in found]), expected, rtol=0, atol=1e-14)


def test_a_gate_is_read_whatever_order_its_input_has() -> None:
    """Scalars and gates of one parity are merged and sorted in front of it."""
    gate = Gate("2x0o+4x0e", [torch.tanh, torch.nn.functional.silu], "5x0e", [torch.nn.functional.silu], "3x1o+2x1e")
    linear = o3.Linear(gate.irreps_in, gate.irreps_in).double()
    scalars, gates, gated = gate.act_scalars.irreps_in, gate.act_gates.irreps_in, gate.mul.irreps_in1
    arrays: dict[str, np.ndarray] = {}
    maps = extract_nequip._maps(lambda x: gate.double().sc(linear(x)), gate.irreps_in, [scalars, gates, gated])
    for (_, output, irrep), matrix in maps.items():
        extract_nequip._store(arrays, "down", output, irrep, matrix, gated)
    assert {name: array.shape for name, array in arrays.items()} == {
        "down.scalars.0o": (2, 2), "down.scalars.0e": (9, 4), "down.gates.1o": (9, 3), "down.gates.1e": (9, 2),
        "down.gated.1o": (3, 3), "down.gated.1e": (2, 2),
    }  # fmt: skip
    functions = extract_nequip._functions(gate.act_scalars, scalars, scalars)
    assert [functions[irrep][0] for irrep in ("0o", "0e")] == ["tanh", "silu"]
    assert functions["0e"][1] == pytest.approx(1.6791767923989418, rel=1e-6)
    assert set(extract_nequip._functions(gate.act_gates, gates, gated)) == {"1o", "1e"}


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (torch.nn.SiLU(), "silu"),
        (torch.nn.Mish(), "mish"),
        (torch.nn.Identity(), "none"),
        (torch.nn.Sigmoid(), "unknown"),
    ],
)
def test_activations_are_known_by_their_values(function: torch.nn.Module, name: str) -> None:
    assert extract_nequip._named(lambda x: 1.3 * function(x)) == (
        name,
        pytest.approx(1.3 if name != "unknown" else 1.0),
    )


def test_networks_are_read_as_matrices() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(3, 4, bias=False), torch.nn.SiLU(), torch.nn.Linear(4, 2)).double()
    arrays: dict[str, np.ndarray] = {}
    module = SimpleNamespace(mlp=layers, dims=[3, 4, 2])
    assert extract_nequip._network(module, "x", arrays) == {"activations": ["silu"], "biased": True}
    np.testing.assert_allclose(arrays["x.0"], layers[0].weight.detach().numpy().T, atol=1e-15)
    np.testing.assert_allclose(arrays["x.1"], layers[2].weight.detach().numpy().T, atol=1e-15)


# Files ---------------------------------------------------------------------------------------------------------------


def archive(path: Path, pickle: bytes = b"\x80\x02c" + b"collections\nOrderedDict\n.", *others: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", pickle)
        for name in others:
            file.writestr(name, "")
    return path


CHECKPOINT = b"\x80\x02}(X\x19\x00\x00\x00pytorch-lightning_versionX\x0c\x00\x00\x00nequip.modelu."


def test_files_of_nequip_are_told_apart(tmp_path: Path) -> None:
    assert kind_of(archive(tmp_path / "a.ckpt", CHECKPOINT)) is Checkpoint.NEQUIP
    package = archive(tmp_path / "a.nequip.zip", CHECKPOINT, "x/.data/extern_modules", "x/nequip/nn/graph_model.py")
    assert kind_of(package) is Checkpoint.NEQUIP
    for name, message in {
        "x/code/__torch__.py": r"TorchScript\), which cannot .* Give the file .* \(\*\.ckpt\) or package",
        "x/data/aotinductor/model/x.so": r"AOTInductor\), which cannot .* Give the file .* \(\*\.ckpt\) or package",
        "x/.data/extern_modules": "a package of torch that is not nequip's",
    }.items():
        with pytest.raises(InputError, match=message):
            kind_of(archive(tmp_path / "b.pth", CHECKPOINT, name))
    with pytest.raises(InputError, match="is a checkpoint or package of nequip: charge"):
        extract(tmp_path / "a.ckpt", trust=True, selection=Selection(charge=1))


def test_without_trust_and_without_nequip_nothing_is_opened(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.ckpt", CHECKPOINT)
    with pytest.raises(ConfigError, match="--trust"):
        convert(path, tmp_path / "x.safetensors")
    lacking = tmp_path / "python"
    lacking.write_text(f"#!/bin/sh\necho 'No module named nequip' >&2; exit {extract_nequip.MISSING_PACKAGE}\n")
    lacking.chmod(0o755)
    with pytest.raises(MissingDependencyError, match="pip install nequip"):
        convert(path, tmp_path / "x.safetensors", trust=True, python=str(lacking))
    assert not (tmp_path / "x.safetensors").exists()


def test_what_the_extractor_wrote_is_read_back(tmp_path: Path) -> None:
    foreign = random_model()
    arrays = {name: array.numpy() for name, array in foreign.arrays.items()}
    extract_nequip._sibling("extract_mace").write(str(tmp_path), dict(foreign.description), arrays)
    again = ForeignNequIP(*read_files(tmp_path, NEQUIP))
    assert torch.equal(energies(again), energies(foreign))
