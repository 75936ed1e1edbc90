"""What ``atomsym label`` is asked to do."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atomsym.core import ConfigError
from atomsym.workflows.label.engine import require_engine
from atomsym.workflows.label.task import PROPERTIES

SUFFIXES = (".extxyz", ".xyz", ".extxyz.gz", ".xyz.gz", ".lmdb")


@dataclass(frozen=True)
class LabelSettings:
    """Settings of one labelling run.

    Attributes:
        input: file of structures that ASE reads, or an atomsym LMDB.
        output: file of the labelled structures: extended XYZ or LMDB, by its suffix.
        engine: one of ``ENGINES``, or ``module:factory``.
        engine_settings: of the engine, by name.
        properties: among energy, forces, stress (of periodic structures), hessian.
        workers: number of processes.
    """

    input: Path
    output: Path
    engine: str = "gfn2-xtb"
    engine_settings: Mapping[str, Any] = field(default_factory=dict)
    properties: tuple[str, ...] = ("energy", "forces", "stress")
    workers: int = 1

    def __post_init__(self) -> None:
        require_engine(self.engine)
        unknown = [name for name in self.properties if name not in PROPERTIES]
        if unknown or not self.properties:
            raise ConfigError(f"properties are among {', '.join(PROPERTIES)}; found {', '.join(unknown) or 'none'}")
        if self.workers < 1:
            raise ConfigError(f"--workers must be at least 1; found {self.workers}")
        if not self.output.name.lower().endswith(SUFFIXES):
            raise ConfigError(f"the output must end in one of {', '.join(SUFFIXES)}; found {self.output.name}")

    @property
    def partial(self) -> Path:
        """Folder of an unfinished run, beside the output."""
        return self.output.with_name(f"{self.output.name}.partial")

    @property
    def failures(self) -> Path:
        """Table of the structures without labels."""
        return self.output.with_name(f"{self.output.name}.failures.csv")

    @property
    def summary(self) -> Path:
        """What was done, with all settings."""
        return self.output.with_name(f"{self.output.name}.json")

    def task(self) -> dict[str, Any]:
        """What determines the labels."""
        return {
            "engine": self.engine,
            "engine_settings": dict(self.engine_settings),
            "properties": [name for name in PROPERTIES if name in self.properties],
        }

    def to_json(self, **more: Any) -> str:
        plain = dataclasses.asdict(self) | {"input": str(self.input), "output": str(self.output)} | more
        return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
