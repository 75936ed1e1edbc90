"""A small generator with random weights: legal crystals, of no use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from atomsym.artifacts import ModelCard
from atomsym.artifacts.generators import save_generator
from atomsym.generators import generator_class


@pytest.fixture(scope="session")
def generator_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All groups up to 230 are equally likely."""
    return _random_generator(tmp_path_factory, "random")


@pytest.fixture(scope="session")
def aiming_generator_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that has learned, if anything, a property."""
    return _random_generator(tmp_path_factory, "aiming", properties=("formation_energy_per_atom",))


def _random_generator(tmp_path_factory: pytest.TempPathFactory, name: str, **changes: Any) -> Path:
    kind = generator_class("wyformer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(kind.Config(hidden=32, layers=1, **changes))
    model.group_counts[1:] = 1
    path = tmp_path_factory.mktemp("generator") / f"{name}.safetensors"
    save_generator(model, path, ModelCard(name, "none", "none", "MIT", "none"))
    return path
