"""Counting with an expensive comparison: which of many things are the same, asked only within buckets of equal keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atomsym.core.errors import InputError

Same = Callable[[int, int], bool]


def first_equivalents(keys: Sequence[Hashable | None], same: Same) -> NDArray[np.int64]:
    """For each item the first item that it is the same as, its own index if there is none before it.

    Each item is compared with the first ones of its bucket, in order, until one is the same: as a comparison with
    tolerances is not transitive, the result depends on the order of the items, if only a little.

    Args:
        keys: things with different keys are never the same; None: like nothing else.
        same: compares two items by index, the earlier one first.

    Returns:
        Shape (n,), int64; the number of distinct items is that of ``result == arange(n)``.

    Example:
        >>> values = [1.0, 5.0, 1.1, 5.2]
        >>> first_equivalents([0, 0, 0, 0], lambda i, j: abs(values[i] - values[j]) < 0.5).tolist()
        [0, 1, 0, 1]
    """
    representatives: dict[Hashable, list[int]] = defaultdict(list)
    first = np.arange(len(keys))
    for index, key in enumerate(keys):
        if key is None:
            continue
        bucket = representatives[key]
        found = next((earlier for earlier in bucket if same(earlier, index)), None)
        if found is None:
            bucket.append(index)
        else:
            first[index] = found
    return first


def has_match(keys: Sequence[Hashable | None], known: Sequence[Hashable | None], same: Same) -> NDArray[np.bool_]:
    """Which items are the same as one that is known.

    Args:
        keys: of the items; None: like nothing else.
        known: keys of what is known.
        same: compares an item with a known one, by index.

    Returns:
        Shape (n,), bool.
    """
    buckets = _buckets(known)
    return np.array(
        [key is not None and any(same(i, j) for j in buckets.get(key, ())) for i, key in enumerate(keys)], dtype=bool
    )


@dataclass(frozen=True)
class Recovery:
    """How well a set of reference crystals is found again.

    Attributes:
        match_rate: METRe, the share of references that any generated crystal matches.
        rmse: mean over the matched references of the smallest root-mean-square displacement; NaN if there is none.
        corrected_rmse: cRMSE, the same over all references, a missing match counted as the tolerance.
        tolerance: of the site distances, which is what a missing match counts.
    """

    match_rate: float
    rmse: float
    corrected_rmse: float
    tolerance: float


def recovery(
    reference: Sequence[Hashable],
    generated: Sequence[Hashable | None],
    displacement: Callable[[int, int], float | None],
    *,
    tolerance: float = 0.5,
) -> Recovery:
    """Match each reference with all that was generated for its composition: polymorphs do not spoil the rate.

    Args:
        reference: keys of the reference crystals.
        generated: keys of what was generated.
        displacement: of a reference and a generated crystal, by index: root-mean-square displacement over (V/N)^⅓, None
            if they do not match.
        tolerance: what a missing match counts.

    Raises:
        InputError: if there is no reference.

    Source: METRe and cRMSE of Martirossyan et al., All that structure matches does not glitter, arXiv 2509.12178.
    """
    if not reference:
        raise InputError("recovery needs at least one reference")
    buckets = _buckets(generated)
    best = np.full(len(reference), np.inf)
    for i, key in enumerate(reference):
        found = [displacement(i, j) for j in buckets.get(key, ())]
        best[i] = min((value for value in found if value is not None), default=np.inf)
    matched = np.isfinite(best)
    return Recovery(
        match_rate=float(matched.mean()),
        rmse=float(best[matched].mean()) if matched.any() else float("nan"),
        corrected_rmse=float(np.where(matched, best, tolerance).mean()),
        tolerance=tolerance,
    )


def _buckets(keys: Sequence[Hashable | None]) -> dict[Hashable, list[int]]:
    buckets: dict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        if key is not None:
            buckets[key].append(index)
    return dict(buckets)
