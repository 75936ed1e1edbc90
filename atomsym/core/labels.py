"""The labels that a structure can have, and whether there are any to train on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from atomsym.core.errors import DataError
from atomsym.core.labelled_structure import LabelledStructure

LABELS = ("energy", "forces", "stress", "hessian", "target")
"""The labels a structure can have; virials become stresses."""


def require_labels(dataset: Sequence[LabelledStructure], properties: Iterable[str]) -> dict[str, int]:
    """Check that there is something to train on: every property has labels, and all of them are numbers.

    A structure may lack a property, and atoms may lack forces (a row of three NaN); other values that are not finite
    are refused.

    Args:
        dataset: the structures.
        properties: names from ``LABELS``.

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
        if name not in LABELS:
            raise DataError(f"'{name}' is not a label; labels are {', '.join(LABELS)}")
    counts = dict.fromkeys(LABELS, 0)
    bad: dict[str, list[str]] = {name: [] for name in names}
    for index, structure in enumerate(dataset):
        for name in LABELS:
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
        f"If they stand under another name, give it: LabelKeys({name}='...'), or data.keys.{name} of a training config"
    )
