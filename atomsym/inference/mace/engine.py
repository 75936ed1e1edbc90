"""MACE's energies and their derivatives for the edges, forward and in reverse by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.inference.engine import Engine, NotCoveredError, register_engine
from atomsym.inference.linear import LinearMap
from atomsym.inference.mace.density import Density, add_repulsion
from atomsym.inference.mace.layer import Convolution, EdgeData, Products, SpeciesMap, SpeciesRows
from atomsym.inference.mace.readout import SLOPES, ReadoutMap
from atomsym.inference.mace.tables import table_start
from atomsym.kernels.spherical_harmonics.kernels import cpp_values, cpp_vjp
from atomsym.kernels.tabulated_convolution.native import MAX_DEGREE
from atomsym.models import Potential
from atomsym.models.mace import MACE, MACEConfig
from atomsym.models.mace.layer import Interaction, ProductBasis, Readout
from atomsym.nn import SpeciesLinear

_COMPONENT = 0  # normalisation of the harmonics, as the kernels number them


@dataclass(eq=False)
class _Layer:
    """One layer's maps, and what its reverse sweep needs of the forward one.

    Attributes:
        up: of the features; None in the first layer, whose tables contain it.
        convolution, products: sums of messages, and their products.
        skip: by species, of the features (``residual``) or of the messages; None in a residual first layer.
        rows: what skips a residual first layer, for each species, (n_species, features.dim, channels), or None.
        readout: of the features that leave, or None.
    """

    up: LinearMap | None
    convolution: Convolution
    products: Products
    residual: bool
    skip: SpeciesMap | None
    rows: Tensor | None
    readout: ReadoutMap | None


@dataclass(eq=False)
class _Kept:
    """Of one layer: senders' features, messages before the products and before their species' map, readout state,
    and the features that leave."""

    sent: Tensor | None
    messages: Tensor
    divided: Tensor
    density: Density | None
    read: list[Tensor]
    features: Tensor


@register_engine("mace")
class MACEEngine(Engine):
    """E and dE/dr of MACE without autograd: radial networks from tables, the first layer's linear maps folded in.

    Agreement with the potential is limited by the tables: their error is at most 1e-11 of the largest weight and slope
    in double precision (1e-8 where the model has two derivatives only), 3e-7 in single.
    """

    def __init__(self, potential: Potential, dtype: torch.dtype) -> None:
        super().__init__(potential, dtype)
        self._model = model = cast(MACE, potential)
        self._start = table_start(model)
        self._layers = [self._compiled(layer) for layer in range(model.config.n_layers)]
        self._species = torch.full((0,), -1), SpeciesRows(torch.zeros(0, dtype=torch.int64), ())

    @classmethod
    def supports(cls, potential: Potential) -> bool:
        """Whether the kernels know the product of a potential and go to its degrees."""
        config = cast(MACE, potential).config
        degree = max(config.max_degree, *(irreps.max_degree for irreps in map(config.features, range(config.n_layers))))
        known = config.product == "clebsch-gordan" and config.readout_activation in SLOPES
        return known and degree <= MAX_DEGREE

    def _compiled(self, layer: int) -> _Layer:
        model, dtype = self._model, self.dtype
        interaction = cast(Interaction, model.interactions[layer])
        basis = cast(ProductBasis, model.products[layer])
        first, residual = layer == 0, interaction.residual
        skip = rows = None
        if first and residual:
            embedded = model.embedding.detach().double() * len(model.elements) ** -0.5
            rows = _by_species(interaction.skip, embedded).to(dtype)
        else:
            skip = SpeciesMap(interaction.skip, dtype)
        readers = [number for number in range(model.config.n_layers) if _reads(model.config, number)]
        readout = None
        if layer in readers:
            readout = ReadoutMap(cast(Readout, model.readouts[readers.index(layer)]), dtype)
        up = None if first else LinearMap(interaction.up, 1.0, dtype)
        return _Layer(up, Convolution(model, layer, dtype), Products(basis, dtype), residual, skip, rows, readout)

    def edge_gradients(self, graph: AtomGraph) -> tuple[Tensor, Tensor, Tensor]:
        """See ``Engine``.

        Raises:
            NotCoveredError: if atoms are closer than the tables reach.
        """
        vectors, rows, edges = self._prepared(graph)
        energies, kept = self._forward(rows, edges, graph)
        self._reverse(rows, edges, kept)
        if self._model.config.repulsion != "none":
            energies = add_repulsion(self._model, graph, edges, energies)
        degree = self._model.config.max_degree
        slopes = cpp_vjp(edges.harmonics_gradient, vectors, degree, True, _COMPONENT)
        slopes.addcmul_(vectors, (edges.distance_gradient / edges.distance).unsqueeze(1))
        return self._model.total(energies, rows.species), vectors, slopes

    def energies(self, graph: AtomGraph) -> Tensor:
        """See ``Engine``; the forward sweep alone."""
        _, rows, edges = self._prepared(graph)
        energies, _ = self._forward(rows, edges, graph)
        if self._model.config.repulsion != "none":
            energies = add_repulsion(self._model, graph, edges, energies)
        return self._model.total(energies, rows.species)

    gives_features = True

    def features(self, graph: AtomGraph) -> Tensor:
        """See ``Engine`` and ``MACE.feature_irreps``; the forward sweep alone."""
        _, rows, edges = self._prepared(graph)
        _, kept = self._forward(rows, edges, graph, read=False)
        model = self._model
        if len(kept) > 1:
            entering = kept[-2].features
        else:
            embedding = model.embedding.detach().to(self.dtype) * len(model.elements) ** -0.5
            entering = embedding[rows.species].unsqueeze(1)
        return torch.cat((entering, kept[-1].messages, kept[-1].features), dim=1)

    def needed_bytes(self, graph: AtomGraph) -> int:
        """See ``Engine``. Features and messages of all layers stay; of the widest arrays three exist at a time."""
        channels, itemsize = self._model.config.channels, torch.finfo(self.dtype).bits // 8
        widths = [layer.convolution.product.out_dim for layer in self._layers]
        per_atom = 3 * max(widths) + sum(
            3 * layer.products.contraction.dim_in + 6 * layer.products.contraction.dim_out for layer in self._layers
        )
        per_edge = 4 * (self._model.config.max_degree + 1) ** 2 + 40
        return itemsize * (graph.n_atoms * per_atom * channels + graph.n_edges * per_edge)

    def _prepared(self, graph: AtomGraph) -> tuple[Tensor, SpeciesRows, EdgeData]:
        """Edge vectors, species, and what the layers read of the edges."""
        vectors = graph.edge_vectors().detach()
        distance = torch.linalg.vector_norm(vectors, dim=1)
        if graph.n_edges and float(distance.min()) < self._start:
            raise NotCoveredError(f"atoms closer than {self._start} Å are left to autograd")
        rows = self._rows(graph.numbers)
        return vectors, rows, self._edges(graph, vectors, distance, rows.species)

    def table_counts(self) -> list[int]:
        """Number of tables that each layer has by now."""
        return [len(layer.convolution.tables.tables) for layer in self._layers]

    def _rows(self, numbers: Tensor) -> SpeciesRows:
        """Species and their atoms; kept while the atoms stay the same."""
        known, rows = self._species
        if not torch.equal(known, numbers):
            rows = SpeciesRows.of(self._model.species(numbers))
            self._species = numbers.clone(), rows
        return rows

    def _edges(self, graph: AtomGraph, vectors: Tensor, distance: Tensor, species: Tensor) -> EdgeData:
        topology = graph.topology
        pairs = species[topology.receiver] * len(self._model.elements) + species[topology.sender]
        harmonics = cpp_values(vectors, self._model.config.max_degree, True, _COMPONENT)
        return EdgeData(topology, pairs, distance, harmonics, torch.zeros_like(distance), torch.zeros_like(harmonics))

    def _forward(
        self, rows: SpeciesRows, edges: EdgeData, graph: AtomGraph, *, read: bool = True
    ) -> tuple[Tensor, list[_Kept]]:
        """Energies of the atoms before repulsion and shifts (zero unless ``read``), and what the layers keep."""
        energies = edges.distance.new_zeros(graph.n_atoms)
        features, kept = energies, []  # the first layer reads none
        for number, layer in enumerate(self._layers):
            sent = None if layer.up is None else layer.up.forward(features)
            divided = layer.convolution.forward(sent, edges)
            density = self._density(number, graph, edges)
            if density is not None:
                divided = divided / density.divisor
            messages, skipped = divided, None
            if layer.rows is not None:
                skipped = layer.rows[rows.species]
            elif layer.skip is not None and layer.residual:
                skipped = layer.skip.forward(features, rows)
            elif layer.skip is not None:
                messages = layer.skip.forward(divided, rows)
            features = layer.products.forward(messages, rows)
            if skipped is not None:
                features += skipped
            inner: list[Tensor] = []
            if read and layer.readout is not None:
                found, inner = layer.readout.forward(features[:, 0])
                energies = energies + found
            kept.append(_Kept(sent, messages, divided, density, inner, features))
        return energies, kept

    def _density(self, layer: int, graph: AtomGraph, edges: EdgeData) -> Density | None:
        network = cast(Interaction, self._model.interactions[layer]).density
        return None if network is None else Density.of(self._model, network, graph, edges)

    def _reverse(self, rows: SpeciesRows, edges: EdgeData, kept: list[_Kept]) -> None:
        """Adds the gradients of the edges to ``edges``, from the last layer to the first."""
        last = kept[-1].messages
        gradient = last.new_zeros(last.shape[0], self._layers[-1].products.linear.dim_out, last.shape[2])
        for layer, state in zip(self._layers[::-1], kept[::-1], strict=True):
            if layer.readout is not None:
                gradient[:, 0] += layer.readout.reverse(state.read, self._model.config.scale)
            of_messages = layer.products.reverse(gradient, state.messages, rows)
            if layer.skip is not None and not layer.residual:
                of_messages = layer.skip.reverse(of_messages, rows)
            if state.density is not None:
                of_messages = state.density.reverse(of_messages, state.divided, edges)
            of_sent = layer.convolution.reverse(of_messages, state.sent, edges)
            if layer.up is None or of_sent is None:
                return
            below = layer.skip.reverse(gradient, rows) if layer.skip is not None and layer.residual else None
            gradient = layer.up.reverse(of_sent)
            if below is not None:
                gradient += below


def _reads(config: MACEConfig, layer: int) -> bool:
    return layer == config.n_layers - 1 or not config.last_readout_only


def _by_species(skip: SpeciesLinear, embedded: Tensor) -> Tensor:
    """What a residual first layer adds to the features of each species, in double precision."""
    return SpeciesMap(skip, torch.float64).forward(embedded.unsqueeze(1), SpeciesRows.of(torch.arange(skip.n_species)))
