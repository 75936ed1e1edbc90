"""Reports of an evaluation: a table for terminals, Markdown, plain data and one line for each crystal."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from atomsym.core.elements import symbol_of
from atomsym.metrics.embedding import TrainedEmbedding
from atomsym.workflows.evaluate_crystals.evaluation import Evaluation


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        section: heading above it.
        label: what was measured, with its tolerance.
        generated, real: values as text; empty if not known.
    """

    section: str
    label: str
    generated: str
    real: str


def report_lines(result: Evaluation, embedding: TrainedEmbedding) -> list[Line]:
    """All figures, beside what real crystals reach."""
    s, g, r = result.settings, result.rates, result.real
    matcher = f"{s.length_tolerance:g}/{s.site_tolerance:g}/{s.angle_tolerance:g}°"
    rule = "SMACT, states of 2014" if s.smact else "own table of oxidation states"
    lines = [
        _share("validity", "no two atoms within 0.5 Å", g.valid, r.valid),
        _share("validity", "no two atoms within 0.65 (rᵢ + rⱼ)", g.floor, r.floor),
        _share("validity", "no two atoms within 0.5 (0.7 Å + Rᵢ + Rⱼ), as LeMat-GenBench", g.benchmark, r.benchmark),
        _share("validity", f"charges balance ({rule})", g.charges, r.charges),
        _share("validity", f"space group found (symprec {s.symprec:g} Å)", g.analysed, r.analysed),
        _share("uniqueness and novelty", f"unique (matcher {matcher})", g.unique, r.unique),
        _share("uniqueness and novelty", "novel", g.novel, r.novel),
        _share("uniqueness and novelty", "unique and novel", g.unique_novel, r.unique_novel),
        _number("uniqueness and novelty", "novel templates per 1000", g.novel_templates, r.novel_templates, ".0f"),
        _number("uniqueness and novelty", "different templates per 1000", g.templates, r.templates, ".0f"),
        _share("symmetry", f"space group P1 (symprec {s.symprec:g} Å)", g.p1, r.p1),
        _share("symmetry", f"space group P1 (symprec {s.strict_symprec:g} Å)", g.p1_strict, r.p1_strict),
        _share("symmetry", "same space group at both", g.groups_agree, r.groups_agree),
    ]
    if g.requested is not None:
        lines += [
            _share("symmetry", f"space group as requested (symprec {s.symprec:g} Å)", g.requested, None),
            _share("symmetry", f"space group as requested (symprec {s.strict_symprec:g} Å)", g.requested_strict, None),
        ]
    d, f, section = result.distances, result.floor, f"distance from {result.reference.name}"
    lines += [
        _number(section, "space groups, χ²", d.space_groups_chi_squared, f.space_groups_chi_squared, ".3f"),
        _share(section, "space groups it does not have", d.space_groups_outside, f.space_groups_outside),
        _number(section, "space groups, JSD (bits)", d.space_groups, f.space_groups, ".3f"),
        _number(section, "elements, JSD (bits)", d.elements, f.elements, ".3f"),
        _number(section, "atoms in the primitive cell, JSD (bits)", d.sizes, f.sizes, ".3f"),
        _number(section, "number of elements, JSD (bits)", d.arities, f.arities, ".3f"),
        _number(section, "density, Wasserstein (g/cm³)", d.density, f.density, ".2f"),
        _number(section, f"Fréchet distance (weights {embedding.content_hash[:8]})", d.frechet, f.frechet, ".4f"),
        _number(section, "the same, extrapolated", d.frechet_extrapolated, f.frechet_extrapolated, ".4f"),
        _number("diversity", "effective number of elements", g.elements, r.elements, ".1f"),
    ]
    if g.hull_known is not None:
        section = "stability"
        stable, meta = f"≤ {s.stable:g} eV/atom", f"≤ {s.metastable:g} eV/atom"
        lines += [
            _share(section, "distance from the hull known", g.hull_known, r.hull_known),
            _share(section, f"stable ({stable})", g.stable, r.stable),
            _share(section, f"metastable ({meta})", g.metastable, r.metastable),
            _share(section, "S.U.N.", g.sun, r.sun),
            _share(section, "S.S.U.N.", g.ssun, r.ssun),
            _share(section, f"S.U.N., {meta}", g.metastable_sun, r.metastable_sun),
            _share(section, f"S.S.U.N., {meta}", g.metastable_ssun, r.metastable_ssun),
        ]
    if result.recovery is not None:
        found, section = result.recovery, f"recovery of {result.reference.name} (matcher 0.3/0.5/10°)"
        lines += [
            _share(section, "METRe", found.match_rate, None),
            _number(section, "RMSE of matches, (V/N)^⅓", found.rmse, None, ".4f"),
            _number(section, "cRMSE, (V/N)^⅓", found.corrected_rmse, None, ".4f"),
        ]
    return lines


