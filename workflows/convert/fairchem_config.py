"""The settings of a fairchem checkpoint as our config, and a refusal by name of what ours has no place for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from atomsym.core import ConfigError, InputError
from atomsym.core.elements import MAX_ATOMIC_NUMBER
from atomsym.models.escnmd import ESCNMDConfig

_BACKBONES = ("eSCNMDBackbone", "eSCNMDMoeBackbone")
_HEADS = ("MLP_EFS_Head",)
_KINDS = {"norm": "rms_norm_sh", "edge_activation": "gate", "feed_forward": "spectral", "basis": "gaussian"}
_FEWEST_NEIGHBORS = 100  # a smaller limit binds in dense crystals
_ROUNDED = 1e-6


@dataclass(frozen=True)
class Selection:
    """Which of the models in a checkpoint is meant.

    Attributes:
        head: MACE's head, or fairchem's data set (task); None if there is one only.
        charge: total charge of the systems, e. fairchem only.
        spin: multiplicity of the systems; None takes fairchem's default of the data set.
        composition: formula unit by atomic number, for which experts are merged; None if they need none.
    """

    head: str | None = None
    charge: int = 0
    spin: int | None = None
    composition: Mapping[int, int] | None = None

    @property
    def of_fairchem(self) -> bool:
        """Whether something is set that only fairchem's models have."""
        return bool(self.charge) or self.spin is not None or self.composition is not None


@dataclass(frozen=True, eq=False)
class ForeignESCNMD:
    """A model of fairchem as the extractor describes it.

    Attributes:
        description: plain data; see ``extract_fairchem``.
        arrays: weights and reference values by name.
        selection: what was asked for.
    """

    description: Mapping[str, Any]
    arrays: Mapping[str, Tensor]
    selection: Selection

    @property
    def settings(self) -> Mapping[str, Any]:
        settings: Mapping[str, Any] = self.description["settings"]
        return settings

    @property
    def composition(self) -> Mapping[int, int]:
        """What the merged experts are for; empty if they serve every composition."""
        mixed = self.description["experts"] > 0 and self.description["needs_composition"]
        return dict(sorted((self.selection.composition or {}).items())) if mixed else {}

    @property
    def elements(self) -> list[int]:
        """Atomic numbers that the converted model knows."""
        known = [number for number in self.description["elements"] if number <= MAX_ATOMIC_NUMBER]
        missing = [number for number in self.composition if number not in known]
        if missing:
            raise InputError(f"the composition has the elements {missing}, on which the model was not trained")
        return list(self.composition) or known


def config_of(foreign: ForeignESCNMD) -> ESCNMDConfig:
    """The config of the same network.

    Raises:
        InputError: if the model has a feature that ours lacks, or it is not said which of several is meant.
    """
    require_supported(foreign)
    settings, energy = foreign.settings, foreign.description["tasks"]["energy"]
    elements = foreign.elements
    references = energy["references"] or [0.0] * (MAX_ATOMIC_NUMBER + 1)
    degree = settings["max_degree"]
    spacing = settings["cutoff"] / (settings["n_radial"] - 1)
    try:
        return ESCNMDConfig(
            elements=tuple(elements),
            cutoff=float(settings["cutoff"]),
            atomic_energies=tuple(float(references[number]) for number in elements),
            average_neighbors=float(foreign.arrays["degree.divisor"]) ** 2,
            scale=energy["rmsd"],
            channels=settings["channels"],
            max_degree=degree,
            max_order=None if settings["max_order"] == degree else settings["max_order"],
            n_layers=settings["n_layers"],
            hidden_channels=settings["hidden_channels"],
            edge_channels=settings["edge_channels"],
            n_radial=settings["n_radial"],
            radial_width=round((-2 * float(foreign.arrays["gaussian.factor"])) ** -0.5 / spacing, 6),
            envelope_power=round(float(foreign.arrays["envelope.power"])),
            composition=tuple(foreign.composition.values()),
        )
    except ConfigError as error:
        raise InputError(f"the model's settings do not fit: {error}") from error


