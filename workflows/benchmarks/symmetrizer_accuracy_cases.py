"""What ``atomsym benchmark symmetrizer-accuracy`` trains: a recipe under every symmetrizer, and other architectures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atomsym.artifacts import config_from_dict
from atomsym.core import ConfigError, LabelledStructure
from atomsym.core.elements import atomic_number_of
from atomsym.heads.intensive import INTENSIVE
from atomsym.symmetry.frames import Group
from atomsym.training import TrainingConfig
from atomsym.training.config_files import parse_yaml, with_overrides

RECIPES = Path(__file__).parents[1] / "recipes"
_ADAM = {"name": "adam", "weight_decay": 5e-7}
_METALS = ("Ag", "Au", "Cu", "Ir", "Pd", "Pt", "Rh")


@dataclass(frozen=True)
class AccuracyMethod:
    """A model that is trained.

    Attributes:
        symmetrizer: of the recipe's FAENet; None: none.
        replaced: sections of the config in place of the recipe's; a ``model`` takes from that of the recipe only what
            any potential has.
    """

    symmetrizer: dict[str, Any] | None = None
    replaced: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AccuracySet:
    """Data, and the methods that are compared on them.

    Attributes:
        name: of the set on the command line.
        title: of tables and pictures.
        recipe: file in ``workflows/recipes`` that all configs begin with.
        known_sets: data sets by a short name; each is trained on separately.
        group: of the random rotations by which test structures are turned.
        forces: whether there are forces.
        per: what energies are divided by, in words; see ``value``. Where the recipe's model is an intensive property:
            its unit.
        methods: by name.
        intensive: whether labels are intensive properties instead of energies.
        part_changes: further entries of the configs of a data set, by its short name.
    """

    name: str
    title: str
    recipe: str
    known_sets: Mapping[str, str]
    group: Group
    forces: bool
    per: str
    methods: Mapping[str, AccuracyMethod]
    intensive: bool = False
    part_changes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """Of errors in tables."""
        return self.per if self.intensive else f"meV per {self.per}"

    def label(self, structure: LabelledStructure) -> float:
        """What a structure's model learns, in the unit of tables."""
        if self.intensive:
            return structure.target or 0.0
        return self.value(structure, structure.energy or 0.0)

    def value(self, structure: LabelledStructure, predicted: float) -> float:
        """A prediction in the unit of tables: energies are divided by the number of adsorbed atoms, if any."""
        if self.intensive:
            return predicted
        adsorbed = 0 if self.forces else int((structure.numbers != atomic_number_of(structure.group)).sum())
        return 1e3 * predicted / max(adsorbed, 1)


def _faenet(group: str, **weighted: Any) -> dict[str, AccuracyMethod]:
    chosen: dict[str, dict[str, Any] | None] = {
        "none": None,
        "augmentation": {"method": "augmentation", "group": group},
        "stochastic": {"method": "stochastic", "group": group},
        "full": {"method": "full", "group": group},
        "weighted": {"method": "weighted", "group": group, **weighted},
        "canonicalization": {"method": "canonicalization", "group": group if group.endswith("3") else "E3"},
    }
    return {name: AccuracyMethod(symmetrizer) for name, symmetrizer in chosen.items()}


def _equivariant() -> dict[str, AccuracyMethod]:
    mace = {"architecture": "mace", "channels": 32, "hidden": "0e+1o", "max_degree": 2, "correlation": 3}
    nequip = {"architecture": "nequip", "channels": 32, "hidden": "0e+1o+2e", "max_degree": 2, "n_layers": 3}
    return {
        "mace": AccuracyMethod(replaced={"model": mace, "optimizer": {**_ADAM, "learning_rate": 0.01}}),
        "nequip": AccuracyMethod(replaced={"model": nequip, "optimizer": {**_ADAM, "learning_rate": 0.005}}),
    }


