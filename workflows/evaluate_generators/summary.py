"""Tables that put several samples beside each other, and beside real crystals."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from atomsym.generators.realisation import is_degenerate
from atomsym.symmetry.wyckoff import Protostructure
from atomsym.symmetry.wyckoff.relabelling import canonical
from atomsym.workflows.evaluate_crystals.evaluation import Evaluation, Rates
from atomsym.workflows.evaluate_crystals.settings import EvaluationSettings


@dataclass(frozen=True)
class DrawFacts:
    """What protostructures are like as they were drawn; parts are of all of them.

    Attributes:
        n: how many there are.
        different: part of different canonical protostructures.
        new: part whose canonical protostructure no known crystal has.
        degenerate: part that no crystal has; None if it was not looked for.
        forced: part to which orbits were added because what was drawn was no crystal, as when it was empty; None if it
            is not known.
        orbits: mean number, and 10th, 50th and 90th percentile.
        atoms: of the conventional cell, likewise.
        elements: mean number.
    """

    n: int
    different: float
    new: float
    degenerate: float | None
    forced: float | None
    orbits: tuple[float, float, float, float]
    atoms: tuple[float, float, float, float]
    elements: float


def draw_facts(
    drawn: Sequence[Protostructure],
    known: Collection[Protostructure],
    *,
    seed: int | None,
    forced_orbits: Sequence[int] = (),
) -> DrawFacts:
    """Look at protostructures.

    Args:
        drawn: at least one.
        known: canonical ones.
        seed: for the look at degenerate ones; None: do not look.
        forced_orbits: how many orbits of each had to be added; empty if that is not known.
    """
    forms, n = [canonical(each) for each in drawn], len(drawn)
    random = None if seed is None else np.random.default_rng(seed)
    return DrawFacts(
        n=n,
        different=len(set(forms)) / n,
        new=sum(each not in known for each in forms) / n,
        degenerate=None if random is None else sum(is_degenerate(each, generator=random) for each in forms) / n,
        forced=sum(count > 0 for count in forced_orbits) / n if forced_orbits else None,
        orbits=_spread([len(each.orbits) for each in forms]),
        atoms=_spread([each.n_atoms for each in forms]),
        elements=float(np.mean([len(set(each.elements)) for each in forms])),
    )


def draws_table(facts: Mapping[str, DrawFacts]) -> str:
    """Markdown, a line for each sample."""
    head = ("", "n", "different", "new", "degenerate", "forced", "orbits: mean; 10, 50, 90 %",
            "atoms: mean; 10, 50, 90 %", "elements")  # fmt: skip
    rows = [_row(head), _rule(len(head))]
    for name, each in facts.items():
        shares = (each.different, each.new, each.degenerate, each.forced)
        spreads = (_spread_text(each.orbits), _spread_text(each.atoms))
        rows.append(_row((name, f"{each.n:,}", *map(_percent, shares), *spreads, f"{each.elements:.2f}")))
    return "\n".join(rows) + "\n"


COLUMNS = (
    "", "crystals", "atoms apart", "charges balance", "unique", "novel", "novel templates per 1000", "P1",
    "χ² of groups", "Fréchet distance",
)  # fmt: skip


def samples_table(results: Mapping[str, Evaluation], settings: EvaluationSettings) -> str:
    """Markdown, a line for each evaluation, and one for real crystals after each size of a sample."""
    stability = (f"≤ {settings.stable:g}", f"≤ {settings.metastable:g} eV/atom", "S.U.N.", "S.S.U.N.")
    head = (*COLUMNS, *stability)
    rows = [_row(head), _rule(len(head))]
    real: dict[int, str] = {}
    for name, result in results.items():
        n, d, f = len(result.generated), result.distances, result.floor
        rows.append(_row((name, f"{n:,}", *_rates(result.rates), *_apart(d), *_stability(result.rates))))
        label = f"real, {min(n, len(result.reference)):,}"
        real[n] = _row((label, f"{min(n, len(result.reference)):,}", *_rates(result.real), *_apart(f), "", "", "", ""))
    return "\n".join([*rows, *(real[n] for n in sorted(real))]) + "\n"


def facts_as_data(facts: Mapping[str, DrawFacts]) -> dict[str, Any]:
    """For JSON."""
    return {name: asdict(each) for name, each in facts.items()}


def _rates(r: Rates) -> tuple[str, ...]:
    templates = "" if r.novel_templates is None else f"{r.novel_templates:.0f}"
    return (_percent(r.valid), _percent(r.charges), _percent(r.unique), _percent(r.novel), templates, _percent(r.p1))


def _apart(distances: Any) -> tuple[str, str]:
    return f"{distances.space_groups_chi_squared:.3f}", f"{distances.frechet:.4f}"


def _stability(r: Rates) -> tuple[str, ...]:
    return tuple(_percent(share) for share in (r.stable, r.metastable, r.metastable_sun, r.metastable_ssun))


def _percent(share: float | None) -> str:
    return "" if share is None or math.isnan(share) else f"{100 * share:.1f} %"


def _spread(values: Sequence[int]) -> tuple[float, float, float, float]:
    low, middle, high = np.percentile(values, [10, 50, 90]).tolist()
    return float(np.mean(values)), low, middle, high


def _spread_text(values: Sequence[float]) -> str:
    mean, *percentiles = values
    return f"{mean:.1f}; {', '.join(f'{value:.0f}' for value in percentiles)}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(n: int) -> str:
    return f"|{' --- |' + ' ---: |' * (n - 1)}"
