"""Spherical harmonics: ours against e3nn, values and gradients, in the same run."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from atomsym.core.errors import MissingDependencyError
from atomsym.kernels.spherical_harmonics import spherical_harmonics


def run(
    *,
    sizes: Sequence[int] = (10_000, 100_000),
    degrees: Sequence[int] = (2, 3, 4, 6, 8),
    dtypes: Sequence[torch.dtype] = (torch.float32, torch.float64),
    n_threads: int = 1,
    repeats: int = 7,
    backend: str = "auto",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Time both packages on random vectors, component-normalised, on the CPU.

    Process CPU time, the smallest of some repeats after a warm-up, so that other processes on the machine matter
    little. Times of the two packages alternate.

    Args:
        sizes: numbers of vectors.
        degrees: largest degrees.
        dtypes: floating-point types.
        n_threads: torch threads during the run; restored afterwards.
        repeats: timed calls per entry.
        backend: of our function.
        seed: of the random vectors.

    Returns:
        One row per (dtype, size, degree, task): ``dtype``, ``n``, ``max_degree``, ``task`` (``"values"`` or
        ``"values and gradient"``), ``atomsym_ms``, ``e3nn_ms``, ``ratio`` (e3nn over atomsym), and
        ``largest_difference`` relative to the largest value.

    Raises:
        MissingDependencyError: if e3nn is not installed.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        rows = []
        for dtype in dtypes:
            for n in sizes:
                vectors = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
                    dtype
                )
                for degree in degrees:
                    rows += _compare(vectors, degree, backend, repeats)
        return rows
    finally:
        torch.set_num_threads(threads)


def _compare(vectors: Tensor, degree: int, backend: str, repeats: int) -> list[dict[str, Any]]:
    module = _e3nn_module(degree)

    def ours(v: Tensor) -> Tensor:
        return spherical_harmonics(v, degree, backend=backend)

    values, other = ours(vectors), module(vectors)
    difference = float((values - other).abs().max() / other.abs().max())
    grad = torch.ones_like(values)
    rows = []
    for task, call in (("values", _values), ("values and gradient", _values_and_gradient)):
        seconds = _alternate(lambda: call(ours, vectors, grad), lambda: call(module, vectors, grad), repeats)  # noqa: B023
        rows.append(
            {
                "dtype": str(vectors.dtype).removeprefix("torch."),
                "n": len(vectors),
                "max_degree": degree,
                "task": task,
                "atomsym_ms": 1e3 * seconds[0],
                "e3nn_ms": 1e3 * seconds[1],
                "ratio": seconds[1] / seconds[0],
                "largest_difference": difference,
            }
        )
    return rows


def _values(function: Callable[[Tensor], Tensor], vectors: Tensor, grad: Tensor) -> None:
    function(vectors)


def _values_and_gradient(function: Callable[[Tensor], Tensor], vectors: Tensor, grad: Tensor) -> None:
    leaf = vectors.detach().requires_grad_()
    torch.autograd.grad(function(leaf), leaf, grad)


def _alternate(first: Callable[[], None], second: Callable[[], None], repeats: int) -> tuple[float, float]:
    best = [float("inf"), float("inf")]
    for repeat in range(repeats + 1):
        for which, function in enumerate((first, second)):
            start = time.process_time()
            function()
            if repeat > 0:  # the first round warms up
                best[which] = min(best[which], time.process_time() - start)
    return best[0], best[1]


def _e3nn_module(degree: int) -> Callable[[Tensor], Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about torch's deprecated scripting
        try:
            from e3nn import o3
        except ImportError:
            raise MissingDependencyError.for_package("e3nn", "benchmark", "comparing spherical harmonics") from None
        return o3.SphericalHarmonics(list(range(degree + 1)), normalize=True, normalization="component")
