"""A small generator with random weights: legal crystals, of no use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from atomsym.artifacts import ModelCard
from atomsym.artifacts.generators import save_generator
from atomsym.generators import generator_class


@pytest.fixture(scope="session")
def generator_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All groups up to 230 are equally likely."""
    kind = generator_class("wyformer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(kind.Config(hidden=32, layers=1))
    model.group_counts[1:] = 1
    path = tmp_path_factory.mktemp("generator") / "random.safetensors"
    save_generator(model, path, ModelCard("random", "none", "none", "MIT", "none"))
    return path
