"""Fixtures of the training tests; the tiny problem is importable as ``training_problem``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from atomsym.core import LabelledStructure
from atomsym.training import TrainingData

_SPEC = importlib.util.spec_from_file_location("training_problem", Path(__file__).with_name("problem.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
_PROBLEM = importlib.util.module_from_spec(_SPEC)
sys.modules["training_problem"] = _PROBLEM
_SPEC.loader.exec_module(_PROBLEM)


@pytest.fixture(scope="session")
def structures() -> list[LabelledStructure]:
    return _PROBLEM.make_structures()


@pytest.fixture(scope="session")
def data(structures: list[LabelledStructure]) -> TrainingData:
    return TrainingData(structures[:12], structures[12:], description="Lennard-Jones argon")
