"""What space groups have in common: the point operations and centrings that they hold, as numbers for networks."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from atomsym.symmetry.wyckoff.table import N_GROUPS, wyckoff_positions


@cache
def group_features() -> NDArray[np.float32]:
    """For each group, which operators of the general position it has, up to the translation of its origin.

    A column stands for a rotation part together with its intrinsic translation (of screw axes and glide planes), or for
    a centring; it is 1 where the group has such an operator. Groups that share operators share features.

    Returns:
        Shape (231, n_features), float32; row 0 is empty.

    Example:
        >>> group_features().shape[0], bool(group_features()[225].sum() > group_features()[216].sum())
        (231, True)
    """
    kinds: list[set[tuple[int, ...]]] = [set()]
    for group in range(1, N_GROUPS + 1):
        general = wyckoff_positions(group)[-1]
        matrices = general.matrices @ np.linalg.inv(general.matrices[0]).round().astype(np.int64)
        shifts = general.translations - np.einsum("nij,j->ni", matrices, general.translations[0])
        kinds.append({_kind(matrix, shift) for matrix, shift in zip(matrices, shifts, strict=True)})
    columns = sorted(set().union(*kinds))
    features = np.zeros((N_GROUPS + 1, len(columns)), dtype=np.float32)
    for row, own in enumerate(kinds):
        features[row, [columns.index(kind) for kind in own]] = 1.0
    return features


def _kind(matrix: NDArray[np.int64], shift: NDArray[np.float64]) -> tuple[int, ...]:
    """Rotation part and intrinsic translation in units of 1/24: the mean over the cyclic group of the rotation."""
    power, total, order = np.eye(3, dtype=np.int64), np.zeros(3), 0
    while True:
        total = total + power @ shift
        power = power @ matrix
        order += 1
        if (power == np.eye(3)).all():
            break
    intrinsic = np.rint(total / order * 24).astype(np.int64) % 24
    return (*matrix.ravel().tolist(), *intrinsic.tolist())
