"""A linear map with weights of its own for each species: how a layer's input skips to its output."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.kernels.matrix_product import matrix_product
from atomsym.symmetry import Irreps


class SpeciesLinear(torch.nn.Module):
    """y[n, s, m, d] = Σ_c x[n, s, m, c] W_s[z_n, c, d] / sqrt(channels · number of species), for irreps on both sides.

    The factor counts the species too, as a product of the features with one-hot vectors of the species would.

    Args:
        irreps_in: slots of the input, none twice.
        irreps_out: slots of the output; may repeat, each with weights of its own. Those that the input lacks are zero.
        channels: of both sides.
        n_species: number of different species.

    Attributes:
        weights: one per output slot whose irrep the input has, in the order of the output, shape (n_species, channels,
            channels).

    Source: the self-connection of NequIP (Batzner et al. 2022) and the residual connection of MACE (Batatia et al.
    2022).

    Example:
        >>> layer = SpeciesLinear(Irreps.parse("0e"), Irreps.parse("0e+1o"), 4, 2)
        >>> layer(torch.zeros(3, 1, 4), torch.tensor([0, 1, 1])).shape
        torch.Size([3, 4, 4])
    """

    def __init__(self, irreps_in: Irreps, irreps_out: Irreps, channels: int, n_species: int) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out, self.channels, self.n_species = irreps_in, irreps_out, channels, n_species
        places = dict(zip(irreps_in, irreps_in.slices, strict=True))
        self._sources = [(irrep, places.get(irrep)) for irrep in irreps_out]
        n_weights = sum(place is not None for _, place in self._sources)
        self.weights = torch.nn.ParameterList(torch.randn(n_species, channels, channels) for _ in range(n_weights))
        self.factor = (channels * n_species) ** -0.5

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        """Apply it.

        Args:
            features: shape (n, irreps_in.dim, channels).
            species: index of each node's species, shape (n,), int64.

        Returns:
            Shape (n, irreps_out.dim, channels). Differentiable any number of times.

        Compiled code takes a copy of its matrix for each node, since groups of data-dependent size are beyond it.
        """
        if self.n_species == 1:
            return self._mixed(features, 0)
        if torch.compiler.is_compiling():
            return self._mixed(features, species)
        order = torch.argsort(species, stable=True)
        counts = torch.bincount(species, minlength=self.n_species).tolist()
        groups = features[order].split(counts)
        mixed = [self._mixed(group, s) for s, group in enumerate(groups) if group.shape[0]]
        if not mixed:
            return features.new_zeros(0, self.irreps_out.dim, self.channels)
        together = mixed[0] if len(mixed) == 1 else torch.cat(mixed)
        return together[torch.argsort(order)]

    def by_species(self, table: Tensor) -> Tensor:
        """The map of features that depend on the species only.

        Args:
            table: features of each species, shape (n_species, irreps_in.dim, channels).

        Returns:
            Shape (n_species, irreps_out.dim, channels).
        """
        return torch.cat([self._mixed(table[s : s + 1], s) for s in range(self.n_species)])

    def _mixed(self, features: Tensor, s: int | Tensor) -> Tensor:
        """Features times the matrices of one species, or of a species for each node."""
        n, results, weights = features.shape[0], [], iter(self.weights)
        for irrep, place in self._sources:
            if place is None:
                results.append(features.new_zeros(n, irrep.dim, self.channels))
                continue
            weight: Tensor = next(weights)
            matrices = weight[s] * self.factor
            block = features[:, place]
            results.append(matrix_product(block, matrices) if matrices.ndim == 2 else block @ matrices)
        return results[0] if len(results) == 1 else torch.cat(results, dim=1)

    def extra_repr(self) -> str:
        return f"{self.irreps_in} -> {self.irreps_out}, {self.channels} channels, {self.n_species} species"
