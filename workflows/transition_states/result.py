"""What a search for a transition state reports."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ase import units

KJ_PER_MOL = units.mol / units.kJ  # of 1 eV


@dataclass(frozen=True)
class Stationary:
    """A stationary point.

    Attributes:
        file: its structure.
        converged: whether the largest force is below the bound.
        energy: eV.
        max_force: eV/Å.
        wavenumbers: of all vibrations, rising, 1/cm; imaginary ones are negative.
        n_imaginary: how many are imaginary beyond the threshold of the settings.
        curvatures: the three lowest eigenvalues of the Hessian without translations and rotations, eV/Å².
        zero_point_energy: ½ Σ h c ν over the real modes, eV.
    """

    file: Path
    converged: bool
    energy: float
    max_force: float
    wavenumbers: tuple[float, ...]
    n_imaginary: int
    curvatures: tuple[float, ...]
    zero_point_energy: float

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Stationary:
        """The inverse of ``dataclasses.asdict`` through JSON."""
        lists = {name: tuple(data[name]) for name in ("wavenumbers", "curvatures")}
        return cls(**{**data, **lists, "file": Path(data["file"])})


@dataclass(frozen=True)
class TransitionStateResult:
    """A transition state, what it connects, and whether that has been shown.

    Attributes:
        folder: where everything is.
        formula: of the molecule.
        stopped: the stage in which a request to stop came; empty if it came to its end.
        steps: of the search.
        hessians: computed in all.
        saddle: None if it stopped before.
        reactant, product: the minima on its two sides; None if it stopped before. With two ends given, the reactant is
            the one nearer to the given reactant, else the lower one.
        bonds_broken, bonds_formed: from reactant to product.
        connects_ends: whether the minima are the two ends that were given; None if a guess was given.
        findings: what keeps it from being verified, in words; empty if it is.
    """

    folder: Path
    formula: str
    stopped: str
    steps: int
    hessians: int
    saddle: Stationary | None
    reactant: Stationary | None
    product: Stationary | None
    bonds_broken: tuple[str, ...]
    bonds_formed: tuple[str, ...]
    connects_ends: bool | None
    findings: tuple[str, ...]

    @property
    def verified(self) -> bool:
        """A converged point with one imaginary mode between two different minima (the given ones, if there are any)."""
        return not self.stopped and self.product is not None and not self.findings

    @property
    def barrier(self) -> float | None:
        """Energy of the saddle point above the reactant, eV, without zero-point energy."""
        return _above(self.saddle, self.reactant)

    @property
    def barrier_backward(self) -> float | None:
        """Energy of the saddle point above the product, eV."""
        return _above(self.saddle, self.product)

    @property
    def reaction_energy(self) -> float | None:
        """Energy of the product above the reactant, eV."""
        return _above(self.product, self.reactant)

    def with_zero_point(self) -> TransitionStateResult:
        """The same with zero-point energies added to the energies."""
        points = {name: getattr(self, name) for name in ("saddle", "reactant", "product")}
        return replace(self, **{k: p and replace(p, energy=p.energy + p.zero_point_energy) for k, p in points.items()})

    def to_json(self) -> str:
        """All of it, as JSON."""
        plain = {**asdict(self), "folder": str(self.folder)}
        for name in ("saddle", "reactant", "product"):
            if plain[name] is not None:
                plain[name]["file"] = str(plain[name]["file"])
        with_zero_point = self.with_zero_point()
        plain |= {"verified": self.verified, "barrier": self.barrier, "barrier_backward": self.barrier_backward}
        plain |= {"reaction_energy": self.reaction_energy, "barrier_with_zero_point": with_zero_point.barrier}
        plain["barrier_backward_with_zero_point"] = with_zero_point.barrier_backward
        return json.dumps(plain, indent=2) + "\n"


def _above(high: Stationary | None, low: Stationary | None) -> float | None:
    return None if high is None or low is None else high.energy - low.energy
