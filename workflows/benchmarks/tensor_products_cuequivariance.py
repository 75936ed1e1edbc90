"""cuEquivariance's segmented polynomial beside the products of the package, with the same couplings and weights."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.symmetry import wigner_3j
from atomsym.workflows.benchmarks.tensor_products_kinds import Product


class CuEquivarianceProduct:
    """The Clebsch–Gordan product as one of its polynomials, with one segment a slot.

    Its layout ``ir_mul`` is that of this package, flattened. On edges it is given the indices of senders and receivers,
    so that its kernels gather and add themselves. On a GPU, where ``cuequivariance_ops_torch`` is installed, the method
    is ``uniform_1d``; its kernels need one there, and elsewhere it is ``naive``, plain torch.

    Args:
        product: one with ``couplings``.
        place: ``edges`` or ``nodes``.
        channels: multiplicity of every irrep.
        dtype: float32 or float64.
        device: where the operands are.
    """

    def __init__(self, product: Product, place: str, channels: int, dtype: torch.dtype, device: torch.device) -> None:
        import cuequivariance as cue
        import cuequivariance_torch as cuet

        couplings = product.couplings
        assert couplings is not None  # checked by ``peer_product``
        self._product, self._on_edges, self._channels = product, place == "edges", channels
        polynomial = cue.SegmentedTensorProduct.from_subscripts(f"u,iu,{'j' if self._on_edges else 'ju'},ku+ijk")
        for _ in couplings.paths:
            polynomial.add_segment(0, (channels,))
        for operand, irreps in enumerate((couplings.irreps_in, couplings.irreps_edge, couplings.irreps_out), start=1):
            for irrep in irreps:
                shared = operand == 2 and self._on_edges
                polynomial.add_segment(operand, (irrep.dim,) if shared else (irrep.dim, channels))
        for number, path in enumerate(couplings.paths):
            degrees = (
                couplings.irreps_in[path.index_in].degree,
                couplings.irreps_edge[path.index_edge].degree,
                couplings.irreps_out[path.index_out].degree,
            )
            coupling = path.coefficient * wigner_3j(*degrees)
            polynomial.add_path(number, path.index_in, path.index_edge, path.index_out, c=coupling.numpy())
        polynomial = polynomial.flatten_coefficient_modes().squeeze_modes()
        fused = device.type == "cuda" and find_spec("cuequivariance_ops_torch") is not None
        self._module = cuet.SegmentedPolynomial(
            cue.SegmentedPolynomial.eval_last_operand(polynomial),
            method="uniform_1d" if fused else "naive",
            math_dtype=dtype,
        ).to(device)

    def operands(self, first: Tensor, second: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See ``PeerProduct``."""
        if self._on_edges:
            return first.flatten(1), second, weights.flatten(1)
        return first.flatten(1), second.flatten(1), weights.reshape(1, -1)

    def apply(self, first: Tensor, second: Tensor, weights: Tensor, topology: EdgeTopology) -> Tensor:
        """See ``PeerProduct``."""
        if not self._on_edges:
            at_nodes: list[Tensor] = self._module([weights, first, second])
            return at_nodes[0]
        shape = first.new_empty(topology.n_nodes, 1)
        summed: list[Tensor] = self._module(
            [weights, first, second], {1: topology.sender}, {0: shape}, {0: topology.receiver}
        )
        return summed[0]

    def result(self, flat: Tensor) -> Tensor:
        """See ``PeerProduct``."""
        return flat.unflatten(1, (self._product.irreps_out.dim, self._channels))
