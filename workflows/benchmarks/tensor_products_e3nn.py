"""e3nn's tensor product beside the products of the package, with its own layout of features and weights."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.tensor_product import e3nn_instructions, from_e3nn, to_e3nn
from atomsym.symmetry import Irreps
from atomsym.workflows.benchmarks.tensor_products_kinds import Product


class E3nnProduct:
    """The Clebsch–Gordan product of a ``Product``, in e3nn's default mode: ``uvu`` on edges, ``uuu`` on nodes.

    On edges senders are gathered before and messages added after it, as models do.

    Args:
        product: one with ``couplings``.
        place: ``edges`` or ``nodes``.
        channels: multiplicity of every irrep.
        dtype: float32 or float64.
        device: where the operands are.
    """

    def __init__(self, product: Product, place: str, channels: int, dtype: torch.dtype, device: torch.device) -> None:
        from e3nn import o3

        assert product.couplings is not None  # checked by ``peer_product``
        self._product, self._on_edges, self._channels = product, place == "edges", channels
        couplings = product.couplings

        def many(irreps: Irreps, n: int) -> o3.Irreps:
            return o3.Irreps([(n, (irrep.degree, irrep.parity)) for irrep in irreps])

        mode = "uvu" if self._on_edges else "uuu"
        self._module = o3.TensorProduct(
            many(couplings.irreps_in, channels),
            many(couplings.irreps_edge, 1 if self._on_edges else channels),
            many(couplings.irreps_out, channels),
            [(a, b, c, mode, has, weight) for a, b, c, _, has, weight in e3nn_instructions(couplings)],
            shared_weights=not self._on_edges,
            internal_weights=False,
        ).to(device, dtype)

    def operands(self, first: Tensor, second: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See ``PeerProduct``."""
        y = second if self._on_edges else to_e3nn(second, self._product.irreps_second)
        return to_e3nn(first, self._product.irreps_first), y, weights.flatten(-2)

    def apply(self, first: Tensor, second: Tensor, weights: Tensor, topology: EdgeTopology) -> Tensor:
        """See ``PeerProduct``."""
        if not self._on_edges:
            found: Tensor = self._module(first, second, weights)
            return found
        messages = self._module(first[topology.sender], second, weights)
        return messages.new_zeros(topology.n_nodes, messages.shape[1]).index_add(0, topology.receiver, messages)

    def result(self, flat: Tensor) -> Tensor:
        """See ``PeerProduct``."""
        return from_e3nn(flat, self._product.irreps_out, self._channels)
