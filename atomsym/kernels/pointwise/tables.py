"""The linear maps of products by rows, and how the compiled kernels find them by the handle of a product."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from atomsym.core.errors import BackendError

_NOTHING = 1e-13
"""Elements of maps below it, relative to the largest one, are rounding errors of zeros."""

_COUPLING, _MAP = 1.2, 16
"""About the times of a product of a coupling, and of a map between rows beside its products, over that of one product
of such a map. Measured with Gaunt and matrix products of L = 2 to 6, forward and with gradients."""

Join = Literal["product", "cross", "anticommutator", "commutator"]
"""What becomes of the rows of slots; the compiled kernels take its place in this list."""

_TURNS = ((1, (0, 1, 2)), (1, (1, 2, 0)), (1, (2, 0, 1)), (-1, (0, 2, 1)), (-1, (2, 1, 0)), (-1, (1, 0, 2)))
"""The permutations of three components and their signs: a cross product and a scalar product."""


class RowMap(NamedTuple):
    """target[t] = Σ_s matrix[t, s] source[s] between some rows of one array and some of another."""

    targets: list[int]
    sources: list[int]
    matrix: Tensor

    def table(self) -> tuple[list[int], list[int], list[float]]:
        """As the compiled kernels take it."""
        return self.targets, self.sources, self.matrix.flatten().tolist()


@dataclass(frozen=True, eq=False)
class Sampling:
    """A linear map from the components of features to rows, in one step or in two that are faster.

    Attributes:
        matrix: the map, shape (rows, dim), float64.
        middle: number of rows between the steps, 0 if there is one step.
        first, second: the steps; second is empty if there is one.
    """

    matrix: Tensor
    middle: int
    first: tuple[RowMap, ...]
    second: tuple[RowMap, ...]

    @property
    def n_products(self) -> int:
        """Multiplications a channel."""
        return sum(block.matrix.numel() for block in self.first + self.second)

    @property
    def cost(self) -> int:
        """Time a channel, in products."""
        return self.n_products + _MAP * len(self.first + self.second)

    def table(self) -> tuple[int, int, int, list[Any], list[Any]]:
        """As the compiled kernels take it."""
        rows, dim = self.matrix.shape
        first, second = ([block.table() for block in step] for step in (self.first, self.second))
        return dim, self.middle, rows, first, second

    @classmethod
    def dense(cls, matrix: Tensor) -> Sampling:
        """In one step."""
        rows, dim = matrix.shape
        return cls(matrix, 0, (RowMap(list(range(rows)), list(range(dim)), matrix),), ())

    @classmethod
    def in_blocks(cls, matrix: Tensor, blocks: Sequence[list[int]], classes: Sequence[list[int]]) -> Sampling:
        """For rows that differ by signs or factors: their common sums first, where that saves time.

        Args:
            matrix: shape (rows, dim), float64. What a block of rows takes from a class of components has rank one.
            blocks, classes: each row is in one block, each component in one class.
        """
        matrix = torch.where(matrix.abs() < _NOTHING * matrix.abs().max(), 0, matrix)
        dense = cls.dense(matrix)
        leaders: list[Tensor] = []
        members: list[list[tuple[int, Tensor]]] = [[] for _ in blocks]
        first = []
        for components in classes:
            start = len(leaders)
            for rows, found in zip(blocks, members, strict=True):
                part = matrix[rows][:, components]
                leader = part[part.square().sum(1).argmax()]
                if leader.any():
                    found.append((len(leaders), part @ leader / leader.square().sum()))
                    leaders.append(leader)
            if len(leaders) > start:
                first.append(RowMap(list(range(start, len(leaders))), components, torch.stack(leaders[start:])))
        second = [
            RowMap(
                rows,
                [leader for leader, _ in found],
                torch.stack([factors for _, factors in found], 1) if found else matrix.new_zeros(len(rows), 0),
            )
            for rows, found in zip(blocks, members, strict=True)
        ]
        split = cls(matrix, len(leaders), tuple(first), tuple(second))
        return split if split.cost < dense.cost else dense

    @classmethod
    def on_grid(cls, matrix: Tensor, n_polar: int, n_turns: int, largest_order: int) -> Sampling:
        """Order by order along the polar angle, then about the axis, where that saves time.

        Args:
            matrix: shape (n_signals · n_polar · n_turns, dim), float64: values of basis functions on equal steps about
                the axis, each a Fourier series up to ``largest_order`` there.
            n_polar, n_turns: size of the grid.
            largest_order: m.
        """
        dense = cls.dense(matrix)
        n_orders = 2 * largest_order + 1
        if n_orders > n_turns or not matrix.numel():
            return dense
        angle = 2 * torch.pi * torch.arange(n_turns, dtype=torch.float64) / n_turns
        waves = [torch.ones_like(angle)]
        for order in range(1, largest_order + 1):
            waves += [(order * angle).sin(), (order * angle).cos()]
        series = torch.stack(waves, 1)
        # The waves are orthogonal on equal steps, so that a projection finds the series.
        values = matrix.unflatten(0, (-1, n_turns))
        polar = torch.einsum("tm,qti->qmi", series / series.square().sum(0), values)
        polar[polar.abs() < _NOTHING * polar.abs().max()] = 0
        first = []
        for start in range(0, len(polar), n_polar):
            for order in range(n_orders):
                part = polar[start : start + n_polar, order]
                sources = part.abs().amax(0).nonzero().flatten().tolist()
                targets = [(start + q) * n_orders + order for q in range(n_polar)]
                first.append(RowMap(targets, sources, part[:, sources]))
        second = tuple(
            RowMap([q * n_turns + t for t in range(n_turns)], [q * n_orders + m for m in range(n_orders)], series)
            for q in range(len(polar))
        )
        split = cls(matrix, len(polar) * n_orders, tuple(first), second)
        return split if split.cost < dense.cost else dense


@dataclass(frozen=True, eq=False)
class ProductTables:
    """A form Σ_r Π_s (sample_s x_s)[r] over the slots s of the factors and, last, of the result; linear in each.

    Attributes:
        sample: of each slot.
        project: the map whose transpose leaves a slot out: ``sample`` with the weights of the rows.
        join: ``product``: the form above. The others have three slots. ``cross``: rows are those of three components
            one after the other, and the form is g · (x × y). ``anticommutator``, ``commutator``: rows are the entries
            of square matrices, and the form is tr G (X Y ± Y X) up to a factor; ``project`` transposes them.
    """

    sample: tuple[Sampling, ...]
    project: tuple[Sampling, ...]
    join: Join = "product"

    def table(self) -> tuple[int, list[Any], list[Any], list[Any]]:
        """As the compiled kernels take it."""
        sample, project = ([sampling.table() for sampling in step] for step in (self.sample, self.project))
        return get_args(Join).index(self.join), sample, project, self._coupling_tables()

    def _coupling_tables(self) -> list[tuple[list[int], list[int], list[int], list[int], list[float]]]:
        """The couplings of two factors for each slot that is left out; nothing where rows are faster.

        Those of a slot are its components, for each the pairs with components of the next slot, and for each pair the
        terms with components of the one after: where pairs and terms begin, and what they are.
        """
        if len(self.sample) != 3:
            return []
        cube = self.couplings()
        by_rows = sum(sampling.cost for sampling in self.sample) + self._products_of_rows
        by_couplings = int(cube.count_nonzero()) + int(cube.any(1).count_nonzero())
        if _COUPLING * by_couplings >= by_rows:
            return []
        tables = []
        for out in range(3):
            turned = cube.permute(out, (out + 1) % 3, (out + 2) % 3)
            result, first = turned.any(2).nonzero().unbind(1)
            start = torch.searchsorted(result, torch.arange(turned.shape[0] + 1))
            of_pairs = turned[result, first]
            pair, second = of_pairs.nonzero().unbind(1)
            term = torch.searchsorted(pair, torch.arange(len(first) + 1))
            values = of_pairs[pair, second]
            tables.append((start.tolist(), first.tolist(), term.tolist(), second.tolist(), values.tolist()))
        return tables

    @property
    def _products_of_rows(self) -> int:
        """Multiplications a channel between the maps."""
        rows = self.sample[0].matrix.shape[0]
        return rows if self.join in ("product", "cross") else 2 * rows * math.isqrt(rows)

    def couplings(self) -> Tensor:
        """The form of three slots as a tensor; rounding errors of zeros are zeros."""
        x, y, g = (sampling.matrix for sampling in (*self.sample[:2], self.project[2]))
        if self.join == "product":
            cube = torch.einsum("ri,rj,rk->ijk", x, y, g)
        elif self.join != "cross":
            size = math.isqrt(len(x))
            x, y, g = (entries.unflatten(0, (size, size)) for entries in (x, y, g))
            other = torch.einsum("abj,bci,ack->ijk", y, x, g)
            cube = torch.einsum("abi,bcj,ack->ijk", x, y, g) + (other if self.join == "anticommutator" else -other)
        else:
            x, y, g = (field.unflatten(0, (3, -1)) for field in (x, y, g))
            cube = x.new_zeros(x.shape[2], y.shape[2], g.shape[2])
            for sign, (a, b, c) in _TURNS:
                cube += sign * torch.einsum("ri,rj,rk->ijk", x[a], y[b], g[c])
        cube[cube.abs() < _NOTHING * cube.abs().amax()] = 0
        return cube


@dataclass(frozen=True, eq=False)
class ConvolutionTables:
    """out[n] = Pᵀ Σ_{e: receiver n} (S x[sender e]) ⊙ f(e), with f(e)[r, c] = Σ_k w[e, k, c] (B_k Y[e])[r].

    Attributes:
        sample: S.
        edge: all B_k beside each other.
        widths: components of the edge that have the weight k, in their order.
        project: P.
    """

    sample: Sampling
    edge: Sampling
    widths: tuple[int, ...]
    project: Sampling


Tables = ProductTables | ConvolutionTables
_KINDS: dict[str, tuple[Callable[[str], Tables], Callable[[str], tuple[int, ...]]]] = {}


def register_tables(kind: str, make: Callable[[str], Tables], dims: Callable[[str], tuple[int, ...]]) -> None:
    """Say what handles ``kind description`` mean.

    Args:
        kind: the first word.
        make: description → tables.
        dims: description → components in each slot, of the result last. Makes no tensors: inside the compiler those
            would have no data.
    """
    _KINDS[kind] = make, dims


@cache
def slot_dims(handle: str) -> tuple[int, ...]:
    """Components in each slot of what a handle describes, of the result last."""
    kind, _, description = handle.partition(" ")
    return _KINDS[kind][1](description)


@cache
def product_tables(handle: str) -> ProductTables:
    """The tables that a handle describes."""
    tables = _made(handle)
    if not isinstance(tables, ProductTables):
        raise BackendError(f"'{handle}' describes no product of features")
    return tables


@cache
def convolution_tables(handle: str) -> ConvolutionTables:
    """The tables that a handle describes."""
    tables = _made(handle)
    if not isinstance(tables, ConvolutionTables):
        raise BackendError(f"'{handle}' describes no convolution")
    return tables


def _made(handle: str) -> Tables:
    kind, _, description = handle.partition(" ")
    return _KINDS[kind][0](description)
