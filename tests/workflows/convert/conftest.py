"""Extracted models that the tests convert without mace-torch, and modules beside the tests made importable."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atomsym.workflows.convert.isolated import read_extraction
from atomsym.workflows.convert.mace_config import ForeignMACE

for _name in ("foreign_calculator", "fairchem_arrays", "fairchem_peer", "nequip_arrays", "nequip_peer"):
    if _name not in sys.modules:
        _spec = importlib.util.spec_from_file_location(_name, Path(__file__).parent / f"{_name}.py")
        assert _spec is not None
        assert _spec.loader is not None
        _module = importlib.util.module_from_spec(_spec)
        sys.modules[_name] = _module
        _spec.loader.exec_module(_module)

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def extracted() -> Callable[..., ForeignMACE]:
    """By name, with entries of the description replaced."""

    def read(name: str, **changes: Any) -> ForeignMACE:
        folder = FIXTURES / name
        foreign = read_extraction(folder / "description.json", folder / "arrays.safetensors")
        return replace(foreign, description={**foreign.description, **changes})

    return read
