"""What a worker process of ``atomsym label`` does with one structure."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from atomsym.core import LabelledStructure
from atomsym.datasets.lmdb_files import decode, encode
from atomsym.workflows.label.engine import Labels, make_engine
from atomsym.workflows.label.worker import Handler

PROPERTIES = ("energy", "forces", "stress", "hessian")


def label_task(settings: dict[str, Any]) -> Handler:
    """The function that labels a structure; both are records as in an LMDB data set.

    Args:
        settings: ``engine``, ``engine_settings`` and ``properties``.
    """
    engine = make_engine(settings["engine"], settings["engine_settings"])
    properties = tuple(settings["properties"])

    def label(request: bytes) -> bytes:
        structure = decode(request, "request")
        return encode(with_labels(structure, engine.label(structure, "hessian" in properties), properties))

    return label


def with_labels(
    structure: LabelledStructure, labels: Labels, properties: tuple[str, ...] = PROPERTIES
) -> LabelledStructure:
    """The structure with these of the labels, and no others."""
    found: dict[str, Any] = {name: getattr(labels, name) if name in properties else None for name in PROPERTIES}
    for name in ("forces", "stress", "hessian"):
        if found[name] is not None:
            found[name] = np.asarray(found[name], dtype=np.float64)
    return dataclasses.replace(structure, **found)
