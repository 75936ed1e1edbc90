"""Features by order: turned into the frames and back, they are those of ``so2_convolution`` in another layout."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.so2_convolution import (
    SO2Product,
    components_by_order,
    edge_frames,
    order_components,
    order_frames,
    rotate_into_frames,
    rotate_out_of_frames,
)
from atomsym.symmetry import Irreps, rotation_to_polar_axis, wigner_d
from atomsym.testing.convolutions import deviation
from atomsym.testing.tolerances import ALGEBRA

L, EDGES = 3, 5


def operands(channels: int = 2) -> tuple[Tensor, Tensor]:
    """Edge vectors, ±y and 1e-9 beside it among them, and features of the edges."""
    draw = torch.Generator().manual_seed(3)
    vectors = torch.randn(EDGES, 3, generator=draw, dtype=torch.float64)
    vectors[:3] = torch.tensor([[0, 1.3, 0], [0, -0.7, 0], [1e-9, -1, 0]], dtype=torch.float64)
    return vectors, torch.randn(EDGES, (L + 1) ** 2, channels, generator=draw, dtype=torch.float64)


def test_with_all_orders_the_way_back_is_the_inverse() -> None:
    vectors, features = operands()
    frames = order_frames(edge_frames(vectors, L))
    assert frames.matrices.shape == (EDGES, (L + 1) ** 2, (L + 1) ** 2)
    parts = rotate_into_frames(features, frames)
    assert [tuple(part.shape) for part in parts] == [
        (EDGES, 1, 4, 2),
        (EDGES, 2, 3, 2),
        (EDGES, 2, 2, 2),
        (EDGES, 2, 1, 2),
    ]
    assert deviation(rotate_out_of_frames(parts, frames), features) < ALGEBRA.float64


@pytest.mark.parametrize("max_order", range(L + 1))
def test_parts_are_the_components_of_features_turned_degree_by_degree(max_order: int) -> None:
    vectors, features = operands()
    parts = rotate_into_frames(features, order_frames(edge_frames(vectors, L, max_order)))
    for degree, block in enumerate(wigner_d(L, rotation_to_polar_axis(vectors))):
        turned = block @ features[:, degree**2 : (degree + 1) ** 2]
        for order in range(min(degree, max_order) + 1):
            for sign in range(2 if order else 1):
                component = turned[:, degree + (-order if sign else order)]
                assert deviation(parts[order][:, sign, degree - order], component) < ALGEBRA.float64


@pytest.mark.parametrize("max_order", range(L + 1))
def test_only_the_kept_orders_come_back(max_order: int) -> None:
    """And what has fewer orders than the frames is as if those were zero."""
    vectors, features = operands()
    cut, whole = (order_frames(edge_frames(vectors, L, order)) for order in (max_order, L))
    parts = rotate_into_frames(features, whole)[: max_order + 1]
    expected = rotate_out_of_frames(rotate_into_frames(features, cut), cut)
    assert deviation(rotate_out_of_frames(parts, whole), expected) < ALGEBRA.float64


def test_weighted_frames_weight_what_comes_back() -> None:
    vectors, features = operands()
    weights = torch.linspace(0, 2, EDGES, dtype=torch.float64)
    frames = order_frames(edge_frames(vectors, L, 1))
    parts = rotate_into_frames(features, frames)
    expected = rotate_out_of_frames(parts, frames) * weights[:, None, None]
    assert deviation(rotate_out_of_frames(parts, frames.weighted(weights)), expected) < ALGEBRA.float64


@pytest.mark.parametrize("max_order", range(L + 1))
def test_components_and_orders_are_the_same_numbers(max_order: int) -> None:
    features = operands()[1]
    parts = components_by_order(features, L, max_order)
    kept = order_components(parts, L)
    there = torch.tensor([abs(m) <= max_order for degree in range(L + 1) for m in range(-degree, degree + 1)])
    assert torch.equal(kept, features * there[:, None])
    assert all(map(torch.equal, components_by_order(kept, L, max_order), parts))


def test_derivatives_in_features_and_vectors_match_finite_differences() -> None:
    """Twice, edges along ±y among them; the function must not depend on the turn about the edge to have any."""
    vectors, features = operands(channels=1)
    factors = torch.linspace(0.5, 2, 3, dtype=torch.float64)

    def mixed(vectors: Tensor, features: Tensor) -> Tensor:
        frames = order_frames(edge_frames(vectors, 2, 1))
        first, second = rotate_into_frames(features[:, :9], frames)
        parts = (first * factors[:, None], second * factors[1:, None])
        return rotate_out_of_frames(parts, frames)

    inputs = (vectors[:2].requires_grad_(), features[:2].requires_grad_())
    assert torch.autograd.gradcheck(mixed, inputs)
    assert torch.autograd.gradgradcheck(mixed, inputs)


def test_rows_are_those_of_the_product_in_frames() -> None:
    """One count for both layouts."""
    irreps = Irreps.spherical_harmonics(L)
    product = SO2Product.merged(irreps, irreps, max_order=2)
    frames = edge_frames(operands()[0], L, 2)
    assert product.frame_size == frames.values.shape[1]
    assert order_frames(frames).matrices.count_nonzero(dim=(1, 2)).max() <= product.frame_size


def test_what_does_not_fit_is_refused() -> None:
    vectors, features = operands()
    frames = order_frames(edge_frames(vectors, L, 1))
    with pytest.raises(InputError, match=r"features must have the shape \(5, 16, channels\); found \(5, 9, 2\)"):
        rotate_into_frames(features[:, :9], frames)
    parts = rotate_into_frames(features, order_frames(edge_frames(vectors, L)))
    with pytest.raises(InputError, match="order 2 of shape"):
        rotate_out_of_frames(parts, frames)
    with pytest.raises(InputError, match="order 0 of shape"):
        rotate_out_of_frames(parts[1:], frames)
