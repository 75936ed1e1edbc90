"""Crystals as categorical variables: the element of each point, and how often each element occupies a free position."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from atomsym.core import InputError
from atomsym.generators.batch import ProtostructureBatch
from atomsym.generators.wyformer.vocabulary import standard_vocabulary
from atomsym.symmetry.wyckoff import Protostructure
from atomsym.symmetry.wyckoff.table import LETTERS


class Layout(NamedTuple):
    """The Wyckoff positions of the groups of n crystals, one after the other: nodes of fully connected graphs.

    Attributes:
        groups: space-group number of each crystal, shape (n,).
        first: its first node, shape (n,).
        crystal: that each node belongs to, shape (n_nodes,).
        position: index in the table of the group, same shape.
        multiplicity, freedom, site_symmetry: of the position, same shape.
        row: index of the node among the points, or among the free positions, same shape.
        points: nodes without free coordinates, shape (n_points,).
        free: the other ones, shape (n_free,).
        receiver, sender: all pairs of nodes of a crystal, also a node with itself, by receiver; shape (n_pairs,).
    """

    groups: Tensor
    first: Tensor
    crystal: Tensor
    position: Tensor
    multiplicity: Tensor
    freedom: Tensor
    site_symmetry: Tensor
    row: Tensor
    points: Tensor
    free: Tensor
    receiver: Tensor
    sender: Tensor

    @property
    def point_crystals(self) -> Tensor:
        """The crystal of each point."""
        return self.crystal[self.points]

    @property
    def free_crystals(self) -> Tensor:
        """The crystal of each free position."""
        return self.crystal[self.free]


class Occupations(NamedTuple):
    """States of all variables of the crystals of a layout.

    Attributes:
        points: atomic number at each point, 0 if empty, shape (n_points,), int64.
        counts: orbits at each free position by atomic number, from hydrogen on; shape (n_free, max_element), int64.
    """

    points: Tensor
    counts: Tensor


def layout_of(groups: Tensor) -> Layout:
    """The positions of these space groups.

    Args:
        groups: numbers, 1 to 230, shape (n,), int64.

    Example:
        >>> layout = layout_of(torch.tensor([225, 2]))
        >>> len(layout.crystal), len(layout.points), len(layout.free), len(layout.receiver)
        (21, 12, 9, 225)
    """
    device = groups.device
    multiplicity, freedom, sites, sizes = (table.to(device) for table in _tables())
    own = sizes[groups]
    first = own.cumsum(0) - own
    crystal = torch.repeat_interleave(torch.arange(len(groups), device=device), own)
    nodes = torch.arange(len(crystal), device=device)
    position = nodes - first[crystal]
    where = (groups[crystal], position)
    is_free = freedom[where] > 0
    row = torch.where(is_free, is_free.cumsum(0), (~is_free).cumsum(0)) - 1
    partners = own[crystal]
    receiver = torch.repeat_interleave(nodes, partners)
    sender = torch.arange(len(receiver), device=device) - (partners.cumsum(0) - partners)[receiver]
    return Layout(
        groups, first, crystal, position, multiplicity[where], freedom[where], sites[where], row,
        nodes[~is_free], nodes[is_free], receiver, sender + first[crystal[receiver]],
    )  # fmt: skip


def occupations_of(batch: ProtostructureBatch, layout: Layout, max_element: int, max_count: int) -> Occupations:
    """The variables of crystals.

    Args:
        batch: the crystals.
        layout: of their groups.
        max_element, max_count: the largest states.

    Raises:
        InputError: if a crystal has a heavier element, or more orbits of one element at one position.
    """
    crystals, columns = batch.present.nonzero(as_tuple=True)
    elements, positions = batch.elements[crystals, columns], batch.positions[crystals, columns]
    if len(elements) and int(elements.max()) > max_element:
        raise InputError(f"a crystal has element {int(elements.max())}; the model knows those up to {max_element}")
    nodes = layout.first[crystals] + positions
    is_point = layout.freedom[nodes] == 0
    points = elements.new_zeros(len(layout.points))
    points[layout.row[nodes[is_point]]] = elements[is_point]
    counts = elements.new_zeros(len(layout.free), max_element)
    where = (layout.row[nodes[~is_point]], elements[~is_point] - 1)
    counts.index_put_(where, torch.ones_like(where[0]), accumulate=True)
    if counts.numel() and int(counts.max()) > max_count:
        raise InputError(
            f"a crystal has {int(counts.max())} orbits of one element at one position; the model knows up to "
            f"{max_count} (max_count)"
        )
    return Occupations(points, counts)


def orbits_of(occupations: Occupations, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
    """All orbits, sorted by crystal: crystal, atomic number and index of the position, shape (n_orbits,) each."""
    points = occupations.points.nonzero().squeeze(1)
    rows, columns = occupations.counts.nonzero(as_tuple=True)
    times = occupations.counts[rows, columns]
    rows, columns = rows.repeat_interleave(times), columns.repeat_interleave(times)
    nodes = torch.cat((layout.points[points], layout.free[rows]))
    elements = torch.cat((occupations.points[points], columns + 1))
    order = nodes.argsort(stable=True)
    nodes = nodes[order]
    return layout.crystal[nodes], elements[order], layout.position[nodes]


def protostructures_of(occupations: Occupations, layout: Layout) -> list[Protostructure | None]:
    """The crystals; None for those without an orbit."""
    crystals, elements, positions = orbits_of(occupations, layout)
    orbits: list[list[tuple[int, str]]] = [[] for _ in layout.groups]
    for crystal, element, position in zip(crystals.tolist(), elements.tolist(), positions.tolist(), strict=True):
        orbits[crystal].append((element, LETTERS[position]))
    groups = layout.groups.tolist()
    return [Protostructure(group, tuple(own)) if own else None for group, own in zip(groups, orbits, strict=True)]


@cache
def _tables() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Multiplicity, freedom and site symmetry by group and position, and the number of positions by group."""
    words = standard_vocabulary()
    sites = words.site_symmetry.clip(min=0)
    multiplicity, freedom, site_symmetry, sizes = (
        torch.from_numpy(table.copy()) for table in (words.multiplicity, words.freedom, sites, words.n_positions)
    )
    return multiplicity, freedom, site_symmetry, sizes