def require_supported(foreign: ForeignESCNMD) -> None:
    """Refuse models that the network has no place for, by what they are.

    Raises:
        InputError: naming the first such feature.
    """
    about = foreign.description
    if about["class"] not in _BACKBONES:
        raise _unsupported(f"the backbone {about['class']}", f"only eSEN and UMA ({_BACKBONES[0]}) are")
    if about["head"] not in about["heads"]:
        problem = f"the model has no data set '{about['head']}'" if about["head"] else "the model has several data sets"
        raise InputError(f"{problem}; choose one with --head: {', '.join(about['heads'])}")
    if about["direct"]:
        raise _unsupported("direct forces", "they are no derivatives of the energy; take the conserving checkpoint")
    for name, wanted in _KINDS.items():
        if foreign.settings[name] != wanted:
            raise _unsupported(f"{name.replace('_', ' ')} '{foreign.settings[name]}'", f"only '{wanted}' is")
    if any(about["balanced"]):
        raise _unsupported("balanced charge or spin channels", "they depend on all atoms of a system at once")
    if "energy" not in about["tasks"]:
        raise _unsupported(f"the data set '{about['head']}' without energies", "nothing else can be converted")
    if len(about["energy_heads"]) != 1 or about["energy_heads"][0] not in _HEADS or about["reduce"] != ["sum"]:
        found = f"{', '.join(about['energy_heads']) or 'none'} ({'/'.join(about['reduce'])})"
        raise _unsupported(f"energy heads {found}", f"one {_HEADS[0]} that sums is")
    _require_experts(foreign)
    _require_units(about["tasks"])
    if (foreign.settings["max_neighbors"] or _FEWEST_NEIGHBORS) < _FEWEST_NEIGHBORS:
        raise _unsupported(f"at most {foreign.settings['max_neighbors']} neighbors", "ours leaves none out")
    if not about["elements"]:
        raise _unsupported("a data set without reference energies of its elements", "its elements are unknown")
    _require_basis(foreign)


def _require_experts(foreign: ForeignESCNMD) -> None:
    about, composition = foreign.description, foreign.selection.composition
    if about["experts"] and about["experts_of"] != "so2":
        raise _unsupported(f"experts of the kind '{about['experts_of']}'", "only those of SO(2) maps can be merged")
    if about["experts"] and about["needs_composition"] and not composition:
        raise InputError(
            f"the model mixes {about['experts']} experts by the composition of the system. Its weights are fixed once "
            "that is known: give it with --composition, e.g. C2H6O"
        )
    if composition and not (about["experts"] and about["needs_composition"]):
        raise InputError("the model's weights do not depend on the composition; leave out --composition")


def _require_units(tasks: Mapping[str, Any]) -> None:
    if tasks["energy"]["mean"] != 0:
        raise _unsupported(f"a mean energy of {tasks['energy']['mean']:g} eV a system", "it is not extensive")
    for name, task in tasks.items():
        if name in ("forces", "stress") and (task["mean"] != 0 or task["rmsd"] != tasks["energy"]["rmsd"]):
            raise _unsupported(f"{name} in other units than energies", "they are no derivatives of them")


def _require_basis(foreign: ForeignESCNMD) -> None:
    centres = foreign.arrays["gaussian.centres"]
    expected = torch.linspace(0, float(foreign.settings["cutoff"]), len(centres), dtype=torch.float64)
    power = float(foreign.arrays["envelope.power"])
    if float((centres - expected).abs().max()) > _ROUNDED or abs(power - round(power)) > _ROUNDED:
        raise _unsupported("a radial basis of its own", "only equally spaced Gaussians from 0 to the cutoff are")


def _unsupported(what: str, allowed: str) -> InputError:
    return InputError(f"models with {what} cannot be converted: {allowed}")
