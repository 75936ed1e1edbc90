"""Times of the symmetric contraction; run with ``pytest tests/benchmarks --benchmark-enable``."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from atomsym.kernels.symmetric_contraction import OPERATION, SymmetricContraction, symmetric_contraction
from atomsym.symmetry import Irreps

DEVICES = [torch.device("cpu")] + ([torch.device("cuda")] if torch.cuda.is_available() else [])
# The reference and Triton's interpreter would take minutes at this size.
CASES = [
    (device, backend)
    for device in DEVICES
    for backend in OPERATION.available(device=device, dtype=torch.float32)
    if backend != "reference" and (backend != "triton" or device.type == "cuda")
]


@pytest.mark.parametrize(("device", "backend"), CASES, ids=[f"{d.type}-{b}" for d, b in CASES])
@pytest.mark.parametrize("irreps_out", ["0e", "0e+1o"])
@pytest.mark.parametrize("step", ["value", "forces", "force training"])
def test_symmetric_contraction(benchmark: Any, device: torch.device, backend: str, irreps_out: str, step: str) -> None:
    contraction = SymmetricContraction(Irreps.spherical_harmonics(3), Irreps.parse(irreps_out), 3)
    features = torch.randn(192, contraction.dim_in, 128, device=device, requires_grad=True)
    weights = torch.randn(5, contraction.n_paths, 128, device=device, requires_grad=True)
    species = torch.randint(5, (192,), device=device)

    def run() -> torch.Tensor:
        result = symmetric_contraction(features, weights, species, contraction, backend=backend)
        if step != "value":
            (result,) = torch.autograd.grad(result.sum(), features, create_graph=step == "force training")
        if step == "force training":
            (result,) = torch.autograd.grad(result.square().sum(), weights)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return result

    assert torch.isfinite(benchmark(run)).all()
