"""Timings of the spherical harmonics: ``pytest tests/benchmarks --benchmark-enable``. No time is asserted."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.symmetry import random_rotations, wigner_d
from atomsym.testing import tolerances

N = 2000


@pytest.mark.parametrize("degree", [2, 4, 8])
@pytest.mark.parametrize("backend", ["cpp", "reference"])
def test_values_and_gradient(benchmark: BenchmarkFixture, backend: str, degree: int) -> None:
    vectors = torch.randn(N, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    grad = torch.ones(N, (degree + 1) ** 2)

    def step() -> torch.Tensor:
        return torch.autograd.grad(spherical_harmonics(vectors, degree, backend=backend), vectors, grad)[0]

    assert benchmark(step).shape == (N, 3)


@pytest.mark.parametrize("degree", [2, 6])
def test_wigner_matrices(benchmark: BenchmarkFixture, degree: int) -> None:
    rotations = random_rotations(N, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    assert benchmark(lambda: wigner_d(degree, rotations))[degree].shape == (N, 2 * degree + 1, 2 * degree + 1)


def test_user_benchmark_has_both_programs_and_equal_results() -> None:
    from atomsym.workflows.benchmarks.spherical_harmonics import run

    rows = run((50,), (1, 3), dtypes=(torch.float64,))
    assert [(row["max_degree"], row["program"]) for row in rows] == [
        (degree, program) for degree in (1, 3) for program in ("atomsym cpp", "e3nn")
    ]
    for row in rows[1::2]:
        assert row["largest_difference"] < tolerances.BACKEND_PARITY.float64
        assert row["values_ratio"] > 0
