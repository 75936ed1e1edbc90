"""What the machine can do at best, measured in the same run as everything that is compared with it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

import atomsym
from atomsym.kernels.native import cpu_extension, cpu_level


@dataclass(frozen=True)
class Machine:
    """Where the numbers were made.

    Attributes:
        processor: as the operating system names it.
        threads: that torch and our kernels may use.
        kernel_level: instruction-set level of the CPU kernels in use.
        peak_gflops_float32, peak_gflops_float64: multiply-adds between registers on one core, GFLOP/s: the ceiling.
        matmul_gflops_float32, matmul_gflops_float64: torch's matrix product of two 1024 × 1024 matrices, GFLOP/s.
        copy_gbytes: read plus write rate of a large copy, GB/s.
    """

    processor: str
    threads: int
    kernel_level: str
    peak_gflops_float32: float
    peak_gflops_float64: float
    matmul_gflops_float32: float
    matmul_gflops_float64: float
    copy_gbytes: float
    torch_version: str = torch.__version__
    atomsym_version: str = atomsym.__version__


def measure_machine() -> Machine:
    """Measure the ceilings with torch's current thread count; about two seconds."""
    return Machine(
        processor=_processor_name(),
        threads=torch.get_num_threads(),
        kernel_level=cpu_level(),
        peak_gflops_float32=peak_rate(torch.float32),
        peak_gflops_float64=peak_rate(torch.float64),
        matmul_gflops_float32=matmul_rate(torch.float32),
        matmul_gflops_float64=matmul_rate(torch.float64),
        copy_gbytes=_copy_rate(),
    )


def best_seconds(function: Callable[[], object], *, repeats: int = 5, min_time: float = 0.2) -> float:
    """Smallest process CPU time of one call in seconds on one thread, of wall time on several.

    CPU time leaves out the time slices that other programs take, so it is the fairer clock on a shared machine; with
    several threads it would count each of them.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    function()  # warm up: allocations, caches, lazy tables
    start = clock()
    function()
    calls = max(1, round(min_time / repeats / max(clock() - start, 1e-6)))
    best = float("inf")
    for _ in range(repeats):
        start = clock()
        for _ in range(calls):
            function()
        best = min(best, (clock() - start) / calls)
    return best


def peak_rate(dtype: torch.dtype, rounds: int = 1_000_000) -> float:
    """Fused multiply-adds between registers on one core, counted as two operations each, GFLOP/s."""
    extension, single = cpu_extension(), dtype == torch.float32
    lanes = extension.vector_bytes // (4 if single else 8)
    operations = 2 * rounds * extension.peak_chains * lanes
    return operations / best_seconds(lambda: extension.multiply_add_chains(single, rounds)) * 1e-9


def matmul_rate(dtype: torch.dtype, size: int = 1024) -> float:
    """Torch's product of two square matrices with its current thread count, GFLOP/s."""
    a, b = torch.rand(size, size, dtype=dtype), torch.rand(size, size, dtype=dtype)
    result = torch.empty_like(a)
    return 2 * size**3 / best_seconds(lambda: torch.mm(a, b, out=result)) * 1e-9


def _copy_rate(megabytes: int = 256) -> float:
    source = torch.zeros(megabytes * 2**20 // 4, dtype=torch.float32)
    target = torch.zeros_like(source)
    return 2 * megabytes * 2**20 / best_seconds(lambda: target.copy_(source)) * 1e-9


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
