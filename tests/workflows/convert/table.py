"""The table of docs/convert.md: shapes of models, and how far the converted ones are from mace-torch.

Run with a Python that has mace-torch: ``python tests/workflows/convert/table.py``.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

ALL = tuple(range(1, 90))
CHNOF = (1, 6, 7, 8, 9)
HEADS = {"heads": ["pbe", "scan"], "atomic_inter_scale": [0.7, 1.3], "atomic_inter_shift": [0.1, -0.2]}
AGNESI_ZBL = {"distance_transform": "Agnesi", "pair_repulsion": True}
PLAIN, DENSITY = "RealAgnosticInteractionBlock", "RealAgnosticDensityInteractionBlock"
DENSITY_RESIDUAL = "RealAgnosticDensityResidualInteractionBlock"
SMALL, MEDIUM, LARGE = "8x0e", "8x0e+8x1o", "8x0e+8x1o+8x2e"

ROWS: list[tuple[str, dict[str, Any]]] = [
    ("small", {"hidden_irreps": SMALL}),
    ("medium", {"hidden_irreps": MEDIUM}),
    ("large", {"hidden_irreps": LARGE}),
    ("one element, 4.5 Å", {"hidden_irreps": MEDIUM, "atomic_numbers": (14,), "r_max": 4.5}),
    ("5 elements, 6 Å", {"hidden_irreps": MEDIUM, "atomic_numbers": CHNOF, "r_max": 6.0}),
    ("89 elements, 6 Å", {"hidden_irreps": MEDIUM, "atomic_numbers": ALL, "r_max": 6.0}),
    ("ZBL", {"hidden_irreps": MEDIUM, "pair_repulsion": True}),
    ("Agnesi", {"hidden_irreps": MEDIUM, "distance_transform": "Agnesi"}),
    ("Agnesi, ZBL", {"hidden_irreps": MEDIUM, **AGNESI_ZBL}),
    ("Soft", {"hidden_irreps": MEDIUM, "distance_transform": "Soft"}),
    ("Gaussian basis", {"hidden_irreps": MEDIUM, "radial_type": "gaussian"}),
    ("Chebyshev basis, Agnesi", {"hidden_irreps": MEDIUM, "radial_type": "chebyshev", "distance_transform": "Agnesi"}),
    ("cutoff on the weights", {"hidden_irreps": MEDIUM, "apply_cutoff": False}),
    ("plain blocks", {"hidden_irreps": MEDIUM, "first": PLAIN, "later": PLAIN}),
    ("density", {"hidden_irreps": MEDIUM, "first": DENSITY, "later": DENSITY_RESIDUAL}),
    ("density in the first layer only", {"hidden_irreps": MEDIUM, "first": DENSITY}),
    ("two heads", {"hidden_irreps": MEDIUM, **HEADS}),
    ("MACE (no scale and shift)", {"hidden_irreps": MEDIUM, "plain_mace": True}),
    ("correlation 1", {"hidden_irreps": MEDIUM, "correlation": 1}),
    ("correlation 2, degree 1", {"hidden_irreps": MEDIUM, "correlation": 2, "max_ell": 1}),
    ("1 layer", {"hidden_irreps": SMALL, "num_interactions": 1}),
    ("3 layers, last readout only", {"hidden_irreps": MEDIUM, "num_interactions": 3, "use_last_readout_only": True}),
    ("both parities", {"hidden_irreps": "8x0e+8x0o+8x1o+8x1e", "max_ell": 2}),
    ("one product for all elements", {"hidden_irreps": MEDIUM, "use_agnostic_product": True}),
    ("fewer irreps on the edges", {"hidden_irreps": MEDIUM, "edge_irreps": "4x0e+4x1o"}),
    ("128 channels, 89 elements, 6 Å, Agnesi, ZBL, density", {
        "hidden_irreps": "128x0e+128x1o", "atomic_numbers": ALL, "r_max": 6.0, **AGNESI_ZBL,
        "first": DENSITY, "later": DENSITY_RESIDUAL, "num_bessel": 10,
    }),
]  # fmt: skip
SINGLE = ("medium", "5 elements, 6 Å", "Agnesi, ZBL", "89 elements, 6 Å")  # also with weights in single precision


def rows() -> Iterator[str]:
    """Lines of the table."""
    with contextlib.redirect_stdout(sys.stderr):  # mace-torch prints when it is imported
        import mace.modules  # noqa: F401
    from foreign_models import foreign_model

    from atomsym.workflows.convert import extract_mace, potential_from_mace
    from atomsym.workflows.convert.in_process import tensors
    from atomsym.workflows.convert.verify import compare

    yield "| model | weights | energy | forces | stress | atoms |"
    yield "| --- | --- | --- | --- | --- | --- |"
    cases = [(name, changes, torch.float64) for name, changes in ROWS]
    cases += [(name, changes, torch.float32) for name, changes in ROWS if name in SINGLE]
    for name, changes, dtype in cases:
        model = foreign_model(dtype, **changes)
        heads = changes.get("heads", ["Default"])
        potential = potential_from_mace(model, heads[-1])
        torch.set_default_dtype(torch.float64)
        found = compare(potential, tensors(extract_mace.reference(model.double(), len(heads) - 1)))
        torch.set_default_dtype(torch.float32)
        numbers = f"{found.energy:.0e} | {found.forces:.0e} | {found.stress:.0e} | {found.n_atoms}"
        yield f"| {name} | {str(dtype).removeprefix('torch.')} | {numbers} |"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    sys.path.insert(0, str(Path(__file__).parent))
    for line in rows():
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
