"""Equivariance in O(3), renumbering of nodes, additivity over edges; and planted bugs that break each."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.symmetry import Irrep, Irreps, wigner_3j
from atomsym.testing.convolutions import (
    ConvolutionCase,
    Represent,
    additivity_deviation,
    permutation_deviation,
    random_topology,
    rotation_deviation,
)
from atomsym.testing.tolerances import EQUIVARIANCE

PRODUCT = ChannelwiseProduct.separate(Irreps.parse("0e+1o+1e+2e"), Irreps.parse("0e+1o+2e+3o"))


def case(product: ChannelwiseProduct = PRODUCT, dtype: torch.dtype = torch.float64) -> ConvolutionCase:
    def convolve(x: Tensor, y: Tensor, w: Tensor, topology: EdgeTopology) -> Tensor:
        return tensor_product_convolution(x, y, w, topology, product)

    return ConvolutionCase(
        convolve, product.irreps_in, product.irreps_edge, product.irreps_out, (product.n_paths, 5), 5, dtype
    )


def rotation() -> Tensor:
    """A fixed proper rotation, shape (3, 3)."""
    skew = torch.tensor([[0.0, -0.7, 1.1], [0.7, 0.0, 0.4], [-1.1, -0.4, 0.0]], dtype=torch.float64)
    return torch.linalg.matrix_exp(skew)


def represent(inversion: int) -> Represent:
    """The rotation, with or without inversion; D^l from D^(l-1) and D^1, which is the rotation matrix itself."""

    def matrix(irrep: Irrep) -> Tensor:
        turned = torch.ones(1, 1, dtype=torch.float64)
        for degree in range(1, irrep.degree + 1):
            coupling = wigner_3j(degree - 1, 1, degree)
            turned = (2 * degree + 1) * torch.einsum("ijk,IJK,iI,jJ->kK", coupling, coupling, turned, rotation())
        return turned * (irrep.parity if inversion else 1)

    return matrix


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("inversion", [0, 1], ids=["rotation", "rotation with inversion"])
def test_result_turns_with_its_operands(inversion: int, dtype: torch.dtype) -> None:
    topology = random_topology(5, 30, generator())
    found = rotation_deviation(case(dtype=dtype), topology, represent(inversion), generator())
    assert found < EQUIVARIANCE.of(dtype)


def test_result_is_renumbered_with_the_nodes() -> None:
    assert permutation_deviation(case(), random_topology(7, 40, generator()), generator()) < EQUIVARIANCE.float64


def test_result_is_the_sum_over_edges() -> None:
    assert additivity_deviation(case(), random_topology(6, 25, generator()), generator()) < EQUIVARIANCE.float64


def test_a_component_out_of_place_breaks_equivariance() -> None:
    """Planted bug: the vector components of the edges in the order (y, z, x)."""

    def wrong(x: Tensor, y: Tensor, w: Tensor, topology: EdgeTopology) -> Tensor:
        mixed = torch.cat([y[:, :1], y[:, [2, 3, 1]], y[:, 4:]], 1)
        return tensor_product_convolution(x, mixed, w, topology, PRODUCT)

    mutant = ConvolutionCase(
        wrong, *(getattr(case(), n) for n in ("irreps_in", "irreps_edge", "irreps_out")), (PRODUCT.n_paths, 5), 5
    )
    found = rotation_deviation(mutant, random_topology(5, 30, generator()), represent(0), generator())
    assert found > 1e6 * EQUIVARIANCE.float64


def test_wrong_parity_labels_break_equivariance_under_inversion() -> None:
    """Planted bug: the edge vectors labelled as pseudovectors."""
    mutant = ConvolutionCase(
        case().convolve, PRODUCT.irreps_in, Irreps.parse("0e+1e+2e+3o"), PRODUCT.irreps_out, (PRODUCT.n_paths, 5), 5
    )
    topology = random_topology(5, 30, generator())
    assert rotation_deviation(mutant, topology, represent(0), generator()) < EQUIVARIANCE.float64
    assert rotation_deviation(mutant, topology, represent(1), generator()) > 1e6 * EQUIVARIANCE.float64


def test_a_dropped_edge_breaks_additivity_and_a_wrong_sender_breaks_renumbering() -> None:
    """Planted bugs in the walk over edges."""

    def drops_last(x: Tensor, y: Tensor, w: Tensor, topology: EdgeTopology) -> Tensor:
        keep = max(topology.n_edges - 1, 1)
        index = torch.stack([topology.receiver, topology.sender])[:, :keep]
        fewer = EdgeTopology.from_edge_index(index, topology.n_nodes)
        return tensor_product_convolution(x, y[:keep], w[:keep], fewer, PRODUCT)

    def wrong_sender(x: Tensor, y: Tensor, w: Tensor, topology: EdgeTopology) -> Tensor:
        index = torch.stack([topology.receiver, (topology.sender - 1).clamp_min(0)])
        return tensor_product_convolution(x, y, w, EdgeTopology.from_edge_index(index, topology.n_nodes), PRODUCT)

    fields = (PRODUCT.irreps_in, PRODUCT.irreps_edge, PRODUCT.irreps_out, (PRODUCT.n_paths, 5), 5)
    topology = random_topology(6, 25, generator())
    assert additivity_deviation(ConvolutionCase(drops_last, *fields), topology, generator()) > 1e-3
    assert permutation_deviation(ConvolutionCase(wrong_sender, *fields), topology, generator()) > 1e-3
