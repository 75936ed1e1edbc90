"""What a calculation of phonons is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from atomsym.core import ConfigError
from atomsym.workflows.run_settings import require_positive, settings_to_json

Route = Literal["auto", "hessian", "finite-displacement"]

ROUTES = ("auto", "hessian", "finite-displacement")


@dataclass(frozen=True)
class PhononsSettings:
    """Settings of one calculation.

    Attributes:
        system: name of a built-in system or a crystal structure that ASE can read.
        model: name or path of a model, or ``module:factory`` of another ASE calculator.
        kwargs: keyword arguments of that factory.
        supercell: how often the given cell is repeated; large enough for the model's cutoff if None.
        relax: bring atoms and cell to rest first, with the space group kept.
        relax_fmax: of that relaxation, eV/Å.
        symprec: Å, within which atoms are related by symmetry.
        route: to force constants: ``hessian`` (rows of the Hessian of the supercell), ``finite-displacement``
            (phonopy's), or ``auto``: the first for models of this package.
        displacement: of finite displacements, Å.
        points: along each piece of the band structure.
        mesh: length that sets the density of the mesh of wave vectors, Å.
        temperature_max, temperature_step: of the table of thermal properties, K.
        device: torch device of a model of this package; phonons are computed in double precision.
    """

    system: str
    model: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    supercell: tuple[int, int, int] | None = None
    relax: bool = False
    relax_fmax: float = 1e-3
    symprec: float = 1e-5
    route: Route = "auto"
    displacement: float = 0.01
    points: int = 60
    mesh: float = 60.0
    temperature_max: float = 1000.0
    temperature_step: float = 10.0
    device: str = "cpu"

    def __post_init__(self) -> None:
        require_positive(
            self, "relax_fmax", "symprec", "displacement", "mesh", "temperature_max", "temperature_step", "points"
        )
        if self.supercell is not None and (len(self.supercell) != 3 or min(self.supercell) < 1):
            raise ConfigError(f"supercell must be three numbers of 1 or more; found {self.supercell}")
        if self.points < 2:
            raise ConfigError(f"points must be 2 or more; found {self.points}")
        if self.route not in ROUTES:
            raise ConfigError(f"route must be one of {', '.join(ROUTES)}; found '{self.route}'")

    def to_json(self) -> str:
        return settings_to_json(self)
