"""Extracted models of mace-torch become potentials with the same energies, forces and stresses; no mace is needed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from atomsym.artifacts import ModelCard, load_model, save_model
from atomsym.core import CalculationError, InputError
from atomsym.testing import tolerances
from atomsym.workflows.convert.mace import mace_from_arrays
from atomsym.workflows.convert.mace_config import ForeignMACE
from atomsym.workflows.convert.verify import BOUND, compare, require_agreement

HEADS = {"residual": None, "density_two_heads": "scan", "both_parities_single": None}
Extracted = Callable[..., ForeignMACE]


@pytest.mark.parametrize("name", HEADS)
def test_gives_what_mace_torch_gave(extracted: Extracted, name: str) -> None:
    foreign = extracted(name)
    deviations = compare(mace_from_arrays(foreign, HEADS[name]), foreign.arrays)
    # A checkpoint in single precision keeps its coupling coefficients rounded, ours are exact.
    bound = tolerances.BACKEND_PARITY.float64 if "single" not in name else BOUND
    assert deviations.n_structures == 4
    assert deviations.largest < bound
    require_agreement(deviations)


def test_every_element_is_compared(extracted: Extracted) -> None:
    for name in HEADS:
        foreign = extracted(name)
        seen = torch.cat([value for key, value in foreign.arrays.items() if key.endswith(".numbers")])
        assert set(seen.tolist()) == set(foreign.elements)


def test_survives_the_model_file(extracted: Extracted, tmp_path: Path) -> None:
    foreign = extracted("both_parities_single")
    potential = mace_from_arrays(foreign)
    save_model(potential, tmp_path / "x.safetensors", ModelCard("x", "", "", "", ""))
    again = load_model(tmp_path / "x.safetensors")
    assert again.config == potential.config
    assert compare(again, foreign.arrays).largest < BOUND


PARTS = [
    "node_embedding.linear.weight",
    "interactions.0.linear_up.weight",
    "interactions.1.conv_tp_weights.2",
    "interactions.1.linear.weight",
    "interactions.1.skip_tp.weight",
    "products.0.symmetric_contractions.1.3.weight",
    "products.1.symmetric_contractions.0.2.weight",
    "products.0.linear.weight",
    "readouts.0.linear.weight",
    "readouts.1.linear_1.weight",
    "readouts.1.linear_2.weight",
    "scale_shift.scale",
    "atomic_energies_fn.atomic_energies",
]


@pytest.mark.parametrize("part", PARTS)
def test_an_error_in_any_part_is_noticed_and_refused(extracted: Extracted, part: str) -> None:
    foreign = extracted("residual")
    spoiled = replace(foreign, arrays={**foreign.arrays, part: foreign.arrays[part] * 1.01})
    deviations = compare(mace_from_arrays(spoiled), foreign.arrays)
    with pytest.raises(CalculationError, match="does not agree"):
        require_agreement(deviations)


def test_the_direction_of_edges_is_noticed(extracted: Extracted) -> None:
    foreign = extracted("residual")
    modules = {key: dict(value) for key, value in foreign.modules.items()}
    described = modules["interactions.1.conv_tp"]
    odd = [path for path in described["paths"] if path[1] == 1]  # with the harmonic of degree 1
    described["paths"] = [[*path[:5], -path[5]] if path in odd else path for path in described["paths"]]
    turned = replace(foreign, description={**foreign.description, "modules": modules})
    assert odd
    assert compare(mace_from_arrays(turned), foreign.arrays).largest > BOUND


def test_a_sign_of_the_coupling_coefficients_is_followed(extracted: Extracted) -> None:
    # Another version of e3nn: the path's coefficients and what the model learned with them change sign together.
    foreign = extracted("both_parities_single")
    key = "1_1_1"
    turned = replace(foreign, arrays={**foreign.arrays, f"wigner.{key}": -foreign.arrays[f"wigner.{key}"]})
    assert compare(mace_from_arrays(turned), foreign.arrays).largest > BOUND
    other = torch.zeros_like(foreign.arrays[f"wigner.{key}"])
    with pytest.raises(InputError, match="another basis"):
        mace_from_arrays(replace(foreign, arrays={**foreign.arrays, f"wigner.{key}": other}))


def test_nothing_compared_is_no_agreement(extracted: Extracted) -> None:
    with pytest.raises(CalculationError, match="0 structures"):
        require_agreement(compare(mace_from_arrays(extracted("residual")), {}))


@pytest.mark.parametrize("head", [None, "pbesol"])
def test_heads_are_listed_when_one_must_be_chosen(extracted: Extracted, head: str | None) -> None:
    with pytest.raises(InputError, match=re.escape("choose one with --head: pbe, scan")):
        mace_from_arrays(extracted("density_two_heads"), head)


def test_heads_differ(extracted: Extracted) -> None:
    foreign = extracted("density_two_heads")
    assert compare(mace_from_arrays(foreign, "pbe"), foreign.arrays).largest > BOUND


def with_module(name: str, **changes: Any) -> Callable[[ForeignMACE], dict[str, Any]]:
    return lambda foreign: {"modules": {**foreign.modules, name: {**foreign.modules.get(name, {}), **changes}}}


def with_setting(**changes: Any) -> Callable[[ForeignMACE], dict[str, Any]]:
    return lambda foreign: {"settings": {**foreign.description["settings"], **changes}}


NOT_SUPPORTED = {
    "AtomicDipolesMACE": lambda _: {"class": "AtomicDipolesMACE"},
    "mace_cueq_to_e3nn": lambda _: {"packages": ["cuequivariance_torch", "mace"]},
    "convert_oeq_e3nn": lambda _: {"packages": ["openequivariance", "mace"]},
    "charge": with_setting(joint_embedding="GenericJointEmbedding"),
    "radial basis": with_setting(**{"radial_embedding.bessel_fn": "OtherBasis"}),
    "distance transform": with_setting(**{"radial_embedding.distance_transform": "OtherTransform"}),
    "NonLinearInteractionBlock": with_module(
        "interactions.1", **{"class": "RealAgnosticResidualNonLinearInteractionBlock"}
    ),
    "use_so3": with_module("interactions.0.conv_tp", irreps_in2="1x0e+1x1e"),
    "low-rank": with_module("interactions.0.linear_up.lora_A"),
    "NonLinearBiasReadoutBlock": with_module("readouts.1", **{"class": "NonLinearBiasReadoutBlock"}),
    "different correlations": with_module("products.1.symmetric_contractions", correlation=[2]),
    "readout network": with_module("readouts.1.non_linearity", acts=[{"activation": "gelu", "factor": 1.0}]),
    "more channels on edges": with_module("interactions.1.linear_up", irreps_out="9x0e+9x1o"),
}


@pytest.mark.parametrize("feature", NOT_SUPPORTED)
def test_what_has_no_place_here_is_refused_by_name(extracted: Extracted, feature: str) -> None:
    changes = NOT_SUPPORTED[feature](extracted("residual"))
    with pytest.raises(InputError, match=feature):
        mace_from_arrays(extracted("residual", **changes))


def test_constants_of_other_values_are_refused(extracted: Extracted) -> None:
    foreign = extracted("residual")
    name = "pair_repulsion_fn.a_exp"
    with pytest.raises(InputError, match=name):
        mace_from_arrays(replace(foreign, arrays={**foreign.arrays, name: torch.tensor(0.31)}))
