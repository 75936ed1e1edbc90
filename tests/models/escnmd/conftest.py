"""Makes the suite of all learned potentials and the examples importable."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_HERE = Path(__file__).parent
_FILES = {
    "learned_suite": _HERE.parent / "test_learned.py",
    "edge_frame_suite": _HERE.parent / "edge_frame_suite.py",
    "escnmd_examples": _HERE / "escnmd_examples.py",
}
for _name, _file in _FILES.items():
    if _name not in sys.modules:
        _spec = importlib.util.spec_from_file_location(_name, _file)
        assert _spec is not None
        assert _spec.loader is not None
        _module = importlib.util.module_from_spec(_spec)
        sys.modules[_name] = _module
        _spec.loader.exec_module(_module)
