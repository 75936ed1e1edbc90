"""Kernel micro-benchmarks: ``pytest tests/benchmarks --benchmark-enable`` for times; without it, a run of each."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from atomsym.workflows.benchmarks.tensor_products_kinds import KINDS, PLACES, Shape
from atomsym.workflows.benchmarks.tensor_products_measure import draw_operands


@pytest.mark.parametrize("what", ["forward", "gradients"])
@pytest.mark.parametrize("degree", [1, 3])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", list(KINDS))
def test_product(benchmark: Any, name: str, place: str, degree: int, what: str) -> None:
    product = KINDS[name].build(Shape(place, degree, degree))
    if product is None:
        pytest.skip("there is none")
    given = draw_operands(product, place, 200, 16, neighbors=20, dtype=torch.float32)
    tensors = [tensor.requires_grad_(what == "gradients" and tensor.numel() > 0) for tensor in given.tensors]
    backend = product.backends(torch.device("cpu"), torch.float32)[0]

    def call() -> Any:
        out = product.apply(*tensors, given.topology, backend)
        varied = [tensor for tensor in tensors if tensor.requires_grad]
        return torch.autograd.grad(out.sum(), varied) if varied else out

    assert benchmark(call) is not None
