"""Small random models of mace-torch, for tests and for the table of docs/convert.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

RESIDUAL, PLAIN = "RealAgnosticResidualInteractionBlock", "RealAgnosticInteractionBlock"
DENSITY, DENSITY_RESIDUAL = "RealAgnosticDensityInteractionBlock", "RealAgnosticDensityResidualInteractionBlock"

DEFAULTS: dict[str, Any] = {
    "r_max": 5.0, "num_bessel": 8, "num_polynomial_cutoff": 5, "max_ell": 3, "num_interactions": 2,
    "hidden_irreps": "8x0e+8x1o", "MLP_irreps": "16x0e", "avg_num_neighbors": 2.0, "atomic_numbers": (1, 6, 8),
    "correlation": 3, "gate": torch.nn.functional.silu, "first": RESIDUAL, "later": RESIDUAL, "plain_mace": False,
    "atomic_inter_scale": 0.7, "atomic_inter_shift": 0.1,
}  # fmt: skip


def foreign_model(dtype: torch.dtype = torch.float64, **changes: Any) -> torch.nn.Module:
    """A model of mace-torch with random weights."""
    from e3nn import o3
    from mace import modules

    settings = {**DEFAULTS, **changes}
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # mace-torch has no argument for it
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            first, later = (modules.interaction_classes[settings.pop(key)] for key in ("first", "later"))
            kind = modules.MACE if settings.pop("plain_mace") else modules.ScaleShiftMACE
            if kind is modules.MACE:
                settings = {key: value for key, value in settings.items() if not key.startswith("atomic_inter")}
            for key in ("hidden_irreps", "MLP_irreps", "edge_irreps"):
                if key in settings:
                    settings[key] = o3.Irreps(settings[key])
            numbers = settings.pop("atomic_numbers")
            isolated = np.array([-3.0 * number for number in numbers])
            heads = settings.get("heads")
            if heads:
                isolated = np.stack([isolated * (1 + 0.1 * k) for k in range(len(heads))])
            return kind(
                **settings, atomic_numbers=list(numbers), num_elements=len(numbers), atomic_energies=isolated,
                interaction_cls=later, interaction_cls_first=first,
            )  # fmt: skip
    finally:
        torch.set_default_dtype(default)