ACCURACY_SETS: dict[str, AccuracySet] = {
    found.name: found
    for found in (
        AccuracySet(
            "adsorption",
            "adsorption energies on fcc(111)",
            "adsorption.yaml",
            {"": "fcc111-adsorption"},
            "SE2",
            False,
            "adsorbed atom",
            {**_faenet("E2", training_samples=1), **_equivariant()},
        ),
        AccuracySet(
            "unseen-metal",
            "adsorption energies on a metal that was left out",
            "adsorption.yaml",
            {metal: f"fcc111-adsorption-without-{metal}" for metal in _METALS},
            "SE2",
            False,
            "adsorbed atom",
            _faenet("E2", training_samples=1),  # others have weights of each element, which a new one lacks
        ),
        AccuracySet(
            "ethanol",
            "ethanol (rMD17)",
            "rmd17-ethanol-faenet.yaml",
            {"": "rmd17-ethanol"},
            "SE3",
            True,
            "molecule",
            {**_faenet("SE3", threshold=0.75), **_equivariant()},
        ),
        AccuracySet(
            "elasticity",
            "elastic moduli of binary crystals",
            "elasticity.yaml",
            {"bulk-modulus": "mp-binary-bulk-modulus", "shear-modulus": "mp-binary-shear-modulus"},
            "SE3",
            False,
            "log10(GPa)",
            {**_faenet("E3", threshold=0.75, samples=8, training_samples=1), **_equivariant()},
            intensive=True,
            part_changes={"shear-modulus": ("model.quantity=log10 of the shear modulus",)},
        ),
    )
}
"""What can be compared, by name."""

_ANY_POTENTIAL = ("cutoff", "elements", "atomic_energies", "scale", "shift")


@dataclass(frozen=True)
class AccuracyCase:
    """One training.

    Attributes:
        method: name of the method.
        part: short name of the data set, "" where there is only one.
        config: of the training.
    """

    method: str
    part: str
    config: TrainingConfig

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.method}-{self.part}" if self.part else self.method


def accuracy_set(name: str) -> AccuracySet:
    """A set by its name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in ACCURACY_SETS:
        raise ConfigError(f"no set '{name}'; there are {', '.join(ACCURACY_SETS)}")
    return ACCURACY_SETS[name]


def accuracy_cases(
    chosen: AccuracySet,
    only: Iterable[str] = (),
    *,
    epochs: int | None = None,
    seed: int = 0,
    changes: Iterable[str] = (),
) -> list[AccuracyCase]:
    """The trainings of a set, method by method.

    Args:
        chosen: the set.
        only: names of methods; default: all.
        epochs: of each; default: those of the recipe.
        seed: of each.
        changes: further entries of all configs, as ``--set`` of the training command.

    Raises:
        ConfigError: if a method is unknown, or an entry of a config is wrong.
    """
    changes = tuple(changes)
    names = tuple(only) or tuple(chosen.methods)
    unknown = [name for name in names if name not in chosen.methods]
    if unknown:
        raise ConfigError(f"no method '{unknown[0]}' of {chosen.name}; there are {', '.join(chosen.methods)}")
    recipe = parse_yaml((RECIPES / chosen.recipe).read_text(encoding="utf-8"), chosen.recipe)
    cases = []
    for name in chosen.methods:
        if name in names:
            for part, known_set in chosen.known_sets.items():
                entries = {**_with_method(recipe, chosen.methods[name]), "seed": seed}
                entries["data"] = {**entries.get("data", {}), "known_set": known_set}
                entries["output"] = {**entries.get("output", {}), "name": name}
                if epochs is not None:
                    entries["epochs"] = epochs
                every = (*chosen.part_changes.get(part, ()), *changes)
                config = config_from_dict(TrainingConfig, with_overrides(entries, every))
                cases.append(AccuracyCase(name, part, config))
    return cases


def _with_method(recipe: Mapping[str, Any], method: AccuracyMethod) -> dict[str, Any]:
    model = {name: value for name, value in recipe["model"].items() if name != "symmetrizer"}
    if "model" in method.replaced:
        network = model["model"] if model["architecture"] == INTENSIVE else model
        common = {name: network[name] for name in _ANY_POTENTIAL if name in network}
        network = {**common, **method.replaced["model"]}
        model = {**model, "model": network} if model["architecture"] == INTENSIVE else network
    if method.symmetrizer is not None:
        model["symmetrizer"] = method.symmetrizer
    return {**recipe, **method.replaced, "model": model}
