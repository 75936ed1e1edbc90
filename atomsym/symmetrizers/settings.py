"""From one line of a config to a wrapped potential."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SYMMETRIZED = "symmetrized"
"""Architecture name of ``SymmetrizedPotential``."""


def symmetrized_settings(model: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a model in which an entry ``symmetrizer`` beside any architecture has become a wrapping.

    ``{architecture: faenet, channels: 64, symmetrizer: weighted}`` becomes
    ``{architecture: symmetrized, model: {architecture: faenet, channels: 64}, symmetrizer: {method: weighted}}``.
    What has no such entry, or is wrapped already, stays as it is; nothing is checked here.

    Example:
        >>> symmetrized_settings({"architecture": "faenet", "symmetrizer": "full"})
        {'architecture': 'symmetrized', 'symmetrizer': {'method': 'full'}, 'model': {'architecture': 'faenet'}}
    """
    if "symmetrizer" not in model:
        return dict(model)
    chosen = model["symmetrizer"]
    described = {"method": chosen} if isinstance(chosen, str) else chosen
    inner = {name: value for name, value in model.items() if name != "symmetrizer"}
    if model.get("architecture") == SYMMETRIZED:
        return {**inner, "symmetrizer": described}
    return {"architecture": SYMMETRIZED, "symmetrizer": described, "model": inner}
