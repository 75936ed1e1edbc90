"""Speed of the channel-wise convolution, beside e3nn's tensor product with gather and sum, measured in the same run.

Times are the smallest of several repeats: processor time on one thread, wall time on several. The arithmetic rate
counts the multiply-adds that the factored form needs; it is compared with the cores' multiply-add rate measured in the
same run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from atomsym.core.errors import InputError, MissingDependencyError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.tensor_product import ChannelwiseProduct, e3nn_instructions, tensor_product_convolution, to_e3nn
from atomsym.kernels.tensor_product.tables import tables_of
from atomsym.symmetry import Irreps
from atomsym.workflows.benchmarks.machine import best_seconds, peak_rate

CASES = {"nequip-l1": (1, 1, 1), "nequip-l2": (2, 2, 2), "mace-l1": (1, 3, 3), "nequip-l3": (3, 3, 3)}
"""Largest degree of node features, edge features and results; natural parity."""


def run(
    cases: Sequence[str] = ("nequip-l2", "mace-l1", "nequip-l3"),
    *,
    channels: int = 128,
    edges: int = 10_000,
    neighbors: int = 40,
    dtype: torch.dtype = torch.float32,
    backend: str = "auto",
    repeats: int = 5,
    baseline: bool = True,
) -> list[dict[str, Any]]:
    """Time forward, forward with gradients, and the second derivatives that training on forces needs.

    Args:
        cases: keys of ``CASES``.
        channels: channels per irrep.
        edges: number of edges.
        neighbors: edges of each receiver; senders are random.
        dtype: float32 or float64.
        backend: as in ``tensor_product_convolution``.
        repeats: timed calls after one warm-up; the fastest counts.
        baseline: also time e3nn.

    Returns:
        One row a case; times in ms, rates in GFLOP/s, ``*_ratio`` = e3nn's time over ours.

    Raises:
        InputError: if a case is unknown.
        MissingDependencyError: if the baseline is wanted and e3nn is not installed.
    """
    unknown = [name for name in cases if name not in CASES]
    if unknown:
        raise InputError(f"unknown case '{unknown[0]}'; known: {', '.join(CASES)}")
    if baseline and find_spec("e3nn") is None:
        raise MissingDependencyError.for_package("e3nn", "benchmark", "the baseline of this benchmark")
    peak = peak_rate(dtype) * torch.get_num_threads()
    return [_row(name, channels, edges, neighbors, dtype, backend, repeats, baseline, peak) for name in cases]


def _row(
    name: str,
    channels: int,
    edges: int,
    neighbors: int,
    dtype: torch.dtype,
    backend: str,
    repeats: int,
    baseline: bool,
    peak: float,
) -> dict[str, Any]:
    irreps = [Irreps.spherical_harmonics(degree) for degree in CASES[name]]
    product = ChannelwiseProduct.separate(*irreps)
    topology, operands = _inputs(product, channels, edges, neighbors, dtype)

    def ours(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        return tensor_product_convolution(x, y, w, topology, product, backend=backend)

    forward, gradients, second = _times(ours, operands, repeats)
    rate = _work(product) * channels * edges / forward / 1e6
    row = {
        "case": name,
        "channels": channels,
        "edges": edges,
        "paths": product.n_paths,
        "dtype": str(dtype).removeprefix("torch."),
        "forward_ms": forward,
        "forward_backward_ms": gradients,
        "forward_backward_double_backward_ms": second,
        "forward_gflops": rate,
        "forward_share_of_peak": rate / peak,
    }
    if baseline:
        theirs, flat = _e3nn(product, topology, operands)
        e3nn_forward, e3nn_gradients, e3nn_second = _times(theirs, flat, repeats)
        row |= {
            "e3nn_forward_ms": e3nn_forward,
            "e3nn_forward_backward_ms": e3nn_gradients,
            "e3nn_forward_backward_double_backward_ms": e3nn_second,
            "forward_ratio": e3nn_forward / forward,
            "forward_backward_ratio": e3nn_gradients / gradients,
            "double_backward_ratio": e3nn_second / second,
        }
    return row


def _inputs(
    product: ChannelwiseProduct, channels: int, edges: int, neighbors: int, dtype: torch.dtype
) -> tuple[EdgeTopology, tuple[Tensor, ...]]:
    draw = torch.Generator().manual_seed(0)
    nodes = max(edges // neighbors, 1)
    receiver = (torch.arange(edges) // neighbors).clamp_max(nodes - 1)
    sender = torch.randint(nodes, (edges,), generator=draw)
    shapes = ((nodes, product.in_dim, channels), (edges, product.edge_dim), (edges, product.n_paths, channels))
    operands = tuple(torch.randn(shape, generator=draw, dtype=dtype, requires_grad=True) for shape in shapes)
    return EdgeTopology.from_edge_index(torch.stack([receiver, sender]), nodes), operands


def _e3nn(
    product: ChannelwiseProduct, topology: EdgeTopology, operands: tuple[Tensor, ...]
) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """e3nn's product in its default mode, with gather and sum, and the operands in its layout."""
    from e3nn import o3

    channels = operands[0].shape[-1]
    many = [
        o3.Irreps([(channels, (irrep.degree, irrep.parity)) for irrep in irreps])
        for irreps in (product.irreps_in, product.irreps_out)
    ]
    tensor_product = o3.TensorProduct(
        many[0],
        o3.Irreps(str(product.irreps_edge)),
        many[1],
        e3nn_instructions(product),
        shared_weights=False,
        internal_weights=False,
    ).to(operands[0].dtype)
    flat = (to_e3nn(operands[0], product.irreps_in), operands[1], operands[2].flatten(1))

    def convolve(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        messages = tensor_product(x[topology.sender], y, w)
        return messages.new_zeros(topology.n_nodes, messages.shape[1]).index_add_(0, topology.receiver, messages)

    return convolve, tuple(operand.detach().requires_grad_() for operand in flat)


def _times(convolve: Callable[..., Tensor], operands: tuple[Tensor, ...], repeats: int) -> tuple[float, float, float]:
    out = convolve(*operands)
    g = torch.ones_like(out)

    def forward() -> None:
        with torch.no_grad():
            convolve(*operands)

    def gradients() -> None:
        torch.autograd.grad(convolve(*operands), operands, g)

    def second() -> None:
        # forces come from the gradient for the edges; their loss is differentiated for everything
        first = torch.autograd.grad(convolve(*operands), operands, g, create_graph=True)
        torch.autograd.grad([first[1], first[2]], operands, [operands[1].detach(), operands[2].detach()])

    return _fastest(forward, repeats), _fastest(gradients, repeats), _fastest(second, max(repeats // 2, 1))


def _fastest(call: Callable[[], None], repeats: int) -> float:
    return 1e3 * best_seconds(call, repeats=repeats)


def _work(product: ChannelwiseProduct) -> int:
    """Operations per channel and edge: two a multiply-add with A, and those with the weights."""
    total = 0
    for path in tables_of(product).paths:
        total += 2 * (path.rows if path.diagonal else path.rows * path.columns) + 2 * min(path.rows, path.columns)
    return total
