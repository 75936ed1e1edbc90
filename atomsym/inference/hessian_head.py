"""Predicted Hessians without autograd: features from an engine, and the Hessian head with its weights folded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.core import AtomGraph, EdgeTopology, InputError
from atomsym.heads import HessianBlocks, HessianHead, HessianPotential
from atomsym.heads.hessian.head import BLOCK_IRREPS, ENVELOPE_ORDER, EVEN_IRREPS, block_basis
from atomsym.inference.engine import Engine, engine_for
from atomsym.kernels.irreps_linear import irreps_linear
from atomsym.kernels.neighbors import connect
from atomsym.kernels.spherical_harmonics.kernels import cpp_values
from atomsym.kernels.symmetric_contraction import native as contraction_kernel
from atomsym.kernels.tensor_product import tensor_product_convolution
from atomsym.nn import ACTIVATIONS, EquivariantLinear, Perceptron, edge_lengths, polynomial_envelope

_COMPONENT = 0  # normalisation of the harmonics, as the kernels number them


class HessianEngine:
    """The Hessians of ``HessianPotential.hessians`` without autograd, for a potential whose weights do not change.

    Features of the atoms come from the inference engine of the backbone. Of the head, linear maps of the same input
    are one, what the networks of the pairs do to an atom's scalars is done once for each atom, and the readout of pairs
    and the scale are part of their last layer. Agreement with the potential is limited by the engine's tables.

    Args:
        potential: on the CPU; never changed.
        engine: of its backbone, in double precision.
    """

    def __init__(self, potential: HessianPotential, engine: Engine) -> None:
        self._potential, self._engine = potential, engine
        self._head = _FoldedHead(potential.head, engine.dtype)
        self._tensors = (*potential.parameters(), *potential.buffers())
        self._versions = self._current_versions()
        self._places: _Places | None = None

    @classmethod
    def of(cls, potential: HessianPotential, engine: Engine | None = None) -> HessianEngine | None:
        """One of a potential in double precision on the CPU; None if its backbone has no engine that gives features.

        Args:
            potential: see above.
            engine: of the backbone, where there is one already.
        """
        made = engine or engine_for(potential, torch.float64)
        return cls(potential, made) if made is not None and made.gives_features else None

    def outdated(self) -> bool:
        """Whether a weight has been changed in place since this was made."""
        return self._versions != self._current_versions() or self._engine.outdated()

    def _current_versions(self) -> list[int]:
        return [tensor._version for tensor in self._tensors]

    def hessians(self, graph: AtomGraph, *, sum_rule: bool = True) -> list[Tensor]:
        """Predicted Hessians of all systems, detached; see ``HessianPotential.hessians``.

        Args:
            graph: one system or a batch on the CPU, in the engine's dtype and without strain; edges are made if they
                are missing.
            sum_rule: make rows and columns sum to zero for each axis.

        Raises:
            InputError: if the graph does not fit the potential or the engine.
            NotCoveredError: if the engine does not cover the structure; the potential does.
        """
        if graph.dtype != self._engine.dtype or graph.device.type != "cpu" or graph.strain is not None:
            raise InputError(f"Hessians are predicted of unstrained graphs in {self._engine.dtype} on the cpu")
        with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
            connected = graph if graph.cutoff is not None else connect(graph, self._potential.cutoff)
            self._potential.require_edges(connected)
            features = self._engine.features(connected)
            species = self._potential.backbone.species(connected.numbers)
            pairs = connect(connected, self._head.cutoff)
            places = self._placed(pairs)
            atoms, blocks = self._head.blocks(features, species, pairs, places.one_to_one)
            if sum_rule and pairs.n_systems == 1:
                return [places.assembled(atoms, blocks)]
            return HessianBlocks(atoms, blocks, pairs).matrices(sum_rule=sum_rule)

    def _placed(self, pairs: AtomGraph) -> _Places:
        """Where the blocks of pairs go; kept while the same atoms are paired."""
        known = self._places
        if known is None or known.n_atoms != pairs.n_atoms or not torch.equal(known.edges, pairs.edge_index):
            self._places = known = _Places.of(pairs)
        return known


@dataclass(frozen=True, eq=False)
class _Places:
    """Where the blocks of one system's pairs go in its matrix.

    Attributes:
        edges: receivers and senders, shape (2, n_pairs).
        n_atoms: of all systems.
        one_to_one: topology in which every pair is a node of its own.
        index: places of the blocks of atoms, of pairs and of their transposes in the matrix by blocks, row after row.
    """

    edges: Tensor
    n_atoms: int
    one_to_one: EdgeTopology
    index: Tensor

    @classmethod
    def of(cls, pairs: AtomGraph) -> _Places:
        receiver, sender = pairs.edge_index
        n = pairs.n_atoms
        index = torch.cat((torch.arange(n) * (n + 1), receiver * n + sender, sender * n + receiver))
        return cls(pairs.edge_index.clone(), n, EdgeTopology.one_to_one(pairs.n_edges, pairs.device), index)

    def assembled(self, atoms: Tensor, pairs: Tensor) -> Tensor:
        """The matrix of one system with the sum rule, as ``HessianBlocks.matrices``."""
        n = self.n_atoms
        values = torch.cat((atoms, pairs, pairs.transpose(1, 2))).view(-1, 9)
        blocks = values.new_zeros(n * n, 9).index_add_(0, self.index, values).view(n, n, 9)
        if n:
            rows, columns = blocks.mean(0, keepdim=True), blocks.mean(1, keepdim=True)
            blocks = blocks - (rows + columns - rows.mean(1, keepdim=True))
        return blocks.view(n, n, 3, 3).transpose(1, 2).reshape(3 * n, 3 * n)


class _FoldedHead:
    """The head's constants, made once; the names are those of ``HessianHead``."""

    def __init__(self, head: HessianHead, dtype: torch.dtype) -> None:
        config = head.config
        self.cutoff, self._config, self._product = config.cutoff, config, head.product
        self._contraction = head.contraction
        self._products = head.products.detach().to(dtype, copy=True).contiguous()
        self._mix, self._down = _scaled(head.mix, dtype), _scaled(head.down, dtype)
        self._mixing, self._ends_linear = head.mix._linear, head.down._linear
        ends = torch.cat((_scaled(head.sender, dtype), _scaled(head.receiver, dtype)), dim=2)
        self._ends = ends.contiguous()
        first, last = _layers(head.weights, dtype)
        n, width = config.n_radial, config.channels
        of_basis, of_receiver, of_sender = first.split((n, width, width))
        self._basis = (math.sqrt(2 / config.cutoff) * of_basis).contiguous()
        self._frequencies = torch.arange(1, n + 1, dtype=dtype) * (math.pi / config.cutoff)
        gate, gates = _layers(head.gates, dtype)
        self._scalars = torch.cat(
            (of_receiver, of_sender, gate), dim=1
        ).contiguous()  # all that reads an atom's scalars
        self._hidden = config.hidden
        self._weights = (last.unflatten(1, (-1, width)) * self._readout(head, dtype)).flatten(1).contiguous()
        readout = _scaled(head.atom_readout, dtype).squeeze(2)  # of the scalars and of the tensors
        self._gates = (gates.unflatten(1, (2, width)) * readout).flatten(1).contiguous()
        self._pair_basis = (config.scale * block_basis(BLOCK_IRREPS, dtype)).flatten(0, 1).T.contiguous()
        self._atom_basis = (config.scale * block_basis(EVEN_IRREPS, dtype)).flatten(0, 1).T.contiguous()

    @staticmethod
    def _readout(head: HessianHead, dtype: torch.dtype) -> Tensor:
        """Weights of the pair readout for the irrep that each path ends in, shape (n_paths, channels)."""
        readout = _scaled(head.pair_readout, dtype).squeeze(2)
        return readout[
            [BLOCK_IRREPS.items.index(head.product.irreps_out[path.index_out]) for path in head.product.paths]
        ]

    def blocks(self, features: Tensor, species: Tensor, pairs: AtomGraph, each: EdgeTopology) -> tuple[Tensor, Tensor]:
        """Blocks of atoms, shape (n_atoms, 3, 3), and of pairs, shape (n_pairs, 3, 3)."""
        mixed = irreps_linear(features, self._mix, self._mixing)
        key, dim = self._contraction.key, self._contraction.dim_out
        products = contraction_kernel.value(key, dim, species, mixed, self._products, [], [])
        mixed = mixed + irreps_linear(products, self._down, self._ends_linear)
        scalars = mixed[:, 0] @ self._scalars
        found = self._pairs(mixed, scalars, pairs, each)
        receiver, sender = pairs.edge_index
        springs = (0.5 * (found + found.transpose(1, 2))).view(-1, 9)
        atoms = self._atoms(mixed, scalars[:, 2 * self._hidden :])
        atoms.index_add_(0, receiver, springs, alpha=-1).index_add_(0, sender, springs, alpha=-1)
        return atoms.view(-1, 3, 3), found

    def _pairs(self, mixed: Tensor, scalars: Tensor, pairs: AtomGraph, each: EdgeTopology) -> Tensor:
        config, (receiver, sender) = self._config, pairs.edge_index
        vectors = pairs.edge_vectors()
        distance = edge_lengths(vectors)
        basis = (distance.unsqueeze(1) * self._frequencies).sin_().div_(distance.unsqueeze(1))  # Bessel functions
        hidden = scalars[:, : self._hidden].index_select(0, receiver)
        hidden += scalars[:, self._hidden : 2 * self._hidden].index_select(0, sender)
        hidden = torch.nn.functional.silu(hidden.addmm_(basis, self._basis))
        hidden *= polynomial_envelope(distance, config.cutoff, order=ENVELOPE_ORDER).unsqueeze(1)  # of all weights
        weights = (hidden @ self._weights).unflatten(1, (self._product.n_paths, config.channels))
        ends = irreps_linear(mixed, self._ends, self._ends_linear)
        of_sender, of_receiver = ends.split(config.channels, dim=2)
        given = of_sender.index_select(0, sender)
        given += of_receiver.index_select(0, receiver)
        harmonics = cpp_values(vectors, 2, True, _COMPONENT)
        coupled = tensor_product_convolution(given, harmonics, weights, each, self._product)
        return (coupled.sum(2) @ self._pair_basis).view(-1, 3, 3)

    def _atoms(self, mixed: Tensor, gate: Tensor) -> Tensor:
        """The atoms' own blocks, shape (n_atoms, 9)."""
        gates = (torch.nn.functional.silu(gate) @ self._gates).unflatten(1, (2, -1))
        scalar = (gates[:, 0] * mixed[:, 0]).sum(1, keepdim=True)
        tensor = (mixed[:, 4:] @ gates[:, 1].unsqueeze(2)).squeeze(2)
        return torch.cat((scalar, tensor), dim=1) @ self._atom_basis


def _scaled(layer: EquivariantLinear, dtype: torch.dtype) -> Tensor:
    """Weights of a linear map with their factors, shape (slots, channels_in, channels_out)."""
    scaled = [weight.detach().double() * weight.shape[0] ** -0.5 for weight in layer.weights]
    return torch.cat(scaled).unflatten(0, (-1, layer.channels_in)).to(dtype).contiguous()


def _layers(network: Perceptron, dtype: torch.dtype) -> list[Tensor]:
    """Matrices of a perceptron between which the bare activation acts."""
    gain = ACTIVATIONS[network.activation_name][1]
    factors = [weight.shape[0] ** -0.5 * (gain if number else 1.0) for number, weight in enumerate(network.weights)]
    return [(w.detach().double() * factor).to(dtype) for w, factor in zip(network.weights, factors, strict=True)]
