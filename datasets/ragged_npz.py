"""Structures of different sizes one after the other in flat arrays, as sets of Hessians are published in npz files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomsym.core import DataError
from atomsym.datasets.frame import Frame, make_frame

Arrays = Mapping[str, NDArray[Any]]

COUNTS = "n_atoms"
_SINGULAR = {"energies": "energy", "hessians": "hessian"}


def is_ragged(arrays: Arrays, positions_key: str) -> bool:
    """Whether the atoms of all structures stand in one list, with their numbers in ``n_atoms``."""
    return COUNTS in arrays and arrays[COUNTS].ndim == 1 and arrays[positions_key].ndim == 2


def ragged_frames(path: Path, arrays: Arrays, numbers_key: str, positions_key: str) -> Iterator[Frame]:
    """Frames of arrays with one entry a structure, one row an atom, or 9 n² values a structure.

    Raises:
        DataError: if the lengths do not fit together.
    """
    sizes = arrays[COUNTS]
    if sizes.dtype.kind not in "iu" or (len(sizes) and int(sizes.min()) < 1):
        raise DataError(f"{path}: '{COUNTS}' must be positive integers")
    sizes = sizes.astype(np.int64)
    starts, blocks = _starts(sizes), _starts(9 * sizes**2)
    for key in (numbers_key, positions_key):
        if len(arrays[key]) != starts[-1]:
            raise DataError(f"{path}: '{key}' has {len(arrays[key])} rows, but '{COUNTS}' adds up to {starts[-1]}")
    others = {key: values for key, values in arrays.items() if key not in (COUNTS, numbers_key, positions_key)}
    for frame, (start, stop) in enumerate(pairwise(starts)):
        info: dict[str, Any] = {}
        per_atom: dict[str, Any] = {}
        for key, values in others.items():
            if values.ndim == 1 and len(values) == blocks[-1]:
                info[_SINGULAR.get(key, key)] = values[blocks[frame] : blocks[frame + 1]]
            elif values.ndim >= 1 and len(values) == starts[-1]:
                per_atom[key] = values[start:stop]
            elif values.ndim >= 1 and len(values) == len(sizes):
                info[_SINGULAR.get(key, key)] = values[frame]
        yield make_frame(
            arrays[numbers_key][start:stop], arrays[positions_key][start:stop], None, None, info, per_atom,
            f"{path.name}:{frame}", f"{path}, frame {frame}",
        )  # fmt: skip


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)])
