"""What decides the figures of an evaluation of generators."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from atomsym.core import ConfigError
from atomsym.workflows.evaluate_crystals.settings import EvaluationSettings
from atomsym.workflows.generate.prototypes import AFLOW
from atomsym.workflows.generate.settings import GenerateSettings
from atomsym.workflows.run_settings import read_settings, require_positive, settings_to_json

TRAINING = ("mp_20_biternary_val", "mp_20_slices_mini", "mpts_52_val")
REFERENCE = "mp_20_biternary_test"


@dataclass(frozen=True)
class EvaluateGeneratorsSettings:
    """Settings of one evaluation, which all its samples share.

    Attributes:
        n: draws from each generator.
        max_atoms: of the conventional cell.
        relax: name of a model, ``chgnet``, or ``module:factory`` of an ASE calculator.
        realisations: geometries of each draw; the one of least energy is relaxed.
        prototypes: known crystals whose geometries are tried first, as in ``GenerateSettings``.
        fmax: of the relaxations, eV/Å.
        max_steps: evaluations in each.
        time_limit: of each, s.
        margin: phases at most so far above the hull of known formation energies are relaxed for the hull, eV/atom.
        reference: what the samples should be like.
        known: crystals that are not new: what the generators were trained on.
        stable, metastable: highest distances from the hull, eV/atom.
        smact: whether SMACT decides on charges.
        seed: of everything random.

    Raises:
        ConfigError: if a value is out of range.
    """

    n: int = 10_000
    max_atoms: int = 120
    relax: str = "chgnet"
    realisations: int = 4
    prototypes: tuple[str, ...] = (AFLOW, *TRAINING)
    fmax: float = 0.05
    max_steps: int = 200
    time_limit: float = 600.0
    margin: float = 0.02
    reference: str = REFERENCE
    known: tuple[str, ...] = TRAINING
    stable: float = 0.0
    metastable: float = 0.08
    smact: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("known", "prototypes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        require_positive(self, "margin")
        if not self.relax:
            raise ConfigError("a calculator is needed for energies: name one with --relax")
        self.generation()
        self.evaluation()

    @property
    def phases(self) -> tuple[str, ...]:
        """Sets whose crystals make the hull."""
        return tuple(dict.fromkeys((*self.known, self.reference)))

    def generation(self, generator: str = "wyformer") -> GenerateSettings:
        """As a run of ``atomsym generate`` would have them."""
        return GenerateSettings(
            n=self.n, generator=generator, max_atoms=self.max_atoms, realisations=self.realisations,
            prototypes=self.prototypes, relax=self.relax, fmax=self.fmax, max_steps=self.max_steps,
            time_limit=self.time_limit, seed=self.seed,
        )  # fmt: skip

    def evaluation(self) -> EvaluationSettings:
        """As ``atomsym evaluate-crystals`` would have them."""
        return EvaluationSettings(stable=self.stable, metastable=self.metastable, smact=self.smact, seed=self.seed)

    def keep_in(self, folder: Path) -> None:
        """Write them into a folder of results, or check that those there are the same.

        Raises:
            ConfigError: if the folder was begun with others.
        """
        path = folder / "settings.json"
        if not path.exists():
            path.write_text(settings_to_json(self))
        elif read_settings(type(self), path, "evaluation of generators") != self:
            raise ConfigError(f"{folder} was begun with other settings ({path}); choose another folder with --output")
