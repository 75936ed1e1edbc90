"""Harmonic frequencies of small molecules beside those of a reference method, each at the minimum of its own method."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import BaseCalculator
from numpy.typing import NDArray

from atomsym.calculators.ase.load import load_calculator
from atomsym.core import AtomsymError, CalculationError, ConfigError, MissingDependencyError
from atomsym.workflows.hessian_source import forces_of, hessian_of
from atomsym.workflows.optimizers import RFO
from atomsym.workflows.run_settings import require_positive
from atomsym.workflows.transition_states.bonds import bonds_of
from atomsym.workflows.transition_states.result import KJ_PER_MOL
from atomsym.workflows.vibrations.modes import normal_modes
from atomsym.workflows.vibrations.thermochemistry import zero_point_energy

FloatArray = NDArray[np.float64]
Progress = Callable[[str, int, int], None]

MOLECULES = (
    "H2O", "NH3", "CH4", "HF", "N2", "CO", "CO2", "HCN", "C2H2", "C2H4",
    "C2H6", "H2CO", "CH3OH", "HCOOH", "H2O2", "N2H4", "CH3CN", "H3CNH2", "H2CF2", "CH3CHO",
)  # fmt: skip
"""Closed shells of H, C, N, O and F with their names in ``ase.build.molecule`` (G2): 162 modes."""
REFERENCE = "tblite.ase:TBLite"
REFERENCE_KWARGS = {"method": "GFN2-xTB", "accuracy": 0.01, "verbosity": 0}
"""GFN2-xTB with a self-consistency that second derivatives can be taken of."""
HESSIAN_EVERY = 5


@dataclass(frozen=True)
class FrequencySettings:
    """What is compared.

    Attributes:
        model: name or file of a model, or ``module:factory``.
        kwargs: of the model's factory.
        reference, reference_kwargs: the method beside it.
        molecules: names that ``ase.build.molecule`` knows.
        fmax: largest force at a minimum, eV/Å.
        max_steps: of each relaxation.
    """

    model: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    reference: str = REFERENCE
    reference_kwargs: dict[str, Any] = field(default_factory=lambda: dict(REFERENCE_KWARGS))
    molecules: tuple[str, ...] = MOLECULES
    fmax: float = 1e-3
    max_steps: int = 200

    def __post_init__(self) -> None:
        require_positive(self, "fmax", "max_steps")
        if not self.molecules:
            raise ConfigError("name one or more molecules")
        for name in self.molecules:
            start_of(name)


@dataclass(frozen=True)
class Vibrations:
    """One molecule with one method: wavenumbers in 1/cm, rising, imaginary ones negative; energies in eV."""

    wavenumbers: tuple[float, ...]
    zero_point_energy: float
    steps: int


@dataclass(frozen=True)
class MoleculeComparison:
    """One molecule.

    Attributes:
        name, n_atoms: which.
        reference, model: None if that method failed.
        error: why the molecule is not compared; empty if it is.
        unsupported: the model cannot compute it at all: an element that it does not know.
    """

    name: str
    n_atoms: int
    reference: Vibrations | None
    model: Vibrations | None
    error: str
    unsupported: bool = False

    @property
    def differences(self) -> FloatArray:
        """Model minus reference, modes paired in rising order, 1/cm; empty if the molecule is not compared."""
        if self.error or self.reference is None or self.model is None:
            return np.zeros(0)
        return np.array(self.model.wavenumbers) - np.array(self.reference.wavenumbers)

    @property
    def zero_point_difference(self) -> float | None:
        """Model minus reference, eV."""
        if self.error or self.reference is None or self.model is None:
            return None
        return self.model.zero_point_energy - self.reference.zero_point_energy


@dataclass(frozen=True)
class FrequencyResult:
    """All molecules, and errors over those that are compared; None if there are none.

    Attributes:
        settings: what was asked.
        molecules: in the order asked for.
    """

    settings: FrequencySettings
    molecules: tuple[MoleculeComparison, ...]

    @property
    def compared(self) -> list[MoleculeComparison]:
        return [found for found in self.molecules if not found.error]

    @property
    def n_imaginary(self) -> int:
        """Modes of the model's minima that are imaginary: they should be none, and count in the errors."""
        return sum(int((np.array(found.model.wavenumbers) < 0).sum()) for found in self.compared if found.model)

    def errors(self) -> dict[str, float | int | None]:
        """Mean absolute, root mean square, mean and largest error of wavenumbers in 1/cm; of zero-point energies."""
        differences = np.concatenate([found.differences for found in self.compared] or [np.zeros(0)])
        zero_points = np.array([found.zero_point_difference for found in self.compared], dtype=float)
        some = len(differences) > 0
        return {
            "n_molecules": len(self.compared),
            "n_modes": len(differences),
            "n_imaginary": self.n_imaginary,
            "mae_1_cm": float(np.abs(differences).mean()) if some else None,
            "rmse_1_cm": float(np.sqrt((differences**2).mean())) if some else None,
            "mean_1_cm": float(differences.mean()) if some else None,
            "largest_1_cm": float(np.abs(differences).max()) if some else None,
            "zero_point_mae_eV": float(np.abs(zero_points).mean()) if some else None,
            "zero_point_mae_kJ_mol": float(np.abs(zero_points).mean()) * KJ_PER_MOL if some else None,
        }

    def to_json(self) -> str:
        """All of it, as JSON."""
        plain = {
            "settings": asdict(self.settings),
            "errors": self.errors(),
            "molecules": [
                {
                    **asdict(found),
                    "mae_1_cm": float(np.abs(found.differences).mean()) if len(found.differences) else None,
                    "zero_point_difference_eV": found.zero_point_difference,
                }
                for found in self.molecules
            ],
        }
        return json.dumps(plain, indent=2) + "\n"


