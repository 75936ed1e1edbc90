"""All labelled geometries of one molecule: what a worker does."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomsym.core import CalculationError, InputError, LabelledStructure
from atomsym.core.elements import atomic_number_of
from atomsym.datasets.lmdb_files import encode
from atomsym.workflows.label.engine import LabelError, Labels
from atomsym.workflows.label.task import with_labels
from atomsym.workflows.label.worker import Handler
from atomsym.workflows.label.xtb import XtbEngine
from atomsym.workflows.organic_xtb.geometry import closest_contact
from atomsym.workflows.organic_xtb.minima import bare, find_minima
from atomsym.workflows.organic_xtb.rdkit_molecules import skeleton_of
from atomsym.workflows.organic_xtb.sampling import Partner, Sampler
from atomsym.workflows.organic_xtb.selection import COMPANIONS, seed_of
from atomsym.workflows.organic_xtb.settings import OrganicSettings

FloatArray = NDArray[np.float64]

_TRIES = 4  # draws for each geometry that is wanted
_ROUGH = 1.0  # accuracy of the forces that only drive dynamics; labels have the engine's
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, eq=False)
class MoleculeFrames:
    """Labelled geometries of one molecule.

    Attributes:
        smiles: canonical.
        structures: ``group`` is the kind, ``source`` is ``SMILES kind number``.
        refused: number of geometries that were left out, by the reason.
    """

    smiles: str
    structures: list[LabelledStructure]
    refused: Counter[str]


class MoleculeSampler:
    """Makes the frames of molecules, one after the other; what it makes of one does not depend on the others.

    Args:
        settings: of the set.
        engine: labels.
    """

    def __init__(self, settings: OrganicSettings, engine: XtbEngine) -> None:
        self._settings, self._engine = settings, engine
        self._rough = XtbEngine(engine.name, accuracy=_ROUGH)
        self._partners: list[Partner] | None = None

    def frames(self, smiles: str) -> MoleculeFrames:
        """The labelled geometries of a molecule.

        Raises:
            LabelError: if it has no minimum; the message has the reason.
            InputError: if RDKit cannot read the SMILES.
        """
        seed = seed_of(smiles, self._settings.seed)
        skeleton = skeleton_of(smiles)
        minima, refused = find_minima(self._engine, skeleton, self._settings.conformers, seed[0])
        if not minima:
            raise LabelError(f"{smiles}: {'; '.join(refused)}")
        count = Counter(f"minimum: {reason}" for reason in refused)
        minima = minima[: self._settings.frames_per_molecule]
        generator = np.random.default_rng(seed)
        sampler = Sampler(self._rough, skeleton, minima, self.partners, self._settings, generator)
        frames = []
        for number, minimum in enumerate(minima):
            relaxed = _named(skeleton.numbers, minimum.positions, "minimum", f"{smiles} minimum {number}")
            frames.append(with_labels(relaxed, minimum.labels))
        for kind, wanted in sampler.counts(self._settings.frames_per_molecule - len(frames)).items():
            frames += self._of_kind(sampler, skeleton.numbers, smiles, kind, wanted, count)
        self._add_hessians(frames, len(minima), generator, count)
        return MoleculeFrames(smiles, frames, count)

    @property
    def partners(self) -> list[Partner]:
        """The companions that have a minimum; found at the first use."""
        if self._partners is None:
            self._partners = []
            for smiles in COMPANIONS:
                skeleton = skeleton_of(smiles)
                known = set(np.unique(skeleton.numbers).tolist())
                if known <= self._numbers():
                    minima, _ = find_minima(self._engine, skeleton, 1, seed_of(smiles, self._settings.seed)[0])
                    self._partners += [Partner(smiles, skeleton.numbers, minimum) for minimum in minima]
        return self._partners

    def _numbers(self) -> set[int]:
        return {1, *(atomic_number_of(element) for element in self._settings.elements)}

    def _of_kind(
        self,
        sampler: Sampler,
        numbers: NDArray[np.int64],
        smiles: str,
        kind: str,
        wanted: int,
        refused: Counter[str],
    ) -> list[LabelledStructure]:
        frames: list[LabelledStructure] = []
        if kind == "dynamics":
            for positions in sampler.dynamics(wanted) if wanted else []:
                labelled = self._labelled(_named(numbers, positions, kind, f"{smiles} {kind} {len(frames)}"), refused)
                frames += [] if labelled is None else [labelled]
            return frames
        for _ in range(_TRIES * wanted):
            if len(frames) == wanted:
                break
            drawn = sampler.draw(kind)
            if drawn is None:
                continue
            name = f"{smiles}.{sampler.partner}" if kind == "dimer" else smiles
            labelled = self._labelled(_named(*drawn, kind, f"{name} {kind} {len(frames)}"), refused)
            frames += [] if labelled is None else [labelled]
        return frames

    def _labelled(self, structure: LabelledStructure, refused: Counter[str]) -> LabelledStructure | None:
        """With energy and forces; None if it breaks a rule or cannot be labelled."""
        if closest_contact(structure.numbers, structure.positions) < self._settings.min_distance:
            refused[f"{structure.group}: atoms too close"] += 1
            return None
        try:
            labels = self._engine.label(structure)
        except (CalculationError, InputError):
            refused[f"{structure.group}: no self-consistency"] += 1
            return None
        if np.linalg.norm(labels.forces, axis=1).max() > self._settings.max_force:
            refused[f"{structure.group}: force too large"] += 1
            return None
        return with_labels(structure, labels)

    def _add_hessians(
        self, frames: list[LabelledStructure], n_minima: int, generator: np.random.Generator, refused: Counter[str]
    ) -> None:
        """Hessians for geometries other than minima and dimers, until there are enough; in place.

        A minimum keeps its Hessian only if the settings ask for that many.
        """
        wanted = self._settings.hessians_per_molecule
        for index in range(wanted, n_minima):
            frames[index] = replace(frames[index], hessian=None)
        places = [i for i, frame in enumerate(frames) if i >= n_minima and frame.group != "dimer"]
        missing = wanted - n_minima
        for place in generator.permutation(places).tolist() if places and missing > 0 else []:
            if missing == 0:
                break
            try:
                labels = self._engine.label(frames[place], hessian=True)
            except LabelError:
                refused[f"{frames[place].group}: no smooth Hessian"] += 1
                continue
            frames[place] = with_labels(frames[place], labels)
            missing -= 1


def _named(numbers: NDArray[np.int64], positions: FloatArray, kind: str, source: str) -> LabelledStructure:
    return replace(bare(numbers, positions), group=kind, source=source)


def isolated_atoms(engine: XtbEngine, numbers: Sequence[int]) -> list[LabelledStructure]:
    """Free atoms in their ground states, with the group ``isolated atom``."""
    found = []
    for number in sorted(numbers):
        atom = _named(np.array([number]), np.zeros((1, 3)), "isolated atom", f"isolated atom {number}")
        found.append(with_labels(atom, Labels(engine.label(atom).energy, np.zeros((1, 3)))))
    return found


def organic_task(settings: Mapping[str, Any]) -> Handler:
    """The function that makes the frames of the molecule whose SMILES it is sent.

    Args:
        settings: of the set, as plain data.
    """
    sampler = MoleculeSampler(OrganicSettings.from_dict(dict(settings)), XtbEngine("gfn2-xtb"))

    def frames(request: bytes) -> bytes:
        found = sampler.frames(request.decode())
        parts = [json.dumps(found.refused).encode(), *(encode(structure) for structure in found.structures)]
        return b"".join(_LENGTH.pack(len(part)) + part for part in parts)

    return frames


def unpacked(answer: bytes) -> tuple[dict[str, int], list[bytes]]:
    """What ``organic_task`` answered: refused geometries by reason, and records of structures."""
    parts, at = [], 0
    while at < len(answer):
        (length,) = _LENGTH.unpack_from(answer, at)
        parts.append(answer[at + _LENGTH.size : at + _LENGTH.size + length])
        at += _LENGTH.size + length
    refused: dict[str, int] = json.loads(parts[0])
    return refused, parts[1:]
