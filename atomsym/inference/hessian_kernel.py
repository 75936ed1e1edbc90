"""The Hessian head with its weights folded, as one compiled kernel from features of the atoms to matrices."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from atomsym.core import AtomGraph
from atomsym.heads import HessianHead
from atomsym.heads.hessian.head import BLOCK_IRREPS, ENVELOPE_ORDER, EVEN_IRREPS, block_basis
from atomsym.inference.linear import LinearMap, folded_weights
from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.native import cpu_extension, n_threads
from atomsym.kernels.neighbors import connect
from atomsym.kernels.symmetric_contraction import native as contraction_kernel
from atomsym.nn import ACTIVATIONS, Perceptron
from atomsym.symmetry import wigner_3j

_WIDEST = 64  # bytes of the widest vectors


class HessianKernel:
    """What ``HessianHead`` and the assembly of its blocks compute, for weights that do not change.

    Linear maps of the same input are one, what the networks of the pairs do to an atom's scalars is done once for each
    atom, the readout of pairs and the scale are part of their last layer, and that layer's sums over channels are done
    at the atoms (see ``kernels/cpu/hessian_head.hpp``). Pairs are listed for periodic systems only.

    Args:
        head: on the CPU; its weights are copied.
        dtype: of the arithmetic, float32 or float64.
    """

    def __init__(self, head: HessianHead, dtype: torch.dtype) -> None:
        config = head.config
        self._dtype, self._cutoff = dtype, config.cutoff
        self._mix = LinearMap(head.mix, 1.0, dtype)
        self._contraction = head.contraction
        self._products = head.products.detach().to(dtype, copy=True).contiguous()
        extension, name = cpu_extension(), str(dtype).removeprefix("torch.")
        self._function: Any = getattr(extension, f"hessian_head_{name}")
        self._weights = _folded(head, dtype, getattr(extension, f"panel_width_{name}"))
        hidden = self._weights["radial"].shape[1]
        n_couplings, n_paths = self._weights["coupling"].shape[0], head.product.n_paths
        self._sizes = [config.channels, hidden, config.n_radial, n_paths, n_couplings, ENVELOPE_ORDER]
        self._addresses = [self._weights[entry].data_ptr() for entry in _ORDER]

    def matrices(self, features: Tensor, species: Tensor, graph: AtomGraph, *, sum_rule: bool) -> list[Tensor]:
        """The Hessians of all systems, as ``HessianBlocks.matrices`` gives them.

        Args:
            features: of the backbone, shape (n_atoms, irreps.dim, channels).
            species: position of each atom's element, shape (n_atoms,), int64.
            graph: the atoms, without strain; its edges are not looked at.
            sum_rule: make rows and columns sum to zero for each axis.
        """
        mixed = self._mix.forward(features)
        key, dim = self._contraction.key, self._contraction.dim_out
        products = contraction_kernel.value(key, dim, species, mixed, self._products, [], [])
        sizes = [graph.n_atoms] if graph.n_systems == 1 else graph.atoms_per_system.tolist()
        areas = [9 * n * n for n in sizes]
        found = recycled_empty((sum(areas),), self._dtype)
        inputs = [mixed, products, graph.positions.contiguous(), *self._pairs(graph)]
        addresses = [0 if tensor is None else tensor.data_ptr() for tensor in inputs]
        self._function(
            self._sizes, self._cutoff, self._addresses, addresses, sizes, sum_rule, found.data_ptr(), n_threads()
        )
        return [part.view(3 * n, 3 * n) for part, n in zip(found.split(areas), sizes, strict=True)]

    def _pairs(self, graph: AtomGraph) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """First pair of each receiver, senders and vectors; nothing where no direction is periodic."""
        if not bool(graph.pbc.any()):
            return None, None, None
        pairs = connect(graph, self._cutoff)
        return pairs.topology.receiver_offsets, pairs.topology.sender, pairs.edge_vectors().contiguous()


_ORDER = (
    "down", "ends", "scalars", "gates", "pairs", "radial",
    "pair_basis", "atom_basis", "coefficient", "path", "coupling",
)  # fmt: skip
"""Of the weights' addresses; see ``HeadWeights`` in the kernel."""


