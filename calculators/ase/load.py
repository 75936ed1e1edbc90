"""From what a user writes to a calculator: a name or file of a model, or ``module:factory`` for any other package."""

from __future__ import annotations

import importlib
import importlib.util
import json
from typing import Any

from ase.calculators.calculator import BaseCalculator

from atomsym.artifacts import find_model
from atomsym.core import AtomsymError, ConfigError, InputError, MissingDependencyError

OTHER_PACKAGES: dict[str, tuple[str, str]] = {"chgnet": ("atomsym.calculators.ase.chgnet:CHGNetCalculator", "chgnet")}
"""Universal potentials by the names of their packages: ``module:factory``, and the extra that installs the package."""


def is_other_package(spec: str) -> bool:
    """Whether a specification names a calculator of another package.

    Example:
        >>> is_other_package("chgnet"), is_other_package("ase.calculators.emt:EMT"), is_other_package("water")
        (True, True, False)
    """
    return spec in OTHER_PACKAGES or (":" in spec and not spec.endswith(".safetensors"))


def load_calculator(spec: str, kwargs: dict[str, Any] | None = None) -> BaseCalculator:
    """The ASE calculator that a specification names.

    Args:
        spec: the name or path of a model of this package, a name of ``OTHER_PACKAGES``, or ``module:factory``, for
            example ``ase.calculators.emt:EMT``; the factory may be a class, a function, or a dotted path inside the
            module.
        kwargs: keyword arguments of the factory, or of ``AtomsymCalculator``.

    Raises:
        InputError: if there is no such model.
        ConfigError: if the module or the factory does not exist, the factory refuses its arguments, or
            what it returns is no calculator.
        MissingDependencyError: if the package of a name of ``OTHER_PACKAGES`` is not installed.

    Example:
        >>> type(load_calculator("ase.calculators.emt:EMT")).__name__
        'EMT'
    """
    arguments = kwargs or {}
    if spec in OTHER_PACKAGES:
        factory, extra = OTHER_PACKAGES[spec]
        if importlib.util.find_spec(spec) is None:
            raise MissingDependencyError.for_package(spec, extra, f"the model '{spec}'")
        calculator = _call(spec, _find_factory(factory), arguments)
    elif is_other_package(spec):
        calculator = _call(spec, _find_factory(spec), arguments)
    else:
        calculator = _own_model(spec, arguments)
    if not hasattr(calculator, "get_potential_energy") or not hasattr(calculator, "get_forces"):
        raise ConfigError(
            f"{spec} gives a {type(calculator).__name__}, which is no ASE calculator: "
            "get_potential_energy and get_forces are missing"
        )
    return calculator


def parse_kwargs(text: str | None) -> dict[str, Any]:
    """Keyword arguments from JSON text.

    Raises:
        ConfigError: if the text is not a JSON object.

    Example:
        >>> parse_kwargs('{"sigma": 3.4}')
        {'sigma': 3.4}
    """
    if not text:
        return {}
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"--kwargs must be JSON like '{{\"sigma\": 3.4}}'; {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"--kwargs must be a JSON object like '{{\"sigma\": 3.4}}'; found {text}")
    return value


def _find_factory(spec: str) -> Any:
    module_name, _, path = spec.partition(":")
    if not module_name or not path:
        raise ConfigError(f"'{spec}' is not module:factory; write for example ase.calculators.emt:EMT")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        reason = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise ConfigError(f"the module '{module_name}' of '{spec}' cannot be imported: {reason}") from error
    for name in path.split("."):
        if not hasattr(found, name):
            raise ConfigError(f"'{module_name}' has no '{path}'; is the factory spelled right?")
        found = getattr(found, name)
    if not callable(found):
        raise ConfigError(f"'{spec}' is a {type(found).__name__}; a calculator class or a function is needed")
    return found


def _call(spec: str, factory: Any, arguments: dict[str, Any]) -> Any:
    try:
        return factory(**arguments)
    except AtomsymError:
        raise
    except (Exception, SystemExit) as error:
        given = json.dumps(arguments, default=str)
        message = f"{spec} could not be made with the arguments {given}: {type(error).__name__}: {error}"
        raise ConfigError(message) from error


def _own_model(spec: str, arguments: dict[str, Any]) -> BaseCalculator:
    try:
        hosts = importlib.import_module("atomsym.calculators.ase")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("atomsym"):
            raise MissingDependencyError(f"model '{spec}' needs the package {error.name}, which is missing") from error
        raise ConfigError(f"model '{spec}' cannot be loaded: this installation has no ASE calculator") from error
    try:
        find_model(spec)
    except InputError as error:
        others = ", ".join(OTHER_PACKAGES)
        raise InputError(f"{error}; of other packages: {others}, or module:factory of any ASE calculator") from error
    return _call(spec, hosts.AtomsymCalculator, {"model": spec, **arguments})
