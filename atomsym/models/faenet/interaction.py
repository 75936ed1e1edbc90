"""One interaction of FAENet: messages from edges and senders, summed, and mapped to a change of the atom's state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atomsym.core import AtomGraph
from atomsym.kernels.segments import segment_sum
from atomsym.kernels.silu import silu
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.models.faenet.config import FAENetConfig
from atomsym.models.faenet.linear import Linear, SystemNorm
from atomsym.symmetry import Irreps

_SCALARS = Irreps.parse("0e")
_PRODUCT = ChannelwiseProduct.separate(_SCALARS, _SCALARS, _SCALARS)


class InteractionLayer(nn.Module):
    """Δh = f(W_out s), s = f(Norm(Σ_j w(d_ij) e'_ij ⊙ h'_j / sqrt(N))), with w the envelope and f the SiLU.

    The filters e' and senders h', by ``config.interaction``:

    - ``simple``: e' = e, h' = h.
    - ``base``: e' = f(W [e, h_j, h_i]), h' = h.
    - ``updownscale``: e' = f(W e), h' = f(W_down h).
    - ``updownscale_base``: e' = f(W [e, h_j, h_i]), h' = f(W_down h).
    - ``updown_local_env``: e' = W e, h' = f(W_down h), and Δh = W_out [s, Σ_j w e_ij / sqrt(N)].

    Without a norm s is the sum itself.

    Attributes:
        edge: linear map of the edges' states; None for ``simple``.
        from_sender, from_receiver: linear maps of the states at both ends to the filters; applied to atoms before they
            are gathered, which is the same and costs less. None where only edges make filters.
        down: linear map of the senders' states; None if they enter as they are.
        norm: of the sums; None without.
        out: linear map of the sums.
        second: one more layer; None without.

    Source: Duval et al., ICML 2023 (arXiv 2305.05577); ``updown_local_env`` from the authors' package faenet.
    """

    def __init__(self, config: FAENetConfig) -> None:
        super().__init__()
        channels, filters, self._name = config.channels, config.filters, config.interaction
        narrow = self._name.startswith("updown")
        messages = filters if narrow else channels
        ends = self._name in ("base", "updownscale_base")
        self.edge = None if self._name == "simple" else Linear(filters, messages)
        self.from_sender = Linear(channels, messages, bias=False) if ends else None
        self.from_receiver = Linear(channels, messages, bias=False) if ends else None
        self.down = Linear(channels, filters) if narrow else None
        self.norm = SystemNorm(messages) if config.norm == "system" else None
        self.out = Linear(2 * filters if self._name == "updown_local_env" else messages, channels)
        self.second = Linear(channels, channels) if config.second_update else None
        self._normalization = config.average_neighbors**-0.5

    def forward(self, states: Tensor, edges: Tensor, envelope: Tensor, graph: AtomGraph) -> Tensor:
        """The change of the atoms' states.

        Args:
            states: shape (n_atoms, channels).
            edges: states of the edges, shape (n_edges, filters).
            envelope: shape (n_edges, 1).
            graph: who receives from whom.

        Returns:
            Shape (n_atoms, channels).
        """
        senders = states if self.down is None else silu(self.down(states))
        weights = self._filters(states, edges, graph).unsqueeze(1)
        senders = (senders * self._normalization).unsqueeze(1)
        sums = tensor_product_convolution(senders, envelope, weights, graph.topology, _PRODUCT).squeeze(1)
        if self.norm is not None:
            sums = silu(self.norm(sums, graph))
        if self._name == "updown_local_env":
            around = segment_sum(edges * (envelope * self._normalization), graph.edge_index[0], graph.n_atoms)
            changes = self.out(torch.cat((sums, around), dim=1))
        else:
            changes = silu(self.out(sums))
        return changes if self.second is None else silu(self.second(changes))

    def _filters(self, states: Tensor, edges: Tensor, graph: AtomGraph) -> Tensor:
        """e', shape (n_edges, width of the messages)."""
        if self.edge is None:
            return edges
        filters: Tensor = self.edge(edges)
        if self.from_sender is not None and self.from_receiver is not None:
            receiver, sender = graph.edge_index[0], graph.edge_index[1]
            filters = filters + self.from_sender(states)[sender] + self.from_receiver(states)[receiver]
        return filters if self._name == "updown_local_env" else silu(filters)
