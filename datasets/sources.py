"""Structures by what a user types: files, and parts of known sets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from atomsym.core import ConfigError
from atomsym.datasets.dataset import Dataset
from atomsym.datasets.known import known_sets, load_known
from atomsym.datasets.labels import AUTO, Group, LabelKeys
from atomsym.datasets.read import read_dataset, slice_of
from atomsym.datasets.units import LabelUnits


def read_sources(
    sources: Iterable[str],
    *,
    keys: LabelKeys | None = None,
    units: LabelUnits | None = None,
    index: str | int | slice = ":",
    group: Group = AUTO,
) -> Dataset:
    """Files and parts of known sets as one data set.

    Args:
        sources: each a file, or ``SET:PART`` such as ``organic-xtb-small:test``; a file of that name goes first.
        keys, units, index, group: as for ``read_dataset``; known sets have their own, only ``index`` applies to them.

    Raises:
        ConfigError, DataError: as ``read_dataset`` and ``load_known``; also if a set has no such part.

    Example:
        >>> len(read_sources(["organic-xtb-small:test"], index=":3"))
        3
    """
    return Dataset.concatenate([_read(str(source), keys, units, index, group) for source in sources])


def _read(
    source: str, keys: LabelKeys | None, units: LabelUnits | None, index: str | int | slice, group: Group
) -> Dataset:
    name, _, part = source.partition(":")
    if name not in known_sets() or Path(source).exists():
        return read_dataset(source, keys=keys, units=units, index=index, group=group)
    if keys is not None or units is not None or group != AUTO:
        raise ConfigError(f"{source} has its own keys, units and groups; leave out keys, units and group")
    parts = load_known(name)
    if part not in parts:
        raise ConfigError(f"{name} has the parts {', '.join(parts)}; name one, as in {name}:{next(iter(parts))}")
    return parts[part][slice_of(index)]
