"""Whether Triton kernels can run here: on a CUDA device, or on the CPU in Triton's interpreter (for tests)."""

from __future__ import annotations

import importlib.util
import os

import torch

FUSED = {"enable_fp_fusion": True}
"""Option of a launch: products and sums become one instruction, rounded once, as in the C++ kernels. Said at every
launch: Triton 3.9 warns where it is not, since later versions leave it out."""


def interpreting() -> bool:
    """True if ``TRITON_INTERPRET=1`` was set: Triton kernels then run on CPU tensors, slowly."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def triton_device_types() -> frozenset[str]:
    """Device types that Triton kernels accept in this process."""
    return frozenset({"cpu", "cuda"}) if interpreting() else frozenset({"cuda"})


def triton_reason() -> str | None:
    """None if Triton kernels can be used, else why not."""
    if importlib.util.find_spec("triton") is None:
        return "needs the package triton, which comes with torch for CUDA"
    if not interpreting() and not torch.cuda.is_available():
        return "needs a CUDA device"
    return None
