"""What errors are stated of: names and units for tables, logs and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from atomsym.models import Potential


@dataclass(frozen=True)
class Quantity:
    """A label that predictions are compared with.

    Attributes:
        label: in words.
        unit: of its values, as they are computed and stored.
        error_unit: of errors that are shown.
        scale: error in ``error_unit`` / error in ``unit``.
    """

    label: str
    unit: str
    error_unit: str
    scale: float

    @property
    def column_unit(self) -> str:
        """``error_unit`` in the header of a log."""
        return self.error_unit.replace("Å", "A").replace("²", "^2").replace("³", "^3")


def _thousandths(label: str, unit: str) -> Quantity:
    return Quantity(label, unit, f"m{unit}", 1e3)


TARGET = "target"
"""Name of the one quantity of a model that gives no energies."""
QUANTITIES: Mapping[str, Quantity] = {
    "energy": _thousandths("energy", "eV/atom"),
    "forces": _thousandths("forces", "eV/Å"),
    "stress": _thousandths("stress", "eV/Å³"),
    "hessian": _thousandths("predicted Hessian", "eV/Å²"),
    "direct_forces": _thousandths("direct forces", "eV/Å"),
}
"""Of models that give energies, in the order of tables."""


def quantities_of(potential: Potential) -> Mapping[str, Quantity]:
    """The quantities of a model by name: ``QUANTITIES``, or ``target`` in its own name and unit.

    Example:
        >>> from atomsym.heads import IntensiveProperty
        >>> from atomsym.models import ARGON
        >>> quantities_of(IntensiveProperty.of("lennard-jones", ARGON, "cohesion", "eV/atom"))["target"].error_unit
        'eV/atom'
    """
    if potential.quantity == "energy":
        return QUANTITIES
    return {TARGET: Quantity(potential.quantity, potential.unit, potential.unit, 1.0)}
