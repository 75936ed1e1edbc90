"""What pair potentials share: tables by element pair, the cutoff, and the sum of halves over directed edges."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from atomsym.core import AtomGraph, ConfigError
from atomsym.core.elements import MAX_ATOMIC_NUMBER, symbol_of
from atomsym.models.potential import Potential, PotentialConfig, PotentialOutput
from atomsym.nn import cutoff_switch, edge_lengths, polynomial_envelope

PairTable = tuple[tuple[float, ...], ...]
"""One value for each pair of elements, rows and columns in the order of ``elements``; symmetric."""


@dataclass(frozen=True)
class PairConfig(PotentialConfig):
    """Base of the descriptions of pair potentials.

    Attributes:
        onset: distance in Å up to which the pair energy is exact; from there to the cutoff ``nn.cutoff_switch`` takes
            it to zero. None: the whole range is weighted by ``nn.polynomial_envelope`` of order 4, which is smoother
            but changes the well. Either way three derivatives are continuous at the cutoff.
    """

    onset: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_elements_and_cutoff(self)
        if self.onset is not None and not 0 <= self.onset < self.cutoff:
            raise ConfigError(f"onset must be in [0, cutoff) = [0, {self.cutoff:g}) Å; found {self.onset}")

    def _set_table(self, name: str, *, minimum: float, inclusive: bool) -> None:
        """Check a pair table and store it as nested tuples of float (a file gives lists)."""
        n = len(self.elements)
        given = getattr(self, name)
        try:
            table = tuple(tuple(float(value) for value in row) for row in given)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{name} must be a table of numbers, one row per element; found {given!r}") from error
        if len(table) != n or any(len(row) != n for row in table):
            raise ConfigError(f"{name} must be a {n} x {n} table for {n} elements; found {given!r}")
        for i, row in enumerate(table):
            for j, value in enumerate(row):
                pair = f"{name}[{symbol_of(self.elements[i])}, {symbol_of(self.elements[j])}]"
                if not math.isfinite(value) or value < minimum or (value == minimum and not inclusive):
                    bound = ">=" if inclusive else ">"
                    raise ConfigError(f"{pair} is {value}; it must be finite and {bound} {minimum:g}")
                if value != table[j][i]:
                    raise ConfigError(f"{name} must be symmetric; {pair} is {value} and its mirror is {table[j][i]}")
        object.__setattr__(self, name, table)


class PairPotential(Potential):
    """Energies E_i = ½ Σ_j w(d_ij) u(d_ij) over the edges of atom i; a subclass gives u.

    Edges at and beyond the cutoff contribute exactly nothing, in value and in every derivative. An element that the
    config does not list gives NaN, never another element's parameters. Below ``core`` distances are rounded off as in
    ``nn.edge_lengths``, so that atoms that overlap have finite energies and forces. Differentiable any number of times.

    Attributes:
        core: Å; structures that pass validation have no shorter edge.
    """

    core = 0.1
    config: PairConfig

    def __init__(self, config: PairConfig) -> None:
        super().__init__(config)
        row = torch.full((MAX_ATOMIC_NUMBER + 1,), len(config.elements), dtype=torch.int64)
        row[list(config.elements)] = torch.arange(len(config.elements))
        self.register_buffer("_row", row, persistent=False)

    def pair_energy(self, distance: Tensor, receiver_number: Tensor, sender_number: Tensor) -> Tensor:
        """Energy of each pair without the cutoff, shape (n_edges,), eV.

        Args:
            distance: shape (n_edges,), Å, > 0.
            receiver_number, sender_number: atomic numbers, shape (n_edges,), int64.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement pair_energy")

    def forward(self, graph: AtomGraph) -> PotentialOutput:
        """Energies of the atoms, shape (n_atoms,), eV; the larger dtype of positions and parameters."""
        self.require_edges(graph)
        distance = edge_lengths(graph.edge_vectors(), self.core)
        receiver, sender = graph.edge_index[0], graph.edge_index[1]
        pairs = self.pair_energy(distance, graph.numbers[receiver], graph.numbers[sender]) * self._weight(distance)
        energies = torch.zeros(graph.n_atoms, dtype=pairs.dtype, device=pairs.device)
        return {"energies": energies.index_add(0, receiver, 0.5 * pairs)}

    def _weight(self, distance: Tensor) -> Tensor:
        if self.config.onset is None:
            return polynomial_envelope(distance, self.cutoff, order=4)
        return cutoff_switch(distance, self.config.onset, self.cutoff)

    def _of_pair(self, table: Tensor, receiver_number: Tensor, sender_number: Tensor) -> Tensor:
        """Entries of a table (n_elements, n_elements) for each edge; NaN for elements outside it."""
        padded = torch.nn.functional.pad(table, (0, 1, 0, 1), value=torch.nan)
        row: Any = self._row
        return padded[row[receiver_number], row[sender_number]]


def check_elements_and_cutoff(config: PotentialConfig) -> None:
    """Check the two entries that every config has, and store the elements as a tuple.

    Raises:
        ConfigError: unless elements are increasing atomic numbers and the cutoff is positive and finite.
    """
    elements = tuple(config.elements)
    numbers = all(isinstance(number, int) and 1 <= number <= MAX_ATOMIC_NUMBER for number in elements)
    if not elements or not numbers or any(a >= b for a, b in pairwise(elements)):
        raise ConfigError(f"elements must be increasing atomic numbers from 1 to {MAX_ATOMIC_NUMBER}; found {elements}")
    if not (math.isfinite(config.cutoff) and config.cutoff > 0):
        raise ConfigError(f"cutoff must be a positive number in Å; found {config.cutoff}")
    object.__setattr__(config, "elements", elements)
