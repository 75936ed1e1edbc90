"""Radial weights of MACE's layers as tables, made for the pairs of species that occur."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from atomsym.kernels.tabulated_convolution import DEGREES, RadialTable, tabulate
from atomsym.models.mace import MACE
from atomsym.models.mace.layer import Interaction

START = 0.1
"""Å; where the tables begin. Closer atoms are left to the potential itself."""

AGNESI_START = 0.2
"""Å; of the tables under the Agnesi transform, which has no derivative at 0."""

_SMOOTHEST = 4  # order of the zero at the cutoff that makes three derivatives continuous
_FIT = {torch.float32: 3e-7, torch.float64: 1e-10}
"""Error of the tables. In single precision rounding hides it. In double precision tables are splines, since second and
third derivatives of the energy have to be smooth too (F-11, F-16), and each derivative costs two digits (F-10)."""

_FIT_ROUGHER = {torch.float32: 3e-7, torch.float64: 1e-8}
"""The same where the model itself promises two derivatives only; with a distance transform every pair of elements needs
a table of its own."""


def table_start(model: MACE) -> float:
    """Smallest distance that the tables of a model cover."""
    return AGNESI_START if model.config.distance_transform == "agnesi" else START


class RadialFunctions:
    """The weights of a layer as functions of the distance, in double precision, for each pair of species.

    Args:
        model: the potential.
        layer: number of the layer.
    """

    def __init__(self, model: MACE, layer: int) -> None:
        interaction = cast(Interaction, model.interactions[layer])
        self._basis = model.radial_basis
        self._network = copy.deepcopy(interaction.radial).double().requires_grad_(False)
        self._shape = (interaction.channelwise.n_paths, model.config.channels)
        self._on_weights = model.config.cutoff_on_weights
        self._elements = model.elements

    def __call__(self, receiver: int, sender: int) -> Callable[[Tensor], Tensor]:
        """Distances (n,) → weights (n, n_paths, channels) for species receiver and sender."""
        numbers = [torch.tensor(self._elements[species]) for species in (receiver, sender)]

        def weights(distance: Tensor) -> Tensor:
            basis, cutoff = self._basis(distance, *(number.expand(distance.shape) for number in numbers))
            found: Tensor = self._network(basis)
            if self._on_weights:
                found = found * cutoff.unsqueeze(-1)
            return found.unflatten(1, self._shape)

        return weights


class TableSet:
    """Tables of one layer, one for each kind of edge, made when an edge of that kind is first seen.

    Args:
        make: makes the table of (receiver species, sender species).
        kind: what the table depends on: maps such a pair to a key; pairs of equal keys share a table.
        n_species: number of species of the model.
    """

    def __init__(
        self, make: Callable[[int, int], RadialTable], kind: Callable[[int, int], object], n_species: int
    ) -> None:
        self._make, self._kind, self._n_species = make, kind, n_species
        self._known: dict[object, int] = {}
        self._number = torch.full((n_species * n_species,), -1, dtype=torch.int64)
        self.tables: list[RadialTable] = []
        self._single = len({kind(r, s) for r in range(min(n_species, 2)) for s in range(min(n_species, 2))}) == 1

    @property
    def nbytes(self) -> int:
        return sum(table.nbytes for table in self.tables)

    def kinds(self, pairs: Tensor) -> Tensor | None:
        """Number of each edge's table, or None if one serves all.

        Args:
            pairs: receiver species · n_species + sender species, shape (n_edges,).
        """
        if self._single:
            if not self.tables:
                self._add(0)
            return None
        numbers = self._number[pairs]
        if numbers.numel() and int(numbers.min()) < 0:
            for pair in pairs[numbers < 0].unique().tolist():
                self._add(pair)
            numbers = self._number[pairs]
        return numbers

    def _add(self, pair: int) -> None:
        receiver, sender = divmod(pair, self._n_species)
        key = self._kind(receiver, sender)
        if key not in self._known:
            table = self._make(receiver, sender)
            self._known[key] = len(self.tables)
            self.tables.append(table)
        self._number[pair] = self._known[key]


def layer_tables(model: MACE, layer: int, dtype: torch.dtype) -> TableSet:
    """The plain tables of a layer: one for all edges, or with a distance transform one a pair of elements."""
    functions, start = RadialFunctions(model, layer), table_start(model)

    def make(receiver: int, sender: int) -> RadialTable:
        return tabulate(
            functions(receiver, sender),
            start,
            model.cutoff,
            dtype=dtype,
            tolerance=tolerance(model, dtype),
            contact=contact(model),
            smooth=dtype == torch.float64,
        )

    return TableSet(make, pair_kind(model), len(model.elements))


def tolerance(model: MACE, dtype: torch.dtype) -> float:
    """Largest error of a table."""
    return (_FIT if contact(model) == _SMOOTHEST else _FIT_ROUGHER)[dtype]


def contact(model: MACE) -> int:
    """Order of the zero of the radial weights at the cutoff: three of the envelope, one more of Bessel functions."""
    config = model.config
    bessel = config.radial_basis == "bessel" and config.distance_transform == "none" and not config.frequencies
    return _SMOOTHEST if bessel and not config.cutoff_on_weights else 3


def pair_kind(model: MACE) -> Callable[[int, int], object]:
    """What radial weights depend on: nothing but the distance, or the unordered pair of elements."""
    if model.config.distance_transform == "none" and not model.config.hold_below:
        return lambda receiver, sender: ()
    return lambda receiver, sender: (min(receiver, sender), max(receiver, sender))


def folded_tables(model: MACE, rows: Tensor, mixing: Tensor, dtype: torch.dtype) -> TableSet:
    """Tables of the first layer, with the senders' features and the linear map behind the sum folded in.

    Features of atoms that have seen no neighbors depend on their species alone, and the map acts on channels:
    w'[p, d] = Σ_c x[s, c] w[p, c] mixing[p, c, d]. The coefficients of the polynomials are mixed like the weights.

    Args:
        model: the potential.
        rows: senders' features, shape (n_species, channels), double precision.
        mixing: shape (n_paths, channels, channels), double precision.
        dtype: of the tables.
    """
    functions, start, kind = RadialFunctions(model, 0), table_start(model), pair_kind(model)
    plain: dict[object, RadialTable] = {}

    def make(receiver: int, sender: int) -> RadialTable:
        key = kind(receiver, sender)
        if key not in plain:
            plain[key] = tabulate(
                functions(receiver, sender),
                start,
                model.cutoff,
                tolerance=tolerance(model, dtype),
                contact=contact(model),
                smooth=dtype == torch.float64,
                degree=DEGREES[dtype],
            )
        return _folded(plain[key], rows[sender], mixing, dtype)

    return TableSet(make, lambda receiver, sender: (kind(receiver, sender), sender), len(model.elements))


def _folded(table: RadialTable, row: Tensor, mixing: Tensor, dtype: torch.dtype) -> RadialTable:
    powers = table.coefficients.transpose(2, 3).flatten(3)[..., : table.channels]  # interval, path, power, channel
    mixed = torch.einsum("ipnc,pcd->ipnd", powers * row, mixing)
    return RadialTable.from_powers(mixed.to(dtype), table.start, table.stop, table.error)
