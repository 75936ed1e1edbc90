"""FAENet against the authors' package with the same weights; ``make_reference.py`` made the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learned_examples import CUTOFF, cluster, crystal
from numpy.typing import NDArray
from torch import Tensor

from atomsym.derivatives import evaluate
from atomsym.models import FAENet, FAENetConfig
from atomsym.models.faenet.elements import element_rows
from atomsym.testing import tolerances
from atomsym.testing.convolutions import deviation

ELEMENTS = (8, 14, 22)
PUBLISHED: dict[str, Any] = {
    "elements": ELEMENTS, "cutoff": CUTOFF, "atomic_energies": (0.0, 0.0, 0.0), "average_neighbors": 1.0,
    "channels": 20, "filters": 9, "n_layers": 2, "n_gaussians": 6, "period_group_channels": 2, "properties": False,
    "second_layer": False, "skip": "none", "envelope_power": 0, "force_channels": 7,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "base": {"interaction": "base", "skip": "add", "energy_head": "weighted_initial", "second_update": True},
    "simple": {"interaction": "simple", "norm": "system", "period_group_channels": 0, "filters": 20},
    "updownscale": {
        "interaction": "updownscale", "skip": "concat_atom", "energy_head": "weighted_final", "properties": True,
        "property_channels": 3, "second_layer": True,
    },
    "updownscale_base": {"skip": "concat", "norm": "system", "properties": True, "direct_forces": True},
    "updown_local_env": {
        "interaction": "updown_local_env", "skip": "concat", "norm": "system", "second_layer": True,
        "direct_forces": True, "force_head": "res", "force_norm": "layer",
    },
    "res_updown": {
        "skip": "concat", "second_layer": True, "properties": True, "direct_forces": True,
        "force_head": "res_updown", "force_norm": "layer",
    },
}  # fmt: skip
RENAMED = {
    "embed_block.emb.weight": "elements_embedding.own",
    "embed_block.phys_emb.properties": "elements_embedding.properties",
    "embed_block.phys_lin": "elements_embedding.property_map",
    "embed_block.lin_2": "elements_embedding.layers.1",
    "embed_block.lin_e12": "edges_embedding.distance",
    "embed_block.lin_e1": "edges_embedding.vector",
    "embed_block.lin_e2": "edges_embedding.second",
    "embed_block.lin": "elements_embedding.layers.0",
    "interaction_blocks": "layers",
    "graph_norm": "norm",
    "lin_geom": "edge",
    "lin_down": "down",
    "lin_up": "out",
    "lin_h": "out",
    "other_mlp": "second",
    "output_block.lin1": "head.first",
    "output_block.lin2": "head.second",
    "output_block.w_lin": "head.weight",
    "mlp_skip_co": "mix",
    "w_lin": "atom_weights",
    "decoder.model.0": "force_head.last.linear",
    "decoder.model.3": "force_head.out",
}


@pytest.fixture(scope="module")
def reference() -> dict[str, NDArray[Any]]:
    with np.load(Path(__file__).with_name("reference.npz")) as archive:
        return dict(archive)


def of(reference: Mapping[str, NDArray[Any]], start: str) -> dict[str, Tensor]:
    found = {name.removeprefix(start): values for name, values in reference.items() if name.startswith(start)}
    return {name: torch.from_numpy(values).double() for name, values in found.items()}


def converted(weights: Mapping[str, Tensor], potential: FAENet) -> dict[str, Tensor]:
    """Published weights under our names. Matrices are transposed, those of several inputs taken apart."""
    own = dict(potential.state_dict())
    for name, value in weights.items():
        if "period_embedding" in name or "group_embedding" in name:
            ours = "elements_embedding." + ("period" if "period" in name else "group")
            own[ours][: value.shape[0] - 1] = value[1:]  # the authors count from 1
            continue
        ours = renamed(name, potential)
        if "lin_geom.weight" in name and potential.config.interaction in ("base", "updownscale_base"):
            filters, channels = potential.config.filters, potential.config.channels
            parts = value.T.split((filters, channels, channels))
            for part, target in zip(parts, ("edge", "from_sender", "from_receiver"), strict=True):
                own[ours.replace("edge", target)] = part
        elif not (ours == "mix.bias" and potential.config.skip == "concat"):
            table = ours in ("elements_embedding.own", "elements_embedding.properties")
            own[ours] = value.T if value.ndim == 2 and not table else value
    return own


def renamed(name: str, potential: FAENet) -> str:
    """A step of the authors' force decoder is ``mlp_1`` and so on; the last one has the output in it."""
    if potential.force_head is not None:
        n_inner = len(potential.force_head.inner)
        for number in range(n_inner + 1):
            step = "last" if number == n_inner else f"inner.{number}"
            for part, target in (("0", f"{step}.linear"), ("1", f"{step}.norm"), ("3", "out")):
                name = name.replace(f"decoder.mlp_{number + 1}.{part}.", f"force_head.{target}.")
    for old, new in RENAMED.items():
        name = name.replace(old, new)
    return name


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> str:
    return request.param


