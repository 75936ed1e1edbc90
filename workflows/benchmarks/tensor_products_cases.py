"""Settings, cases and results of the benchmark of tensor products."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from atomsym.core import ConfigError
from atomsym.workflows.benchmarks.tensor_products_kinds import KINDS, PLACES, Shape
from atomsym.workflows.benchmarks.tensor_products_reach import Reach

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class ProductBenchmarkSettings:
    """What to measure.

    Attributes:
        places: ``edges``, ``nodes`` or both.
        products: keys of ``KINDS``.
        backends: names; empty: all that can be used here, and the peers that are installed.
        degrees: for the sweep over degrees, at the first of ``channels`` and ``sizes``.
        channels, sizes: further ones are measured at ``sweep_degree``; sizes are edges, or nodes.
        sweep_degree: 0: no sweeps over channels and sizes.
        feature_degree: largest degree of the first operand; 0: that of the others.
        separate: see ``Shape``.
        neighbors: edges of a receiver.
        dtype: float32 or float64.
        device: cpu or cuda.
        repeats: timed calls; the fastest counts.
        max_seconds: calls with gradients that are foreseen to take longer are left out.
    """

    places: tuple[str, ...] = PLACES
    products: tuple[str, ...] = tuple(KINDS)
    backends: tuple[str, ...] = ()
    degrees: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    channels: tuple[int, ...] = (128, 32, 64)
    sizes: tuple[int, ...] = (500, 125, 2000)
    sweep_degree: int = 2
    feature_degree: int = 0
    separate: bool = False
    neighbors: int = 20
    dtype: str = "float32"
    device: str = "cpu"
    repeats: int = 5
    max_seconds: float = 5.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(getattr(self, field.name)))
        for name, known in (("places", PLACES), ("products", tuple(KINDS))):
            unknown = [value for value in getattr(self, name) if value not in known]
            if unknown or not getattr(self, name):
                found = f"'{unknown[0]}'" if unknown else "nothing"
                raise ConfigError(f"{name} can be {', '.join(known)}; found {found}")
        for name in ("degrees", "channels", "sizes"):
            values = getattr(self, name)
            if not values or min(values) < 1:
                raise ConfigError(
                    f"{name} must be numbers of at least 1; found {', '.join(map(str, values)) or 'none'}"
                )
        if min(self.neighbors, self.repeats) < 1 or min(self.sweep_degree, self.feature_degree) < 0:
            raise ConfigError("neighbors and repeats must be at least 1, sweep_degree and feature_degree at least 0")
        if self.dtype not in _DTYPES:
            raise ConfigError(f"dtype must be float32 or float64; found '{self.dtype}'")
        if self.device not in ("cpu", "cuda") or (self.device == "cuda" and not torch.cuda.is_available()):
            raise ConfigError(f"device must be cpu, or cuda where there is one; found '{self.device}'")
        if not self.max_seconds > 0:
            raise ConfigError(f"max_seconds must be above 0; found {self.max_seconds}")

    def quick(self) -> ProductBenchmarkSettings:
        """The same for a look at it: fewer degrees, channels and edges, no sweeps; about a minute."""
        kept = {field.name: getattr(self, field.name) for field in fields(self)}
        small = {"degrees": (1, 2, 3), "channels": (32,), "sizes": (200,), "sweep_degree": 0, "repeats": 1}
        return ProductBenchmarkSettings(**{**kept, **small, "max_seconds": min(self.max_seconds, 1.0)})

    @property
    def torch_dtype(self) -> torch.dtype:
        return _DTYPES[self.dtype]

    def shape(self, place: str, degree: int) -> Shape:
        """Of the products at a degree."""
        return Shape(place, degree, self.feature_degree or degree, self.separate)


@dataclass(frozen=True)
class ProductCase:
    """What one row is about."""

    place: str
    product: str
    backend: str
    degree: int
    channels: int
    size: int


@dataclass(frozen=True)
class ProductRow:
    """One case, measured.

    Attributes:
        case: as a mapping.
        left_out: why it was not measured; "": it was.
        times: see ``Times``.
        gflops, share: rate of the forward product and what it is of the matrix product measured in the same run.
        deviation: of results from the reference, relative to the largest value.
    """

    case: dict[str, Any]
    left_out: str = ""
    times: dict[str, float | None] | None = None
    gflops: float | None = None
    share: float | None = None
    deviation: float | None = None

    @property
    def key(self) -> ProductCase:
        return ProductCase(**self.case)


@dataclass(frozen=True)
class Symmetry:
    """Largest relative errors under rotations, and under reflections too (float64); see ``symmetry_errors``."""

    rotations_float64: float
    rotations_float32: float
    reflections_float64: float


@dataclass(frozen=True)
class Abilities:
    """What does not depend on the clock.

    Attributes:
        place, product, degree: which.
        reach: what can be expressed.
        symmetry: by backend.
    """

    place: str
    product: str
    degree: int
    reach: Reach
    symmetry: dict[str, Symmetry]


@dataclass(frozen=True)
class ProductBenchmark:
    """All rows and abilities, and the machine."""

    settings: ProductBenchmarkSettings
    machine: dict[str, Any]
    rows: tuple[ProductRow, ...]
    abilities: tuple[Abilities, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
