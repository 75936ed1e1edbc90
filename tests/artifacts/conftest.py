"""A small model and its card, for tests of model files."""

from __future__ import annotations

from pathlib import Path

import pytest

from atomsym.artifacts import ModelCard, save_model
from atomsym.models import LennardJones, LennardJonesConfig, Potential, lorentz_berthelot

CARD = ModelCard(
    name="noble-gases",
    level_of_theory="empirical",
    training_data="none: invented for tests; π and 'quotes' \"inside\"",
    licence="CC0-1.0",
    citation="nobody",
)


@pytest.fixture(scope="session")
def potential() -> Potential:
    epsilon, sigma = lorentz_berthelot((0.003, 0.0103, 0.02), (2.8, 3.4, 3.9))
    return LennardJones(LennardJonesConfig(elements=(10, 18, 54), cutoff=9.0, epsilon=epsilon, sigma=sigma))


@pytest.fixture(scope="session")
def card() -> ModelCard:
    return CARD


@pytest.fixture
def model_file(potential: Potential, card: ModelCard, tmp_path: Path) -> Path:
    path = tmp_path / "noble-gases.safetensors"
    save_model(potential, path, card)
    return path
