"""Units of labels: what a file's numbers mean, and the factors that bring them to eV, Å, eV/Å and eV/Å³."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ase.units import create_units

from atomsym.core import ConfigError

_ASE = create_units("2018")  # the constants of atomsym.core.units

# value in eV and Å, and the powers of energy and length
_UNITS: dict[str, tuple[float, int, int]] = {
    "ev": (1.0, 1, 0), "mev": (1e-3, 1, 0), "hartree": (_ASE["Hartree"], 1, 0), "ha": (_ASE["Hartree"], 1, 0),
    "mhartree": (1e-3 * _ASE["Hartree"], 1, 0), "mha": (1e-3 * _ASE["Hartree"], 1, 0),
    "rydberg": (_ASE["Ry"], 1, 0), "ry": (_ASE["Ry"], 1, 0),
    "kcal": (_ASE["kcal"], 1, 0), "cal": (_ASE["kcal"] / 1000, 1, 0),
    "kj": (_ASE["kJ"], 1, 0), "j": (_ASE["J"], 1, 0), "mol": (_ASE["mol"], 0, 0),
    "å": (1.0, 0, 1), "angstrom": (1.0, 0, 1), "ang": (1.0, 0, 1), "a": (1.0, 0, 1), "bohr": (_ASE["Bohr"], 0, 1),
    "a0": (_ASE["Bohr"], 0, 1), "nm": (10.0, 0, 1), "pm": (0.01, 0, 1),
    "gpa": (_ASE["GPa"], 1, -3), "mpa": (1e-3 * _ASE["GPa"], 1, -3), "pa": (1e-9 * _ASE["GPa"], 1, -3),
    "bar": (_ASE["bar"], 1, -3), "kbar": (1e3 * _ASE["bar"], 1, -3),
}  # fmt: skip
_FACTOR = re.compile(r"([A-Za-zÅ]+0?)(?:\s*(?:\^|\*\*)\s*(\d+)|([²³]))?")
_VOIGT_PAIRS = ("xx", "yy", "zz", "yz", "xz", "xy")


def unit_factor(unit: str, energy_power: int, length_power: int) -> float:
    """The value of one ``unit`` in eV^energy_power Å^length_power.

    Args:
        unit: names joined by ``/`` or ``*`` with optional powers, for example ``kcal/mol/Å``, ``Ha/Bohr``, ``kbar``
            or ``Ry/Bohr^3``; capitals do not matter.
        energy_power: 1 for an energy, a force, a stress.
        length_power: 0 for an energy, 1 for a length, -1 for a force, -3 for a stress, -2 for a Hessian.

    Raises:
        ConfigError: if a name is unknown, or the unit measures something else.

    Example:
        >>> round(unit_factor("kcal/mol", 1, 0), 6)
        0.043364
    """
    value, energy, length, sign = 1.0, 0, 0, 1
    for part in re.split(r"([/*](?!\*)(?<!\*\*))", unit.replace("**", "^")):
        if part in ("/", "*"):
            sign = -1 if part == "/" else 1
            continue
        match = _FACTOR.fullmatch(part.strip())
        known = _UNITS.get(match[1].lower()) if match else None
        if match is None or known is None:
            raise ConfigError(f"unit '{unit}': '{part}' is not a known unit; known are {', '.join(_UNITS)}")
        power = sign * int(match[2] or {"²": 2, "³": 3}.get(match[3] or "", 1))
        value *= known[0] ** power
        energy, length = energy + known[1] * power, length + known[2] * power
    if (energy, length) != (energy_power, length_power):
        raise ConfigError(
            f"unit '{unit}' is energy^{energy} length^{length}; needed is energy^{energy_power} length^{length_power}"
        )
    return value


@dataclass(frozen=True)
class LabelUnits:
    """Units of the numbers in a file. None means: made from the units of energy and length.

    Attributes:
        energy: of energies and virials, for example ``eV``, ``kcal/mol``, ``Hartree``, ``Ry``.
        length: of positions and cell, for example ``Å``, ``Bohr``, ``nm``.
        forces: default energy/length.
        stress: default energy/length³; for example ``kbar``, ``GPa``.
        virial: default the unit of energy.
        hessian: default energy/length².
        stress_positive: "tension" (ours and ASE's) or "compression" (VASP's and LAMMPS' pressure tensor).
        virial_positive: "compression" (virial = −stress × volume, as in GAP and DeePMD files) or "tension".
        voigt: order of six stress or virial components; ASE's is the default, VASP's is "xx yy zz xy yz xz".

    Raises:
        ConfigError: if a unit is unknown or measures something else, or an order or sign is not one of the above.
    """

    energy: str = "eV"
    length: str = "Å"
    forces: str | None = None
    stress: str | None = None
    virial: str | None = None
    hessian: str | None = None
    stress_positive: str = "tension"
    virial_positive: str = "compression"
    voigt: str = "xx yy zz yz xz xy"

    def __post_init__(self) -> None:
        for name in ("stress_positive", "virial_positive"):
            if getattr(self, name) not in ("tension", "compression"):
                raise ConfigError(f"{name} must be 'tension' or 'compression'; found '{getattr(self, name)}'")
        _ = (self.factors, self.voigt_order)

    @property
    def factors(self) -> dict[str, float]:
        """Factor of each property to eV and Å: energy, length, forces, stress, virial, hessian; signs included."""
        energy, length = unit_factor(self.energy, 1, 0), unit_factor(self.length, 0, 1)
        stress = energy / length**3 if self.stress is None else unit_factor(self.stress, 1, -3)
        virial = energy if self.virial is None else unit_factor(self.virial, 1, 0)
        return {
            "energy": energy,
            "length": length,
            "forces": energy / length if self.forces is None else unit_factor(self.forces, 1, -1),
            "stress": stress if self.stress_positive == "tension" else -stress,
            "virial": virial if self.virial_positive == "compression" else -virial,
            "hessian": energy / length**2 if self.hessian is None else unit_factor(self.hessian, 1, -2),
        }

    @property
    def voigt_order(self) -> tuple[int, ...]:
        """Where each of ASE's six components xx yy zz yz xz xy stands in the file."""
        pairs = ["".join(sorted(pair)) for pair in self.voigt.split()]
        if sorted(pairs) != sorted(_VOIGT_PAIRS):
            raise ConfigError(f"voigt must name each of {' '.join(_VOIGT_PAIRS)} once; found '{self.voigt}'")
        return tuple(pairs.index(pair) for pair in _VOIGT_PAIRS)

    def __str__(self) -> str:
        return f"{self.energy}, {self.length}"
