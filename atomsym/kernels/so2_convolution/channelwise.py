"""The exact map from the Clebsch–Gordan convolution with spherical harmonics to the convolution in edge frames."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.so2_convolution.product import SO2Path, SO2Product
from atomsym.kernels.tensor_product import ChannelwiseProduct, ProductPath
from atomsym.symmetry import wigner_3j


def so2_product_from_channelwise(product: ChannelwiseProduct, *, max_order: int | None = None) -> SO2Product:
    """The product in edge frames that holds a channel-wise one: same input, same slots, a path for each pair of them.

    Paths of the channel-wise product between the same two slots that differ in the degree of the harmonic become one
    path with a weight for each order.

    Args:
        product: coupling with spherical harmonics of the edges. Their parities must all be (−1)^l, or all +1 for
            features that know nothing of the inversion.
        max_order: largest |m| kept; None keeps all: then nothing is lost.

    Raises:
        InputError: if the irreps of the edge are not those of spherical harmonics.

    Example:
        >>> from atomsym.symmetry import Irreps
        >>> sh = Irreps.spherical_harmonics(2)
        >>> so2_product_from_channelwise(ChannelwiseProduct.separate(sh, sh, sh)).n_weights
        19
    """
    natural = all(irrep.parity == (-1) ** irrep.degree for irrep in product.irreps_edge)
    if not natural and any(irrep.parity == -1 for irrep in product.irreps_edge):
        raise InputError(
            f"the edge irreps {product.irreps_edge} are not those of spherical harmonics: their parities must be "
            "(-1)^l, or all even"
        )
    largest = max(product.irreps_in.max_degree, product.irreps_out.max_degree)
    order = largest if max_order is None else min(max_order, largest)
    pairs = dict.fromkeys((path.index_in, path.index_out, _is_odd(product, path)) for path in product.paths)
    degrees = {pair: (product.irreps_in[pair[0]].degree, product.irreps_out[pair[1]].degree) for pair in pairs}
    paths = [SO2Path(*pair, 1.0) for pair in pairs if min(*degrees[pair], order) >= int(pair[2])]
    return SO2Product(product.irreps_in, product.irreps_out, order, tuple(paths), mirror=natural)


def so2_weight_map(product: ChannelwiseProduct, target: SO2Product) -> Tensor:
    """Matrix from the weights of a channel-wise product to those of its product in edge frames.

    For paths p between the slots of a path of the target: a_m (or b_m) = Σ_p w_p coefficient_p √(2 lf + 1)
    C[m, 0, ±m], the harmonics of an edge along the polar axis being √(2 lf + 1) at order 0 and zero elsewhere
    (``component`` normalisation). With all orders kept, both convolutions are equal; the map between the degrees lf
    and the orders m is invertible where the channel-wise product has every lf.

    Args:
        product: coupling with spherical harmonics in component normalisation.
        target: what ``so2_product_from_channelwise`` made of it.

    Returns:
        Shape (target.n_weights, product.n_paths), float64: ``torch.einsum("qp,epc->eqc", matrix, weights)``.

    Raises:
        InputError: if the target has other irreps or lacks a path.
    """
    if (target.irreps_in, target.irreps_out) != (product.irreps_in, product.irreps_out):
        raise InputError(
            f"the target couples {target.irreps_in} to {target.irreps_out}, "
            f"the product {product.irreps_in} to {product.irreps_out}"
        )
    places = {path[:3]: (path, part) for path, part in zip(target.paths, target.weight_slices, strict=True)}
    matrix = torch.zeros(target.n_weights, product.n_paths, dtype=torch.float64)
    for number, path in enumerate(product.paths):
        key = (path.index_in, path.index_out, _is_odd(product, path))
        if key not in places:
            ends = min(product.irreps_in[path.index_in].degree, product.irreps_out[path.index_out].degree)
            if min(ends, target.max_order) < int(key[2]):
                continue  # an odd path without a kept order
            raise InputError(f"the target has no path for paths[{number}] of the product")
        found, part = places[key]
        matrix[part, number] = _in_frame(product, path, target.orders(found)) / found.coefficient
    return matrix


def _is_odd(product: ChannelwiseProduct, path: ProductPath) -> bool:
    degrees = (
        product.irreps_in[path.index_in].degree,
        product.irreps_edge[path.index_edge].degree,
        product.irreps_out[path.index_out].degree,
    )
    return sum(degrees) % 2 == 1


def _in_frame(product: ChannelwiseProduct, path: ProductPath, orders: range) -> Tensor:
    """a_m = C[m, 0, m], or b_m = C[m, 0, −m], of a path for the orders, with all its factors."""
    first, edge, last = (
        product.irreps_in[path.index_in].degree,
        product.irreps_edge[path.index_edge].degree,
        product.irreps_out[path.index_out].degree,
    )
    along = path.coefficient * math.sqrt(2 * edge + 1) * wigner_3j(first, edge, last)[:, edge]
    sign = -1 if _is_odd(product, path) else 1
    return torch.stack([along[first + m, last + sign * m] for m in orders])
