"""Parts of a data set for training, validation and test: deterministic, disjoint, in the order asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from atomsym.core import ConfigError, DataError
from atomsym.datasets.dataset import Dataset

SplitBy = Literal["random", "group", "block"]


def split(
    dataset: Dataset, sizes: Mapping[str, float | int], *, seed: int = 0, by: SplitBy = "random"
) -> dict[str, Dataset]:
    """Divide a data set into named parts that share no structure.

    ``random`` draws structures (the same seed gives the same parts); ``group`` keeps every group whole, so that the
    test set holds unseen groups; ``block`` takes consecutive structures in the order of ``sizes``, which keeps
    neighbouring frames of a trajectory together.

    Args:
        dataset: the structures.
        sizes: name and size of each part: all integers (counts) or all floats (fractions of the set, sum at most 1).
            With groups these are targets, which whole groups meet as nearly as they can.
        seed: of the random order of structures or groups.
        by: see above.

    Returns:
        The parts; within each, structures keep the order of the data set.

    Raises:
        ConfigError: if sizes are not all counts or all fractions, or are out of range.
        DataError: if the set has too few structures or groups, so that a part would be empty.

    Example:
        >>> parts = split(Dataset([]).subset([]), {})
        >>> parts
        {}
    """
    counts = _counts(sizes, len(dataset))
    if by == "group":
        return _by_group(dataset, counts, np.random.default_rng(seed))
    if by not in ("random", "block"):
        raise ConfigError(f"split by '{by}' is unknown; known are random, group, block")
    order = np.random.default_rng(seed).permutation(len(dataset)) if by == "random" else np.arange(len(dataset))
    parts, start = {}, 0
    for name, count in counts.items():
        parts[name] = dataset.subset(sorted(order[start : start + count].tolist()))
        start += count
    return parts


def _counts(sizes: Mapping[str, float | int], total: int) -> dict[str, int]:
    kinds = {type(size) for size in sizes.values()}
    if kinds <= {int}:
        counts = {name: int(size) for name, size in sizes.items()}
        if any(count < 0 for count in counts.values()):
            raise ConfigError(f"sizes of parts must be >= 0; found {dict(sizes)}")
        if sum(counts.values()) > total:
            raise DataError(f"{sum(counts.values())} structures are asked for {dict(sizes)}; the set has {total}")
        return counts
    if not kinds <= {float}:
        raise ConfigError(f"sizes must be all counts (int) or all fractions (float); found {dict(sizes)}")
    if any(not 0 <= size <= 1 for size in sizes.values()) or sum(sizes.values()) > 1 + 1e-9:
        raise ConfigError(f"fractions must lie in 0 … 1 and sum to at most 1; found {dict(sizes)}")
    edges = np.rint(np.cumsum([0.0, *sizes.values()]) * total).astype(int)
    counts = {name: int(size) for name, size in zip(sizes, np.diff(edges), strict=True)}
    empty = [name for name, count in counts.items() if count == 0 and sizes[name] > 0]
    if empty:
        raise DataError(f"of {total} structures, the part '{empty[0]}' ({sizes[empty[0]]:g}) would be empty")
    return counts


def _by_group(dataset: Dataset, counts: Mapping[str, int], generator: np.random.Generator) -> dict[str, Dataset]:
    members: dict[str, list[int]] = {}
    for index, structure in enumerate(dataset):
        members.setdefault(structure.group, []).append(index)
    wanted = {name: count for name, count in counts.items() if count > 0}
    if len(members) < len(wanted):
        raise DataError(
            f"the set has {len(members)} groups ({', '.join(sorted(members)[:5])}), {len(wanted)} parts need one each; "
            "read it with group=... or split by 'random' or 'block'"
        )
    names = sorted(members)
    shuffled = [names[i] for i in generator.permutation(len(names))]
    order = sorted(shuffled, key=lambda name: -len(members[name]))  # large ones first: small ones fill the gaps
    parts: dict[str, list[int]] = {name: [] for name in counts}
    for position, group in enumerate(order):
        empty = [name for name in wanted if not parts[name]]
        choice = empty if len(order) - position <= len(empty) else list(wanted)
        gaps = {name: wanted[name] - len(parts[name]) for name in choice}
        best = max(gaps, key=lambda name: gaps[name], default=None)
        rest = len(dataset) - sum(counts.values())
        if best is None or (rest > 0 and gaps[best] <= 0 and best not in empty):
            continue  # what no part wants is left out, as with the other kinds of split
        parts[best] += members[group]
    return {name: dataset.subset(sorted(indices)) for name, indices in parts.items()}
