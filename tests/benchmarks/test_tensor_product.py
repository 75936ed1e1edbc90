"""Kernel micro-benchmarks: ``pytest tests/benchmarks --benchmark-enable`` for times; without it, a run of each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from atomsym.workflows.benchmarks.tensor_product import CASES, run

from atomsym.core.errors import InputError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.symmetry import Irreps

SMALL = {"channels": 8, "edges": 80, "neighbors": 8, "repeats": 1}


def test_benchmark_reports_every_case_and_its_baseline() -> None:
    rows = run(("nequip-l1", "mace-l1"), **SMALL)
    assert [row["case"] for row in rows] == ["nequip-l1", "mace-l1"]
    assert [row["paths"] for row in rows] == [4, 10]
    for row in rows:
        assert all(row[name] > 0 for name in row if name.endswith(("_ms", "_ratio", "_gflops")))
    assert "e3nn_forward_ms" not in run(("nequip-l1",), baseline=False, **SMALL)[0]


def test_benchmark_refuses_an_unknown_case() -> None:
    with pytest.raises(InputError, match="unknown case 'l9'; known: nequip-l1"):
        run(("l9",))


@pytest.mark.parametrize("what", ["forward", "gradients"])
@pytest.mark.parametrize("name", list(CASES))
def test_convolution(benchmark: Any, name: str, what: str) -> None:
    draw = torch.Generator().manual_seed(0)
    product = ChannelwiseProduct.separate(*(Irreps.spherical_harmonics(degree) for degree in CASES[name]))
    channels, edges, nodes = 64, 1000, 50
    receiver = torch.arange(edges) // 20
    sender = torch.randint(nodes, (edges,), generator=draw)
    topology = EdgeTopology.from_edge_index(torch.stack([receiver, sender]), nodes)
    shapes = ((nodes, product.in_dim, channels), (edges, product.edge_dim), (edges, product.n_paths, channels))
    operands = [torch.randn(shape, generator=draw, requires_grad=what == "gradients") for shape in shapes]

    def call() -> Any:
        out = tensor_product_convolution(*operands, topology, product)
        return torch.autograd.grad(out.sum(), operands) if what == "gradients" else out

    assert benchmark(call) is not None
