"""A neighbor list that is kept over the steps of a trajectory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.core.graph import AtomGraph
from atomsym.kernels.neighbors.checks import LARGEST_SHIFT
from atomsym.kernels.neighbors.connect import connect

_MARGIN = 1 - 1e-9  # of the skin, so that rounding in the criterion cannot lose an edge


@dataclass
class _Build:
    """A finished list: the graph it was made for (own copies of positions and cell) and its latest translation."""

    graph: AtomGraph
    images: Tensor | None  # lattice vectors that atoms were moved by since, (n_atoms, 3); None: nobody was moved
    shift: Tensor  # shifts for these images


class VerletList:
    """Edges within ``cutoff + skin``, searched again only when an edge within ``cutoff`` could be missing.

    Let x₀, C₀ be positions and lattice vectors at the last search, F the deformation of space that takes C₀ to the
    present C, and u = x − x₀ F what atoms have moved besides. An edge vector is r = r₀ F + u_sender − u_receiver, so

        |r₀| ≤ (|r| + 2 max|u|) ‖F⁻¹‖,

    and no edge with |r| < cutoff is missing while (cutoff + 2 max|u|) ‖F⁻¹‖ ≤ cutoff + skin. With an unchanged cell
    that is the usual rule: no atom has moved by more than half the skin. u is taken from the coordinates as they are;
    when an atom was moved by lattice vectors (wrapped into the cell, say), its shifts are corrected by as many, and
    what remains has to obey the rule. Anything else (more movement, other atoms, other periodic directions) leads to
    a new search.

    Args:
        cutoff: radius within which no edge is ever missing, Å.
        skin: Å, >= 0; a larger one means more edges and fewer searches.
        backend: see ``neighbor_list``.

    Raises:
        InputError: if cutoff or skin is not a number in the allowed range.

    Example:
        >>> atoms = AtomGraph.without_edges(torch.tensor([[0.0, 0, 0], [0, 0, 2.1]]), torch.tensor([1, 1]))
        >>> neighbors = VerletList(2.0, skin=0.5)
        >>> neighbors.graph(atoms).n_edges
        2
        >>> moved = neighbors.graph(atoms.with_positions(atoms.positions * 0.95))
        >>> neighbors.n_searches
        1
    """

    def __init__(self, cutoff: float, *, skin: float = 1.0, backend: str = "auto") -> None:
        if not (math.isfinite(cutoff) and cutoff > 0 and math.isfinite(skin) and skin >= 0):
            raise InputError(f"cutoff must be > 0 and skin >= 0, in Å; found {cutoff!r} and {skin!r}")
        self.cutoff = float(cutoff)
        self.skin = float(skin)
        self.backend = backend
        self.n_searches = 0
        """How often edges were searched so far."""
        self._build: _Build | None = None

    def graph(self, graph: AtomGraph) -> AtomGraph:
        """The graph with edges that include all within ``cutoff``, and others up to about ``cutoff + skin``.

        Args:
            graph: one system or a batch; its own edges, if any, are dropped. A strain does not enter.

        Returns:
            A graph whose ``cutoff`` is the one of this list: that is what its edges are complete to.

        Raises:
            InputError, OutOfMemoryError, BackendError: see ``neighbor_list``.
        """
        build = self._build
        if build is None or not self._still_holds(build, graph):
            build = self._search(graph)
        return graph.with_edges(build.graph.edge_index, build.shift, self.cutoff, build.graph.topology)

    def reset(self) -> None:
        """Forget the list; the next call searches."""
        self._build = None

    def _search(self, graph: AtomGraph) -> _Build:
        self._build = None  # a search that fails leaves no list behind
        bare = AtomGraph(
            positions=graph.positions.detach().clone(),
            numbers=graph.numbers.clone(),
            cell=graph.cell.detach().clone(),
            pbc=graph.pbc.clone(),
            system_index=graph.system_index.clone(),
            edge_index=graph.edge_index,
            edge_shift=graph.edge_shift,
        )
        connected = connect(bare, self.cutoff + self.skin, backend=self.backend)
        self.n_searches += 1
        self._build = _Build(connected, None, connected.edge_shift)
        return self._build

    def _still_holds(self, build: _Build, graph: AtomGraph) -> bool:
        """Whether the list is good for these positions; corrects its shifts if atoms were moved by lattice vectors."""
        old = build.graph
        same_atoms = (
            graph.positions.shape == old.positions.shape
            and (graph.dtype, graph.device) == (old.dtype, old.device)
            and torch.equal(graph.numbers, old.numbers)
            and graph.pbc.shape == old.pbc.shape
            and torch.equal(graph.pbc, old.pbc)
            and torch.equal(graph.system_index, old.system_index)
        )
        if not same_atoms or graph.n_atoms == 0:
            return False
        moved, stretch = _movement(old, graph)
        if not bool(torch.isfinite(stretch).all()):
            return False
        if self._within_skin(moved, stretch, graph):
            images = None
        elif bool(graph.pbc.any()):
            images, rest = _split_images(moved, graph)
            near = bool((images.abs() < LARGEST_SHIFT).all())  # else the search will complain
            if not near or not self._within_skin(rest, stretch, graph):
                return False
        else:
            return False
        _move_images(build, images)
        return True

    def _within_skin(self, moved: Tensor, stretch: Tensor, graph: AtomGraph) -> bool:
        largest = torch.zeros(graph.n_systems, dtype=torch.float64, device=graph.device)
        length = torch.linalg.vector_norm(moved, dim=1)
        largest = largest.scatter_reduce(0, graph.system_index, length, "amax")
        reach = (self.cutoff + 2 * largest) * stretch
        return bool((reach <= self.cutoff + self.skin * _MARGIN).all())  # False for NaN


def _movement(old: AtomGraph, new: AtomGraph) -> tuple[Tensor, Tensor]:
    """u = x − x₀ F, shape (n_atoms, 3), and ‖F⁻¹‖ of each system, both float64."""
    before, after = old.positions.to(torch.float64), new.positions.detach().to(torch.float64)
    if torch.equal(old.cell, new.cell):
        return after - before, torch.ones(new.n_systems, dtype=torch.float64, device=new.device)
    if not bool(torch.isfinite(new.cell).all()):  # the search will complain
        return after, torch.full((new.n_systems,), math.inf, dtype=torch.float64, device=new.device)
    periodic = new.pbc.unsqueeze(2)
    lattice, lattice_now = (cell.detach().to(torch.float64) * periodic for cell in (old.cell, new.cell))
    change = torch.linalg.pinv(lattice) @ (lattice_now - lattice)  # F − 1: nothing changes across the lattice
    moved = after - before - torch.einsum("na,nab->nb", before, change[new.system_index])
    deformation = change + torch.eye(3, dtype=torch.float64, device=new.device)
    return moved, 1 / torch.linalg.svdvals(deformation)[:, -1]


def _split_images(moved: Tensor, graph: AtomGraph) -> tuple[Tensor, Tensor]:
    """Movement = images @ cell + rest, with whole numbers along periodic directions, both (n_atoms, 3)."""
    periodic = graph.pbc.unsqueeze(2)
    lattice = graph.cell.detach().to(torch.float64) * periodic
    dual = torch.linalg.pinv(lattice) * graph.pbc.unsqueeze(1)
    images = torch.round(torch.einsum("na,nab->nb", moved, dual[graph.system_index]))
    return images, moved - torch.einsum("na,nab->nb", images, lattice[graph.system_index])


def _move_images(build: _Build, images: Tensor | None) -> None:
    if images is None and build.images is None:
        return
    if images is not None and build.images is not None and torch.equal(images, build.images):
        return
    shift = build.graph.edge_shift
    if images is not None:
        receiver, sender = build.graph.edge_index
        correction = images[receiver] - images[sender]
        shift = (shift.to(torch.float64) + correction).to(torch.int32)
    build.images, build.shift = images, shift