def potential_of(case: str, reference: Mapping[str, NDArray[Any]]) -> FAENet:
    potential = FAENet(FAENetConfig(**(PUBLISHED | CASES[case]))).double()
    potential.load_state_dict(converted(of(reference, f"{case}/weights/"), potential))
    return potential


@pytest.mark.parametrize("system", ["crystal", "cluster"])
def test_energies_gradients_and_direct_forces_are_the_authors(
    case: str, system: str, reference: dict[str, NDArray[Any]]
) -> None:
    potential, expected = potential_of(case, reference), of(reference, f"{case}/{system}/")
    found = evaluate(potential, {"crystal": crystal, "cluster": cluster}[system](skin=0.0), ("forces",))
    assert found.forces is not None
    bias = reference.get(f"{case}/weights/mlp_skip_co.bias") if potential.config.skip == "concat" else None
    energy = expected["energy"] - (0.0 if bias is None else float(bias[0]))
    assert deviation(found.energy, energy) < tolerances.BACKEND_PARITY.float64
    assert deviation(found.forces, -expected["gradient"]) < tolerances.BACKEND_PARITY.float64
    assert expected["gradient"].abs().max() > 1e-2
    assert ("forces" in expected) == potential.config.direct_forces
    if "forces" in expected:
        assert deviation(found.outputs["forces"], expected["forces"]) < tolerances.BACKEND_PARITY.float64


def test_every_weight_of_the_authors_matters(case: str, reference: dict[str, NDArray[Any]]) -> None:
    """Each tensor, changed alone, changes the energy or the direct forces, so that no name was lost on the way."""
    weights = of(reference, f"{case}/weights/")
    plain = answers(weights, case)
    for name, value in weights.items():
        if name == "mlp_skip_co.bias" and CASES[case]["skip"] == "concat":
            continue  # one number for a system of any size; we have none
        changed = answers(weights | {name: value + 0.1 * torch.cos(torch.arange(value.numel())).view_as(value)}, case)
        assert max((a - b).abs().max() for a, b in zip(changed, plain, strict=True)) > 1e-6, name


def answers(weights: Mapping[str, Tensor], case: str) -> list[Tensor]:
    potential = FAENet(FAENetConfig(**(PUBLISHED | CASES[case]))).double()
    potential.load_state_dict(converted(weights, potential))
    with torch.no_grad():
        output = potential(crystal(skin=0.0))
    return [output["energies"], *([output["forces"]] if "forces" in output else [])]


def test_properties_are_the_authors(reference: dict[str, NDArray[Any]]) -> None:
    expected = reference["updownscale_base/weights/embed_block.phys_emb.properties"]
    assert np.abs(element_rows(ELEMENTS).properties - expected).max() < tolerances.ALGEBRA.float32
