"""Extracted models that the tests convert without mace-torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atomsym.workflows.convert.isolated import read_extraction
from atomsym.workflows.convert.mace_config import ForeignMACE

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def extracted() -> Callable[..., ForeignMACE]:
    """By name, with entries of the description replaced."""

    def read(name: str, **changes: Any) -> ForeignMACE:
        folder = FIXTURES / name
        foreign = read_extraction(folder / "description.json", folder / "arrays.safetensors")
        return replace(foreign, description={**foreign.description, **changes})

    return read