def _folded(head: HessianHead, dtype: torch.dtype, panel: int) -> dict[str, Tensor]:
    """The kernel's weights by their names there.

    Args:
        head: the head.
        dtype: of the weights.
        panel: columns of a panel of packed matrices.
    """
    config = head.config
    n, width, lanes = config.n_radial, config.channels, _WIDEST // dtype.itemsize
    filling = (0, -config.hidden % lanes)  # hidden layers of whole vectors; what is added stays zero
    ends = torch.cat((folded_weights(head.sender).to(dtype), folded_weights(head.receiver).to(dtype)), dim=2)
    first, last = _layers(head.weights, dtype)
    of_basis, of_receiver, of_sender = first.split((n, width, width))
    gate, gates = _layers(head.gates, dtype)
    scalars = torch.stack((of_receiver, of_sender, gate), dim=1)  # all that reads an atom's scalars
    of_pairs = last.unflatten(1, (-1, width)) * _pair_readout(head, dtype)
    readout = folded_weights(head.atom_readout).to(dtype).squeeze(2)  # of the scalars and of the tensors
    of_atoms = (gates.unflatten(1, (2, width)) * readout).flatten(1)
    path, coupling, coefficient = _couplings(head)
    return {
        "down": _packed(folded_weights(head.down).to(dtype), panel),
        "ends": _packed(ends, panel),
        "scalars": _packed(pad(scalars, filling).flatten(1), panel),
        "gates": _packed(pad(of_atoms.T, filling).T, panel),
        "pairs": _packed(pad(of_pairs.permute(1, 2, 0), filling), panel),
        "radial": pad(math.sqrt(2 / config.cutoff) * of_basis, filling).contiguous(),
        "pair_basis": (config.scale * block_basis(BLOCK_IRREPS, dtype)).flatten(0, 1).T.contiguous(),
        "atom_basis": (config.scale * block_basis(EVEN_IRREPS, dtype)).flatten(0, 1).T.contiguous(),
        "coefficient": coefficient.to(dtype),
        "path": path,
        "coupling": coupling,
    }


def _pair_readout(head: HessianHead, dtype: torch.dtype) -> Tensor:
    """Weights of the pair readout for the irrep that each path ends in, shape (n_paths, channels)."""
    readout = folded_weights(head.pair_readout).to(dtype).squeeze(2)
    ending = [head.product.irreps_out[path.index_out] for path in head.product.paths]
    return readout[[BLOCK_IRREPS.items.index(irrep) for irrep in ending]]


def _couplings(head: HessianHead) -> tuple[Tensor, Tensor, Tensor]:
    """First component and number of components that each path reads, shape (n_paths, 2); terms (a path's component),
    harmonics and components of blocks that are coupled, shape (n_couplings, 3); their coefficients."""
    product = head.product
    path, coupling, coefficient, terms = [], [], [], 0
    for entry in product.paths:
        irreps = (product.irreps_in[entry.index_in], product.irreps_edge[entry.index_edge])
        out = product.irreps_out[entry.index_out]
        matrix = entry.coefficient * wigner_3j(irreps[0].degree, irreps[1].degree, out.degree)
        edge = product.irreps_edge.slices[entry.index_edge].start
        to = product.irreps_out.slices[entry.index_out].start
        path.append((product.irreps_in.slices[entry.index_in].start, irreps[0].dim))
        for i, f, k in matrix.nonzero().tolist():
            coupling.append((terms + i, edge + f, to + k))
            coefficient.append(float(matrix[i, f, k]))
        terms += irreps[0].dim
    return torch.tensor(path), torch.tensor(coupling), torch.tensor(coefficient, dtype=torch.float64)


def _packed(matrices: Tensor, panel: int) -> Tensor:
    """Matrices (…, inner, columns) in panels as the kernels read them, (…, panels, inner, panel), filled with zeros."""
    filled = pad(matrices, (0, -matrices.shape[-1] % panel))
    return filled.unflatten(-1, (-1, panel)).transpose(-3, -2).contiguous()


def _layers(network: Perceptron, dtype: torch.dtype) -> list[Tensor]:
    """Matrices of a perceptron between which the bare activation acts."""
    gain = ACTIVATIONS[network.activation_name][1]
    factors = [weight.shape[0] ** -0.5 * (gain if number else 1.0) for number, weight in enumerate(network.weights)]
    return [(w.detach().double() * factor).to(dtype) for w, factor in zip(network.weights, factors, strict=True)]
