"""Makes the registry of learned potentials, ``learned_examples.py``, importable beside the tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if "learned_examples" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("learned_examples", Path(__file__).with_name("learned_examples.py"))
    assert _spec is not None
    assert _spec.loader is not None
    _module = importlib.util.module_from_spec(_spec)
    sys.modules["learned_examples"] = _module
    _spec.loader.exec_module(_module)
