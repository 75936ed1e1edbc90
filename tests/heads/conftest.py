"""Makes the shared examples importable, and every backbone with a head a fixture."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from hessian_examples import BACKBONES, build

from atomsym.heads import HessianPotential


@pytest.fixture(params=sorted(BACKBONES))
def potential(request: pytest.FixtureRequest) -> HessianPotential:
    return build(request.param)
