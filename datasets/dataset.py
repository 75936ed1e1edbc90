"""An immutable sequence of labelled structures, in memory or read from disk one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

from atomsym.core import DataError, LabelledStructure
from atomsym.datasets.labels import PROPERTIES, ReadReport


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


def require_labels(dataset: Sequence[LabelledStructure], properties: Iterable[str]) -> dict[str, int]:
    """Check that there is something to train on: every property has labels, and all of them are numbers.

    A structure may lack a property, and atoms may lack forces (a row of three NaN); other values that are not finite
    are refused.

    Args:
        dataset: the structures.
        properties: among energy, forces, stress, hessian.

    Returns:
        Number of structures that have each property.

    Raises:
        DataError: if a property has no label at all or labels that are not finite; the message counts what there is,
            and names the keys of the file.

    Example:
        >>> origin, no_cell = np.zeros((1, 3)), np.zeros((3, 3))
        >>> atom = LabelledStructure(np.ones(1, int), origin, no_cell, np.zeros(3, bool), energy=1.0)
        >>> require_labels([atom], ("energy",))
        {'energy': 1}
    """
    names = list(properties)
    for name in names:
        if name not in PROPERTIES:
            raise DataError(f"'{name}' is not a label; labels are {', '.join(PROPERTIES)}")
    counts = dict.fromkeys(PROPERTIES, 0)
    bad: dict[str, list[str]] = {name: [] for name in names}
    for index, structure in enumerate(dataset):
        for name in PROPERTIES:
            value = getattr(structure, name)
            if value is None or (name == "forces" and np.isnan(value).all()):
                continue
            counts[name] += 1
            if name in bad and not _is_usable(name, value):
                bad[name].append(structure.source or f"structure {index}")
    for name in names:
        if counts[name] == 0:
            raise DataError(_no_labels(dataset, name, counts))
        if bad[name]:
            raise DataError(
                f"{_name(dataset)}: {name} of {len(bad[name])} structures are not finite numbers: "
                f"{', '.join(bad[name][:5])}{' …' if len(bad[name]) > 5 else ''}"
            )
    return {name: counts[name] for name in names}


def _is_usable(name: str, value: object) -> bool:
    array = np.asarray(value, dtype=np.float64)
    finite = np.isfinite(array)
    if name == "forces":
        return bool((finite.all(axis=1) | np.isnan(array).all(axis=1)).all())
    return bool(finite.all())


def _name(dataset: Sequence[LabelledStructure]) -> str:
    return getattr(dataset, "path", "") or "data set"


def _no_labels(dataset: Sequence[LabelledStructure], name: str, counts: dict[str, int]) -> str:
    have = ", ".join(f"{prop}: {count}" for prop, count in counts.items())
    report = getattr(dataset, "report", None)
    keys = f" Keys in the file: {', '.join(report.found)}." if report is not None and report.found else ""
    return (
        f"{_name(dataset)}: none of {len(dataset)} structures has {name} labels (labels found: {have}).{keys} "
        f"If they stand under another name, give it: LabelKeys({name}='...')"
    )
