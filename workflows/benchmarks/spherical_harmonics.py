"""Benchmark of the spherical harmonics, values and gradients, beside e3nn where that is installed."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.spherical_harmonics import SPHERICAL_HARMONICS, spherical_harmonics
from atomsym.workflows.benchmarks.machine import best_seconds


def run(
    n_vectors: Sequence[int] = (10_000, 100_000),
    max_degrees: Sequence[int] = (2, 3, 4, 6, 8),
    *,
    dtypes: Sequence[torch.dtype] = (torch.float32, torch.float64),
    backend: str = "auto",
) -> list[dict[str, Any]]:
    """Time component-normalised harmonics of random vectors on the CPU, with torch's current thread count.

    Args:
        n_vectors: numbers of vectors.
        max_degrees: largest degrees.
        dtypes: floating-point types.
        backend: of our function.

    Returns:
        One row for each case and program: ``values_ms``, ``with_gradient_ms`` (values and one gradient) and, for the
        peer, its times divided by ours and the largest difference relative to the largest value.
    """
    rows = []
    for dtype in dtypes:
        for n in n_vectors:
            vectors = torch.randn(n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
            for degree in max_degrees:
                rows += _compare(vectors, degree, backend)
    return rows


def _compare(vectors: Tensor, degree: int, backend: str) -> list[dict[str, Any]]:
    def ours(v: Tensor) -> Tensor:
        return spherical_harmonics(v, degree, backend=backend)

    case = {"dtype": str(vectors.dtype).removeprefix("torch."), "vectors": len(vectors), "max_degree": degree}
    chosen = SPHERICAL_HARMONICS.select(backend, device=vectors.device, dtype=vectors.dtype, degree=degree).name
    own = _times(ours, vectors, degree)
    rows = [{**case, "program": f"atomsym {chosen}", **own}]
    peer = _e3nn_module(degree)
    if peer is not None:
        times = _times(peer, vectors, degree)
        expected = peer(vectors)
        comparison = {
            "values_ratio": times["values_ms"] / own["values_ms"],
            "with_gradient_ratio": times["with_gradient_ms"] / own["with_gradient_ms"],
            "largest_difference": float((ours(vectors) - expected).abs().max() / expected.abs().max()),
        }
        rows.append({**case, "program": "e3nn", **times, **comparison})
    return rows


def _times(function: Callable[[Tensor], Tensor], vectors: Tensor, degree: int) -> dict[str, float]:
    leaf, grad = vectors.clone().requires_grad_(), vectors.new_ones(len(vectors), (degree + 1) ** 2)
    return {
        "values_ms": 1e3 * best_seconds(lambda: function(vectors)),
        "with_gradient_ms": 1e3 * best_seconds(lambda: torch.autograd.grad(function(leaf), leaf, grad)),
    }


def _e3nn_module(degree: int) -> Callable[[Tensor], Tensor] | None:
    if importlib.util.find_spec("e3nn") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about torch's deprecated scripting
        from e3nn import o3

        module: Callable[[Tensor], Tensor] = o3.SphericalHarmonics(
            list(range(degree + 1)), normalize=True, normalization="component"
        )
    return module
