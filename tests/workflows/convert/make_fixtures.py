"""Write the fixtures: small random models of mace-torch as the extractor describes them, with what they gave.

Run with a Python that has mace-torch: ``python tests/workflows/convert/make_fixtures.py``.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

FOLDER = Path(__file__).parent / "fixtures"
COMMON: dict[str, Any] = {"radial_MLP": [8, 8], "MLP_irreps": "4x0e", "num_bessel": 4, "avg_num_neighbors": 1.0}
TWO_HEADS = {"heads": ["pbe", "scan"], "atomic_inter_scale": [0.7, 1.3], "atomic_inter_shift": [0.1, -0.2]}


def fixtures() -> dict[str, tuple[torch.dtype, str, dict[str, Any]]]:
    """Name → (precision, head, settings)."""
    from foreign_models import DENSITY, DENSITY_RESIDUAL, PLAIN

    usual = {"max_ell": 2, "hidden_irreps": "3x0e+3x1o", "distance_transform": "Agnesi", "pair_repulsion": True}
    density = {"max_ell": 1, "hidden_irreps": "4x0e", "first": DENSITY, "later": DENSITY_RESIDUAL, **TWO_HEADS}
    odd = {"max_ell": 2, "hidden_irreps": "2x0e+2x0o+2x1o+2x1e", "first": PLAIN}
    return {
        "residual": (torch.float64, "", usual),
        "density_two_heads": (torch.float64, "scan", {**density, "apply_cutoff": False, "radial_type": "gaussian"}),
        "both_parities_single": (torch.float32, "", {**odd, "atomic_numbers": (8, 1)}),
    }


def main() -> None:
    warnings.simplefilter("ignore")
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    sys.path.insert(0, str(Path(__file__).parent))
    from foreign_models import foreign_model

    from atomsym.workflows.convert import extract_mace

    for name, (dtype, head, settings) in fixtures().items():
        model = foreign_model(dtype, **{**COMMON, **settings})
        description, arrays = extract_mace.describe(model)
        torch.set_default_dtype(torch.float64)
        arrays.update(extract_mace.reference(model.double(), description["heads"].index(head) if head else 0))
        torch.set_default_dtype(torch.float32)
        folder = FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        extract_mace.write(str(folder), description, arrays)


if __name__ == "__main__":
    main()
