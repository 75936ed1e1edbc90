"""The Gaunt convolution: functions on the sphere of nodes, multiplied with those of edges and summed on the grid."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.gaunt_product.description import GauntProduct, from_grid, to_grid
from atomsym.kernels.gaunt_product.product import gaunt_coefficients
from atomsym.kernels.native import cpu_reason
from atomsym.kernels.pointwise import CONVOLUTION, ConvolutionTables, Sampling, reference_convolution, register_tables
from atomsym.kernels.triton_support import triton_device_types, triton_reason
from atomsym.symmetry import Irreps

OPERATION = Operation("gaunt_convolution")


@dataclass(frozen=True)
class GauntConvolution:
    """Which features a convolution of functions on the sphere couples, with a weight for each degree of the edge.

    Factors n_k make components of unit variance from such: harmonics in component normalisation, weights of one.

    Attributes:
        irreps_in, irreps_edge, irreps_out: each with different degrees, all of natural parity (−1)^l or all of the
            other, as ``GauntProduct`` wants them.
        handle: the description as text, for the compiled backends.

    Raises:
        InputError: as ``GauntProduct``, or if a list is empty.

    Example:
        >>> sh = Irreps.spherical_harmonics(2)
        >>> convolution = GauntConvolution(sh, sh, sh)
        >>> convolution.n_weights, convolution.product.n_points
        (3, 28)
    """

    irreps_in: Irreps
    irreps_edge: Irreps
    irreps_out: Irreps
    handle: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("irreps_in", "irreps_edge", "irreps_out"):
            if not len(getattr(self, name)):
                raise InputError(f"{name} are empty; a convolution needs at least one irrep on each side")
        _ = self.product
        description = json.dumps([str(self.irreps_in), str(self.irreps_edge), str(self.irreps_out)])
        object.__setattr__(self, "handle", f"gaunt_convolution {description}")

    @property
    def product(self) -> GauntProduct:
        """What a node's and an edge's function are multiplied by."""
        return GauntProduct((self.irreps_in, self.irreps_edge), self.irreps_out)

    @property
    def n_weights(self) -> int:
        """Weights of an edge and channel: one for each degree of the edge."""
        return len(self.irreps_edge)

    def normalization(self) -> Tensor:
        """n_k of each component of the result: √((2l + 1) / Σ c²) over the couplings that reach l, float64."""
        squares = {irrep.degree: 0.0 for irrep in self.irreps_out}
        for (_, _, degree), coefficient in gaunt_coefficients(self.product).items():
            squares[degree] += coefficient**2
        factors = [
            math.sqrt(irrep.dim / squares[irrep.degree]) if squares[irrep.degree] else 1.0 for irrep in self.irreps_out
        ]
        dims = torch.tensor([irrep.dim for irrep in self.irreps_out])
        return torch.tensor(factors, dtype=torch.float64).repeat_interleave(dims)


def gaunt_convolution(
    node_features: Tensor,
    edge_features: Tensor,
    weights: Tensor,
    topology: EdgeTopology,
    convolution: GauntConvolution,
    *,
    backend: str = "auto",
) -> Tensor:
    """Multiply each sender's function on the sphere with that of the edge, and sum over the edges of each receiver.

    out[n, k, c] = n_k Σ_{e: receiver n} ∫ Y_k (Σ_i x[sender, i, c] Y_i) (Σ_l w[e, l, c] Σ_m Y[e, lm] Y_lm) dΩ.

    Nodes are taken to the grid and back, not edges: an edge costs (degrees + 1) products a point and channel. Couplings
    with an odd sum of degrees do not occur, and those of one degree of the edge have one weight.

    Args:
        node_features: x, shape (n_nodes, irreps_in.dim, channels), float32 or float64.
        edge_features: Y, shape (n_edges, irreps_edge.dim), same dtype.
        weights: w, shape (n_edges, convolution.n_weights, channels), same dtype; usually from a radial network.
        topology: edges sorted by receiver.
        convolution: what is coupled.
        backend: ``auto``, ``cpp``, ``triton`` or ``reference``.

    Returns:
        Shape (n_nodes, irreps_out.dim, channels). Differentiable any number of times, equivariant to rounding error.
        The compiled backends keep nothing per edge and point; their second derivatives are made of calls of the first
        ones.

    Raises:
        InputError: if shapes, dtypes or devices do not fit each other.
        BackendError: if the backend cannot do what is asked.

    Source: Luo, Chen and Krishnapriyan 2024 (Gaunt tensor products), on the sphere itself (compare arXiv 2506.13523);
    weights by degree as there, the sum over neighbors on the grid is ours.

    Example:
        >>> sh = Irreps.spherical_harmonics(1)
        >>> convolution = GauntConvolution(sh, sh, sh)
        >>> topology = EdgeTopology.from_edge_index(torch.tensor([[0, 1], [1, 0]]), 2)
        >>> x, y, w = torch.ones(2, 4, 8), torch.ones(2, 4), torch.ones(2, convolution.n_weights, 8)
        >>> gaunt_convolution(x, y, w, topology, convolution).shape
        torch.Size([2, 4, 8])
    """
    _check(node_features, edge_features, weights, topology, convolution)
    chosen = _select(backend, node_features.device.type, node_features.dtype)
    return _FUNCTIONS[chosen](node_features, edge_features, weights, topology, convolution)


def reference(
    node_features: Tensor, edge_features: Tensor, weights: Tensor, topology: EdgeTopology, convolution: GauntConvolution
) -> Tensor:
    """Every step on its own, with values of all edges on the grid in memory. The oracle."""
    return reference_convolution(node_features, edge_features, weights, topology, convolution.handle)


def compiled(
    backend: str,
    node_features: Tensor,
    edge_features: Tensor,
    weights: Tensor,
    topology: EdgeTopology,
    convolution: GauntConvolution,
) -> Tensor:
    """Values of nodes on the grid in memory, those of edges in registers."""
    return CONVOLUTION(backend, (node_features, edge_features, weights), topology, convolution.handle)


@cache
def _convolution_of(description: str) -> GauntConvolution:
    return GauntConvolution(*(Irreps.parse(irreps) for irreps in json.loads(description)))


def _tables(description: str) -> ConvolutionTables:
    convolution = _convolution_of(description)
    degree = convolution.product.grid_degree
    grid = (degree // 2 + 1, degree + 1)
    project = (from_grid(convolution.irreps_out, degree, "scalar") * convolution.normalization().unsqueeze(1)).T
    return ConvolutionTables(
        Sampling.on_grid(to_grid(convolution.irreps_in, degree, "scalar"), *grid, convolution.irreps_in.max_degree),
        Sampling.on_grid(to_grid(convolution.irreps_edge, degree, "scalar"), *grid, convolution.irreps_edge.max_degree),
        tuple(irrep.dim for irrep in convolution.irreps_edge),
        Sampling.on_grid(project.contiguous(), *grid, convolution.irreps_out.max_degree),
    )


def _check(
    node_features: Tensor, edge_features: Tensor, weights: Tensor, topology: EdgeTopology, convolution: GauntConvolution
) -> None:
    channels = node_features.shape[-1] if node_features.ndim else 0
    named = {
        "node_features": (node_features, (topology.n_nodes, convolution.irreps_in.dim, channels)),
        "edge_features": (edge_features, (topology.n_edges, convolution.irreps_edge.dim)),
        "weights": (weights, (topology.n_edges, convolution.n_weights, channels)),
    }
    for name, (operand, shape) in named.items():
        if tuple(operand.shape) != shape:
            raise InputError(
                f"{name} must have the shape {shape} for this topology and convolution; found {tuple(operand.shape)}"
            )
        if operand.dtype != node_features.dtype or operand.dtype not in (torch.float32, torch.float64):
            raise InputError(
                "node_features, edge_features and weights must all be float32 or all float64; found "
                + ", ".join(str(other.dtype) for other, _ in named.values())
            )
        if operand.device != topology.receiver.device:
            raise InputError(f"{name} is on {operand.device}, the topology on {topology.receiver.device}")


@constant_when_compiled
def _select(backend: str, device_type: str, dtype: torch.dtype) -> str:
    return OPERATION.select(backend, device=torch.device(device_type), dtype=dtype).name


def _dims(description: str) -> tuple[int, ...]:
    convolution = _convolution_of(description)
    return convolution.irreps_in.dim, convolution.irreps_edge.dim, convolution.irreps_out.dim


register_tables("gaunt_convolution", _tables, _dims)

_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "reference": reference,
    "cpp": partial(compiled, "cpp"),
    "triton": partial(compiled, "triton"),
}

OPERATION.register(Backend("reference", reference))
OPERATION.register(
    Backend("cpp", _FUNCTIONS["cpp"], device_types=frozenset({"cpu"}), priority=10, unavailable=cpu_reason)
)
OPERATION.register(
    Backend("triton", _FUNCTIONS["triton"], device_types=triton_device_types(), priority=5, unavailable=triton_reason)
)
