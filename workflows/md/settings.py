"""What a molecular dynamics run is asked to do: one frozen, validated, JSON-able description."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from atomsym.core import ConfigError
from atomsym.workflows.run_settings import read_settings, require_dtype, require_positive, settings_to_json

Ensemble = Literal["nve", "nvt-langevin", "nvt-nose-hoover", "npt-isotropic", "npt-full-cell"]
ENSEMBLES: tuple[str, ...] = get_args(Ensemble)
SHORT_NAMES = {"nvt": "nvt-langevin", "npt": "npt-isotropic"}
FASTEST_RESPONSE = 5.0  # steps that a thermostat or barostat time has to last at least


@dataclass(frozen=True)
class MdSettings:
    """Settings of one run. Times in fs, temperatures in K, pressures in GPa.

    Attributes:
        system: name of a built-in system or a file that ASE can read (its last frame is taken).
        model: name or path of a model, or ``module:factory`` of another ASE calculator.
        kwargs: keyword arguments of that factory, or of ``AtomsymCalculator``.
        ensemble: of production: ``nve`` (velocity Verlet), ``nvt-langevin`` (short: ``nvt``), ``nvt-nose-hoover``
            (a chain of three), ``npt-isotropic`` (short: ``npt``; Langevin piston on the volume) or ``npt-full-cell``
            (the same on lengths and angles).
        temperature: target temperature; velocities are drawn from it unless the file has momenta.
        pressure: target pressure of the npt ensembles, GPa; 1 bar is 0.0001 GPa.
        timestep: integration step, fs.
        equilibration_steps: Langevin steps before production, not part of the trajectory. A start with forces above
            5 eV/Å is relaxed a little before them.
        steps: production steps.
        thermostat_time: fs. Langevin: in which momenta forget (1 / friction); Nosé–Hoover: τ of the chain's masses.
        barostat_time: fs, in which the cell forgets its motion.
        log_every: steps between rows of the log.
        trajectory_every: steps between frames of the trajectory.
        checkpoint_every: steps between restart files.
        repeat: supercell repetitions along the lattice vectors.
        seed: of the velocities and of the noise.
        device: torch device of the model.
        dtype: floating-point type of the model, ``float32`` or ``float64``; positions are always in double precision.
        allow_discontinuous: run with a model whose energy is not a continuous function of the positions.
    """

    system: str
    model: str
    ensemble: str = "nvt-langevin"
    temperature: float = 300.0
    pressure: float = 1e-4
    timestep: float = 1.0
    equilibration_steps: int = 0
    steps: int = 1000
    thermostat_time: float = 100.0
    barostat_time: float = 1000.0
    log_every: int = 10
    trajectory_every: int = 50
    checkpoint_every: int = 1000
    repeat: tuple[int, int, int] = (1, 1, 1)
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float64"
    allow_discontinuous: bool = False
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ensemble", SHORT_NAMES.get(self.ensemble, self.ensemble))
        object.__setattr__(self, "repeat", tuple(self.repeat))  # a list in JSON
        require_positive(
            self,
            *("timestep", "steps", "thermostat_time", "barostat_time"),
            *("log_every", "trajectory_every", "checkpoint_every"),
        )
        for name in ("temperature", "equilibration_steps", "seed"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be finite and not negative; found {value}")
        if not math.isfinite(self.pressure):
            raise ConfigError(f"pressure must be finite; found {self.pressure}")
        if self.ensemble not in ENSEMBLES:
            allowed = ", ".join((*ENSEMBLES, *(f"{short} (= {long})" for short, long in SHORT_NAMES.items())))
            raise ConfigError(f"ensemble must be one of {allowed}; found '{self.ensemble}'")
        if self.ensemble not in ("nve", "nvt-langevin") and self.temperature == 0:
            raise ConfigError(f"{self.ensemble} needs a temperature above 0 K")
        self._require_slow("thermostat_time", self.ensemble != "nve" or self.equilibration_steps > 0)
        self._require_slow("barostat_time", self.ensemble.startswith("npt"))
        if len(self.repeat) != 3 or min(self.repeat) < 1:
            raise ConfigError(f"repeat must be three positive integers; found {self.repeat}")
        require_dtype(self.dtype)

    def _require_slow(self, name: str, is_used: bool) -> None:
        value = getattr(self, name)
        if is_used and value < FASTEST_RESPONSE * self.timestep:
            raise ConfigError(
                f"{name} must be at least {FASTEST_RESPONSE:g} time steps ({FASTEST_RESPONSE * self.timestep:g} fs); "
                f"found {value:g} fs"
            )

    @property
    def total_steps(self) -> int:
        return self.equilibration_steps + self.steps

    @property
    def production_ps(self) -> float:
        """Length of production in ps."""
        return self.steps * self.timestep * 1e-3

    def to_json(self) -> str:
        return settings_to_json(self)

    @classmethod
    def from_file(cls, path: Path) -> MdSettings:
        """See ``read_settings``."""
        return read_settings(cls, path, "molecular dynamics run")
