"""Attention over neighbors that stays smooth where a neighbor enters or the last one leaves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atomsym.kernels.segments import segment_sum
from atomsym.models.esen.edges import Edges
from atomsym.nn import activation

_LARGEST_LOGIT = 8.0  # exp of it is far from the ends of single precision, so no maximum has to be subtracted


class Attention(nn.Module):
    """α_ij = u_ij exp(a_ij) / (1 + Σ_j u_ij exp(a_ij)), one a head; a is held within ±8 by a hyperbolic tangent.

    The envelope u takes a neighbor's weight to zero before it leaves, and the 1 does so for the last one, whose
    share would otherwise stay 1 up to the cutoff. It acts as one more key, that of nothing.

    Args:
        heads: number of weights of an edge.
        channels: numbers that each logit comes from.

    Attributes:
        queries: what the numbers of a head are multiplied with, shape (channels, heads).
        n_scalars: heads · channels.

    Source: the smooth-cutoff attention of EquiformerV3 (2026, arXiv 2604.09130), here with SiLU, bounded logits and
    the 1 in place of a small ε.
    """

    def __init__(self, heads: int, channels: int) -> None:
        super().__init__()
        self.n_scalars = heads * channels
        self.queries = nn.Parameter(torch.randn(channels, heads))
        self._function = activation("silu")

    def forward(self, scalars: Tensor, edges: Edges) -> Tensor:
        """Weights of the edges, shape (n_edges, heads); scalars have the shape (n_edges, n_scalars)."""
        channels, heads = self.queries.shape
        shaped = self._function(scalars).unflatten(1, (channels, heads))
        logits = (shaped * self.queries).sum(1) * channels**-0.5
        bounded = _LARGEST_LOGIT * torch.tanh(logits / _LARGEST_LOGIT)
        weights = edges.envelope.unsqueeze(1) * torch.exp(bounded)
        total = 1 + segment_sum(weights, edges.topology.receiver, edges.topology.n_nodes)
        return weights / total.index_select(0, edges.topology.receiver)
