"""Derivatives of the operators inside ``torch.compile``: right to every order that is given, refused otherwise."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.segments import segment_max, segment_sum
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.kernels.symmetric_contraction import SymmetricContraction, symmetric_contraction
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.kernels.triton_support import triton_reason
from atomsym.symmetry import Irreps
from atomsym.testing.convolutions import deviation
from atomsym.testing.tolerances import BACKEND_PARITY

SH1 = Irreps.spherical_harmonics(1)
TOPOLOGY = EdgeTopology.from_edge_index(torch.tensor([[0, 0, 1, 2], [1, 2, 0, 1]]), 3)
PRODUCT = ChannelwiseProduct.separate(SH1, SH1, SH1)
CONTRACTION = SymmetricContraction(SH1, SH1, 2)
INDEX = torch.tensor([0, 2, 2])


@dataclass(frozen=True)
class Subject:
    """An operation as a function of its differentiable operands, whose shapes are given."""

    operation: Callable[..., Tensor]
    shapes: tuple[tuple[int, ...], ...]

    def operands(self) -> list[Tensor]:
        generator = torch.Generator().manual_seed(5)
        return [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in self.shapes]

    def energy(self, *operands: Tensor) -> Tensor:
        """Uses operands and result non-linearly, as a network would."""
        values = self.operation(*(operand + operand.sin() for operand in operands))
        return (values + values**3 / 9).sum()


def harmonics(backend: str) -> Subject:
    return Subject(lambda vectors: spherical_harmonics(vectors, 2, backend=backend), ((4, 3),))


def product(backend: str) -> Subject:
    shapes = ((3, PRODUCT.in_dim, 2), (4, PRODUCT.edge_dim), (4, PRODUCT.n_paths, 2))
    return Subject(lambda x, y, w: tensor_product_convolution(x, y, w, TOPOLOGY, PRODUCT, backend=backend), shapes)


def contraction(backend: str) -> Subject:
    species = torch.tensor([1, 0, 1])
    shapes = ((3, CONTRACTION.dim_in, 2), (2, CONTRACTION.n_paths, 2))
    return Subject(lambda a, w: symmetric_contraction(a, w, species, CONTRACTION, backend=backend), shapes)


def sums(backend: str) -> Subject:
    return Subject(lambda values: segment_sum(values, INDEX, 4, backend=backend), ((3, 2),))


def maxima(backend: str) -> Subject:
    return Subject(lambda values: segment_max(values, INDEX, 4, backend=backend), ((3, 2),))


OPERATIONS: dict[str, Callable[[str], Subject]] = {
    "spherical harmonics": harmonics,
    "tensor product": product,
    "symmetric contraction": contraction,
    "segment sum": sums,
    "segment maximum": maxima,
}
EVERY = pytest.mark.parametrize("name", OPERATIONS)
FOUR = pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "segment maximum"])


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while compiling
        torch._dynamo.reset()
        with torch._dynamo.config.patch(trace_autograd_ops=True):
            yield


def force_loss(subject: Subject, operands: Sequence[Tensor], *, more: int = 0) -> Tensor:
    """A loss on the force along the first operand, or on what ``more`` further derivatives along it give."""
    (force,) = torch.autograd.grad(subject.energy(*operands), operands[0], create_graph=True)
    for _ in range(more):
        (force,) = torch.autograd.grad((force**2).sum(), operands[0], create_graph=True)
    return (force**2).sum()


def compare(
    name: str,
    function: Callable[[Subject, Sequence[Tensor]], Tensor],
    kernels: str = "cpp",
    compiler: str = "aot_eager",
) -> None:
    """Value of the compiled function, and its gradient in every operand, against the plain reference uncompiled."""
    results = []
    for subject in (OPERATIONS[name](kernels), OPERATIONS[name]("reference")):

        def call(operands: Sequence[Tensor], subject: Subject = subject) -> Tensor:
            return function(subject, operands)

        operands = subject.operands()
        value = (call if results else torch.compile(call, fullgraph=True, backend=compiler))(operands)
        value.backward()
        gradients = [operand.grad for operand in operands]
        assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)
        results.append([value.detach(), *gradients])
    for found, expected in zip(*results, strict=True):
        assert deviation(found, expected) < BACKEND_PARITY.float64


@EVERY
def test_gradients_of_a_compiled_energy(name: str) -> None:
    compare(name, lambda subject, operands: subject.energy(*operands))


@EVERY
def test_training_on_forces_inside_compiled_code_has_all_gradients(name: str) -> None:
    compare(name, force_loss)


@FOUR
def test_one_more_derivative_inside_compiled_code(name: str) -> None:
    compare(name, lambda subject, operands: force_loss(subject, operands, more=1))


@FOUR
def test_triton_trains_on_forces_inside_compiled_code(name: str) -> None:
    if triton_reason() is not None or torch.cuda.is_available():
        pytest.skip("needs Triton's interpreter")
    compare(name, force_loss, kernels="triton")


@pytest.mark.slow
@EVERY
def test_training_on_forces_with_the_default_compiler(name: str) -> None:
    compare(name, force_loss, compiler="inductor")


@FOUR
def test_vmap_inside_compiled_code(name: str) -> None:
    """The values, and the rows of a Hessian in one batch."""
    scales = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)

    def values(subject: Subject, first: Tensor, *others: Tensor) -> Tensor:
        return torch.vmap(lambda scale: subject.operation(scale * first, *others))(scales)

    def hessian(subject: Subject, first: Tensor, *others: Tensor) -> Tensor:
        (force,) = torch.autograd.grad(subject.energy(first, *others), first, create_graph=True)
        rows = torch.eye(force.numel(), dtype=force.dtype).reshape(-1, *force.shape)
        return torch.vmap(lambda row: torch.autograd.grad(force, first, row, retain_graph=True)[0])(rows).detach()

    for function in (values, hessian):
        subject, reference = OPERATIONS[name]("cpp"), OPERATIONS[name]("reference")
        found = torch.compile(function, fullgraph=True, backend="aot_eager")(subject, *subject.operands())
        assert deviation(found, function(reference, *reference.operands())) < BACKEND_PARITY.float64


TRANSFORMS: dict[str, Callable[[Callable[[Tensor], Tensor]], Callable[[Tensor], Tensor]]] = {
    "grad": torch.func.grad,
    "jacobian": torch.func.jacrev,
    "Hessian": lambda function: torch.func.jacrev(torch.func.grad(function)),
    "forward mode": torch.func.jacfwd,
    "directional derivative": lambda function: lambda x: torch.func.jvp(function, (x,), (torch.ones_like(x),))[1],
}


@FOUR
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_function_transforms_of_derivatives_inside_compiled_code_are_refused(name: str, transform: str) -> None:
    """They used to give wrong second derivatives. Outside of compiled code the reverse ones work."""
    subject = OPERATIONS[name]("cpp")
    first, *others = (operand.detach() for operand in subject.operands())
    derivative = TRANSFORMS[transform](lambda operand: subject.energy(operand, *others))
    with pytest.raises(RuntimeError, match=r"setup_context|forward-mode"):  # torch's way to say it; our own
        torch.compile(derivative, fullgraph=True, backend="aot_eager")(first)


def test_too_many_derivatives_are_refused_inside_compiled_code_too() -> None:
    subject = contraction("cpp")
    compiled = torch.compile(
        lambda operands: force_loss(subject, operands, more=2), fullgraph=True, backend="aot_eager"
    )
    with pytest.raises(RuntimeError, match=r"BackendError: symmetric_contraction: cpp can be .* three times"):
        compiled(subject.operands()).backward()


def test_importing_the_kernels_does_not_import_the_compiler() -> None:
    code = (
        "import sys, atomsym.kernels.spherical_harmonics, atomsym.kernels.tensor_product\n"
        "import atomsym.kernels.symmetric_contraction, atomsym.kernels.segments\n"
        "print(sorted({'torch._dynamo', 'torch._inductor', 'triton'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
