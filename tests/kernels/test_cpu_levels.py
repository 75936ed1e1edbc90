"""Every instruction-set level that was compiled gives the same results as the reference backends."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

LEVELS = ("baseline", "avx2", "avx512")
RUNS_ON = {"DEFAULT": LEVELS[:1], "AVX2": LEVELS[:2], "AVX512": LEVELS}

SCRIPT = """
import torch
from atomsym.core import AtomGraph, EdgeTopology
from atomsym.heads import HessianHead, HessianHeadConfig
from atomsym.inference.hessian_kernel import HessianKernel
from atomsym.kernels.gaunt_product import GauntProduct, gaunt_product
from atomsym.kernels.matrix_coupling import MatrixCoupling, matrix_coupling
from atomsym.kernels.native import cpu_level
from atomsym.kernels.neighbors import neighbor_list
from atomsym.kernels.segments import segment_sum
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.kernels.symmetric_contraction import SymmetricContraction, symmetric_contraction
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.symmetry import Irreps
from atomsym.testing import tolerances

draw = torch.Generator().manual_seed(0)
def random(*shape, dtype):
    return torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype)

def assert_close(found, expected, dtype, what):
    error = (found - expected).abs().max() / expected.abs().max()
    assert error < tolerances.BACKEND_PARITY.of(dtype), (what, dtype, float(error))

def compare(function, *operands, dtype):
    leaves = [operand.requires_grad_() for operand in operands]
    results = {}
    for backend in ("cpp", "reference"):
        value = function(*leaves, backend)
        cotangent = torch.arange(value.numel(), dtype=dtype).cos().reshape(value.shape)
        results[backend] = [value, *torch.autograd.grad(value, leaves, cotangent)]
    for found, expected in zip(results["cpp"], results["reference"], strict=True):
        assert_close(found, expected, dtype, function)

for dtype in (torch.float64, torch.float32):
    cell = torch.tensor([[6.0, 0, 0], [1, 5, 0], [0, 2, 7]], dtype=dtype)
    positions = 5 * random(40, 3, dtype=dtype)
    pbc = torch.ones(3, dtype=torch.bool)
    lists = [neighbor_list(positions, 4.0, cell, pbc, backend=b) for b in ("cpp", "reference")]
    keys = [sorted(map(tuple, torch.cat([n.edge_index.T, n.edge_shift], 1).tolist())) for n in lists]
    assert keys[0] == keys[1]
    topology = EdgeTopology.from_edge_index(lists[0].edge_index, 40)
    n_edges = topology.n_edges
    compare(lambda v, b: spherical_harmonics(v, 5, backend=b), random(100, 3, dtype=dtype), dtype=dtype)
    wide = random(n_edges, 19, dtype=dtype)
    compare(lambda v, b: segment_sum(v, topology.receiver, 40, backend=b), wide, dtype=dtype)
    irreps = Irreps.spherical_harmonics(2)
    product = ChannelwiseProduct.separate(irreps, irreps, irreps)
    for channels in (1, 19, 64):
        compare(
            lambda x, y, w, b: tensor_product_convolution(x, y, w, topology, product, backend=b),
            random(40, irreps.dim, channels, dtype=dtype),
            random(n_edges, irreps.dim, dtype=dtype),
            random(n_edges, product.n_paths, channels, dtype=dtype),
            dtype=dtype,
        )
        contraction = SymmetricContraction(irreps, Irreps.parse("0e+1o"), 3)
        species = torch.arange(40) % 3
        compare(
            lambda a, w, b: symmetric_contraction(a, w, species, contraction, backend=b),
            random(40, irreps.dim, channels, dtype=dtype),
            random(3, contraction.n_paths, channels, dtype=dtype),
            dtype=dtype,
        )
        for coupling in (MatrixCoupling(2, 2, 2), MatrixCoupling(4, 4, 4), MatrixCoupling(5, 4, 6, part="odd")):
            compare(
                lambda x, y, b: matrix_coupling(x, y, coupling, backend=b),
                *(random(5, (degree + 1) ** 2, channels, dtype=dtype) for degree in coupling.degrees[:2]),
                dtype=dtype,
            )
        grid = GauntProduct((irreps,) * 3, irreps)
        compare(
            lambda *x: gaunt_product(x[:3], grid, backend=x[3]),
            *(random(5, irreps.dim, channels, dtype=dtype) for _ in range(3)),
            dtype=dtype,
        )
        torch.manual_seed(0)
        config = HessianHeadConfig(cutoff=4.0, channels=channels, n_radial=5, hidden=channels + 2)
        head = HessianHead(irreps, channels, 3, config).to(dtype)
        features = random(40, irreps.dim, channels, dtype=dtype)
        for pbc in (True, False):
            graph = AtomGraph.from_arrays(positions.numpy(), 1 + species.numpy(), cell.numpy(), pbc, dtype=dtype)
            with torch.no_grad():
                found = HessianKernel(head, dtype).matrices(features, species, graph, sum_rule=True)[0]
                expected = head(features, species, graph).matrices(sum_rule=True)[0]
            assert_close(found, expected, dtype, ("Hessian head", channels, pbc))
print(cpu_level())
"""


@pytest.mark.parametrize("level", LEVELS)
def test_level_agrees_with_the_reference(level: str) -> None:
    if level not in RUNS_ON.get(torch.backends.cpu.get_cpu_capability(), LEVELS[:1]):
        pytest.skip(f"this processor does not run {level}")
    if importlib.util.find_spec(f"atomsym.kernels.cpu._{level}") is None:
        pytest.skip(f"{level} was not compiled")
    environment = {**os.environ, "ATOMSYM_CPU_LEVEL": level, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [level]
