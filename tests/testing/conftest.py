"""Makes the analytic calculators of ``subjects.py`` importable as ``check_subjects``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if "check_subjects" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("check_subjects", Path(__file__).with_name("subjects.py"))
    assert _spec is not None
    assert _spec.loader is not None
    _module = importlib.util.module_from_spec(_spec)
    sys.modules["check_subjects"] = _module
    _spec.loader.exec_module(_module)
