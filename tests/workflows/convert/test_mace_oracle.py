"""With mace-torch installed: models of many shapes are converted and agree; the command does it from end to end."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from atomsym.artifacts import load_model
from atomsym.core import InputError
from atomsym.testing import tolerances
from atomsym.workflows.convert import potential_from_mace
from atomsym.workflows.convert.verify import compare

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("mace") is None, reason="needs mace-torch"),
    pytest.mark.filterwarnings("ignore"),  # of mace and the e3nn it asks for
]

PLAIN, DENSITY = "RealAgnosticInteractionBlock", "RealAgnosticDensityInteractionBlock"
DENSITY_RESIDUAL, NONLINEAR = (
    f"RealAgnostic{kind}InteractionBlock" for kind in ("DensityResidual", "ResidualNonLinear")
)
SMALL = {"max_ell": 2, "hidden_irreps": "4x0e+4x1o"}
HEADS = {"heads": ["pbe", "scan"], "atomic_inter_scale": [0.7, 1.3], "atomic_inter_shift": [0.1, -0.2]}
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {**SMALL, "first": PLAIN, "later": PLAIN},
    "density after plain": {**SMALL, "first": PLAIN, "later": DENSITY_RESIDUAL},
    "plain after density": {**SMALL, "first": DENSITY, "later": PLAIN},
    "no scale": {**SMALL, "plain_mace": True, "pair_repulsion": True},
    "one layer": {**SMALL, "num_interactions": 1},
    "three layers, last readout": {**SMALL, "num_interactions": 3, "use_last_readout_only": True},
    "cutoff on weights": {**SMALL, "apply_cutoff": False, "distance_transform": "Soft"},
    "chebyshev": {**SMALL, "radial_type": "chebyshev", "distance_transform": "Agnesi"},
    "degree 3": {"pair_repulsion": True},
    "both parities": {"max_ell": 2, "hidden_irreps": "2x0e+2x0o+2x1o+2x1e"},
    "agnostic product": {**SMALL, "use_agnostic_product": True, "gate": torch.tanh},
    "fewer on edges": {**SMALL, "edge_irreps": "2x0e+2x1o", "keep_last_layer_irreps": True},
    "heads": {**SMALL, **HEADS},
    "unsorted elements": {**SMALL, "atomic_numbers": (8, 1, 6)},
}  # fmt: skip


@pytest.fixture(autouse=True)
def foreign_package() -> Iterator[None]:
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # e3nn 0.4 loads its constants by pickle
    default = torch.get_default_dtype()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch.set_default_dtype(default)


def load(name: str) -> Any:
    """A module that lies beside this file."""
    path = Path(__file__).parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_in_memory_agrees(shape: str) -> None:
    from atomsym.workflows.convert.extract_mace import reference
    from atomsym.workflows.convert.in_process import tensors

    model = load("foreign_models").foreign_model(**SHAPES[shape])
    head = "scan" if shape == "heads" else None
    potential = potential_from_mace(model, head)
    torch.set_default_dtype(torch.float64)
    deviations = compare(potential, tensors(reference(model, 1 if head else 0)))
    assert deviations.largest < tolerances.BACKEND_PARITY.float64


def test_a_block_that_is_missing_here_is_refused() -> None:
    with pytest.raises(InputError, match=NONLINEAR):
        potential_from_mace(load("foreign_models").foreign_model(**SMALL, later=NONLINEAR))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_command_converts_a_file(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.save(load("foreign_models").foreign_model(dtype, **SMALL), tmp_path / "foreign.model")
    program = [sys.executable, "-W", "ignore", "-c", "from atomsym.workflows.cli import main; main()"]
    command = [*program, "convert", "foreign.model", "-o", "own.safetensors", "--trust", "--license", "MIT", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["card"]["licence"] == "MIT"
    assert "sha256" in report["card"]["description"]
    assert max(report["deviations"][key] for key in ("energy", "forces", "stress")) < tolerances.BACKEND_PARITY.of(
        dtype
    )
    assert load_model(tmp_path / "own.safetensors").elements == (1, 6, 8)
