"""Layers of messages in the frames of edges: what the frame's turn, the inversion and known products demand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from atomsym.core import ConfigError, EdgeTopology
from atomsym.kernels.gaunt_product import GauntProduct, gaunt_product
from atomsym.kernels.so2_convolution import (
    edge_frames,
    order_frames,
    rotate_into_frames,
    rotate_out_of_frames,
    so2_product_from_channelwise,
    so2_weight_map,
)
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.nn import GridGate, MergedLayerNorm, SO2Linear
from atomsym.symmetry import Irreps, random_rotations, representation_matrix
from atomsym.testing.convolutions import deviation
from atomsym.testing.tolerances import ALGEBRA, BACKEND_PARITY, EQUIVARIANCE

SH = Irreps.spherical_harmonics
EDGES, CHANNELS_IN, CHANNELS_OUT = 6, 3, 2


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make(layer: Callable[[], torch.nn.Module], seed: int = 0) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return layer().double()


def turned_about_y(parts: Sequence[Tensor], angle: float, *, reflect: bool = False) -> list[Tensor]:
    """Orders ±m turn by m times the angle; a reflection through the edge changes the sign of −m."""
    results = [parts[0]]
    for order, part in enumerate(parts[1:], start=1):
        plus, minus = part[:, 0], -part[:, 1] if reflect else part[:, 1]
        c, s = math.cos(order * angle), math.sin(order * angle)
        results.append(torch.stack((c * plus - s * minus, s * plus + c * minus), 1))
    return results


def apply(layer: torch.nn.Module, parts: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The map on features that are given order by order: theirs, and the scalars."""
    sizes = layer.description
    found = layer(torch.cat([part.flatten(1) for part in parts], 1))
    rows = found[:, sizes.n_scalars :].unflatten(1, (-1, sizes.channels_out))
    results = rows.split([part.shape[1] * part.shape[2] for part in parts], 1)
    return [r.unflatten(1, p.shape[1:3]) for r, p in zip(results, parts, strict=True)], found[:, : sizes.n_scalars]


def parts_of(max_degree: int, max_order: int, channels: int) -> list[Tensor]:
    shapes = [(EDGES, 2 if m else 1, max_degree - m + 1, channels) for m in range(max_order + 1)]
    return [draw(*shape, seed=m) for m, shape in enumerate(shapes)]


@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize(("degree", "order"), [(0, 0), (2, 2), (3, 1), (4, 2)])
def test_the_map_commutes_with_turns_about_the_edge(degree: int, order: int, mirror: bool) -> None:
    layer = make(lambda: SO2Linear(degree, order, CHANNELS_IN, CHANNELS_OUT, n_scalars=4, mirror=mirror))
    parts = parts_of(degree, order, CHANNELS_IN)
    plain, scalars = apply(layer, parts)
    turned, again = apply(layer, turned_about_y(parts, 0.7))
    assert deviation(again, scalars) < ALGEBRA.float64
    for found, expected in zip(turned, turned_about_y(plain, 0.7), strict=True):
        assert deviation(found, expected) < ALGEBRA.float64
    reflected, _ = apply(layer, turned_about_y(parts, 0.0, reflect=True))
    errors = [deviation(*pair) for pair in zip(reflected, turned_about_y(plain, 0.0, reflect=True), strict=True)]
    if mirror or order == 0:
        assert max(errors) < ALGEBRA.float64
    else:
        assert errors[0] < ALGEBRA.float64
        assert min(errors[1:]) > 0.1


@pytest.mark.parametrize("mirror", [True, False])
def test_with_all_orders_it_is_the_full_product_with_harmonics_and_matrices_between_channels(mirror: bool) -> None:
    """Every coupling of the Clebsch–Gordan product with its own matrix, for edges along ±y too."""
    degree = 2
    irreps = SH(degree, parity=-1 if mirror else 1)
    product = ChannelwiseProduct.merged(irreps, SH(2 * degree, parity=-1 if mirror else 1), irreps)
    target = so2_product_from_channelwise(product)
    layer = make(lambda: SO2Linear(degree, degree, CHANNELS_IN, CHANNELS_OUT, mirror=mirror))
    vectors, features = draw(EDGES, 3), draw(EDGES, irreps.dim, CHANNELS_IN, seed=1)
    vectors[:2] = torch.tensor([[0.0, 1.3, 0.0], [0.0, -0.7, 0.0]], dtype=torch.float64)
    weights = draw(product.n_paths, CHANNELS_IN, CHANNELS_OUT, seed=2)
    in_frames = torch.einsum("qp,pcd->qcd", so2_weight_map(product, target), weights)
    sizes = [degree - m + 1 for m in range(degree + 1)]
    matrices = [torch.zeros(n, CHANNELS_IN, 2, n, CHANNELS_OUT, dtype=torch.float64) for n in sizes]
    for path, part in zip(target.paths, target.weight_slices, strict=True):
        first, last = target.irreps_in[path.index_in].degree, target.irreps_out[path.index_out].degree
        for order, matrix in zip(target.orders(path), in_frames[part], strict=True):
            # An odd path gives out[−m] = b x[m], out[m] = −b x[−m]: V of the layer.
            matrices[order][first - order, :, int(path.odd), last - order] += path.coefficient * matrix
    with torch.no_grad():
        for order, (weight, matrix) in enumerate(zip(layer.weights, matrices, strict=True)):
            kinds = 1 if mirror or order == 0 else 2
            fan_in = weight.shape[0] * kinds
            weight.copy_(matrix[:, :, :kinds].reshape(weight.shape) * fan_in**0.5)
    frames = order_frames(edge_frames(vectors, degree))
    found = rotate_out_of_frames(apply(layer, rotate_into_frames(features, frames))[0], frames)
    harmonics, single = spherical_harmonics(vectors, 2 * degree), EdgeTopology.one_to_one(EDGES)
    expected = torch.stack(
        [
            tensor_product_convolution(
                features, harmonics, weights[None, :, :, out].expand(EDGES, -1, -1).contiguous(), single, product
            ).sum(2)
            for out in range(CHANNELS_OUT)
        ],
        2,
    )
    assert deviation(found.detach(), expected) < BACKEND_PARITY.float64


