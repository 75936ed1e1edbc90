"""What labels a structure: the interface of engines, their failures, and engines by name."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from atomsym.core import CalculationError, ConfigError, LabelledStructure, MissingDependencyError

FloatArray = NDArray[np.float64]


class LabelError(CalculationError):
    """An engine has no labels for a structure; the message is the reason. It is recorded, not fatal."""


@dataclass(frozen=True, eq=False)
class Labels:
    """What an engine says of one structure.

    Attributes:
        energy: total energy, eV.
        forces: shape (n_atoms, 3), eV/Å.
        stress: shape (3, 3), eV/Å³, positive under tension; None where there is no volume.
        hessian: shape (3 n_atoms, 3 n_atoms), eV/Å², symmetric; None if it was not asked for.
        asymmetry: largest |H − Hᵀ| before it was made symmetric, eV/Å²: a measure of noise.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray | None = None
    hessian: FloatArray | None = None
    asymmetry: float | None = None


class Engine(Protocol):
    """A reference method.

    Attributes:
        name: as ``--engine`` has it.
        level_of_theory: for the description of the data.
        settings: plain data that determine the labels.
    """

    @property
    def name(self) -> str: ...

    @property
    def level_of_theory(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, Any]: ...

    def label(self, structure: LabelledStructure, hessian: bool = False) -> Labels:
        """Energy and forces, and the Hessian if asked for.

        Raises:
            LabelError: if the structure is not one for this method, or the calculation does not converge.
        """
        ...


@dataclass(frozen=True)
class _Entry:
    factory: str
    package: str
    extra: str


_ENGINES = {
    "gfn2-xtb": _Entry("atomsym.workflows.label.xtb:gfn2", "tblite", "label"),
    "gfn1-xtb": _Entry("atomsym.workflows.label.xtb:gfn1", "tblite", "label"),
    "pyscf": _Entry("atomsym.workflows.label.dft:pyscf_engine", "pyscf", "pyscf"),
}
ENGINES = tuple(_ENGINES)


def require_engine(name: str) -> None:
    """Check that there is such an engine and that its package is installed, without importing it.

    Raises:
        ConfigError: if the name is neither one of ``ENGINES`` nor ``module:factory``.
        MissingDependencyError: if the package is missing; the message has the install line.
    """
    if name not in _ENGINES:
        if ":" in name:
            return
        raise ConfigError(f"engine '{name}' is unknown; known are {', '.join(ENGINES)}, or your own as module:factory")
    entry = _ENGINES[name]
    if importlib.util.find_spec(entry.package) is None:
        raise MissingDependencyError.for_package(entry.package, entry.extra, f"the engine {name}")


def make_engine(name: str, settings: Mapping[str, Any] | None = None) -> Engine:
    """An engine by name, or of another package as ``module:factory``; the factory takes the settings by name.

    Raises:
        ConfigError: if there is no such engine, or it does not take these settings.
        MissingDependencyError: if its package is missing.

    Example:
        >>> make_engine("gfn3-xtb")
        Traceback (most recent call last):
        ...
        atomsym.core.errors.ConfigError: engine 'gfn3-xtb' is unknown; known are gfn2-xtb, gfn1-xtb, pyscf, or your \
own as module:factory
    """
    require_engine(name)
    module, _, factory = (_ENGINES[name].factory if name in _ENGINES else name).partition(":")
    try:
        make = getattr(importlib.import_module(module), factory)
    except (ImportError, AttributeError) as error:
        if isinstance(error, MissingDependencyError):
            raise
        raise ConfigError(f"engine '{name}' cannot be loaded: {error}") from error
    try:
        return cast(Engine, make(**(settings or {})))
    except TypeError as error:
        raise ConfigError(f"engine '{name}' does not take these settings: {error}") from error
