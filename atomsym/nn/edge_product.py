"""Which product couples features with edges in a message-passing layer, chosen by one word of its config."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from torch import Tensor

from atomsym.core import ConfigError, EdgeTopology
from atomsym.kernels.cp_product import CPProduct, available_ranks, cp_convolution
from atomsym.kernels.gaunt_product import GauntConvolution, gaunt_convolution
from atomsym.kernels.so2_convolution import EdgeFrames, SO2Product, so2_convolution
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.symmetry import Irrep, Irreps

ProductName = Literal["clebsch-gordan", "so2", "gaunt", "cp"]
"""``clebsch-gordan``: a weight for each coupling. ``so2``: in the frame of each edge with all orders, which is the same
with harmonics of every degree. ``gaunt``: functions on the sphere, a weight for each degree of the harmonics. ``cp``:
all couplings with one weight, by an exact decomposition."""

EdgeProduct = ChannelwiseProduct | SO2Product | GauntConvolution | CPProduct


def require_product(name: str, irreps: Iterable[Irreps], *, mirror: bool = True) -> None:
    """Refuse a product that is unknown, or that cannot couple features of some irreps.

    Args:
        name: of the product.
        irreps: those of features, harmonics and messages.
        mirror: whether features know what the inversion does to them.

    Raises:
        ConfigError: saying why, and what would do.
    """
    if name not in get_args(ProductName):
        raise ConfigError(f"product must be one of {', '.join(get_args(ProductName))}; found '{name}'")
    if name == "gaunt":
        _require_functions(irreps, mirror)
    elif name == "cp":
        _require_all_degrees(irreps, mirror)


def _require_functions(irreps: Iterable[Irreps], mirror: bool) -> None:
    if not mirror:
        raise ConfigError(
            "product 'gaunt' only has couplings whose degrees have an even sum, as the inversion allows between "
            "natural parities, so that parity=False would gain nothing; take parity=True with hidden irreps as "
            "0e+1o+2e, or the product so2 or clebsch-gordan"
        )
    for given in irreps:
        degrees = [irrep.degree for irrep in given]
        if len(set(degrees)) != len(degrees) or any(irrep.parity != (-1) ** irrep.degree for irrep in given):
            raise ConfigError(
                "product 'gaunt' reads features as functions on the sphere, which have each degree once, of parity "
                f"(-1)^l; found '{given}'. Take so2 or clebsch-gordan"
            )


def _require_all_degrees(irreps: Iterable[Irreps], mirror: bool) -> None:
    for given in irreps:
        if given != Irreps.spherical_harmonics(given.max_degree, parity=-1 if mirror else 1):
            raise ConfigError(
                f"product 'cp' couples features of all degrees from 0 on, each once, of parity "
                f"{'(-1)^l' if mirror else '+1'}; found '{given}'. Take so2 or clebsch-gordan"
            )
        if not available_ranks(given.max_degree, mirror):
            raise ConfigError(f"product 'cp' has factors up to degree 3; found '{given}'. Take so2 or clebsch-gordan")


def edge_product(
    name: ProductName, features: Irreps, harmonics: Irreps, allowed: Irreps, *, mirror: bool = True
) -> EdgeProduct:
    """The product of features with edges into irreps of ``allowed``."""
    if name == "clebsch-gordan":
        return ChannelwiseProduct.separate(features, harmonics, allowed)
    if name == "so2":
        return SO2Product.separate(features, allowed, mirror=mirror)
    if name == "gaunt":
        return GauntConvolution(features, harmonics, _coupled(features, harmonics, allowed))
    return CPProduct.of(features.max_degree, harmonics.max_degree, allowed.max_degree, mirror=mirror)


def _coupled(features: Irreps, harmonics: Irreps, allowed: Irreps) -> Irreps:
    """Irreps of ``allowed``, each once, that functions on the sphere multiply to."""
    reached = {
        Irrep(degree, (-1) ** degree)
        for a in features
        for b in harmonics
        for degree in range(abs(a.degree - b.degree), a.degree + b.degree + 1, 2)
    }
    return Irreps(tuple(irrep for irrep in dict.fromkeys(allowed) if irrep in reached))


def product_irreps(product: EdgeProduct) -> Irreps:
    """Slots of the result."""
    return product.irreps(product.degree_out) if isinstance(product, CPProduct) else product.irreps_out


def product_weights(product: EdgeProduct) -> int:
    """Weights of an edge and channel."""
    if isinstance(product, CPProduct):
        return 1
    return product.n_paths if isinstance(product, ChannelwiseProduct) else product.n_weights


def convolve_edges(
    product: EdgeProduct,
    features: Tensor,
    harmonics: Tensor,
    frames: EdgeFrames | None,
    weights: Tensor,
    topology: EdgeTopology,
) -> Tensor:
    """The sum over the edges of each receiver.

    Args:
        product: what couples.
        features: of the nodes, shape (n_nodes, irreps.dim, channels).
        harmonics: of the edges, shape (n_edges, (max_degree + 1)²).
        frames: of the edges; only a product in frames reads them.
        weights: shape (n_edges, product_weights(product), channels).
        topology: who receives from whom.
    """
    if isinstance(product, ChannelwiseProduct):
        return tensor_product_convolution(features, harmonics, weights, topology, product)
    if isinstance(product, SO2Product):
        if frames is None:
            raise ConfigError("a product in frames of edges needs edge_frames")
        return so2_convolution(features, frames, weights, topology, product)
    if isinstance(product, GauntConvolution):
        return gaunt_convolution(features, harmonics, weights, topology, product)
    return cp_convolution(features, harmonics, weights.squeeze(1), topology, product)