def test_values_keep_unit_variance() -> None:
    for mirror in (True, False):
        layer = make(lambda m=mirror: SO2Linear(3, 2, 40, 40, n_scalars=30, mirror=m))
        parts, scalars = apply(layer, parts_of(3, 2, 40))
        assert all(0.7 < float(part.detach().var()) < 1.4 for part in (*parts, scalars))


def test_orders_beyond_the_degree_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_order must be 0 to max_degree; found 3 and 2"):
        SO2Linear(2, 3, 4, 4)


def turned(features: Tensor, irreps: Irreps, rotation: Tensor) -> Tensor:
    return torch.einsum("ij,njc->nic", representation_matrix(irreps, rotation), features)


@pytest.mark.parametrize("degree", [0, 1, 2, 4])
def test_norm_and_grid_commute_with_rotations_and_reflections(degree: int) -> None:
    norm, grid = make(lambda: MergedLayerNorm(degree, 4)), make(lambda: GridGate(degree))
    with torch.no_grad():
        norm.weight.copy_(draw(4, degree + 1))
        norm.bias.copy_(draw(4))
    rotations = random_rotations(2, generator=torch.Generator().manual_seed(1), dtype=torch.float64, improper=True)
    for layer, irreps, result in ((norm, SH(degree), SH(degree)), (grid, grid.irreps_in, grid.irreps_out)):
        features = draw(3, irreps.dim, 4)
        for rotation in (*rotations, -torch.eye(3, dtype=torch.float64)):
            found = layer(turned(features, irreps, rotation))
            assert deviation(found, turned(layer(features), result, rotation)) < EQUIVARIANCE.float64


def test_the_norm_has_the_promised_length_and_forgets_that_of_its_input() -> None:
    norm, features = make(lambda: MergedLayerNorm(2, 8)), draw(5, 9, 8)
    shares = torch.tensor([1] + [1 / 3] * 3 + [1 / 5] * 5, dtype=torch.float64) / 3
    found = norm(1e4 * features).detach()
    assert (torch.einsum("nic,i->n", found.square(), shares) / 8 - 1).abs().max() < 1e-9
    assert found[:, 0].mean(1).abs().max() < 1e-12
    assert deviation(norm(2e4 * features).detach(), found) < 1e-9
    assert (
        deviation(norm(features + torch.eye(9, dtype=torch.float64)[:, :1]).detach()[:, 0], norm(features)[:, 0])
        < 1e-12
    )


def test_the_norm_is_smooth_where_features_vanish() -> None:
    norm = make(lambda: MergedLayerNorm(1, 2))
    zero = torch.zeros(1, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, zero)
    assert torch.autograd.gradgradcheck(norm, zero)


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_the_grid_multiplies_as_the_gaunt_product_does(degree: int) -> None:
    gate, features = make(lambda: GridGate(degree)), draw(4, 3 + 2 * (degree + 1) ** 2, 5)
    g, s, t = features[:, :3].unbind(1)
    product = gaunt_product(features[:, 3:].chunk(2, 1), GauntProduct((SH(degree), SH(degree)), SH(degree)))
    expected = product * (1.6791767923989418 * torch.nn.functional.silu(g))[:, None]
    expected = expected * math.sqrt(4 * math.pi) * (2 * degree + 1) / (degree + 1) ** 2
    expected[:, 0] += 1.6791767923989418 * torch.nn.functional.silu(s) * t
    assert deviation(gate(features), expected) < ALGEBRA.float64
    assert 0.5 < float(gate(draw(300, 3 + 2 * (degree + 1) ** 2, 20)).var()) < 2.5
