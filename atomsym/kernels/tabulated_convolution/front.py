"""The convolution with tabulated radial weights and its gradients: the front functions and their backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.backends import Backend, Operation
from atomsym.kernels.native import cpu_reason
from atomsym.kernels.tabulated_convolution import native, reference
from atomsym.kernels.tabulated_convolution.table import RadialTable
from atomsym.kernels.tensor_product import ChannelwiseProduct

OPERATION = Operation("tabulated_convolution")


class EdgeGradients(NamedTuple):
    """What the reverse sweep of the convolution gives.

    Attributes:
        node_features: dE/dx, shape (n_nodes, irreps_in.dim, channels); None without node features.
        edge_features: dE/dY at fixed distance, shape (n_edges, irreps_edge.dim).
        distance: dE/dd at fixed edge features, shape (n_edges,).
    """

    node_features: Tensor | None
    edge_features: Tensor
    distance: Tensor


def tabulated_convolution(
    node_features: Tensor | None,
    edge_features: Tensor,
    distance: Tensor,
    tables: Sequence[RadialTable],
    topology: EdgeTopology,
    product: ChannelwiseProduct,
    *,
    kinds: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """``tensor_product_convolution`` with weights w[e, p, c] = table[kind(e)][p, c](distance[e]).

    The compiled backend evaluates the tables inside, for a few edges at a time: neither weights nor messages of all
    edges exist. Edges as long as the tables or longer cost nothing. Not differentiable by autograd with the compiled
    backend: ``tabulated_convolution_gradients`` is its reverse.

    Args:
        node_features: x, shape (n_nodes, irreps_in.dim, channels); None stands for ones, for tables that contain
            the sender's features already.
        edge_features: Y, shape (n_edges, irreps_edge.dim), float32 or float64.
        distance: shape (n_edges,), Å.
        tables: of one dtype (that of Y) and range, for the paths of the product.
        topology: edges sorted by receiver.
        product: which irreps are coupled.
        kinds: table of each edge, shape (n_edges,), int64; None: the first for all.
        backend: ``auto``, ``cpp`` or ``reference``.

    Returns:
        Shape (n_nodes, irreps_out.dim, channels). The compiled result is the same for any number of threads.

    Raises:
        InputError: if shapes, dtypes or devices do not fit each other.
        BackendError: if the backend cannot do what is asked.

    Example:
        >>> from atomsym.kernels.tabulated_convolution import tabulate
        >>> from atomsym.symmetry import Irreps
        >>> scalar = Irreps.parse("0e")
        >>> product = ChannelwiseProduct.separate(scalar, scalar)
        >>> table = tabulate(lambda d: (1 - d)[:, None, None] ** 2, 0.0, 1.0, dtype=torch.float32)
        >>> topology = EdgeTopology.from_edge_index(torch.tensor([[0], [1]]), 2)
        >>> x, y = torch.ones(2, 1, 1), torch.ones(1, 1)
        >>> tabulated_convolution(x, y, torch.tensor([0.5]), [table], topology, product).flatten()
        tensor([0.2500, 0.0000])
    """
    _check(node_features, edge_features, distance, tables, kinds, topology, product)
    function = reference.convolution if _chosen(backend, edge_features, product) == "reference" else native.convolution
    return function(node_features, edge_features, distance, tables, kinds, topology, product)


def tabulated_convolution_gradients(
    gradient: Tensor,
    node_features: Tensor | None,
    edge_features: Tensor,
    distance: Tensor,
    tables: Sequence[RadialTable],
    topology: EdgeTopology,
    product: ChannelwiseProduct,
    *,
    kinds: Tensor | None = None,
    backend: str = "auto",
) -> EdgeGradients:
    """Derivatives of ⟨gradient, tabulated_convolution(…)⟩ for node features, edge features and distances.

    Those of the distances are the derivatives of the tables' polynomials, exactly.

    Args:
        gradient: g = dE/d out, shape (n_nodes, irreps_out.dim, channels).
        node_features, edge_features, distance, tables, topology, product, kinds, backend: as for the convolution.

    Raises:
        InputError: if shapes, dtypes or devices do not fit each other.
        BackendError: if the backend cannot do what is asked.
    """
    _check(node_features, edge_features, distance, tables, kinds, topology, product)
    shape = (topology.n_nodes, product.out_dim, tables[0].channels)
    if gradient.shape != shape or gradient.dtype != edge_features.dtype:
        raise InputError(
            f"gradient must be {edge_features.dtype} of shape {shape}; found {gradient.dtype} {tuple(gradient.shape)}"
        )
    operands = (gradient, node_features, edge_features, distance, tables, kinds, topology, product)
    if _chosen(backend, edge_features, product) == "reference":
        return EdgeGradients(*reference.gradients(*operands))
    return EdgeGradients(*native.gradients(*operands))


def _chosen(backend: str, like: Tensor, product: ChannelwiseProduct) -> str:
    return OPERATION.select(backend, device=like.device, dtype=like.dtype, degree=product.max_degree).name


def _check(
    node_features: Tensor | None,
    edge_features: Tensor,
    distance: Tensor,
    tables: Sequence[RadialTable],
    kinds: Tensor | None,
    topology: EdgeTopology,
    product: ChannelwiseProduct,
) -> None:
    if not tables:
        raise InputError("at least one table is needed")
    first, dtype, n_edges = tables[0], edge_features.dtype, topology.n_edges
    for number, table in enumerate(tables):
        found = (table.dtype, table.n_paths, table.channels, table.start, table.stop)
        wanted = (dtype, product.n_paths, first.channels, first.start, first.stop)
        if found != wanted:
            raise InputError(
                f"tables[{number}] has (dtype, n_paths, channels, start, stop) = {found}; expected {wanted}"
            )
    operands = {
        "node_features": (node_features, (topology.n_nodes, product.in_dim, first.channels), dtype),
        "edge_features": (edge_features, (n_edges, product.edge_dim), dtype),
        "distance": (distance, (n_edges,), dtype),
        "kinds": (kinds, (n_edges,), torch.int64),
    }
    for name, (operand, shape, wanted_dtype) in operands.items():
        if operand is not None and (operand.shape != shape or operand.dtype != wanted_dtype):
            raise InputError(
                f"{name} must be {wanted_dtype} of shape {shape}; found {operand.dtype} {tuple(operand.shape)}"
            )
    if kinds is not None and n_edges and (int(kinds.min()) < 0 or int(kinds.max()) >= len(tables)):
        raise InputError(f"kinds must be 0 to {len(tables) - 1}; found {int(kinds.min())} to {int(kinds.max())}")


OPERATION.register(Backend("reference", reference.convolution))
OPERATION.register(
    Backend(
        "cpp",
        native.convolution,
        device_types=frozenset({"cpu"}),
        max_degree=native.MAX_DEGREE,
        derivative_order=0,
        priority=10,
        unavailable=cpu_reason,
    )
)
