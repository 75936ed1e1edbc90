"""What takes long to import is imported where it is used."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import atomsym.artifacts, atomsym.training
print("atomsym.generators" in sys.modules)
from atomsym.artifacts import load_generator
print("atomsym.generators" in sys.modules)
import atomsym.workflows.cli
print("matplotlib" in sys.modules)
"""


def test_neither_generators_nor_matplotlib_are_loaded_before_they_are_needed() -> None:
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "True", "False"]