def compare_frequencies(settings: FrequencySettings, progress: Progress | None = None) -> FrequencyResult:
    """Relax every molecule with both methods, and compare their harmonic frequencies.

    A molecule is not compared, and the reason recorded, if a method fails, does not come to rest, or changes bonds.

    Args:
        settings: what to compare.
        progress: called with the next molecule, the number of finished ones and of all.

    Raises:
        ConfigError: if there is no such model or reference.
        MissingDependencyError: if tblite is needed and missing.
    """
    reference = _reference(settings)
    model = load_calculator(settings.model, settings.kwargs)
    found = []
    for number, name in enumerate(settings.molecules):
        if progress is not None:
            progress(name, number, len(settings.molecules))
        found.append(_compared(name, reference, model, settings))
    return FrequencyResult(settings, tuple(found))


def start_of(name: str) -> Atoms:
    """The structure of that name in ``ase.build.molecule``.

    Raises:
        ConfigError: if there is none, or it is a single atom, which has no frequencies.
    """
    try:
        atoms = molecule(name)
    except (KeyError, NotImplementedError) as error:
        raise ConfigError(f"ase.build.molecule knows no molecule '{name}'") from error
    if len(atoms) < 2:
        raise ConfigError(f"'{name}' is one atom and has no vibrations")
    return atoms


def _reference(settings: FrequencySettings) -> BaseCalculator:
    try:
        return load_calculator(settings.reference, settings.reference_kwargs)
    except ConfigError as error:
        if settings.reference.startswith("tblite.") and isinstance(error.__cause__, ImportError):
            raise MissingDependencyError.for_package("tblite", "label", "the reference GFN2-xTB") from error
        raise


def _compared(
    name: str, reference: BaseCalculator, model: BaseCalculator, settings: FrequencySettings
) -> MoleculeComparison:
    start = start_of(name)
    found: dict[str, Vibrations | None] = {"reference": None, "model": None}
    error, unsupported = "", False
    for which, calculator in (("model", model), ("reference", reference)):
        atoms = Atoms(start.numbers, start.positions, calculator=calculator)
        unsupported = which == "model"
        try:
            forces_of(atoms)
            unsupported = False
            found[which] = _vibrations(atoms, start, settings)
        except (AtomsymError, ArithmeticError, np.linalg.LinAlgError) as problem:
            error = f"{which}: {type(problem).__name__}: {problem}"
            break
    both = [vibrations.wavenumbers for vibrations in found.values() if vibrations is not None]
    if not error and len({len(wavenumbers) for wavenumbers in both}) > 1:
        error = f"the methods disagree on whether it is linear: {len(both[0])} and {len(both[1])} modes"
    return MoleculeComparison(name, len(start), found["reference"], found["model"], error, unsupported)


def _vibrations(atoms: Atoms, start: Atoms, settings: FrequencySettings) -> Vibrations:
    optimizer = RFO(atoms, hessian_every=HESSIAN_EVERY, logfile=None)
    if not _asked(lambda: optimizer.run(fmax=settings.fmax, steps=settings.max_steps)):
        raise CalculationError(f"not at rest after {settings.max_steps} steps")
    if bonds_of(atoms) != bonds_of(start):
        raise CalculationError("another molecule comes out of the relaxation: bonds have changed")
    wavenumbers = normal_modes(atoms, hessian_of(atoms)).wavenumbers
    return Vibrations(
        tuple(float(value) for value in wavenumbers), zero_point_energy(wavenumbers), int(optimizer.nsteps)
    )


def _asked(work: Callable[[], Any]) -> Any:
    """What calculators raise on the way becomes an error that is recorded."""
    try:
        return work()
    except AtomsymError:
        raise
    except Exception as error:
        raise CalculationError(f"{type(error).__name__}: {error}") from error


def rows_of(result: FrequencyResult) -> list[dict[str, Any]]:
    """A row a mode of the molecules that are compared: molecule, mode, reference, model, difference in 1/cm."""
    rows = []
    for found in result.compared:
        pairs = _pairs(found)
        for number, (reference, model) in enumerate(pairs, start=1):
            row = {"molecule": found.name, "mode": number, "reference_1_cm": reference, "model_1_cm": model}
            rows.append({**row, "difference_1_cm": model - reference})
    return rows


def _pairs(found: MoleculeComparison) -> Sequence[tuple[float, float]]:
    if found.reference is None or found.model is None:
        return []
    return list(zip(found.reference.wavenumbers, found.model.wavenumbers, strict=True))
