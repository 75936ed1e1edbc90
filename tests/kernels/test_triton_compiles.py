"""Every Triton kernel compiles for GPUs as its launcher calls it, without a GPU: the interpreter takes more.

The launchers run on the CPU, in a process of its own, with the front functions of realistic products; Triton gets a
driver that names a GPU, and where a launcher starts a kernel, it is compiled for the very arguments and not run.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple
from unittest import mock

import pytest
import torch
from torch import Tensor

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs the package triton")


class Sizes(NamedTuple):
    """Of a case."""

    nodes: int
    edges: int
    channels: int


SIZES = {"usual": Sizes(20, 300, 128), "ones": Sizes(1, 1, 1)}
"""Arguments of one are constants to Triton, which can do less with them than with values."""


def draw(dtype: torch.dtype, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, dtype=dtype, generator=generator) for shape in shapes]


def derive(function: Callable[..., Tensor], operands: Sequence[Tensor]) -> None:
    """Launch what the value, the gradients and the second derivatives need."""
    operands = [operand.clone().requires_grad_() for operand in operands]
    out = function(*operands)
    g = torch.ones_like(out).requires_grad_()
    first = torch.autograd.grad(out, operands, g, create_graph=True)
    torch.autograd.grad(first, [g, *operands], [torch.ones_like(f) for f in first], allow_unused=True)


def topology(sizes: Sizes) -> Any:
    from atomsym.testing.convolutions import random_topology

    return random_topology(sizes.nodes, sizes.edges, torch.Generator().manual_seed(0))


def tensor_product(sizes: Sizes, dtype: torch.dtype) -> None:
    from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
    from atomsym.symmetry import Irreps

    edges = topology(sizes)
    for degree in (2, 3):
        sh = Irreps.spherical_harmonics(degree)
        product = ChannelwiseProduct.separate(sh, sh, sh)
        nodes, along = (sizes.nodes, product.in_dim, sizes.channels), (sizes.edges, product.edge_dim)
        operands = draw(dtype, nodes, along, (sizes.edges, product.n_paths, sizes.channels))
        derive(lambda x, y, w, p=product: tensor_product_convolution(x, y, w, edges, p, backend="triton"), operands)


def gaunt(sizes: Sizes, dtype: torch.dtype) -> None:
    from atomsym.kernels.gaunt_product import GauntConvolution, GauntProduct, gaunt_convolution, gaunt_product
    from atomsym.symmetry import Irreps

    edges, sh = topology(sizes), Irreps.spherical_harmonics(2)
    rows = (sizes.nodes, sh.dim, sizes.channels)
    product, convolution = GauntProduct((sh, sh), sh), GauntConvolution(sh, sh, sh)
    derive(lambda x, y: gaunt_product((x, y), product, backend="triton"), draw(dtype, rows, rows))
    operands = draw(dtype, rows, (sizes.edges, sh.dim), (sizes.edges, convolution.n_weights, sizes.channels))
    derive(lambda x, y, w: gaunt_convolution(x, y, w, edges, convolution, backend="triton"), operands)


def cp(sizes: Sizes, dtype: torch.dtype) -> None:
    from atomsym.kernels.cp_product import CPProduct, cp_convolution, cp_product

    edges, product = topology(sizes), CPProduct.of(2, 2, 2)
    rows = (sizes.nodes, 9, sizes.channels)
    derive(lambda x, y: cp_product(x, y, product, backend="triton"), draw(dtype, rows, rows))
    operands = draw(dtype, rows, (sizes.edges, 9), (sizes.edges, sizes.channels))
    derive(lambda x, y, w: cp_convolution(x, y, w, edges, product, backend="triton"), operands)


def matrices_of_a_spin(sizes: Sizes, dtype: torch.dtype) -> None:
    from atomsym.kernels.matrix_coupling import MatrixCoupling, matrix_coupling

    coupling = MatrixCoupling(2, 2, 2)
    operands = draw(dtype, *[(sizes.nodes, 9, sizes.channels)] * 2)
    derive(lambda x, y: matrix_coupling(x, y, coupling, backend="triton"), operands)


def contraction(sizes: Sizes, dtype: torch.dtype) -> None:
    from atomsym.kernels.symmetric_contraction import SymmetricContraction, symmetric_contraction
    from atomsym.symmetry import Irreps

    made = SymmetricContraction(Irreps.spherical_harmonics(2), Irreps.spherical_harmonics(1), 3)
    species = torch.arange(sizes.nodes) % 2
    kinds = int(species.max()) + 1
    operands = draw(dtype, (sizes.nodes, made.dim_in, sizes.channels), (kinds, made.n_paths, sizes.channels))
    derive(lambda a, w: symmetric_contraction(a, w, species, made, backend="triton"), operands)


def harmonics(sizes: Sizes, dtype: torch.dtype) -> None:
    from atomsym.kernels.spherical_harmonics import spherical_harmonics

    for normalize in (True, False):
        made = draw(dtype, (sizes.edges, 3))
        derive(lambda v, n=normalize: spherical_harmonics(v, 4, normalize=n, backend="triton"), made)


def segments(sizes: Sizes, dtype: torch.dtype) -> None:
    from atomsym.kernels.segments import segment_sum

    edges = topology(sizes)
    values = draw(dtype, (sizes.edges, sizes.channels))
    derive(lambda x: segment_sum(x, edges.receiver, sizes.nodes, backend="triton"), values)


def neighbors(sizes: Sizes, dtype: torch.dtype) -> None:
    """Few atoms are searched among all pairs, many in bins."""
    from atomsym.kernels.neighbors import neighbor_list

    with mock.patch.object(torch, "empty", torch.ones):  # counts that no kernel has written
        for atoms in (sizes.nodes, 1500):
            (positions,) = draw(dtype, (atoms, 3))
            neighbor_list(10 * positions, 3.0, 20 * torch.eye(3), torch.tensor([True] * 3), backend="triton")


def so2(sizes: Sizes, dtype: torch.dtype) -> None:
    from atomsym.kernels.so2_convolution import SO2Product, edge_frames, so2_convolution
    from atomsym.symmetry import Irreps

    edges, sh = topology(sizes), Irreps.spherical_harmonics(2)
    product = SO2Product.merged(sh, sh, mirror=False, max_order=1)
    nodes, weights = (sizes.nodes, product.in_dim, sizes.channels), (sizes.edges, product.n_weights, sizes.channels)

    def convolve(x: Tensor, vectors: Tensor, w: Tensor) -> Tensor:
        frames = edge_frames(vectors, product.max_degree, product.max_order)
        return so2_convolution(x, frames, w, edges, product, backend="triton")

    derive(convolve, draw(dtype, nodes, (sizes.edges, 3), weights))


CASES: dict[str, Callable[[Sizes, torch.dtype], None]] = {
    "tensor product": tensor_product,
    "Gaunt product": gaunt,
    "CP product": cp,
    "matrices of a spin": matrices_of_a_spin,
    "symmetric contraction": contraction,
    "spherical harmonics": harmonics,
    "segments": segments,
    "neighbors": neighbors,
    "SO(2) convolution": so2,
}


class Gpu:
    """What Triton asks a driver for before a launch."""

    def __init__(self, architecture: int) -> None:
        self.architecture = architecture

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.architecture, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, _device: int) -> int:
        return 0


class Launch(NamedTuple):
    """A kernel, and what Triton or the compiler behind it made of a launch: the compiled kernel or an error."""

    kernel: Any
    result: Any


def compile_launches(architecture: int, run: Callable[[], None]) -> list[Launch]:
    """Compile what ``run`` launches instead of launching it, in a process that does nothing else."""
    import triton

    # Triton was imported as a compiler and stays one; to the package it seems to take tensors of the CPU.
    triton.knobs.runtime.interpret = False
    os.environ["TRITON_INTERPRET"] = "1"
    triton.runtime.driver.set_active(Gpu(architecture))
    launches = []

    def compiled(kernel: Any, grid: Any) -> Callable[..., None]:
        def launch(*arguments: Any, **named: Any) -> None:
            try:
                result = kernel.run(*arguments, grid=grid, warmup=True, **named)
            except (triton.TritonError, RuntimeError) as error:  # of passes of MLIR, the latter
                result = error
            launches.append(Launch(kernel, result))

        return launch

    with mock.patch.object(triton.JITFunction, "__getitem__", compiled):
        run()
    return launches


def run_cases(size: str) -> None:
    for case in CASES.values():
        for dtype in (torch.float32, torch.float64):
            case(SIZES[size], dtype)


def run_planted(_size: str) -> None:
    """Two faults that the interpreter does not see: a sum changes its type, and a constant has no methods."""
    import triton
    import triton.language as tl

    from atomsym.kernels.triton_support import FUSED

    @triton.jit
    def changes_type(out, values, count):  # type: ignore[no-untyped-def]
        total = tl.zeros((4,), dtype=tl.float32)
        for i in range(0, count):
            total += tl.load(values + 4 * i + tl.arange(0, 4))
        tl.store(out + tl.arange(0, 4), total)

    @triton.jit
    def of_a_constant(out, count):  # type: ignore[no-untyped-def]
        tl.store(out, count.to(tl.float32))

    for dtype in (torch.float32, torch.float64):
        changes_type[(1,)](torch.ones(4, dtype=dtype), torch.ones(8, dtype=dtype), 2, **FUSED)
    for count in (2, 1):
        of_a_constant[(1,)](torch.ones(1), count, **FUSED)


def name_of(kernel: Any) -> str:
    return f"{kernel.__module__.removeprefix('atomsym.kernels.')}.{kernel.__name__}"


def kernels_of_the_package() -> set[str]:
    """All functions that Triton compiles."""
    import triton

    import atomsym.kernels

    found = set()
    for module in pkgutil.walk_packages(atomsym.kernels.__path__, "atomsym.kernels."):
        members = vars(importlib.import_module(module.name)).values()
        found |= {name_of(member) for member in members if isinstance(member, triton.JITFunction)}
    return found


def with_callees(kernels: Iterable[Any]) -> set[str]:
    """Names of kernels and of the functions that they call."""
    import triton

    open_, found = list(kernels), {}
    while open_:
        kernel = open_.pop()
        if name_of(kernel) not in found:
            found[name_of(kernel)] = kernel
            called = (kernel.__globals__.get(name) for name in kernel.fn.__code__.co_names)
            open_ += [function for function in called if isinstance(function, triton.JITFunction)]
    return set(found)


def report(run: Callable[[str], None], size: str, architecture: int) -> None:
    """For the process of a test: write what came of all launches."""
    launches = compile_launches(architecture, lambda: run(size))
    errors = [(name_of(kernel), str(result)) for kernel, result in launches if isinstance(result, Exception)]
    shared = {
        name_of(kernel): result.metadata.shared for kernel, result in launches if not isinstance(result, Exception)
    }
    missed = kernels_of_the_package() - with_callees(launch.kernel for launch in launches)
    json.dump({"errors": errors, "shared": shared, "missed": sorted(missed)}, sys.stdout)


def reported(run: Callable[[str], None], size: str, architecture: int) -> dict[str, Any]:
    command = [sys.executable, "-W", "error", __file__, run.__name__, size, str(architecture)]
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


MORE = (("usual", 80), ("ones", 80), ("ones", 90))
"""Triton has one assembler for each of the two architectures."""


@needs_triton
@pytest.mark.parametrize(
    ("size", "architecture"),
    [("usual", 90), *(pytest.param(*more, marks=pytest.mark.slow) for more in MORE)],
)
def test_every_kernel_compiles_as_it_is_launched(size: str, architecture: int) -> None:
    found = reported(run_cases, size, architecture)
    assert found["errors"] == []
    assert found["missed"] == []  # a new kernel needs a case here
    so2 = {name: shared for name, shared in found["shared"].items() if name.startswith("so2_convolution.")}
    assert so2
    assert not any(so2.values())  # all in registers


@needs_triton
def test_kernels_that_the_compiler_refuses_are_seen() -> None:
    found = reported(run_planted, "usual", 80)
    assert [name.rpartition(".")[2] for name, _ in found["errors"]] == ["changes_type", "of_a_constant"]
    assert "tensor_product.triton_kernels.contract_kernel" in found["missed"]


if __name__ == "__main__":
    report({"run_cases": run_cases, "run_planted": run_planted}[sys.argv[1]], sys.argv[2], int(sys.argv[3]))
