"""An immutable sequence of labelled structures, in memory or read from disk one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from atomsym.core import LabelledStructure
from atomsym.datasets.labels import ReadReport


class Dataset(Sequence[LabelledStructure]):
    """Labelled structures in a fixed order; slices and ``subset`` are views that read nothing.

    Args:
        structures: the structures; a lazy sequence stays lazy.
        path: where they came from, "" for none; messages name it.
        report: how they were read; None if they were not read from a file.
    """

    def __init__(
        self, structures: Sequence[LabelledStructure], path: str = "", report: ReadReport | None = None
    ) -> None:
        if isinstance(structures, Dataset):
            structures = structures._items if structures._order is None else tuple(structures)
        self._items: Sequence[LabelledStructure] = tuple(structures) if isinstance(structures, list) else structures
        self._order: tuple[int, ...] | None = None
        self.path = path
        self.report = report

    def __len__(self) -> int:
        return len(self._items) if self._order is None else len(self._order)

    @overload
    def __getitem__(self, index: int) -> LabelledStructure: ...

    @overload
    def __getitem__(self, index: slice) -> Dataset: ...

    def __getitem__(self, index: int | slice) -> LabelledStructure | Dataset:
        if isinstance(index, slice):
            return self.subset(range(*index.indices(len(self))))
        position = int(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"structure {position} of {len(self)}")
        position %= len(self)
        return self._items[position if self._order is None else self._order[position]]

    def __iter__(self) -> Iterator[LabelledStructure]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"Dataset({len(self)} structures{f', {self.path}' if self.path else ''})"

    def subset(self, indices: Iterable[int]) -> Dataset:
        """These structures, in this order.

        Raises:
            IndexError: if an index is out of range.
        """
        chosen = [int(index) for index in indices]
        for index in chosen:
            if not -len(self) <= index < len(self):
                raise IndexError(f"structure {index} of {len(self)}")
        positions = [index % len(self) for index in chosen]
        part = Dataset(self._items, self.path, self.report)
        part._order = tuple(positions) if self._order is None else tuple(self._order[p] for p in positions)
        return part

    @classmethod
    def concatenate(cls, parts: Iterable[Dataset]) -> Dataset:
        """All structures of several sets, one set after the other, in memory."""
        sets = list(parts)
        return cls([s for part in sets for s in part], ", ".join(dict.fromkeys(p.path for p in sets if p.path)))
