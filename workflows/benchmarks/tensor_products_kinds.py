"""The products of the package as one kind of object, so that all of them are measured by the same code.

On ``edges`` features of senders meet what is known of the edge (harmonics, or its frame) and results are summed over
the edges of each receiver. On ``nodes`` two features of the same node are multiplied channel by channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.backends import Operation
from atomsym.kernels.cp_product import CPProduct, available_ranks, cp_convolution, cp_product
from atomsym.kernels.cp_product.product import CONVOLUTION as CP_CONVOLUTION
from atomsym.kernels.cp_product.product import PRODUCT as CP_PRODUCT
from atomsym.kernels.gaunt_product import GauntConvolution, GauntProduct, gaunt_convolution, gaunt_product
from atomsym.kernels.gaunt_product.convolution import OPERATION as GAUNT_CONVOLUTION
from atomsym.kernels.gaunt_product.product import OPERATION as GAUNT
from atomsym.kernels.matrix_coupling import MatrixCoupling, matrix_coupling
from atomsym.kernels.matrix_coupling.coupling import OPERATION as MATRIX
from atomsym.kernels.so2_convolution import EdgeFrames, SO2Product, edge_frames, so2_convolution
from atomsym.kernels.so2_convolution.convolution import OPERATION as SO2
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.kernels.tensor_product.convolution import OPERATION as CLEBSCH_GORDAN
from atomsym.kernels.tensor_product.tables import tables_of
from atomsym.kernels.triton_support import interpreting
from atomsym.symmetry import Irreps, wigner_3j

PLACES = ("edges", "nodes")

Apply = Callable[[Tensor, Tensor, Tensor, EdgeTopology, str], Tensor]
"""First operand, second operand, weights, topology, backend → result; on nodes the topology is not read."""


@dataclass(frozen=True, eq=False)
class Product:
    """One product at one degree, ready to be called.

    Attributes:
        irreps_first: of the first operand, shape (nodes or n, dim, channels).
        irreps_second: of the second operand: harmonics of the edges, (n, dim), or a feature, (n, dim, channels). For a
            product in frames those harmonics that take part in it: of all degrees that can couple.
        irreps_out: of the result.
        mirror: results know what the inversion does to them; without, rotations only.
        n_weights: of each edge and channel, shape (n, n_weights, channels), or on nodes of each channel, shape
            (n_weights, channels).
        apply: the product.
        work: operations of its plain form for (nodes, n, channels); see ``Kind``.
        second: what an edge's vector, shape (n, 3), becomes; None on nodes.
        operation: whose backends there are; None: one in plain torch only.
        couplings: the description, where it is a list of couplings that e3nn can be given too.
    """

    irreps_first: Irreps
    irreps_second: Irreps
    irreps_out: Irreps
    mirror: bool
    n_weights: int
    apply: Apply
    work: Callable[[int, int, int], float]
    second: Callable[[Tensor], Tensor] | None = None
    operation: Operation | None = None
    couplings: ChannelwiseProduct | None = None

    def backends(self, device: torch.device, dtype: torch.dtype) -> tuple[str, ...]:
        """Names of those that can be used here and differentiated twice, the fastest first.

        Triton's interpreter, which is for tests, is none of them.
        """
        if self.operation is None:
            return ("reference",)
        degree = max(self.irreps_first.max_degree, self.irreps_out.max_degree)
        names = self.operation.available(device=device, dtype=dtype, degree=degree, derivative_order=2)
        return tuple(name for name in names if name != "triton" or not interpreting())


@dataclass(frozen=True)
class Shape:
    """What is coupled.

    Attributes:
        place: ``edges`` or ``nodes``.
        degree: largest degree of harmonics or second factors, and of results.
        feature_degree: largest degree of the first operand.
        separate: every coupling into a slot of its own, as layers with a linear map after the product have it; only
            Clebsch–Gordan and SO(2) on edges differ.
    """

    place: str
    degree: int
    feature_degree: int
    separate: bool = False

    def irreps(self, *, mirror: bool = True) -> tuple[Irreps, Irreps]:
        """Of first operands, and of second ones and results."""
        parity = -1 if mirror else 1
        first, other = (Irreps.spherical_harmonics(top, parity=parity) for top in (self.feature_degree, self.degree))
        return first, other


@dataclass(frozen=True)
class Kind:
    """A product for every degree that it can be had for.

    Operations are counted in the plain form: dense matrices for grids, factors and rotations, the couplings of the
    factored form for Clebsch–Gordan. A backend that needs fewer (a separable grid) then shows a larger rate.

    Attributes:
        label: in tables and pictures.
        build: the product of a shape; None if there is none.
    """

    label: str
    build: Callable[[Shape], Product | None]


def _clebsch_gordan(shape: Shape, *, mirror: bool = True) -> Product | None:
    first, other = shape.irreps(mirror=mirror)
    if shape.place == "nodes":
        return _dense_clebsch_gordan(ChannelwiseProduct.merged(first, other, other), mirror)
    separate = ChannelwiseProduct.separate(first, other, other)
    product = separate if shape.separate else ChannelwiseProduct.merged(first, other, other)

    def apply(x: Tensor, y: Tensor, w: Tensor, topology: EdgeTopology, backend: str) -> Tensor:
        return tensor_product_convolution(x, y, w, topology, product, backend=backend)

    def work(nodes: int, n: int, channels: int) -> float:
        return _factored_work(product) * n * channels

    return Product(
        *(first, other, product.irreps_out, mirror, product.n_paths, apply, work),
        second=partial(_harmonics, degree=shape.degree),
        operation=CLEBSCH_GORDAN,
        couplings=product,
    )


def _factored_work(product: ChannelwiseProduct) -> float:
    """Operations per channel and edge: two a multiply-add with the small matrix of each path, and with the weights."""
    return sum(
        2 * (path.rows if path.diagonal else path.rows * path.columns) + 2 * min(path.rows, path.columns)
        for path in tables_of(product).paths
    )


def _dense_clebsch_gordan(product: ChannelwiseProduct, mirror: bool) -> Product:
    """In plain torch, a matrix product for each pair of irreps: the package has no kernel of it for two features."""
    pairs: dict[tuple[int, int], list[int]] = {}
    for number, path in enumerate(product.paths):
        pairs.setdefault((path.index_in, path.index_edge), []).append(number)
    lists = (product.irreps_in, product.irreps_edge, product.irreps_out)
    matrices = {}
    for (a, b), numbers in pairs.items():
        blocks = []
        for number in numbers:
            path = product.paths[number]
            out = product.irreps_out[path.index_out]
            coupling = wigner_3j(product.irreps_in[a].degree, product.irreps_edge[b].degree, out.degree)
            blocks.append(path.coefficient * coupling.flatten(0, 1).T)
        matrices[a, b] = torch.cat(blocks)

    def apply(x: Tensor, y: Tensor, w: Tensor, topology: EdgeTopology, backend: str) -> Tensor:
        outs: list[list[Tensor]] = [[] for _ in product.irreps_out]
        for (a, b), numbers in pairs.items():
            first, second = x[:, product.irreps_in.slices[a]], y[:, product.irreps_edge.slices[b]]
            found = matrices[a, b].to(x) @ (first.unsqueeze(2) * second.unsqueeze(1)).flatten(1, 2)
            start = 0
            for number in numbers:
                slot = product.paths[number].index_out
                stop = start + product.irreps_out[slot].dim
                outs[slot].append(found[:, start:stop] * w[number])
                start = stop
        return torch.cat([torch.stack(parts).sum(0) for parts in outs], 1)

    def work(nodes: int, n: int, channels: int) -> float:
        return sum(matrix.shape[1] + 2 * matrix.numel() + 2 * matrix.shape[0] for matrix in matrices.values()) * (
            float(n) * channels
        )

    return Product(*lists, mirror, product.n_paths, apply, work, couplings=product)


def _so2(shape: Shape, *, max_order: int | None = None) -> Product | None:
    first, other = shape.irreps()
    if shape.place != "edges" or (max_order is not None and min(shape.degree, shape.feature_degree) <= max_order):
        return None  # nothing is cut: it is the full one
    make = SO2Product.separate if shape.separate else SO2Product.merged
    product = make(first, other, max_order=max_order)
    degree = max(shape.degree, shape.feature_degree)

    def frames(vectors: Tensor) -> Tensor:
        return edge_frames(vectors, degree, product.max_order).values

    def apply(x: Tensor, values: Tensor, w: Tensor, topology: EdgeTopology, backend: str) -> Tensor:
        return so2_convolution(x, EdgeFrames(values, degree, product.max_order), w, topology, product, backend=backend)

    def work(nodes: int, n: int, channels: int) -> float:
        turns = sum(
            2 * (2 * min(irrep.degree, product.max_order) + 1) * irrep.dim
            for irreps in (product.irreps_in, product.irreps_out)
            for irrep in irreps
        )
        mixing = sum(2 if order == 0 else 4 for path in product.paths for order in product.orders(path))
        return float(turns + mixing) * n * channels

    harmonics = Irreps.spherical_harmonics(shape.degree + shape.feature_degree)
    return Product(
        *(first, harmonics, product.irreps_out, True, product.n_weights, apply, work), second=frames, operation=SO2
    )


def _gaunt(shape: Shape, *, signal: str = "scalar") -> Product | None:
    first, other = shape.irreps()
    if shape.place == "edges" and signal == "scalar":
        return _gaunt_convolution(first, other)
    out = other if signal == "scalar" else Irreps(tuple(replace(irrep, parity=-irrep.parity) for irrep in other))
    product = GauntProduct((first, other), out, "scalar" if signal == "scalar" else "vector")
    parts = 1 if signal == "scalar" else 3

    def multiply(x: Tensor, y: Tensor, backend: str) -> Tensor:
        return gaunt_product((x, y), product, backend=backend)

    def work(n: int, channels: int, wide: int) -> float:
        transforms = channels * (first.dim + out.dim) + wide * other.dim
        return float(product.n_points * n) * (2 * parts * transforms + (1 if parts == 1 else 9) * channels)

    return _of_features(shape.place, (first, other, out), True, multiply, work, GAUNT)


def _gaunt_convolution(first: Irreps, other: Irreps) -> Product:
    convolution = GauntConvolution(first, other, other)

    def apply(x: Tensor, y: Tensor, w: Tensor, topology: EdgeTopology, backend: str) -> Tensor:
        return gaunt_convolution(x, y, w, topology, convolution, backend=backend)

    def work(nodes: int, n: int, channels: int) -> float:
        on_nodes = 2 * nodes * channels * (first.dim + other.dim)
        on_edges = n * (2 * other.dim + (2 * convolution.n_weights + 2) * channels)
        return float(convolution.product.n_points) * (on_nodes + on_edges)

    second = partial(_harmonics, degree=other.max_degree)
    return Product(
        *(first, other, other, True, convolution.n_weights, apply, work), second=second, operation=GAUNT_CONVOLUTION
    )


def _matrix(shape: Shape, *, odd: bool = False) -> Product | None:
    first, other = shape.irreps()
    coupling = MatrixCoupling(shape.feature_degree, shape.degree, shape.degree, part="odd" if odd else "even")
    size = coupling.size

    def multiply(x: Tensor, y: Tensor, backend: str) -> Tensor:
        return matrix_coupling(x, y, coupling, backend=backend)

    def work(n: int, channels: int, wide: int) -> float:
        laying_out = channels * (first.dim + other.dim) + wide * other.dim
        return float(n) * (2 * size**2 * laying_out + channels * (4 * size**3 + size**2))

    return _of_features(shape.place, (first, other, coupling.irreps_out), True, multiply, work, MATRIX)


def _cp(shape: Shape, *, precision: str = "exact", mirror: bool = True) -> Product | None:
    degree = max(shape.degree, shape.feature_degree, 1)
    ranks = available_ranks(degree, mirror)
    rank = {"exact": max(ranks, default=0), "quadratic": 7 * degree**2, "linear": 7 * degree}[precision]
    if rank not in ranks:
        return None
    product = CPProduct(shape.feature_degree, shape.degree, shape.degree, rank, mirror)
    first, other = shape.irreps(mirror=mirror)

    def multiply(x: Tensor, y: Tensor, backend: str) -> Tensor:
        return cp_product(x, y, product, backend=backend)

    def product_work(n: int, channels: int, wide: int) -> float:
        return float(n * rank) * (2 * channels * (first.dim + other.dim) + 2 * wide * other.dim + channels)

    if shape.place == "nodes":
        return _of_features("nodes", (first, other, other), mirror, multiply, product_work, CP_PRODUCT)

    def apply(x: Tensor, y: Tensor, w: Tensor, topology: EdgeTopology, backend: str) -> Tensor:
        return cp_convolution(x, y, w.squeeze(1), topology, product, backend=backend)

    def work(nodes: int, n: int, channels: int) -> float:
        on_nodes = 2 * nodes * channels * (first.dim + other.dim)
        return float(rank) * (on_nodes + n * (2 * other.dim + 3 * channels))

    second = partial(_harmonics, degree=shape.degree)
    return Product(first, other, other, mirror, 1, apply, work, second=second, operation=CP_CONVOLUTION)


def _of_features(
    place: str,
    irreps: tuple[Irreps, Irreps, Irreps],
    mirror: bool,
    multiply: Callable[[Tensor, Tensor, str], Tensor],
    work: Callable[[int, int, int], float],
    operation: Operation,
) -> Product:
    """A product of two features, on nodes as it is, on edges with gather, one weight a channel, and sum."""

    def on_nodes(x: Tensor, y: Tensor, w: Tensor, topology: EdgeTopology, backend: str) -> Tensor:
        return multiply(x, y, backend)

    def on_edges(x: Tensor, y: Tensor, w: Tensor, topology: EdgeTopology, backend: str) -> Tensor:
        messages = multiply(x[topology.sender], y.unsqueeze(2), backend) * w
        return messages.new_zeros(topology.n_nodes, *messages.shape[1:]).index_add(0, topology.receiver, messages)

    if place == "nodes":
        return Product(*irreps, mirror, 0, on_nodes, lambda _, n, c: work(n, c, c), operation=operation)
    return Product(
        *(*irreps, mirror, 1, on_edges),
        lambda _, n, c: work(n, c, 1) + 2.0 * n * c * irreps[2].dim,
        second=partial(_harmonics, degree=irreps[1].max_degree),
        operation=operation,
    )


def _harmonics(vectors: Tensor, degree: int) -> Tensor:
    return spherical_harmonics(vectors, degree)


KINDS = {
    "clebsch-gordan": Kind("Clebsch–Gordan", _clebsch_gordan),
    "clebsch-gordan-all": Kind("Clebsch–Gordan, all couplings", partial(_clebsch_gordan, mirror=False)),
    "so2": Kind("SO(2), all orders", _so2),
    "so2-m2": Kind("SO(2), m ≤ 2", partial(_so2, max_order=2)),
    "gaunt": Kind("Gaunt", _gaunt),
    "gaunt-vector": Kind("Gaunt, vector signals", partial(_gaunt, signal="vector")),
    "matrix": Kind("matrices, even part", _matrix),
    "matrix-odd": Kind("matrices, odd part", partial(_matrix, odd=True)),
    "cp": Kind("CP, exact rank", _cp),
    "cp-all": Kind("CP, exact rank, all couplings", partial(_cp, mirror=False)),
    "cp-quadratic": Kind("CP, rank 7 L²", partial(_cp, precision="quadratic", mirror=False)),
    "cp-linear": Kind("CP, rank 7 L", partial(_cp, precision="linear", mirror=False)),
}
"""All of them by the words that the command takes."""

BASELINE = "clebsch-gordan"
"""The one that crossovers are stated against."""
