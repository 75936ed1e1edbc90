"""What is in a data set, and what looks wrong with it, before anyone trains on it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from atomsym.core import LABELS, AtomsymError, LabelledStructure, validate_structure
from atomsym.core.elements import symbol_of
from atomsym.datasets.consistency import EnergyForceSlope, energy_force_slope
from atomsym.datasets.duplicates import TOLERANCE, find_duplicates
from atomsym.training.reference_energies import compositions, fit_element_energies

FloatArray = NDArray[np.float64]
Severity = Literal["error", "warning", "note"]

OUTLIER = 10.0
"""Standard deviations beyond which an energy or a force is an outlier."""

NET_FORCE = 0.01
"""eV/Å per atom; forces of a converged calculation sum to less."""

_SPREAD = 5.0  # eV/atom left after composition energies; matter near equilibrium stays far below
_EXAMPLES = 5
_ABSURD = 1e12  # eV, eV/Å; no such energy or force exists, and its square would lose all digits


@dataclass(frozen=True)
class Finding:
    """One thing that looks wrong.

    Attributes:
        kind: short name, for programs.
        severity: "error" (training on it cannot work), "warning" or "note".
        count: structures (or pairs) concerned.
        message: one sentence for people.
        examples: sources of the first few.
    """

    kind: str
    severity: Severity
    count: int
    message: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class EnergyStatistics:
    """Energies per atom once fitted composition energies are taken off, eV/atom.

    Attributes:
        composition_energies: eV by symbol.
        unique: whether the compositions determine them.
        std: standard deviation.
        lowest, highest: extremes.
    """

    composition_energies: Mapping[str, float]
    unique: bool
    std: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class DatasetReport:
    """Counts and findings.

    Attributes:
        path: of the set.
        n_structures, n_atoms: totals.
        smallest, largest: atoms of the smallest and the largest structure.
        elements: atoms by symbol.
        pbc: structures by periodic directions, for example {"TTT": 10, "FFF": 2}.
        labels: structures with each property; the others lack it.
        groups: structures by group.
        energy: statistics; None without finite energies.
        force_rms, force_max: of the finite force components and of the longest force, eV/Å; None without forces.
        energy_force_slope: see ``consistency``; None if it cannot be told.
        findings: what looks wrong, errors first.
    """

    path: str
    n_structures: int
    n_atoms: int
    smallest: int
    largest: int
    elements: Mapping[str, int]
    pbc: Mapping[str, int]
    labels: Mapping[str, int]
    groups: Mapping[str, int]
    energy: EnergyStatistics | None
    force_rms: float | None
    force_max: float | None
    energy_force_slope: EnergyForceSlope | None
    findings: tuple[Finding, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """No finding is an error."""
        return all(finding.severity != "error" for finding in self.findings)

    def missing(self, prop: str) -> int:
        """Structures without a property."""
        return self.n_structures - self.labels.get(prop, 0)

    def to_json(self) -> str:
        """Everything as JSON text."""
        return json.dumps({**asdict(self), "ok": self.ok}, indent=2, ensure_ascii=False)


def check_dataset(dataset: Sequence[LabelledStructure], *, tolerance: float = TOLERANCE) -> DatasetReport:
    """Count what a data set holds and look for faults; nothing is changed, nothing is raised.

    Reported are labels that are missing, mixed or not finite, energies and forces beyond ten (robust) standard
    deviations, forces that do not sum to zero, structures that occur twice, atoms on top of each other, several kinds
    of periodicity, and forces that do not fit the energies (wrong units or sign). The last is a heuristic: a warning.

    Args:
        dataset: the structures.
        tolerance: displacement below which two structures are the same, Å.

    Example:
        >>> check_dataset([]).findings[0].kind
        'empty'
    """
    with np.errstate(all="ignore"):  # labels of damaged files overflow
        return _check(dataset, tolerance)


def _check(dataset: Sequence[LabelledStructure], tolerance: float) -> DatasetReport:
    structures = list(dataset)
    energy, energy_findings = _energies(structures)
    force_rms, force_max, force_findings = _forces(structures)
    slope = energy_force_slope(structures)
    findings = [
        *_labels(structures),
        *energy_findings,
        *force_findings,
        *_units(slope, energy),
        *_geometry(structures),
        *_duplicates(structures, tolerance),
    ]
    rank = {"error": 0, "warning": 1, "note": 2}
    sizes = [s.n_atoms for s in structures]
    elements = Counter(number for s in structures for number in s.numbers.tolist())
    return DatasetReport(
        path=getattr(dataset, "path", ""),
        n_structures=len(structures),
        n_atoms=sum(sizes),
        smallest=min(sizes, default=0),
        largest=max(sizes, default=0),
        elements={symbol_of(number): elements[number] for number in sorted(elements)},
        pbc=dict(Counter(_directions(s) for s in structures).most_common()),
        labels={name: sum(getattr(s, name) is not None for s in structures) for name in LABELS},
        groups=dict(Counter(s.group for s in structures if s.group).most_common()),
        energy=energy,
        force_rms=force_rms,
        force_max=force_max,
        energy_force_slope=slope,
        findings=tuple(sorted(findings, key=lambda finding: rank[finding.severity])),
    )


def _directions(structure: LabelledStructure) -> str:
    return "".join("T" if periodic else "F" for periodic in structure.pbc)


def _sources(structures: Sequence[LabelledStructure], indices: Iterable[int]) -> tuple[str, ...]:
    first = list(indices)[:_EXAMPLES]
    return tuple(structures[index].source or f"structure {index}" for index in first)


def _where(
    structures: Sequence[LabelledStructure], wrong: Callable[[LabelledStructure], bool]
) -> tuple[int, tuple[str, ...]]:
    indices = [index for index, structure in enumerate(structures) if wrong(structure)]
    return len(indices), _sources(structures, indices)


def _labels(structures: Sequence[LabelledStructure]) -> list[Finding]:
    if not structures:
        return [Finding("empty", "error", 0, "there are no structures")]
    found = []
    for name in LABELS:
        missing, examples = _where(structures, lambda s, name=name: getattr(s, name) is None)  # type: ignore[misc]
        if missing == len(structures):
            if name in ("energy", "forces") and all(s.target is None for s in structures):
                found.append(Finding(f"no {name}", "warning", missing, f"no structure has {name} labels"))
        elif missing:
            message = f"{missing} of {len(structures)} structures lack {name}, the others have it"
            found.append(Finding(f"mixed {name}", "note", missing, message, examples))
        bad, examples = _where(structures, lambda s, name=name: _not_finite(name, getattr(s, name)))  # type: ignore[misc]
        if bad:
            message = f"{name} of {bad} structures are not finite numbers, or absurd"
            found.append(Finding(f"not finite {name}", "error", bad, message, examples))
    unknown, examples = _where(
        structures, lambda s: s.forces is not None and bool(np.isnan(s.forces).all(axis=1).any())
    )
    if unknown:
        message = f"{unknown} structures have atoms without forces (rows of NaN)"
        found.append(Finding("atoms without forces", "note", unknown, message, examples))
    return found


def _not_finite(name: str, value: Any) -> bool:
    if value is None:
        return False
    finite = np.abs(np.asarray(value, dtype=np.float64)) < _ABSURD  # False for NaN
    if name == "forces":  # a row of three NaN is an unknown force
        return not bool((finite.all(axis=1) | np.isnan(value).all(axis=1)).all())
    return not bool(finite.all())


def _energies(structures: Sequence[LabelledStructure]) -> tuple[EnergyStatistics | None, list[Finding]]:
    indices = [i for i, s in enumerate(structures) if s.energy is not None and abs(s.energy) < _ABSURD]
    chosen = [structures[i] for i in indices]
    if not chosen:
        return None, []
    counts, elements = compositions(chosen)
    energies = np.array([s.energy for s in chosen], dtype=np.float64)
    left, values, unique, outliers = _residuals(counts, energies)
    statistics = EnergyStatistics(
        {symbol_of(number): float(value) for number, value in zip(elements, values, strict=True)},
        unique,
        float(left.std()),
        float(left.min()),
        float(left.max()),
    )
    if not outliers.any():
        return statistics, []
    where = np.flatnonzero(outliers)
    worst = left[where[np.argmax(np.abs(left[where]))]]
    message = f"{len(where)} energies are more than {OUTLIER:g} σ from the others; the worst by {worst:.3g} eV/atom"
    examples = _sources(structures, (indices[i] for i in where))
    return statistics, [Finding("energy outliers", "warning", len(where), message, examples)]


def _residuals(counts: FloatArray, energies: FloatArray) -> tuple[FloatArray, FloatArray, bool, NDArray[np.bool_]]:
    """Energies per atom without composition energies, which are fitted again without the outliers until none is new."""
    outliers = np.zeros(len(energies), dtype=bool)
    for _ in range(10):
        values, unique = fit_element_energies(counts[~outliers], energies[~outliers])
        left = (energies - counts @ values) / counts.sum(axis=1)
        beyond = _beyond(left)
        # an element that only outliers hold is not fitted without them
        if (beyond == outliers).all() or (counts[~beyond].sum(axis=0) == 0).any():
            return left, values, unique, beyond
        outliers = beyond
    return left, values, unique, outliers


def _beyond(values: FloatArray) -> NDArray[np.bool_]:
    """Values farther than ten robust standard deviations from the median (σ from the median absolute deviation)."""
    distance = np.abs(values - np.median(values))
    sigma = 1.4826 * float(np.median(distance))
    return distance > OUTLIER * sigma if sigma > 0 else distance > OUTLIER * float(values.std()) + 1e-12


def _forces(structures: Sequence[LabelledStructure]) -> tuple[float | None, float | None, list[Finding]]:
    longest, lengths, net = {}, [], {}
    for index, structure in enumerate(structures):
        if structure.forces is None:
            continue
        known = (np.abs(structure.forces) < _ABSURD).all(axis=1)
        if known.any():
            size = np.linalg.norm(structure.forces[known], axis=1)
            lengths.append(size)
            longest[index] = float(size.max())
        if known.all():
            net[index] = float(np.linalg.norm(structure.forces.sum(axis=0))) / structure.n_atoms
    if not lengths:
        return None, None, []
    every = np.concatenate(lengths)
    moving = every[every > 1e-6]
    # the median length of Gaussian vectors is 0.888 of their root mean square
    limit = OUTLIER * float(np.median(moving)) / 0.888 if len(moving) else np.inf
    found = []
    far = [index for index, size in longest.items() if size > limit]
    if far:
        message = (
            f"{len(far)} structures have forces longer than {OUTLIER:g} times the usual ({limit:.3g} eV/Å); "
            f"the longest has {every.max():.3g} eV/Å"
        )
        found.append(Finding("force outliers", "warning", len(far), message, _sources(structures, far)))
    adrift = [index for index, size in net.items() if size > NET_FORCE]
    if adrift:
        message = (
            f"forces of {len(adrift)} structures do not sum to zero: more than {NET_FORCE:g} eV/Å per atom, "
            f"up to {max(net.values()):.3g}"
        )
        found.append(Finding("net force", "warning", len(adrift), message, _sources(structures, adrift)))
    return float(np.sqrt((every**2).mean() / 3)), float(every.max()), found


def _units(slope: EnergyForceSlope | None, energy: EnergyStatistics | None) -> list[Finding]:
    found = []
    if slope is not None and slope.suspicious:
        message = (
            f"energy differences are {slope.slope:.3g} times the work of the forces (1 is right, over {slope.n_pairs} "
            f"pairs of similar structures): check the units of energies and forces"
            + (", and whether the forces are gradients (wrong sign)" if slope.slope < 0 else "")
        )
        found.append(Finding("energies and forces do not fit", "warning", slope.n_pairs, message))
    if energy is not None and energy.std > _SPREAD:
        message = (
            f"energies spread by {energy.std:.3g} eV/atom after composition energies are taken off: another unit than "
            "eV, energies of several methods, or very distorted structures?"
        )
        found.append(Finding("energy spread", "warning", 1, message))
    return found


def _geometry(structures: Sequence[LabelledStructure]) -> list[Finding]:
    found = []
    kinds = Counter(_directions(s) for s in structures)
    if len(kinds) > 1:
        shown = ", ".join(f"{kind}: {count}" for kind, count in kinds.most_common())
        fewest = min(kinds.values())
        found.append(Finding("mixed periodicity", "note", fewest, f"several kinds of periodicity: {shown}"))
    problems: dict[int, str] = {}
    for index, structure in enumerate(structures):
        try:
            validate_structure(structure.positions, structure.numbers, structure.cell, structure.pbc)
        except AtomsymError as error:
            problems[index] = str(error)
    if problems:
        message = f"{len(problems)} structures cannot be computed; the first: {next(iter(problems.values()))}"
        found.append(Finding("unusable structures", "error", len(problems), message, _sources(structures, problems)))
    return found


def _duplicates(structures: Sequence[LabelledStructure], tolerance: float) -> list[Finding]:
    pairs = find_duplicates(structures, tolerance=tolerance)
    if not pairs:
        return []
    differ = sum(_labels_differ(structures[i], structures[j]) for i, j in pairs)
    extra = f", {differ} of them with other labels" if differ else ""
    message = f"{len(pairs)} structures are in the set twice (within {tolerance:g} Å){extra}"
    shown = tuple(f"{' = '.join(_sources(structures, pair))}" for pair in pairs[:_EXAMPLES])
    return [Finding("duplicates", "warning", len(pairs), message, shown)]


def _labels_differ(a: LabelledStructure, b: LabelledStructure) -> bool:
    if a.energy is None or b.energy is None:
        return False
    return abs(a.energy - b.energy) > 1e-3 * a.n_atoms
