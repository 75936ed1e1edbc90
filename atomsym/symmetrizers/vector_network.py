"""A small equivariant network that gives a system three vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.core.elements import MAX_ATOMIC_NUMBER
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.nn import Perceptron, bessel_basis, edge_lengths, polynomial_envelope

_ROUNDING = 64  # units in the last place of the summands, below which a vector is noise


class VectorNetwork(torch.nn.Module):
    """v_k = Σ_i Σ_c g_kc(s_i) V_ic over the atoms of a system: three vectors that turn and mirror with it.

    Each of the layers does, with the edges j of atom i, radial functions R and unit vectors Y,

        s_i ← s_i + MLP(Σ_j R(d_ij) s_j, |V_i|²),    V_i ← V_i + Σ_j R'(d_ij) s_j Y(r_ij) + Σ_j R''(d_ij) V_j.

    All functions of the distance vanish at the cutoff with three derivatives. A system with a centre of inversion has
    vectors of zero, as every network of this kind: a vector that is not longer than the rounding of its summands is
    set to zero, with no derivative, since that of the direction of noise would drown all others.

    Args:
        elements: atomic numbers that are known.
        cutoff: Å.
        channels: numbers and vectors of each atom.
        n_layers: ≥ 1.
        n_radial: radial basis functions.

    Source: own choice, after Kaba et al. 2023 (arXiv 2211.06489), who take such networks for canonicalization.
    """

    def __init__(
        self, elements: tuple[int, ...], cutoff: float, channels: int = 16, n_layers: int = 2, n_radial: int = 8
    ) -> None:
        super().__init__()
        self.cutoff, self.n_radial, self.channels = cutoff, n_radial, channels
        row = torch.zeros(MAX_ATOMIC_NUMBER + 1, dtype=torch.int64)
        row[list(elements)] = torch.arange(len(elements))
        self.register_buffer("_row", row, persistent=False)
        self.embedding = torch.nn.Parameter(torch.randn(len(elements), channels))
        self.radial = torch.nn.ModuleList(Perceptron((n_radial, 32, 3 * channels)) for _ in range(n_layers))
        self.update = torch.nn.ModuleList(Perceptron((2 * channels, 32, channels)) for _ in range(n_layers))
        self.readout = Perceptron((channels, 32, 3 * channels))

    def forward(self, graph: AtomGraph) -> Tensor:
        """Vectors of each system, shape (n_systems, 3, 3): one in a row, dtype of the weights."""
        row: Tensor = self.get_buffer("_row")
        receiver, sender = graph.edge_index[0], graph.edge_index[1]
        edges = graph.edge_vectors().to(self.embedding.dtype)
        distance = edge_lengths(edges)
        envelope = polynomial_envelope(distance, self.cutoff, order=4).unsqueeze(1)
        basis = bessel_basis(distance, self.cutoff, self.n_radial) * envelope
        directions = spherical_harmonics(edges, 1, normalization="norm")[:, 1:].unsqueeze(2)
        scalars = self.embedding.index_select(0, row[graph.numbers])
        vectors = scalars.new_zeros(graph.n_atoms, 3, self.channels)
        sizes = scalars.new_zeros(graph.n_atoms, self.channels)  # sums of the lengths of what the vectors are sums of
        for radial, update in zip(self.radial, self.update, strict=True):
            first, second, third = radial(basis).chunk(3, dim=1)
            neighbors = scalars.index_select(0, sender)
            heard = torch.zeros_like(scalars).index_add(0, receiver, first * neighbors)
            pushed = directions * (second * neighbors).unsqueeze(1) + third.unsqueeze(1) * vectors.index_select(
                0, sender
            )
            vectors = vectors + torch.zeros_like(vectors).index_add(0, receiver, pushed)
            longest = (second * neighbors).detach().abs() + third.detach().abs() * sizes.index_select(0, sender)
            sizes = sizes + torch.zeros_like(sizes).index_add(0, receiver, longest)
            scalars = scalars + update(torch.cat([heard, vectors.square().sum(1)], dim=1))
        gates = self.readout(scalars).reshape(graph.n_atoms, 3, self.channels)
        of_atoms = torch.einsum("nkc,nxc->nkx", gates, vectors)
        found = of_atoms.new_zeros(graph.n_systems, 3, 3).index_add(0, graph.system_index, of_atoms)
        summed = torch.einsum("nkc,nc->nk", gates.detach().abs(), sizes)
        summed = summed.new_zeros(graph.n_systems, 3).index_add(0, graph.system_index, summed)
        lengths = found.detach().square().sum(2).sqrt()
        noise = lengths <= _ROUNDING * torch.finfo(found.dtype).eps * summed
        return torch.where(noise.unsqueeze(2), torch.zeros_like(found), found)
