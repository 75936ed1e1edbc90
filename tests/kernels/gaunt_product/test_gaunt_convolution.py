"""The sum over edges is that of single products; equivariance; what the weights reach; normalisation; refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atomsym.core.errors import BackendError, InputError
from atomsym.kernels.gaunt_product import (
    GauntConvolution,
    GauntProduct,
    gaunt_coefficients,
    gaunt_convolution,
    gaunt_product,
)
from atomsym.kernels.gaunt_product.convolution import OPERATION
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.symmetry import Irreps, random_rotations, representation_matrix
from atomsym.testing.convolutions import deviation, random_topology
from atomsym.testing.tolerances import ALGEBRA, BACKEND_PARITY, EQUIVARIANCE

SH = Irreps.spherical_harmonics
CONVOLUTION = GauntConvolution(SH(2), SH(3), SH(2))
BACKENDS = OPERATION.available(device=torch.device("cpu"), dtype=torch.float64)
TOPOLOGY = random_topology(5, 13, torch.Generator().manual_seed(4))


def operands(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Features, vectors of edges, weights."""
    draw = torch.Generator().manual_seed(0)
    shapes = ((5, CONVOLUTION.irreps_in.dim, 3), (13, 3), (13, CONVOLUTION.n_weights, 3))
    x, vectors, w = (torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype) for shape in shapes)
    return x, vectors, w


