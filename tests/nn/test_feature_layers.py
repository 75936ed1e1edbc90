"""Linear layers, perceptrons and gates on features of any irreps: formulas, symmetry, variance, derivatives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from atomsym.core import ConfigError
from atomsym.nn import ACTIVATIONS, EquivariantLinear, Gate, Perceptron, SpeciesLinear, activation
from atomsym.symmetry import Irreps
from atomsym.testing import tolerances
from atomsym.testing.convolutions import deviation
from atomsym.testing.equivariance import equivariance_error

MIXED = Irreps.parse("1o+0e+1o+2e+1e+0o+3o")
OUT = Irreps.parse("0e+0o+1e+1o+2e+3o")
SPECIES = torch.tensor([1, 0, 2, 2, 0, 1, 2])


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.fixture(autouse=True)
def _seeded() -> object:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def features(irreps: Irreps, generator: torch.Generator, n: int = 7, channels: int = 5, **options: object) -> Tensor:
    options = {"dtype": torch.float64, **options}
    return torch.randn(n, irreps.dim, channels, generator=generator, **options)  # type: ignore[call-overload, no-any-return]


LAYERS: dict[str, tuple[Callable[[], Callable[[Tensor], Tensor]], Irreps, Irreps]] = {
    "linear": (lambda: EquivariantLinear(MIXED, OUT, 5, 3).double(), MIXED, OUT),
    "linear-repeats": (lambda: EquivariantLinear(MIXED, MIXED, 5, 3).double(), MIXED, MIXED),
    "species": (lambda: partial(SpeciesLinear(OUT, MIXED, 5, 3).double(), species=SPECIES), OUT, MIXED),
    "gate": (lambda: Gate(OUT), Gate(OUT).irreps_in, OUT),
    "gate-any-order": (
        lambda: Gate(Irreps.parse("2e+0o+1o+0e")),
        Irreps.parse("0o+0e+0e+0e+2e+1o"),
        Irreps.parse("2e+0o+1o+0e"),
    ),
}


@pytest.mark.parametrize("name", sorted(LAYERS))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_layers_turn_their_output_with_their_input(name: str, dtype: torch.dtype, generator: torch.Generator) -> None:
    make, irreps_in, irreps_out = LAYERS[name]
    layer = make()
    for module in (layer, getattr(layer, "func", None)):
        if isinstance(module, torch.nn.Module):
            module.to(dtype)
    x = features(irreps_in, generator, dtype=dtype)
    assert layer(x).dtype == dtype
    assert layer(x).abs().max() > 0.1
    error = equivariance_error(layer, irreps_in, irreps_out, x, generator=generator)
    assert error < tolerances.EQUIVARIANCE.of(dtype)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_layers_have_right_derivatives(name: str, generator: torch.Generator) -> None:
    make, irreps_in, _ = LAYERS[name]
    x = features(irreps_in, generator).requires_grad_()
    layer = make()
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(layer, x, fast_mode=True)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_layers_treat_nodes_alone(name: str, generator: torch.Generator) -> None:
    """Renumbering nodes renumbers results; no nodes give no results."""
    make, irreps_in, irreps_out = LAYERS[name]
    layer, x = make(), features(irreps_in, generator)
    order = torch.randperm(7, generator=generator)
    if isinstance(layer, partial):
        turned = layer.func(x[order], species=SPECIES[order])
        empty = layer.func(x[:0], species=SPECIES[:0])
    else:
        turned, empty = layer(x[order]), layer(x[:0])
    torch.testing.assert_close(turned, layer(x)[order], rtol=1e-13, atol=1e-14)
    assert empty.shape == (0, irreps_out.dim, layer(x).shape[2])


def test_linear_equals_its_formula(generator: torch.Generator) -> None:
    layer, x = EquivariantLinear(MIXED, OUT, 5, 3).double(), features(MIXED, generator)
    weights = iter(layer.weights)
    for irrep, place in zip(OUT, OUT.slices, strict=True):
        sources = [x[:, s] for t, s in zip(MIXED, MIXED.slices, strict=True) if t == irrep]
        weight = next(weights).reshape(len(sources), 5, 3)
        expected = sum(torch.einsum("nmc,cd->nmd", source, w) for source, w in zip(sources, weight, strict=True))
        assert deviation(layer(x)[:, place], expected / (5 * len(sources)) ** 0.5) < tolerances.ALGEBRA.float64
    assert next(weights, None) is None


def test_irreps_without_a_source_are_zero_and_have_no_weights(generator: torch.Generator) -> None:
    source, wanted = Irreps.parse("0e"), Irreps.parse("0e+1o")
    species = torch.zeros(7, dtype=torch.int64)
    for layer, arguments in (
        (EquivariantLinear(source, wanted, 5, 5), ()),
        (SpeciesLinear(source, wanted, 5, 2), (species,)),
    ):
        result = layer.double()(features(source, generator), *arguments)
        assert torch.equal(result[:, 1:], torch.zeros(7, 3, 5, dtype=torch.float64))
        assert len(list(layer.parameters())) == 1


def test_species_linear_equals_its_formula_eager_compiled_and_by_species(generator: torch.Generator) -> None:
    layer, x = SpeciesLinear(OUT, MIXED, 5, 3).double(), features(OUT, generator)
    places = dict(zip(OUT, OUT.slices, strict=True))
    blocks = [
        torch.einsum("nmc,ncd->nmd", x[:, places[irrep]], weight[SPECIES])
        for irrep, weight in zip(MIXED, layer.weights, strict=True)
    ]
    expected = torch.cat(blocks, dim=1) / 15**0.5
    assert deviation(layer(x, SPECIES), expected) < tolerances.ALGEBRA.float64
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    assert deviation(compiled(x, SPECIES), expected) < tolerances.ALGEBRA.float64
    table = x[:3]
    assert deviation(layer.by_species(table), layer(table, torch.arange(3))) < tolerances.ALGEBRA.float64
    alone = SpeciesLinear(OUT, OUT, 5, 1).double()
    first = EquivariantLinear(OUT, OUT, 5, 5).double()
    with torch.no_grad():
        for mine, other in zip(first.weights, alone.weights, strict=True):
            mine.copy_(other[0])
    assert deviation(alone(x, torch.zeros_like(SPECIES)), first(x)) < tolerances.ALGEBRA.float64


def test_species_that_are_absent_get_zero_gradients(generator: torch.Generator) -> None:
    layer = SpeciesLinear(OUT, OUT, 5, 4).double()
    layer(features(OUT, generator), SPECIES).square().sum().backward()
    for weight in layer.weights:
        assert weight.grad is not None
        assert torch.equal(weight.grad[3], torch.zeros(5, 5, dtype=torch.float64))
        assert (weight.grad[:3].abs().amax(dim=(1, 2)) > 1e-3).all()


def test_linear_layers_and_perceptrons_keep_unit_variance(generator: torch.Generator) -> None:
    x = features(MIXED, generator, n=2000, channels=64)
    variance = EquivariantLinear(MIXED, OUT, 64, 64).double()(x).var()
    assert float(variance.detach()) == pytest.approx(1, abs=0.1)
    y = Perceptron((64, 128, 128, 64)).double()(x[:, 1])
    assert float(y.detach().square().mean()) == pytest.approx(1, abs=0.25)
    gate = Gate(OUT)
    z = gate(features(gate.irreps_in, generator, n=2000, channels=64))
    for place in OUT.slices:
        assert float(z[:, place].square().mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_keep_unit_second_moment_and_zero(name: str) -> None:
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / (2 * torch.pi) ** 0.5
    moment = float((activation(name)(z).square() * density).sum() * (z[1] - z[0]))
    assert moment == pytest.approx(1, abs=5e-3)  # the published factors are estimates from samples
    assert float(activation(name)(torch.zeros(()))) == 0


def test_unknown_activations_are_named() -> None:
    with pytest.raises(ConfigError, match="no activation 'relu'; known: silu"):
        Perceptron((2, 2), "relu")


def test_perceptron_equals_its_formula(generator: torch.Generator) -> None:
    layer = Perceptron((4, 6, 5, 2), "tanh").double()
    x = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    y = x
    for number, weight in enumerate(layer.weights):
        y = y @ weight / weight.shape[0] ** 0.5
        y = y if number == 2 else 1.5937334472592695 * y.tanh()
    assert deviation(layer(x), y) < tolerances.ALGEBRA.float64
    assert torch.equal(layer(torch.zeros(3, 4, dtype=torch.float64)), torch.zeros(3, 2, dtype=torch.float64))


def test_gate_multiplies_each_irrep_with_its_own_scalar() -> None:
    gate = Gate(Irreps.parse("0e+1o+2e"))
    x = torch.ones(1, gate.irreps_in.dim, 1, dtype=torch.float64)
    x[0, 1:3, 0] = torch.tensor([0.3, -2.0])
    silu = activation("silu")
    expected = [silu(torch.tensor(1.0).double()), *[silu(x[0, 1, 0])] * 3, *[silu(x[0, 2, 0])] * 5]
    torch.testing.assert_close(gate(x)[0, :, 0], torch.stack(expected), rtol=1e-14, atol=0)


def test_an_even_function_of_odd_scalars_is_found() -> None:
    """The mutant of the gate: silu is not odd, so the inversion tells."""
    gate, generator = Gate(OUT, odd="silu"), torch.Generator().manual_seed(1)
    x = features(gate.irreps_in, generator)
    assert equivariance_error(gate, gate.irreps_in, OUT, x, generator=generator) > 1e-2


def test_mixing_irreps_of_one_degree_but_different_parity_is_found(generator: torch.Generator) -> None:
    """The mutant of the linear layer: 1e fed to weights of 1o is still right for rotations, not for the inversion."""
    layer = EquivariantLinear(Irreps.parse("1o+1o"), Irreps.parse("1o"), 5, 5).double()
    wrong = Irreps.parse("1o+1e")
    x = features(wrong, generator)
    options = {"generator": generator}
    assert equivariance_error(layer, wrong, Irreps.parse("1o"), x, improper=False, **options) < 1e-12
    assert equivariance_error(layer, wrong, Irreps.parse("1o"), x, improper=True, **options) > 1e-2
