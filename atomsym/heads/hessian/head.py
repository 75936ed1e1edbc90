"""The Hessian head: blocks of atoms and pairs from equivariant features."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core import AtomGraph, ConfigError, EdgeTopology
from atomsym.heads.hessian.blocks import HessianBlocks
from atomsym.heads.hessian.config import HessianHeadConfig
from atomsym.kernels.neighbors import connect
from atomsym.kernels.segments import segment_sum
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.kernels.symmetric_contraction import SymmetricContraction, symmetric_contraction
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.nn import EquivariantLinear, Perceptron, bessel_basis, edge_lengths, polynomial_envelope
from atomsym.symmetry import Irreps, wigner_3j

_FEATURES = Irreps.parse("0e+1o+2e")
BLOCK_IRREPS = Irreps.parse(
    "0e+1e+2e"
)  # of 1o ⊗ 1o: trace, antisymmetric part (a pseudovector), symmetric traceless part
EVEN_IRREPS = Irreps.parse("0e+2e")  # of a symmetric block
ENVELOPE_ORDER = 4  # three continuous derivatives where a pair enters


class HessianHead(torch.nn.Module):
    """H = Σ_l Σ_m √(2l+1) C(1,1,l)_m f_lm, with f of l = 0, 1, 2 from the atoms and from all pairs within a cutoff.

    Features of the backbone are mixed to l ≤ 2, multiplied with each other at each atom, and coupled along each pair
    to the harmonics of its direction, with weights from the distance and both atoms' scalars. A pair's block acts as a
    spring, i.e. it is subtracted from the blocks of its two atoms as well; what is not pairwise comes from the atoms.

    Args:
        irreps: of the backbone's features; must have 0e, 1o and 2e.
        channels: of the backbone's features.
        n_species: number of different species.
        config: of the head.

    Raises:
        ConfigError: if the features lack one of the irreps.

    Source: HIP (Burger et al. 2025, arXiv 2509.21624) for blocks from l ≤ 2 features and the symmetric assembly. Here
    the antisymmetric part is a pseudovector that pairs couple to (in O(3) no feature of natural parity has it), pairs
    act as springs, and one coupling takes the place of the two attention blocks.
    """

    def __init__(self, irreps: Irreps, channels: int, n_species: int, config: HessianHeadConfig) -> None:
        super().__init__()
        missing = [str(irrep) for irrep in _FEATURES if irrep not in irreps]
        if missing:
            raise ConfigError(
                f"a Hessian head needs features 0e, 1o and 2e, but the backbone has {irreps}; "
                f"give it hidden irreps or messages with {', '.join(missing)}"
            )
        width = config.channels
        self.config = config
        self.mix = EquivariantLinear(irreps, _FEATURES, channels, width)
        self.contraction = SymmetricContraction(_FEATURES, _FEATURES, config.correlation)
        self.products = torch.nn.Parameter(torch.randn(n_species, self.contraction.n_paths, width) / 2)
        self.down = EquivariantLinear(_FEATURES, _FEATURES, width, width)
        self.sender = EquivariantLinear(_FEATURES, _FEATURES, width, width)
        self.receiver = EquivariantLinear(_FEATURES, _FEATURES, width, width)
        self.product = ChannelwiseProduct.merged(_FEATURES, Irreps.spherical_harmonics(2), BLOCK_IRREPS)
        self.weights = Perceptron((config.n_radial + 2 * width, config.hidden, self.product.n_paths * width))
        self.pair_readout = EquivariantLinear(BLOCK_IRREPS, BLOCK_IRREPS, width, 1)
        self.gates = Perceptron((width, config.hidden, 2 * width))
        self.atom_readout = EquivariantLinear(EVEN_IRREPS, EVEN_IRREPS, width, 1)

    def forward(self, features: Tensor, species: Tensor, graph: AtomGraph) -> HessianBlocks:
        """Blocks of all atoms and pairs.

        Args:
            features: of the backbone, shape (n_atoms, irreps.dim, channels).
            species: position of each atom's element, shape (n_atoms,), int64.
            graph: the atoms; its edges are not looked at.
        """
        pairs = connect(graph, self.config.cutoff)
        mixed = self.mix(features)
        mixed = mixed + self.down(symmetric_contraction(mixed, self.products, species, self.contraction))
        found = self._pairs(mixed, pairs)
        return HessianBlocks(self._atoms(mixed, found, pairs), found, pairs)

    def _pairs(self, features: Tensor, pairs: AtomGraph) -> Tensor:
        receiver, sender = pairs.edge_index
        vectors = pairs.edge_vectors()
        distance = edge_lengths(vectors)
        ends = self.sender(features)[sender] + self.receiver(features)[receiver]
        coupled = tensor_product_convolution(
            ends, spherical_harmonics(vectors, 2), self._weights(features, distance, pairs),
            EdgeTopology.one_to_one(pairs.n_edges, pairs.device), self.product,
        )  # fmt: skip
        return self.config.scale * _blocks(self.pair_readout(coupled).squeeze(-1), BLOCK_IRREPS)

    def _weights(self, features: Tensor, distance: Tensor, pairs: AtomGraph) -> Tensor:
        """One weight for each pair, path and channel; zero with three derivatives at the cutoff."""
        config = self.config
        receiver, sender = pairs.edge_index
        scalars = features[:, 0]
        basis = bessel_basis(distance, config.cutoff, config.n_radial)
        given = torch.cat((basis, scalars[receiver], scalars[sender]), dim=1)
        envelope = polynomial_envelope(distance, config.cutoff, order=ENVELOPE_ORDER)
        weights = self.weights(given) * envelope.unsqueeze(1)
        return weights.unflatten(1, (self.product.n_paths, config.channels))

    def _atoms(self, features: Tensor, pairs: Tensor, graph: AtomGraph) -> Tensor:
        """Symmetric blocks: what the springs of the pairs take away, and the atoms' own."""
        scalar, tensor = self.gates(features[:, 0]).unflatten(1, (2, -1)).unbind(1)
        gated = torch.cat((scalar.unsqueeze(1) * features[:, :1], tensor.unsqueeze(1) * features[:, 4:]), dim=1)
        own = self.config.scale * _blocks(self.atom_readout(gated).squeeze(-1), EVEN_IRREPS)
        receiver, sender = graph.edge_index
        symmetric = (0.5 * (pairs + pairs.transpose(1, 2))).flatten(1)
        sums = segment_sum(symmetric, receiver, graph.n_atoms)
        sums = sums.index_add(0, sender, symmetric)
        return own - sums.unflatten(1, (3, 3))


def _blocks(components: Tensor, irreps: Irreps) -> Tensor:
    """(n, irreps.dim) → (n, 3, 3), an isometry: |block|² = Σ |f_lm|²."""
    basis = block_basis(irreps, components.dtype).to(components.device)
    return torch.einsum("acm,nm->nac", basis, components)


def block_basis(irreps: Irreps, dtype: torch.dtype) -> Tensor:
    """Matrices that the components of a block multiply, shape (3, 3, irreps.dim)."""
    return torch.cat([(2 * i.degree + 1) ** 0.5 * wigner_3j(1, 1, i.degree) for i in irreps], dim=2).to(dtype)
