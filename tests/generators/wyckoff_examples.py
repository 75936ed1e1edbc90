"""A vocabulary in which every group has one of three made-up sets of positions, for tests that need no geometry."""

from __future__ import annotations

import numpy as np

from atomsym.generators.wyformer import Vocabulary

# (multiplicity, free, site symmetry) of the positions
KINDS = (
    ((1, False, 0), (1, False, 0), (2, False, 1), (2, True, 2), (4, True, 3)),
    ((2, False, 1), (3, True, 2), (6, True, 3)),
    ((4, False, 0), (4, False, 0), (8, False, 1), (24, True, 2), (24, False, 4), (48, True, 3)),
)


def vocabulary() -> Vocabulary:
    most = max(len(kind) for kind in KINDS)
    arrays = {
        name: np.full((231, most), missing, dtype=np.int64)
        for name, missing in (("site_symmetry", -1), ("enumeration", -1), ("multiplicity", 0))
    }
    free = np.zeros((231, most), dtype=bool)
    features = np.zeros((231, 6), dtype=np.float32)
    for group in range(1, 231):
        kind = KINDS[group % 3]
        seen: dict[int, int] = {}
        for place, (multiplicity, is_free, site) in enumerate(kind):
            arrays["site_symmetry"][group, place] = site
            arrays["enumeration"][group, place] = seen.get(site, 0)
            arrays["multiplicity"][group, place] = multiplicity
            free[group, place] = is_free
            seen[site] = seen.get(site, 0) + 1
        features[group, group % 3] = features[group, 3 + group % 2] = 1.0
    return Vocabulary(free=free, group_features=features, **arrays)
