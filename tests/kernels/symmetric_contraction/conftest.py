"""Random contractions, and comparison with the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from atomsym.kernels.symmetric_contraction import SymmetricContraction, symmetric_contraction
from atomsym.symmetry import Irreps


@dataclass(frozen=True)
class Case:
    """A contraction with random operands."""

    contraction: SymmetricContraction
    features: Tensor
    weights: Tensor
    species: Tensor

    def function(self, backend: str) -> Callable[[Tensor, Tensor], Tensor]:
        """Features and weights → result."""
        return lambda a, w: symmetric_contraction(a, w, self.species, self.contraction, backend=backend)

    def evaluate(self, backend: str) -> Tensor:
        return self.function(backend)(self.features, self.weights)

    def differentiable(self) -> tuple[Tensor, Tensor]:
        return self.features.clone().requires_grad_(), self.weights.clone().requires_grad_()


@pytest.fixture
def make_case() -> Callable[..., Case]:
    def make(
        irreps_in: str = "0e+1o+2e",
        irreps_out: str = "0e+1o",
        correlation: int = 3,
        *,
        n_nodes: int = 6,
        n_species: int = 3,
        channels: int = 3,
        dtype: torch.dtype = torch.float64,
        contraction: SymmetricContraction | None = None,
    ) -> Case:
        if contraction is None:
            contraction = SymmetricContraction(Irreps.parse(irreps_in), Irreps.parse(irreps_out), correlation)
        generator = torch.Generator().manual_seed(3)
        features = torch.randn(n_nodes, contraction.irreps_in.dim, channels, generator=generator, dtype=torch.float64)
        weights = torch.randn(n_species, contraction.n_paths, channels, generator=generator, dtype=torch.float64)
        species = torch.randint(n_species, (n_nodes,), generator=generator)
        return Case(contraction, features.to(dtype), weights.to(dtype), species)

    return make


def relative_deviation(found: Tensor, expected: Tensor) -> float:
    """Largest deviation / largest expected value (absolute if all expected values vanish)."""
    assert found.shape == expected.shape
    if not expected.numel():
        return 0.0
    scale = expected.abs().max().item() or 1.0
    return (found.double() - expected.double()).abs().max().item() / scale


@pytest.fixture
def deviation() -> Callable[[Tensor, Tensor], float]:
    return relative_deviation
