"""Set-up that all tests share."""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    # Triton decides at import between the compiler and the interpreter; without a GPU the tests use the latter.
    os.environ.setdefault("TRITON_INTERPRET", "1")
