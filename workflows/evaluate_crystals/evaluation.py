"""The evaluation itself: a set of generated crystals against what is known and what real crystals are like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from atomsym.core import InputError
from atomsym.metrics import Recovery, Validity, effective_number, first_equivalents, has_match, recovery
from atomsym.metrics.embedding import TrainedEmbedding
from atomsym.workflows.evaluate_crystals.describe import CrystalSet
from atomsym.workflows.evaluate_crystals.distances_between_sets import SetDistances, element_shares, set_distances
from atomsym.workflows.evaluate_crystals.settings import EvaluationSettings
from atomsym.workflows.evaluate_crystals.structure_matching import CrystalDisplacements, CrystalMatcher

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Judgement:
    """Of each crystal of a set, arrays of shape (n,).

    Attributes:
        unique: whether no earlier crystal of the set is the same.
        novel: whether no known crystal is the same; all True if nothing is known.
        template_novel: whether its template occurs in no known crystal.
        hull_distances: energies above the hull, eV/atom, NaN where unknown.
    """

    unique: Flags
    novel: Flags
    template_novel: Flags
    hull_distances: NDArray[np.float64]


@dataclass(frozen=True)
class Rates:
    """Shares of all crystals of a set, never of a valid part; None where it was not asked.

    Attributes:
        valid: no two atoms within 0.5 Å and a cell of at least 0.1 Å³.
        floor: no two atoms within 0.65 times the sum of their covalent radii.
        benchmark: no two atoms within half of 0.7 Å and the sum of their atomic radii.
        charges: oxidation states balance.
        analysed: a space group was found.
        unique, novel, unique_novel: see ``Judgement``.
        novel_templates: number of different novel templates per 1000 crystals.
        p1, p1_strict: in space group 1, at the two tolerances.
        groups_agree: the same space group at both tolerances.
        stable, metastable: at most that far above the hull.
        sun, metastable_sun: stable or metastable, and valid, unique and novel.
        ssun, metastable_ssun: the same and not in space group 1.
        hull_known: share whose distance from the hull is known.
        requested, requested_strict: in the space group that was asked for, at the two tolerances.
        elements: effective number of elements.
        templates: number of different templates per 1000 crystals.
    """

    valid: float
    floor: float
    benchmark: float
    charges: float
    analysed: float
    unique: float
    novel: float | None
    unique_novel: float | None
    novel_templates: float | None
    templates: float
    p1: float
    p1_strict: float | None
    groups_agree: float | None
    elements: float
    requested: float | None = None
    requested_strict: float | None = None
    hull_known: float | None = None
    stable: float | None = None
    metastable: float | None = None
    sun: float | None = None
    metastable_sun: float | None = None
    ssun: float | None = None
    metastable_ssun: float | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that a report says.

    Attributes:
        generated, reference: the sets.
        known: names and sizes of the sets that novelty is measured against.
        judgement: of the generated crystals.
        rates: of the generated crystals.
        real: of as many real crystals, drawn from the reference.
        distances: from the reference.
        floor: the same of as many real crystals: of the known sets if there are some, else of one half of the reference
            against the other.
        recovery: of the references, if asked for.
        settings: tolerances and thresholds.
        n_compared: how often the structure matcher was asked.
    """

    generated: CrystalSet
    reference: CrystalSet
    known: dict[str, int]
    judgement: Judgement
    rates: Rates
    real: Rates
    distances: SetDistances
    floor: SetDistances
    recovery: Recovery | None
    settings: EvaluationSettings
    n_compared: int


def evaluate(
    generated: CrystalSet,
    reference: CrystalSet,
    known: Sequence[CrystalSet],
    settings: EvaluationSettings,
    embedding: TrainedEmbedding,
    *,
    hull_distances: NDArray[np.float64] | None = None,
    real_hull_distances: NDArray[np.float64] | None = None,
    requested: NDArray[np.float64] | None = None,
    on_step: Callable[[str], None] = lambda step: None,
) -> Evaluation:
    """Measure a set of generated crystals.

    Args:
        generated: the crystals.
        reference: real crystals that those should be distributed like; best a test set.
        known: real crystals that are not new; best the training set of the generator. If there are none, those of the
            reference.
        settings: tolerances and thresholds.
        embedding: for the Fréchet distance.
        hull_distances: of the generated crystals, eV/atom, NaN where unknown; None: stability is not judged.
        real_hull_distances: of the reference crystals, likewise.
        requested: space groups that the generated crystals were meant to have, NaN for none.
        on_step: is told what is being done.

    Raises:
        InputError: if a set has no crystals that can be used.
    """
    for crystals in (generated, reference, *known):
        if not any(formula is not None for formula in crystals.formulas):
            raise InputError(f"{crystals.name} has no crystal that can be used")
    if not (reference.groups > 0).any():
        raise InputError(f"no crystal of {reference.name} has a space group; is the tolerance right?")
    generator = np.random.default_rng(settings.seed)
    against = list(known) or [reference]
    on_step("comparing generated crystals")
    judgement, n_compared = judge(generated, against, settings, hull_distances)
    drawn = np.sort(generator.permutation(len(reference))[: len(generated)])
    real = reference.subset(drawn)
    on_step("comparing real crystals")
    real_judgement, _ = judge(
        real, known, settings, None if real_hull_distances is None else real_hull_distances[drawn]
    )
    on_step("comparing distributions")
    floor_set, floor_reference = _floor_sets(reference, known, len(generated), generator)
    return Evaluation(
        generated=generated,
        reference=reference,
        known={crystals.name: len(crystals) for crystals in against},
        judgement=judgement,
        rates=rates(generated, judgement, settings, novelty=True, requested=requested),
        real=rates(real, real_judgement, settings, novelty=bool(known)),
        distances=set_distances(generated, reference, embedding, generator=generator),
        floor=set_distances(floor_set, floor_reference, embedding, generator=generator),
        recovery=_recovery(generated, reference) if settings.recovery else None,
        settings=settings,
        n_compared=n_compared,
    )


