"""The packages whose Clebsch–Gordan product is measured beside those of this package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import torch
from torch import Tensor

from atomsym.core.errors import MissingDependencyError
from atomsym.core.topology import EdgeTopology
from atomsym.workflows.benchmarks.tensor_products_cuequivariance import CuEquivarianceProduct
from atomsym.workflows.benchmarks.tensor_products_e3nn import E3nnProduct
from atomsym.workflows.benchmarks.tensor_products_kinds import Product

E3NN, CUEQUIVARIANCE = "e3nn", "cuequivariance"
"""Their names among the backends."""


class PeerProduct(Protocol):
    """A product with operands and results in the layout of another package."""

    def operands(self, first: Tensor, second: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The operands of the product in its layout."""

    def apply(self, first: Tensor, second: Tensor, weights: Tensor, topology: EdgeTopology) -> Tensor:
        """The product of operands in its layout."""

    def result(self, flat: Tensor) -> Tensor:
        """A result in the layout of this package."""


@dataclass(frozen=True)
class Peer:
    """A package.

    Attributes:
        module: what is imported.
        packages: what pip installs.
        build: the product of (product, place, channels, dtype, device).
    """

    module: str
    packages: str
    build: Callable[[Product, str, int, torch.dtype, torch.device], PeerProduct]

    @property
    def installed(self) -> bool:
        """Whether it can be imported here."""
        return find_spec(self.module) is not None


PEERS = {
    E3NN: Peer("e3nn", "e3nn", E3nnProduct),
    CUEQUIVARIANCE: Peer("cuequivariance_torch", "cuequivariance cuequivariance-torch", CuEquivarianceProduct),
}
"""By their name."""


def peer_product(
    name: str, product: Product, place: str, channels: int, dtype: torch.dtype, device: torch.device
) -> PeerProduct:
    """The Clebsch–Gordan product of a ``Product`` with couplings.

    Args:
        name: of the peer.
        product: one with ``couplings``.
        place: ``edges`` or ``nodes``.
        channels: multiplicity of every irrep.
        dtype: float32 or float64.
        device: where the operands are.

    Raises:
        MissingDependencyError: if the package is not installed.
    """
    if not PEERS[name].installed:
        raise MissingDependencyError(
            f"{name} is not installed here. Install it with: pip install {PEERS[name].packages}"
        )
    if product.couplings is None:
        raise ValueError(f"{name} has Clebsch–Gordan products only")
    return PEERS[name].build(product, place, channels, dtype, device)
