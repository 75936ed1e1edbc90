"""Protostructures as tensors: the form in which all generators of them take their training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from atomsym.core import InputError
from atomsym.symmetry.wyckoff import Protostructure
from atomsym.symmetry.wyckoff.relabelling import relabellings
from atomsym.symmetry.wyckoff.table import LETTERS, N_GROUPS


class ProtostructureBatch(NamedTuple):
    """Protostructures of n crystals, their orbits padded to the longest, in no particular order.

    Attributes:
        groups: space-group numbers, shape (n,), int64.
        elements: atomic number of each orbit, shape (n, most_orbits), int64; 0 where there is no orbit.
        positions: index of its Wyckoff position in the table of the group (0 is letter a), same shape; -1 where there
            is no orbit.
        properties: known properties of the crystals, shape (n, n_properties), float64; NaN where one is not known.
    """

    groups: Tensor
    elements: Tensor
    positions: Tensor
    properties: Tensor

    @property
    def present(self) -> Tensor:
        """Which entries are orbits, shape (n, most_orbits), bool."""
        return self.positions >= 0

    def select(self, rows: Tensor) -> ProtostructureBatch:
        """Some of the crystals, padded to the longest of them."""
        picked = [field.index_select(0, rows) for field in self]
        most = max(int((picked[2] >= 0).sum(dim=1).max()), 1) if len(rows) else 1
        return ProtostructureBatch(picked[0], picked[1][:, :most], picked[2][:, :most], picked[3])

    def to(self, device: torch.device | str) -> ProtostructureBatch:
        """The same on another device."""
        return ProtostructureBatch(*(field.to(device) for field in self))


def batch_of(
    protostructures: Sequence[Protostructure],
    properties: Sequence[Mapping[str, float]] = (),
    names: Sequence[str] = (),
) -> ProtostructureBatch:
    """A batch on the CPU.

    Args:
        protostructures: of the crystals.
        properties: of the crystals, by name; a crystal may lack some. Only needed with ``names``.
        names: which properties to take, in the order of the columns.

    Raises:
        InputError: if there are names but not one mapping a crystal.

    Example:
        >>> salt = Protostructure(225, ((11, "a"), (17, "b")))
        >>> batch = batch_of([salt])
        >>> batch.elements.tolist(), batch.positions.tolist()
        ([[11, 17]], [[0, 1]])
    """
    n = len(protostructures)
    if names and len(properties) != n:
        raise InputError(f"{n} crystals need as many sets of properties; found {len(properties)}")
    most = max((len(each.orbits) for each in protostructures), default=1)
    elements, positions = np.zeros((n, most), dtype=np.int64), np.full((n, most), -1, dtype=np.int64)
    for row, each in enumerate(protostructures):
        for column, (number, letter) in enumerate(each.orbits):
            elements[row, column], positions[row, column] = number, LETTERS.index(letter)
    groups = np.array([each.space_group for each in protostructures], dtype=np.int64)
    values = np.array([[own.get(name, np.nan) for name in names] for own in properties[: n if names else 0]])
    known = values.reshape(n, len(names)) if names else np.zeros((n, 0))
    return ProtostructureBatch(*map(torch.from_numpy, (groups, elements, positions, known.astype(np.float64))))


def protostructures_of(batch: ProtostructureBatch) -> list[Protostructure]:
    """The protostructures of a batch; the inverse of ``batch_of``."""
    found = []
    for group, elements, positions in zip(*(field.tolist() for field in batch[:3]), strict=True):
        kept = [(z, place) for z, place in zip(elements, positions, strict=True) if place >= 0]
        found.append(Protostructure(group, tuple((z, LETTERS[place]) for z, place in kept)))
    return found


def relabelled(batch: ProtostructureBatch, generator: torch.Generator) -> ProtostructureBatch:
    """Each crystal described in another setting of its group, drawn evenly from all that its normalizer allows.

    Positions are exchanged, and what depends on them (site symmetries, their orientation) is looked up afterwards, so
    that it is always that of the new position.

    Args:
        batch: of crystals.
        generator: of the draws, on the CPU.
    """
    tables, numbers = (table.to(batch.groups.device) for table in _relabelling_tables())
    drawn = torch.rand(len(batch.groups), generator=generator, dtype=torch.float64).to(batch.groups.device)
    chosen = (drawn * numbers[batch.groups]).long()
    renamed = tables[batch.groups, chosen].gather(1, batch.positions.clamp(min=0))
    return batch._replace(positions=torch.where(batch.present, renamed, -1))


@cache
def _relabelling_tables() -> tuple[Tensor, Tensor]:
    """New index of each position by group and relabelling, shape (231, most, 27), and the number of relabellings."""
    groups = [relabellings(group) for group in range(1, N_GROUPS + 1)]
    tables = np.zeros((N_GROUPS + 1, max(map(len, groups)), len(LETTERS)), dtype=np.int64)
    for row, group in enumerate(groups, start=1):
        for number, permutation in enumerate(group):
            tables[row, number, : len(permutation)] = permutation
    return torch.from_numpy(tables), torch.tensor([1, *map(len, groups)])
