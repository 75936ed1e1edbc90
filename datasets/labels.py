"""Which keys of a file hold the labels, and the step from a file's frame to a ``LabelledStructure`` in eV and Å."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomsym.core import LABELS, ConfigError, DataError, LabelledStructure
from atomsym.datasets.frame import Frame, numbers_in
from atomsym.datasets.units import LabelUnits

FloatArray = NDArray[np.float64]
Group = str | Callable[[Mapping[str, Any]], object] | None

AUTO = "auto"

_PREFIXES = ("", "ref_", "dft_", "qm_", "ml_reference_", "target_")
_STEMS = {
    "energy": ("energy", "energies", "total_energy", "totenergy", "potential_energy", "free_energy"),
    "forces": ("forces", "force"),
    "stress": ("stress", "stresses"),
    "virial": ("virial", "virials"),
    "hessian": ("hessian",),
}
_GROUP_KEYS = ("config_type", "group")
_SAME = 1e-4  # eV, eV/Å: two keys whose labels differ by less hold the same label


@dataclass(frozen=True)
class LabelKeys:
    """Names under which a file holds its labels.

    Each is ``"auto"`` (a known name is looked for: ``energy``, ``REF_energy``, ``dft_energy``, ``free_energy`` … in
    any capitals), a name (which must then be there), or None (these labels are not read).

    Attributes:
        energy: total energy of the structure.
        forces: per atom.
        stress: six numbers, nine or a 3 × 3 matrix.
        virial: the same, as an energy; it becomes a stress.
        hessian: 9 n² numbers.
        target: property of the structure that is no energy, in the unit of the model that learns it; not looked for
            unless named.
        weight: weight in a loss; not looked for unless named.
    """

    energy: str | None = AUTO
    forces: str | None = AUTO
    stress: str | None = AUTO
    virial: str | None = AUTO
    hessian: str | None = AUTO
    target: str | None = None
    weight: str | None = None

    def columns(self) -> set[str]:
        """Lower-case names of the per-atom columns that may hold labels."""
        named = [getattr(self, item.name) for item in fields(self)]
        found = {name.lower() for name in named if name not in (None, AUTO)}
        return found | set(_candidates("forces")) if self.forces == AUTO else found


@dataclass(frozen=True)
class ReadReport:
    """How a file was read.

    Attributes:
        path: the file.
        format: its format.
        n_structures: structures read.
        keys: the file's key of each property that was found.
        units: of the file.
        labels: number of structures with each property.
        found: all keys of the file, with the number of structures that have them.
    """

    path: str
    format: str
    n_structures: int
    keys: Mapping[str, str] = field(default_factory=dict)
    units: LabelUnits = field(default_factory=LabelUnits)
    labels: Mapping[str, int] = field(default_factory=dict)
    found: Mapping[str, int] = field(default_factory=dict)


def labelled(
    frames: Sequence[Frame], keys: LabelKeys, units: LabelUnits, group: Group, path: str, format_name: str
) -> tuple[list[LabelledStructure], ReadReport]:
    """Choose the keys for the whole file, then convert every frame.

    Raises:
        DataError: if a requested key is nowhere, labels under several keys differ, or a label has another shape.
        ConfigError: if ``group`` names no key of the file.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is kept as infinite, and reported by the checks
        return _labelled(frames, keys, units, group, path, format_name)


def _labelled(
    frames: Sequence[Frame], keys: LabelKeys, units: LabelUnits, group: Group, path: str, format_name: str
) -> tuple[list[LabelledStructure], ReadReport]:
    found = Counter(key for frame in frames for key in (*frame.info, *frame.arrays))
    chosen: dict[str, str] = {}
    for item in fields(LabelKeys):
        key = _choose(item.name, getattr(keys, item.name), frames, units, found, path)
        if key is not None:
            chosen[item.name] = key
    group_key = _group_key(group, found, path)
    factors = units.factors
    structures = [_structure(frame, chosen, units, factors, group_key) for frame in frames]
    labels = {name: sum(getattr(s, name) is not None for s in structures) for name in LABELS}
    return structures, ReadReport(
        path, format_name, len(structures), chosen, units, labels, dict(sorted(found.items()))
    )


def _candidates(prop: str) -> tuple[str, ...]:
    return tuple(prefix + stem for stem in _STEMS.get(prop, ()) for prefix in _PREFIXES)


def _choose(
    prop: str, requested: str | None, frames: Sequence[Frame], units: LabelUnits, found: Mapping[str, int], path: str
) -> str | None:
    if requested is None:
        return None
    if requested != AUTO:
        if requested not in found and frames:
            raise DataError(f"{path}: no structure has the key '{requested}' asked for {prop}; {_found_text(found)}")
        return requested
    known = _candidates(prop)
    present = sorted(
        (key for key in found if key.lower().replace("-", "_") in known and _can_hold(prop, key, frames)),
        key=lambda key: (-found[key], known.index(key.lower().replace("-", "_"))),
    )
    if not present:
        return None
    for other in present[1:]:
        _require_same(prop, present[0], other, frames, units, path)
    return present[0]


def _can_hold(prop: str, key: str, frames: Sequence[Frame]) -> bool:
    """Forces are values per atom, energies and stresses are not; a flag without a value is no label."""
    for frame in frames:
        if prop in ("forces", "hessian") and frame.arrays.get(key) is not None:
            return True
        if prop != "forces" and key in frame.info and frame.info[key] is not True:
            return True
    return False


