"""Set-up that all tests share."""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    # Triton decides at import between the compiler and the interpreter; without a GPU the tests use the latter.
    os.environ.setdefault("TRITON_INTERPRET", "1")

# The systems of the tests are small: more threads only wait for each other, above all where tests run in parallel.
# Tests of threading set the number they need.
torch.set_num_threads(1)
