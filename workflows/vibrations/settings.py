"""What a calculation of vibrations is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atomsym.core import ConfigError
from atomsym.workflows.hessian_source import SOURCES, STEP, Source
from atomsym.workflows.run_settings import read_settings, require_positive, settings_to_json

ENTROPIES = ("harmonic", "quasi-harmonic")


@dataclass(frozen=True)
class VibrationsSettings:
    """Settings of one calculation.

    Attributes:
        system: name of a built-in system or a file that ASE can read (its last frame is taken).
        model: name or path of a model, or ``module:factory`` of another ASE calculator.
        kwargs: keyword arguments of that factory.
        relax: bring the atoms to rest first; the cell is kept.
        relax_fmax: of that relaxation, eV/Å.
        temperature: of the thermochemistry, K.
        pressure: of the ideal gas, bar.
        symmetry_number: rotational; found from the geometry if None.
        multiplicity: 2S + 1 of the ground state; the lowest that the number of electrons allows if None.
        charge: of the whole system, e, as the calculator takes it; only the multiplicity depends on it here.
        entropy: ``harmonic``, or ``quasi-harmonic`` after Grimme, where soft modes turn into free rotors.
        rotor_cutoff: wavenumber where an oscillator is half a rotor, 1/cm.
        source: of the Hessian: ``auto``, ``analytic`` or ``finite-difference``.
        step: of finite differences, Å.
        width: full width at half maximum of the drawn lines, 1/cm.
        trajectories: how many modes are written as trajectories, imaginary and soft ones first.
        device, dtype: of a model of this package. Its Hessians are in double precision always.
    """

    system: str
    model: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    relax: bool = False
    relax_fmax: float = 1e-3
    temperature: float = 298.15
    pressure: float = 1.0
    symmetry_number: int | None = None
    multiplicity: int | None = None
    charge: int = 0
    entropy: str = "harmonic"
    rotor_cutoff: float = 100.0
    source: Source = "auto"
    step: float = STEP
    width: float = 20.0
    trajectories: int = 60
    device: str = "cpu"
    dtype: str = "float64"

    def __post_init__(self) -> None:
        require_positive(self, "relax_fmax", "temperature", "pressure", "rotor_cutoff", "step", "width")
        _require_one_of("dtype", self.dtype, ("float32", "float64"))
        for name in ("symmetry_number", "multiplicity"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be 1 or more; found {value}")
        if self.trajectories < 0:
            raise ConfigError(f"trajectories must be 0 or more; found {self.trajectories}")
        _require_one_of("entropy", self.entropy, ENTROPIES)
        _require_one_of("source", self.source, SOURCES)

    def to_json(self) -> str:
        return settings_to_json(self)

    @classmethod
    def from_file(cls, path: Path) -> VibrationsSettings:
        """See ``read_settings``."""
        return read_settings(cls, path, "calculation of vibrations")


def _require_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name} must be one of {', '.join(known)}; found '{value}'")
