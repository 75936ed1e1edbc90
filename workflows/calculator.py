"""The calculator that a simulation runs with, from what a user wrote."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.calculators.ase.load import is_other_package, load_calculator
from atomsym.core import ConfigError, InputError

GPU_SKIN = 1.0  # Å; on a CPU a new neighbor list for each step is faster


def make_calculator(
    model: str,
    device: str = "cpu",
    dtype: str = "float64",
    content_hash: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> BaseCalculator:
    """A calculator of a model of this package, or of another one by name (``chgnet``) or as ``module:factory``.

    Args:
        model: name or path of a model, or for example ``ase.calculators.emt:EMT``.
        device, dtype: of models of this package; others choose for themselves.
        content_hash: refuse a model file of another content.
        kwargs: keyword arguments of the factory, or of ``AtomsymCalculator``, where they go before device and dtype.

    Raises:
        InputError, ConfigError, ArtifactError: if there is no such model or it cannot be used, or it refuses the
            arguments.
    """
    if not model:
        raise ConfigError("--model is needed; list the models with: atomsym models")
    if is_other_package(model):
        return load_calculator(model, dict(kwargs or {}))
    skin = 0.0 if device == "cpu" else GPU_SKIN
    settings: dict[str, Any] = {"device": device, "dtype": dtype, "skin": skin, **(kwargs or {})}
    if content_hash is not None:
        settings["content_hash"] = content_hash
    return load_calculator(model, settings)


def content_hash_of(calculator: object) -> str:
    """The hash of a calculator's model file; empty if it has none."""
    if isinstance(calculator, AtomsymCalculator):
        return calculator.provenance["content_hash"] or ""
    return ""


def require_continuous(calculator: object, model: str) -> None:
    """Refuse a model of this package whose energy jumps: dynamics on it do not conserve energy.

    Args:
        calculator: any.
        model: what it is called in the message.

    Raises:
        InputError: if the potential says that it is not continuous.
    """
    if isinstance(calculator, AtomsymCalculator) and not calculator.potential.continuous:
        raise InputError(
            f"the energy of the model '{model}' is not a continuous function of the positions (its symmetrizer's "
            "frames jump), so molecular dynamics would not conserve energy. Take a symmetrizer that is continuous, "
            "such as 'weighted', or pass --allow-discontinuous"
        )


def require_known_charge(atoms: Atoms) -> None:
    """Refuse a charged or spin-polarised structure where the model would take it for a neutral one.

    Raises:
        InputError: if ``atoms.info`` has a charge or spin other than that of the ground state, and the model of this
            package that is its calculator does not read it.
    """
    if not isinstance(atoms.calc, AtomsymCalculator):
        return
    known = getattr(atoms.calc.potential, "info_keys", ())
    neutral = {"charge": (0,), "total_charge": (0,), "spin": (0, 1), "multiplicity": (1,)}
    for key, values in neutral.items():
        found = atoms.info.get(key)
        if isinstance(found, Real) and found not in values and key not in known:
            raise InputError(
                f"the structure has {key} = {float(found):g}, which the model does not know: it would be treated as "
                f"neutral. Take another model, or remove the entry '{key}' from the structure"
            )


def absolute(name: str) -> str:
    """A path of a file made absolute, so that a run does not depend on the folder it was started in; else as it is."""
    return str(Path(name).absolute()) if Path(name).is_file() else name
