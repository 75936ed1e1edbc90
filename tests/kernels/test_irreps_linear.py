"""Equivariant linear maps: the C++ backend equals the reference in values, derivatives and transforms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.irreps_linear import IrrepsLinear, irreps_linear
from atomsym.kernels.native import cpu_reason
from atomsym.symmetry import Irreps, random_rotations, representation_matrix
from atomsym.testing.convolutions import deviation
from atomsym.testing.tolerances import BACKEND_PARITY, EQUIVARIANCE

pytestmark = pytest.mark.skipif(cpu_reason() is not None, reason=str(cpu_reason()))
MIXED = IrrepsLinear(Irreps.parse("0e+1o+1o+2e+1e"), Irreps.parse("1o+0e+0e+2e+3o"))


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def operands(n: int, c_in: int, c_out: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """x, W and a cotangent."""
    x = draw(n, MIXED.in_dim, c_in, dtype=dtype)
    weights = draw(MIXED.n_blocks, c_in, c_out, seed=1, dtype=dtype)
    return x, weights, draw(n, MIXED.out_dim, c_out, seed=2, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize(
    ("n", "c_in", "c_out"), [(1, 1, 1), (5, 3, 2), (61, 16, 33), (300, 40, 64), (0, 4, 4), (3, 0, 2)]
)
def test_values_and_gradients_equal_the_reference(n: int, c_in: int, c_out: int, dtype: torch.dtype) -> None:
    x, weights, g = operands(n, c_in, c_out, dtype)
    results = []
    for backend, convert in (("cpp", dtype), ("reference", torch.float64)):
        inputs = [value.to(convert).requires_grad_() for value in (x, weights)]
        out = irreps_linear(*inputs, MIXED, backend=backend)
        results.append([out, *torch.autograd.grad(out, inputs, g.to(convert))])
    tolerance = BACKEND_PARITY.float32 if dtype == torch.float32 else BACKEND_PARITY.float64
    for found, expected in zip(*results, strict=True):
        assert found.shape == expected.shape
        assert found.dtype == dtype
        assert not found.numel() or deviation(found.double(), expected) < tolerance


def test_slots_without_a_partner_are_zero() -> None:
    x, weights, _ = operands(4, 3, 5)
    out = irreps_linear(x, weights, MIXED, backend="cpp")
    assert torch.equal(out[:, MIXED.irreps_out.slices[4]], torch.zeros(4, 7, 5, dtype=torch.float64))
    nothing = IrrepsLinear(Irreps.parse("0e"), Irreps.parse("1o"))
    out = irreps_linear(draw(2, 1, 3), draw(0, 3, 4), nothing, backend="cpp")
    assert torch.equal(out, torch.zeros(2, 3, 4, dtype=torch.float64))


def test_derivatives_of_every_order() -> None:
    small = IrrepsLinear(Irreps.parse("0e+1o+0e"), Irreps.parse("1o+0e"))
    inputs = (draw(2, 5, 2).requires_grad_(), draw(small.n_blocks, 2, 1, seed=1).requires_grad_())

    def linear(*values: Tensor) -> Tensor:
        return irreps_linear(*values, small, backend="cpp")

    def gradients(*values: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((linear(*values) ** 3).sum(), values, create_graph=True)

    assert torch.autograd.gradcheck(linear, inputs)
    assert torch.autograd.gradgradcheck(linear, inputs)
    assert torch.autograd.gradgradcheck(gradients, inputs)


def test_transforms_map_features_and_weights() -> None:
    x, weights, _ = operands(3, 2, 2)
    xs, many = torch.stack([x, 2 * x, x.sin()], 1), torch.stack([weights, weights.cos(), -weights])
    found = torch.func.vmap(lambda x, w: irreps_linear(x, w, MIXED, backend="cpp"), (1, 0))(xs, many)
    for member in range(3):
        expected = irreps_linear(xs[:, member], many[member], MIXED, backend="reference")
        assert deviation(found[member], expected) < BACKEND_PARITY.float64
    results = []
    for backend in ("cpp", "reference"):

        def energy(x: Tensor, w: Tensor, backend: str = backend) -> Tensor:
            return (irreps_linear(x, w, MIXED, backend=backend) ** 3).sum()

        results.append(torch.func.jacrev(torch.func.grad(energy), (0, 1))(x, weights))
    assert all(deviation(a, b) < BACKEND_PARITY.float64 for a, b in zip(*results, strict=True))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own tracer
def test_compiles_as_one_graph_with_gradients() -> None:
    def layer(x: Tensor, w: Tensor) -> Tensor:
        return irreps_linear(x.sin(), w, MIXED).cos()

    results = []
    for call in (torch.compile(layer, fullgraph=True, backend="aot_eager"), layer):
        inputs = [value.clone().requires_grad_() for value in operands(4, 3, 2)[:2]]
        out = call(*inputs)
        results.append((out, *torch.autograd.grad(out.sum(), inputs)))
    assert all(deviation(a, b) < BACKEND_PARITY.float64 for a, b in zip(*results, strict=True))


def test_the_map_commutes_with_rotations_and_inversion() -> None:
    x, weights, _ = operands(3, 4, 4)
    (rotation,) = random_rotations(1, generator=torch.Generator().manual_seed(5), dtype=torch.float64, improper=True)
    turn_in, turn_out = (representation_matrix(irreps, rotation) for irreps in (MIXED.irreps_in, MIXED.irreps_out))
    out = irreps_linear(x, weights, MIXED, backend="cpp")
    turned = irreps_linear(torch.einsum("ij,njc->nic", turn_in, x), weights, MIXED, backend="cpp")
    assert deviation(turned, torch.einsum("ij,njc->nic", turn_out, out)) < EQUIVARIANCE.float64


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    x, weights, g = operands(333, 24, 40)
    before, results = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        inputs = [value.clone().requires_grad_() for value in (x, weights)]
        out = irreps_linear(*inputs, MIXED, backend="cpp")
        results.append([out, *torch.autograd.grad(out, inputs, g)])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_wrong_operands_are_refused() -> None:
    x, weights, _ = operands(3, 2, 2)
    with pytest.raises(InputError, match="features have shape"):
        irreps_linear(x[:, 1:], weights, MIXED)
    with pytest.raises(InputError, match="weights have shape"):
        irreps_linear(x, weights[1:], MIXED)
    with pytest.raises(InputError, match="float32"):
        irreps_linear(x, weights.float(), MIXED)
