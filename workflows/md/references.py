"""What measurements say about the liquids that are run most often, to be drawn beside a simulation.

Numbers are read off published curves and rounded; whole curves are not part of the program, but can be given as files.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from atomsym.core import InputError
from atomsym.workflows.md.analysis import Curve


@dataclass(frozen=True)
class Extrema:
    """Maxima and minima of a g(r): (r in Å, g) each, and where they were published."""

    points: tuple[tuple[float, float], ...]
    source: str


@dataclass(frozen=True)
class LiquidReference:
    """A liquid at one state point.

    Attributes:
        composition: atoms of each element in the smallest formula.
        temperature: K.
        density: g/cm³.
        extrema: of g(r), by pair of elements. Without a height (nan) only the position is known.
        diffusion: of an element, 1e-5 cm²/s.
        diffusion_source: where it was published.
    """

    composition: dict[str, int]
    temperature: float
    density: float
    extrema: dict[str, Extrema] = field(default_factory=dict)
    diffusion: dict[str, float] = field(default_factory=dict)
    diffusion_source: str = ""

    def describes(self, composition: dict[str, int], temperature: float, density: float | None) -> bool:
        """Whether a run is near this state point: within 15 K and 5 % of the density."""
        if density is None or set(composition) != set(self.composition):
            return False
        ratios = {composition[symbol] / self.composition[symbol] for symbol in composition}
        near = abs(temperature - self.temperature) <= 15 and abs(density / self.density - 1) <= 0.05
        return len(ratios) == 1 and near


_RAHMAN = "Rahman 1964 (simulation)"
_SKINNER = "X-ray, Skinner et al. 2013/14, 295 K"
_SOPER = "neutrons, Soper 2000, 298 K"

REFERENCES = (
    LiquidReference(  # A. Rahman, Phys. Rev. 136, A405 (1964)
        {"Ar": 1},
        temperature=94.4,
        density=1.374,
        extrema={"Ar-Ar": Extrema(((3.7, np.nan), (7.0, np.nan), (10.4, np.nan)), _RAHMAN)},
        diffusion={"Ar": 2.43},
        diffusion_source=_RAHMAN,
    ),
    LiquidReference(
        # L. B. Skinner et al., J. Chem. Phys. 138, 074506 (2013) and 141, 214507 (2014);
        # A. K. Soper, Chem. Phys. 258, 121 (2000); R. Mills, J. Phys. Chem. 77, 685 (1973)
        {"H": 2, "O": 1},
        temperature=298.0,
        density=0.997,
        extrema={
            "O-O": Extrema(((2.81, 2.57), (3.44, 0.84), (4.50, 1.11), (5.59, 0.88), (6.77, 1.06)), _SKINNER),
            "O-H": Extrema(((1.84, 1.07), (2.42, 0.23), (3.32, 1.52)), _SOPER),
            "H-H": Extrema(((1.55, 1.61), (2.36, 1.31), (2.99, 0.78), (3.83, 1.16)), _SOPER),
        },
        diffusion={"O": 2.30},
        diffusion_source="Mills 1973, 298 K",
    ),
)


def reference_for(symbols: list[str], temperature: float, density: float | None) -> LiquidReference | None:
    """The known liquid that a run simulates, if any."""
    composition = dict(Counter(symbols))
    for reference in REFERENCES:
        if reference.describes(composition, temperature, density):
            return reference
    return None


def read_reference(text: str) -> tuple[str, Curve]:
    """A curve to be drawn over g(r), from a file of two columns: r in Å and g.

    Lines that do not begin with two numbers (headers) are passed over.

    Args:
        text: a path, alone (for the first pair) or as PAIR=PATH, for example ``O-H=goh.dat``.

    Returns:
        The pair's name (empty if none was given) and the curve.

    Raises:
        InputError: if the file cannot be read or has no such lines.
    """
    name, _, path = text.rpartition("=")
    return name, _read_columns(Path(path))


def by_pair(given: list[tuple[str, Curve]], pairs: list[str]) -> dict[str, Curve]:
    """The curves of ``read_reference`` under the names of the pairs that are drawn.

    Raises:
        InputError: if there is no such pair.
    """
    found = {}
    for name, curve in given:
        pair = next((p for p in pairs if name in ("", p, "-".join(reversed(p.split("-"))))), None)
        if pair is None:
            raise InputError(f"--reference {name}=…: no such pair in this system; it has {', '.join(pairs) or 'none'}")
        found[pair] = curve
    return found


def _read_columns(path: Path) -> Curve:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"--reference: {path} cannot be read ({error.strerror})") from error
    rows = []
    for line in lines:
        fields = line.replace(",", " ").split()[:2]
        try:
            rows.append([float(text) for text in fields])
        except ValueError:
            continue
    points = np.array([row for row in rows if len(row) == 2])
    if len(points) < 2:
        raise InputError(f"--reference: {path} has no lines of two numbers, r in Å and g(r)")
    return Curve(points[:, 0], points[:, 1])