def _require_same(prop: str, first: str, other: str, frames: Sequence[Frame], units: LabelUnits, path: str) -> None:
    factors = units.factors
    for frame in frames:
        b = _label(prop, other, frame, units, factors)
        if b is None:
            continue
        a = _label(prop, first, frame, units, factors)
        problem = ""
        if a is None:
            problem = f"{frame.where} has only the latter"
        elif a.shape != b.shape or not np.allclose(a, b, rtol=1e-9, atol=_SAME, equal_nan=True):
            problem = f"{frame.where}: they differ"
        if problem:
            raise DataError(
                f"{path}: {prop} labels stand under '{first}' and '{other}', which do not agree ({problem}). "
                f"Choose one with LabelKeys({prop}='{first}') or LabelKeys({prop}='{other}')"
            )


def _found_text(found: Mapping[str, int]) -> str:
    shown = ", ".join(f"{key} ({count})" for key, count in sorted(found.items())[:40])
    return f"found keys (structures): {shown}" if shown else "the structures have no keys at all"


def _group_key(group: Group, found: Mapping[str, int], path: str) -> Callable[[Mapping[str, Any]], str]:
    if callable(group):
        function = group
        return lambda info: str(function(info))
    name = group
    if group == AUTO:
        name = next((key for key in _GROUP_KEYS if key in found), None)
    elif group is not None and found and group not in found:
        raise ConfigError(f"{path}: no structure has the key '{group}' asked for groups; {_found_text(found)}")
    return lambda info: "" if name is None or info.get(name) is None else str(info[name])


def _structure(
    frame: Frame,
    chosen: Mapping[str, str],
    units: LabelUnits,
    factors: Mapping[str, float],
    group_of: Callable[[Mapping[str, Any]], str],
) -> LabelledStructure:
    def label(prop: str) -> FloatArray | None:
        return _label(prop, chosen[prop], frame, units, factors) if prop in chosen else None

    energy, target, weight = label("energy"), label("target"), label("weight")
    if weight is not None and not (np.isfinite(weight) and weight >= 0):
        raise DataError(f"{frame.where}: {chosen['weight']} is {weight}; weights are numbers >= 0")
    return LabelledStructure(
        numbers=frame.numbers,
        positions=frame.positions * factors["length"],
        cell=frame.cell * factors["length"],
        pbc=frame.pbc,
        energy=None if energy is None else float(energy),
        forces=label("forces"),
        stress=_stress(label("stress"), label("virial"), chosen, frame),
        hessian=label("hessian"),
        target=None if target is None else float(target),
        weight=1.0 if weight is None else float(weight),
        group=group_of(frame.info),
        source=frame.source,
    )


def _stress(
    stress: FloatArray | None, virial: FloatArray | None, chosen: Mapping[str, str], frame: Frame
) -> FloatArray | None:
    if virial is None or stress is None:
        return virial if stress is None else stress
    if not np.allclose(stress, virial, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise DataError(
            f"{frame.where}: '{chosen['stress']}' and '{chosen['virial']}' do not agree; xx is {stress[0, 0]:.6g} "
            f"and {virial[0, 0]:.6g} eV/Å³. State units and signs, or leave one out with LabelKeys(virial=None)"
        )
    return stress


def _label(prop: str, key: str, frame: Frame, units: LabelUnits, factors: Mapping[str, float]) -> FloatArray | None:
    """The label under a key in eV and Å, in its final shape; None if the frame does not have it."""
    places = (frame.arrays, frame.info) if prop == "forces" else (frame.info, frame.arrays)
    value = next((place[key] for place in places if place.get(key) is not None), None)
    if value is None:
        return None
    values = numbers_in(value, f"{prop} '{key}'", frame.where)
    if prop in ("energy", "target", "weight"):
        if values.size != 1:
            raise DataError(f"{frame.where}: {prop} '{key}' has {values.size} values; one is needed")
        return values.reshape(()) * factors.get(prop, 1.0)
    if prop == "forces":
        if values.shape != (frame.n_atoms, 3):
            raise DataError(f"{frame.where}: forces '{key}' have shape {values.shape}; needed is {(frame.n_atoms, 3)}")
        return values * factors["forces"]
    if prop == "hessian":
        size = 3 * frame.n_atoms
        if values.size != size * size:
            raise DataError(f"{frame.where}: hessian '{key}' has {values.size} values; {size} × {size} are needed")
        return values.reshape(size, size) * factors["hessian"]
    tensor = _symmetric(values, units.voigt_order, f"{frame.where}: {prop} '{key}'") * factors[prop]
    return tensor if prop == "stress" else -tensor / _volume(frame, key, factors["length"])


def _symmetric(values: FloatArray, voigt: tuple[int, ...], what: str) -> FloatArray:
    """A 3 × 3 tensor of six components in the file's order, or of nine."""
    if values.size == 6:
        xx, yy, zz, yz, xz, xy = values.reshape(6)[list(voigt)]
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    if values.size != 9:
        raise DataError(f"{what} has {values.size} values; six (Voigt) or nine are needed")
    tensor = values.reshape(3, 3)
    if np.isfinite(tensor).all() and np.abs(tensor - tensor.T).max() > 0.02 * np.abs(tensor).max() + 1e-6:
        raise DataError(f"{what} is not symmetric: {tensor.tolist()}")
    return 0.5 * (tensor + tensor.T)


def _volume(frame: Frame, key: str, length: float) -> float:
    volume = abs(float(np.linalg.det(frame.cell * length)))
    if not volume > 0:
        raise DataError(f"{frame.where}: '{key}' is a virial, but there is no cell, so it has no stress")
    return volume
