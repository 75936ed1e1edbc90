"""Bugs planted in the learned potentials: the measures of the suite see every one of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import learned_examples as examples
import pytest
import torch
from learned_examples import MAIN, build, cluster, crystal
from torch import Tensor

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.models import LearnedPotential
from atomsym.symmetry import Irreps
from atomsym.testing import Verdict, tolerances
from atomsym.workflows.check import CheckOptions, run_check

CLEARLY = 100.0  # how many times its tolerance a planted bug exceeds

Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


@pytest.fixture(params=sorted(MAIN))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def plant(name: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Wrapper], None]:
    """Replace a function in all modules of the architecture that use it."""

    def planted(function: str, wrapper: Wrapper) -> None:
        own = (f"atomsym.models.{name}.", "atomsym.nn.edge_product")
        modules = [m for path, m in sys.modules.items() if path.startswith(own)]
        users = [module for module in modules if hasattr(module, function)]
        assert users
        for module in users:
            monkeypatch.setattr(module, function, wrapper(getattr(module, function)))

    return planted


def test_wrong_sign_of_one_harmonic(name: str, plant: Callable[[str, Wrapper], None]) -> None:
    def wrong(harmonics: Callable[..., Tensor]) -> Callable[..., Tensor]:
        signs = torch.ones(9, dtype=torch.float64)
        signs[6] = -1
        return lambda *arguments: harmonics(*arguments) * signs

    plant("spherical_harmonics", wrong)
    energies, forces = examples.rotation_errors(build(MAIN[name]), cluster())
    assert min(energies, forces) > CLEARLY * tolerances.EQUIVARIANCE.float64


def test_wrong_parity_of_the_harmonics(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only reflections can tell."""
    make = {"mace": examples.mace, "nequip": examples.nequip}[name]
    example = examples.Example(make(hidden="0e+1e+2e", n_layers=3))
    even = property(lambda config: Irreps.spherical_harmonics(config.max_degree, parity=1))
    monkeypatch.setattr(type(build(example).config), "harmonics", even)
    potential = build(example)
    assert max(examples.rotation_errors(potential, cluster(), improper=False)) < tolerances.EQUIVARIANCE.float64
    energies, _ = examples.rotation_errors(potential, cluster())
    assert energies > CLEARLY * tolerances.EQUIVARIANCE.float64


@pytest.mark.parametrize(("power", "broken"), [(0, "energy"), (1, "force"), (2, "Hessian")])
def test_an_envelope_that_is_not_smooth_enough(
    name: str, power: int, broken: str, plant: Callable[[str, Wrapper], None]
) -> None:
    """The Bessel functions are zero at the cutoff, which gains one order; a constant beside them takes it away."""

    def rough(_: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def envelope(distance: Tensor, cutoff: float, **__: Any) -> Tensor:
            inside = (distance < cutoff).to(distance.dtype)
            return inside * (1 - distance / cutoff).clamp(min=0).pow(power) if power else inside

        return envelope

    def shifted(basis: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *arguments, **keywords: basis(*arguments, **keywords) + 1

    plant("polynomial_cutoff", rough)
    plant("bessel_basis", shifted)
    jumps = dict(zip(("energy", "force", "Hessian"), examples.cutoff_jumps(build(MAIN[name])), strict=False))
    assert jumps[broken] > CLEARLY * tolerances.CUTOFF_JUMP.float64


def test_a_norm_over_the_whole_batch(name: str, plant: Callable[[str, Wrapper], None]) -> None:
    def normalized(convolution: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def wrong(x: Tensor, y: Tensor, w: Tensor, topology: Any, product: Any) -> Tensor:
            return convolution(x, y, w, topology, product) / (1 + topology.n_edges / topology.n_nodes)

        return wrong

    plant("tensor_product_convolution", normalized)
    assert examples.batching_error(build(MAIN[name])) > CLEARLY * tolerances.BATCHING.float64


def test_weights_that_depend_on_the_order_of_the_edges(name: str, plant: Callable[[str, Wrapper], None]) -> None:
    def ordered(convolution: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def wrong(x: Tensor, y: Tensor, w: Tensor, topology: Any, product: Any) -> Tensor:
            odd = torch.arange(topology.n_edges).remainder(2).to(w)
            return convolution(x, y, w * (1 + 1e-3 * odd[:, None, None]), topology, product)

        return wrong

    assert verdict(build(MAIN[name]), "F-3") is Verdict.PASS
    plant("tensor_product_convolution", ordered)
    assert verdict(build(MAIN[name]), "F-3") is Verdict.FAIL


def verdict(potential: LearnedPotential, check: str) -> Verdict:
    calculator = AtomsymCalculator(potential, engine="autograd")  # the bugs are planted in the model, not its engine
    (result,) = run_check(calculator, CheckOptions(only=(check,)), name="mutant").results
    return result.verdict


def test_distances_that_carry_no_gradient(name: str, plant: Callable[[str, Wrapper], None]) -> None:
    def detached(lengths: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda vectors: lengths(vectors.detach())

    plant("edge_lengths", detached)
    error = examples.force_error(build(MAIN[name]), crystal())
    assert error > CLEARLY * tolerances.FINITE_DIFFERENCE_FORCES.float64


def test_a_layer_that_mistakes_the_elements(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = LearnedPotential.species
    monkeypatch.setattr(LearnedPotential, "species", lambda self, numbers: right(self, numbers).clamp(max=1))
    both, _ = examples.renaming_error(MAIN[name])
    assert both > CLEARLY * tolerances.ALGEBRA.float64


def test_totals_in_single_precision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = LearnedPotential.total
    monkeypatch.setattr(LearnedPotential, "total", lambda self, *arguments: right(self, *arguments).float().double())
    potential = build(MAIN[name], torch.float32)
    assert examples.error_beside_large_atomic_energies(potential, crystal(torch.float32)) > CLEARLY * 1e-8