def notes(result: Evaluation, embedding: TrainedEmbedding) -> list[str]:
    """What the figures refer to, in sentences."""
    known = " and ".join(f"{name} ({size:,})" for name, size in result.known.items())
    itself = list(result.known) == [result.reference.name]
    other = "as many crystals of the known sets against the reference"
    if itself:
        other = "one half of the reference against the other"
    hull = "" if result.rates.hull_known is None else " S.U.N. asks for distances above 0.5 Å, not for charges."
    return [
        f"Generated: {result.generated.name}, {len(result.generated):,} crystals, all of which are in every "
        f"denominator. Reference: {result.reference.name} ({len(result.reference):,}). Novel: not in {known}.",
        f"Real: as many crystals drawn from the reference (seed {result.settings.seed}); for distances from the "
        f"reference, {other}.",
        f"Of equal crystals the first one counts as unique; the matcher was asked {result.n_compared:,} times.{hull}",
        f"Embedding: {embedding.description.get('training_data', 'unknown data')}; test error "
        f"{embedding.description.get('test_mae', 'unknown')}. Points of real crystals have a total variance of one.",
    ]


def report_table(result: Evaluation, embedding: TrainedEmbedding) -> Table:
    """For terminals."""
    title = f"{result.generated.name}: {len(result.generated):,} crystals"
    table = Table(title=escape(title), title_style="bold", box=SIMPLE_HEAD)
    table.add_column("")
    table.add_column("generated", justify="right")
    table.add_column("real", justify="right", style="dim")
    section = ""
    for line in report_lines(result, embedding):
        if line.section != section:
            section = line.section
            table.add_row(escape(section), "", "", style="bold")
        table.add_row(f"  {escape(line.label)}", line.generated, line.real)
    return table


def report_markdown(result: Evaluation, embedding: TrainedEmbedding) -> str:
    """For files."""
    rows = [f"# {result.generated.name}", "", "| | generated | real |", "| --- | ---: | ---: |"]
    section = ""
    for line in report_lines(result, embedding):
        if line.section != section:
            section = line.section
            rows.append(f"| **{section}** | | |")
        rows.append(f"| {line.label} | {line.generated} | {line.real} |")
    return "\n".join([*rows, "", *(f"- {note}" for note in notes(result, embedding)), ""])


def result_as_data(result: Evaluation, embedding: TrainedEmbedding, **labels: Any) -> dict[str, Any]:
    """Everything but the single crystals as plain data; None where a number is not known. Shares are fractions."""
    return {
        **labels,
        "generated": {"name": result.generated.name, "crystals": len(result.generated)},
        "reference": {"name": result.reference.name, "crystals": len(result.reference)},
        "known": result.known,
        "settings": asdict(result.settings),
        "embedding": {"content_hash": embedding.content_hash, **embedding.description},
        "rates": _plain(asdict(result.rates)),
        "real_rates": _plain(asdict(result.real)),
        "distances": _plain(asdict(result.distances)),
        "real_distances": _plain(asdict(result.floor)),
        "recovery": None if result.recovery is None else _plain(asdict(result.recovery)),
        "comparisons": result.n_compared,
    }


def crystals_as_csv(result: Evaluation) -> str:
    """One line for each generated crystal."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "identifier", "formula", "space_group", "space_group_strict", "protostructure", "shortest_distance_A",
            "valid", "floor", "benchmark", "charges", "unique", "novel", "template_novel", "e_above_hull_eV/atom",
        ]
    )  # fmt: skip
    g, j = result.generated, result.judgement
    for i, crystal in enumerate(g.crystals):
        formula = "".join(f"{symbol_of(z)}{n if n > 1 else ''}" for z, n in g.formulas[i] or ())
        found, shortest, hull = g.protostructures[i], float(g.validity.shortest[i]), float(j.hull_distances[i])
        v = g.validity
        flags = (v.distances, v.floor, v.benchmark, v.charges, j.unique, j.novel, j.template_novel)
        writer.writerow(
            [
                crystal.identifier, formula, int(g.groups[i]) or "", int(g.strict_groups[i]) or "",
                "" if found is None else str(found), f"{shortest:.4f}" if math.isfinite(shortest) else "",
                *(int(flag[i]) for flag in flags), f"{hull:.6f}" if math.isfinite(hull) else "",
            ]
        )  # fmt: skip
    return text.getvalue()


def _share(section: str, label: str, generated: float | None, real: float | None) -> Line:
    return Line(section, label, *("" if value is None else f"{100 * value:.1f} %" for value in (generated, real)))


def _number(section: str, label: str, generated: float | None, real: float | None, form: str) -> Line:
    texts = ("" if value is None or math.isnan(value) else format(value, form) for value in (generated, real))
    return Line(section, label, *texts)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