def judge(
    crystals: CrystalSet,
    known: Sequence[CrystalSet],
    settings: EvaluationSettings,
    hull_distances: NDArray[np.float64] | None,
) -> tuple[Judgement, int]:
    """Which crystals are unique and novel, and how often the structure matcher was asked."""
    keys = crystals.formulas
    within = CrystalMatcher(crystals.crystals, crystals.crystals, settings)
    unique = first_equivalents(keys, within.same) == np.arange(len(keys))
    novel, n_compared = np.ones(len(keys), dtype=bool), within.n_compared
    for other in known:
        matcher = CrystalMatcher(crystals.crystals, other.crystals, settings)
        novel &= ~has_match([key if novel[i] else None for i, key in enumerate(keys)], other.formulas, matcher.same)
        n_compared += matcher.n_compared
    templates = {t for other in known for t in other.templates if t is not None}
    template_novel = np.array([t is not None and t not in templates for t in crystals.templates], dtype=bool)
    distances = np.full(len(keys), np.nan) if hull_distances is None else hull_distances
    return Judgement(unique, novel, template_novel, distances), n_compared


def rates(
    crystals: CrystalSet,
    judgement: Judgement,
    settings: EvaluationSettings,
    *,
    novelty: bool,
    requested: NDArray[np.float64] | None = None,
) -> Rates:
    """Count; all shares are of all crystals of the set."""
    n = len(crystals)
    valid, groups = crystals.validity, crystals.groups
    templates = [t for t in crystals.templates if t is not None]
    new_templates = {t for t, new in zip(crystals.templates, judgement.template_novel, strict=True) if new}
    strict = crystals.strict_groups
    counted: dict[str, float | None] = {}
    if requested is not None:
        counted["requested"] = float((groups == requested).mean())
        counted["requested_strict"] = float((strict == requested).mean()) if len(strict) else None
    if np.isfinite(judgement.hull_distances).any():
        distances = np.where(np.isfinite(judgement.hull_distances), judgement.hull_distances, np.inf)
        good = valid.distances & judgement.unique & judgement.novel
        symmetric = good & (groups > 1)
        counted["hull_known"] = float(np.isfinite(judgement.hull_distances).mean())
        for threshold, share, sun, ssun in (
            (settings.stable, "stable", "sun", "ssun"),
            (settings.metastable, "metastable", "metastable_sun", "metastable_ssun"),
        ):
            below = distances <= threshold
            counted[share] = float(below.mean())
            counted[sun] = float((below & good).mean()) if novelty else None
            counted[ssun] = float((below & symmetric).mean()) if novelty else None
    return Rates(
        valid=float(valid.distances.mean()),
        floor=float(valid.floor.mean()),
        benchmark=float(valid.benchmark.mean()),
        charges=float(valid.charges.mean()),
        analysed=float((groups > 0).mean()),
        unique=float(judgement.unique.mean()),
        novel=float(judgement.novel.mean()) if novelty else None,
        unique_novel=float((judgement.unique & judgement.novel).mean()) if novelty else None,
        novel_templates=1000 * len(new_templates) / n if novelty else None,
        templates=1000 * len(set(templates)) / n,
        p1=float((groups == 1).mean()),
        p1_strict=float((strict == 1).mean()) if len(strict) else None,
        groups_agree=float(((strict == groups) & (groups > 0)).mean()) if len(strict) else None,
        elements=effective_number(element_shares(crystals)),
        **counted,
    )


def _floor_sets(
    reference: CrystalSet, known: Sequence[CrystalSet], n: int, generator: np.random.Generator
) -> tuple[CrystalSet, CrystalSet]:
    """Real crystals, as many as were generated if there are enough, and those to compare them with."""
    if not known:
        order = generator.permutation(len(reference))
        half = len(order) // 2
        return reference.subset(order[:half][:n]), reference.subset(order[half:])
    sizes = [len(crystals) for crystals in known]
    drawn = np.sort(generator.permutation(sum(sizes))[:n])
    starts = np.cumsum([0, *sizes])
    parts = [
        crystals.subset(drawn[(drawn >= start) & (drawn < end)] - start)
        for crystals, start, end in zip(known, starts[:-1], starts[1:], strict=True)
    ]
    return _joined(parts), reference


def _joined(parts: Sequence[CrystalSet]) -> CrystalSet:
    if len(parts) == 1:
        return parts[0]
    names = [each.name for each in fields(Validity)]
    joined = {name: np.concatenate([getattr(part.validity, name) for part in parts]) for name in names}
    return CrystalSet(
        " + ".join(part.name for part in parts),
        [crystal for part in parts for crystal in part.crystals],
        Validity(**joined),
        [formula for part in parts for formula in part.formulas],
        [protostructure for part in parts for protostructure in part.protostructures],
        np.zeros(0, dtype=np.int64),
    )


def _recovery(generated: CrystalSet, reference: CrystalSet) -> Recovery:
    usable = [i for i, formula in enumerate(reference.formulas) if formula is not None]
    crystals = [reference.crystals[i] for i in usable]
    keys = [reference.formulas[i] for i in usable]
    return recovery(keys, generated.formulas, CrystalDisplacements(crystals, generated.crystals))