def by_degree(weights: Tensor) -> Tensor:
    """A weight of each component of the edge."""
    dims = torch.tensor([irrep.dim for irrep in CONVOLUTION.irreps_edge])
    return weights.repeat_interleave(dims, 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_convolution_is_the_sum_of_products_over_edges(backend: str) -> None:
    x, vectors, w = operands()
    harmonics = spherical_harmonics(vectors, 3)
    messages = gaunt_product((x[TOPOLOGY.sender], harmonics.unsqueeze(2) * by_degree(w)), CONVOLUTION.product)
    messages = messages * CONVOLUTION.normalization().unsqueeze(1)
    expected = torch.zeros(5, 9, 3, dtype=torch.float64).index_add(0, TOPOLOGY.receiver, messages)
    found = gaunt_convolution(x, harmonics, w, TOPOLOGY, CONVOLUTION, backend=backend)
    assert deviation(found, expected) < BACKEND_PARITY.float64
    swapped = gaunt_convolution(x, harmonics, w.flip(1), TOPOLOGY, CONVOLUTION, backend=backend)
    assert deviation(swapped, expected) > 1e-2  # planted bug: weights of other degrees, which stay equivariant


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("improper", [False, True], ids=["rotation", "with inversion"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_result_turns_with_features_and_edges(backend: str, improper: bool, dtype: torch.dtype) -> None:
    x, vectors, w = operands(dtype)
    rotation = random_rotations(1, generator=torch.Generator().manual_seed(1))[0] * (-1 if improper else 1)
    matrix = representation_matrix(SH(2), rotation).to(dtype)

    def convolve(x: Tensor, vectors: Tensor, w: Tensor = w) -> Tensor:
        return gaunt_convolution(x, spherical_harmonics(vectors, 3), w, TOPOLOGY, CONVOLUTION, backend=backend)

    turned = convolve(matrix @ x, vectors @ rotation.to(dtype).T)
    assert deviation(turned, matrix @ convolve(x, vectors)) < EQUIVARIANCE.of(dtype)


def test_a_grid_one_degree_too_small_breaks_equivariance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: sized for the factors alone, so that the product is aliased."""
    x, vectors, w = operands()
    call = (spherical_harmonics(vectors, 3), w, TOPOLOGY)
    exact = gaunt_convolution(x, *call, CONVOLUTION, backend="reference")
    other = GauntConvolution(SH(2), SH(3), Irreps.parse("0e+2e+1o"))  # its tables are not made yet
    monkeypatch.setattr(GauntProduct, "grid_degree", property(lambda self: 2 + 3))
    found = gaunt_convolution(x, *call, other, backend="reference")
    assert deviation(found[:, 6:9], exact[:, 1:4]) > 1e-2


def test_weights_are_those_of_couplings_by_the_degree_of_the_edge() -> None:
    """A Clebsch–Gordan convolution with the coefficients of Gaunt is the same function."""
    x, vectors, w = operands()
    harmonics = spherical_harmonics(vectors, 3)
    couplings = ChannelwiseProduct.separate(CONVOLUTION.irreps_in, CONVOLUTION.irreps_edge, CONVOLUTION.irreps_out)
    found = gaunt_coefficients(CONVOLUTION.product)
    scale = {irrep.degree: float(n) for irrep, n in zip(SH(2), CONVOLUTION.normalization()[[0, 1, 4]], strict=True)}
    rows = []
    for path in couplings.paths:
        a, b = CONVOLUTION.irreps_in[path.index_in].degree, CONVOLUTION.irreps_edge[path.index_edge].degree
        out = couplings.irreps_out[path.index_out].degree
        rows.append(w[:, path.index_edge] * found[a, b, out] * scale[out] / path.coefficient)
    separate = tensor_product_convolution(x, harmonics, torch.stack(rows, 1), TOPOLOGY, couplings, backend="reference")
    summed = torch.zeros(5, 9, 3, dtype=torch.float64)
    starts = {irrep.degree: part for irrep, part in zip(SH(2), SH(2).slices, strict=True)}
    for slot, part in zip(couplings.irreps_out, couplings.irreps_out.slices, strict=True):
        summed[:, starts[slot.degree]] += separate[:, part]
    result = gaunt_convolution(x, harmonics, w, TOPOLOGY, CONVOLUTION)
    assert deviation(result, summed) < BACKEND_PARITY.float64
    assert len(couplings.paths) == len(found)


def test_components_of_unit_variance_give_such() -> None:
    """One edge a node; every degree of the result, on average over its components."""
    draw = torch.Generator().manual_seed(0)
    n = 3000
    topology = random_topology(n, n, draw)
    x = torch.randn(n, 9, 1, generator=draw, dtype=torch.float64)
    harmonics = spherical_harmonics(torch.randn(n, 3, generator=draw, dtype=torch.float64), 3)
    weights = torch.ones(n, 4, 1, dtype=torch.float64)
    out = gaunt_convolution(x, harmonics, weights, topology, CONVOLUTION)
    variance = out.square().mean((0, 2))
    assert float(variance.min()) > 0.85
    assert float(variance.max()) < 1.15


def test_what_no_coupling_reaches_is_zero() -> None:
    convolution = GauntConvolution(SH(0), SH(1), SH(3))
    x, w = torch.ones(5, 1, 2, dtype=torch.float64), torch.ones(13, 2, 2, dtype=torch.float64)
    harmonics = spherical_harmonics(operands()[1], 1)
    out = gaunt_convolution(x, harmonics, w, TOPOLOGY, convolution)
    assert out[:, :4].abs().max() > 0.1
    assert out[:, 4:].abs().max() < ALGEBRA.float64


def test_what_does_not_fit_is_refused() -> None:
    x, vectors, w = operands()
    harmonics = spherical_harmonics(vectors, 3)
    with pytest.raises(InputError, match=r"node_features must have the shape \(5, 9, 3\)"):
        gaunt_convolution(x[:, :4], harmonics, w, TOPOLOGY, CONVOLUTION)
    with pytest.raises(InputError, match=r"edge_features must have the shape \(13, 16\)"):
        gaunt_convolution(x, harmonics[:4], w, TOPOLOGY, CONVOLUTION)
    with pytest.raises(InputError, match=r"weights must have the shape \(13, 4, 3\)"):
        gaunt_convolution(x, harmonics, w[:, :1], TOPOLOGY, CONVOLUTION)
    with pytest.raises(InputError, match="all be float32 or all float64"):
        gaunt_convolution(x, harmonics.float(), w, TOPOLOGY, CONVOLUTION)
    with pytest.raises(InputError, match="weights is on meta"):
        gaunt_convolution(x, harmonics, w.to("meta"), TOPOLOGY, CONVOLUTION)
    with pytest.raises(BackendError, match="no backend 'fft'"):
        gaunt_convolution(x, harmonics, w, TOPOLOGY, CONVOLUTION, backend="fft")
    with pytest.raises(InputError, match="irreps_edge are empty"):
        GauntConvolution(SH(1), Irreps(), SH(1))
    with pytest.raises(InputError, match="each degree once"):
        GauntConvolution(SH(1), SH(1), Irreps.parse("1o+1e"))
