"""The report card as one HTML file that needs nothing else: style and plots are inside."""

from __future__ import annotations

from html import escape
from pathlib import Path

from atomsym.artifacts import write_atomically
from atomsym.testing.outcome import CheckResult, Measurement, Verdict
from atomsym.testing.suite import CHECKS
from atomsym.workflows.check.card import ReportCard
from atomsym.workflows.check.plots import plot_svg

WORDS = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "fail",
    Verdict.WARN: "warning",
    Verdict.NOT_APPLICABLE: "not applicable",
    Verdict.ERROR: "error",
}
CLASSES = {verdict: word.replace(" ", "-") for verdict, word in WORDS.items()}

STYLE = """
:root { --ink: #1f2833; --soft: #5b6675; --line: #e3e8ee; --paper: #ffffff; --ground: #f4f6f9;
  --pass: #1f8a54; --fail: #c23b3b; --warning: #b7791f; --error: #8e3bb0; --not-applicable: #8a94a3; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 40px 20px 60px; }
h1 { font-size: 32px; margin: 0 0 4px; letter-spacing: -0.02em; }
h2 { font-size: 18px; margin: 0; flex: 1; }
.kicker { color: var(--soft); text-transform: uppercase; letter-spacing: 0.09em; font-size: 13px; margin: 0 0 6px; }
.verdict { font-size: 19px; font-weight: 600; margin: 0 0 22px; }
.strip { display: grid; grid-template-columns: repeat(auto-fit, minmax(148px, 1fr)); gap: 8px; margin-bottom: 26px; }
.tile { display: block; background: var(--paper); border: 1px solid var(--line); border-top: 4px solid var(--c);
  border-radius: 8px; padding: 8px 11px 9px; color: inherit; text-decoration: none; }
.tile b { display: block; font-size: 15px; }
.tile b span { color: var(--c); float: right; font-size: 13px; font-weight: 600; }
.tile small { color: var(--soft); display: block; line-height: 1.3; margin-top: 3px; font-size: 12.5px; }
.pass { --c: var(--pass); } .fail { --c: var(--fail); } .warning { --c: var(--warning); }
.error { --c: var(--error); } .not-applicable { --c: var(--not-applicable); }
section, .facts { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 18px 22px;
  margin-bottom: 14px; }
section { border-left: 5px solid var(--c); break-inside: avoid; }
section.not-applicable { padding: 11px 22px; }
.head { display: flex; align-items: baseline; gap: 12px; }
.head .id { color: var(--soft); font-variant-numeric: tabular-nums; min-width: 44px; }
.badge { color: #fff; background: var(--c); border-radius: 99px; padding: 2px 12px; font-size: 13px; font-weight: 600;
  white-space: nowrap; }
.say { margin: 6px 0 10px; } section.not-applicable .say { color: var(--soft); margin: 2px 0 0; }
.big { display: flex; gap: 34px; margin: 4px 0 10px; flex-wrap: wrap; }
.big div { font-size: 21px; font-weight: 600; font-variant-numeric: tabular-nums; }
.big small { display: block; color: var(--soft); font-size: 12.5px; font-weight: 400; }
svg { display: block; width: 100%; height: auto; margin: 6px 0; }
details { color: var(--soft); font-size: 14px; } summary { cursor: pointer; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; margin-top: 6px; color: var(--ink); }
td, th { text-align: left; padding: 3px 10px 3px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.bad td { color: var(--fail); font-weight: 600; }
ul { margin: 8px 0 0; padding: 0; list-style: none; }
li { padding: 5px 0 5px 12px; border-left: 3px solid var(--c); margin-bottom: 6px; }
li a { color: var(--c); font-weight: 600; text-decoration: none; margin-right: 6px; }
.facts td:first-child { color: var(--soft); width: 170px; }
code { background: #eef1f5; border-radius: 5px; padding: 2px 6px; font-size: 13.5px; overflow-wrap: anywhere; }
footer { color: var(--soft); font-size: 13px; margin-top: 18px; }
@media print { body { background: #fff; } main { padding: 0; } }
"""


def write_html(card: ReportCard, path: Path) -> None:
    """Write the page; on failure an older file stays.

    Raises:
        OSError: if the file cannot be written.
    """
    write_atomically(path, page_of(card).encode())


def page_of(card: ReportCard) -> str:
    """The whole page as text."""
    what = "the physics report card" if len(card.results) == len(CHECKS) else "the chosen checks"
    headline = f"Passes {what}" if card.passed else f"Does not pass {what}"
    color = "pass" if card.passed else "fail"
    tiles = "".join(_tile(result) for result in card.results)
    sections = "".join(_section(result) for result in card.results)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Physics report card: {escape(card.name)}</title><style>{STYLE}</style></head><body><main>"
        f'<p class="kicker">Physics report card</p><h1>{escape(card.name)}</h1>'
        f'<p class="verdict {color}"><span style="color:var(--c)">{headline}</span>: {escape(card.summary)}.</p>'
        f'<nav class="strip">{tiles}</nav>{_findings(card)}{sections}{_facts(card)}'
        "<footer>A check compares the largest measured deviation with its bound. “Not applicable” means that the "
        "check could not be made with this calculator; it says nothing good or bad.</footer></main></body></html>\n"
    )


def _tile(result: CheckResult) -> str:
    kind, word = CLASSES[result.verdict], WORDS[result.verdict]
    short = "n/a" if result.verdict is Verdict.NOT_APPLICABLE else word
    return (
        f'<a class="tile {kind}" href="#{result.id}"><b>{result.id}<span>{short}</span></b>'
        f"<small>{escape(result.title)}</small></a>"
    )


def _findings(card: ReportCard) -> str:
    """The sentences of the checks that did not pass, first what matters most."""
    order = (Verdict.FAIL, Verdict.ERROR, Verdict.WARN)
    notable = [result for verdict in order for result in card.results if result.verdict is verdict]
    if not notable:
        return ""
    items = "".join(
        f'<li class="{CLASSES[result.verdict]}"><a href="#{result.id}">{result.id}</a> '
        f"{escape(result.explanation)}</li>"
        for result in notable
    )
    return f'<div class="facts"><h2>Findings</h2><ul>{items}</ul></div>'


def _section(result: CheckResult) -> str:
    kind = CLASSES[result.verdict]
    parts = [
        f'<section class="{kind}" id="{result.id}"><div class="head"><span class="id">{result.id}</span>'
        f'<h2>{escape(result.title)}</h2><span class="badge">{WORDS[result.verdict]}</span></div>'
        f'<p class="say">{escape(result.explanation)}</p>'
    ]
    if result.worst is not None:
        parts.append(_decisive(result.worst))
        parts.append(plot_svg(result) or "")
        parts.append(_measurements(result))
    return "".join(parts) + "</section>"


def _decisive(worst: Measurement) -> str:
    side = "at least" if worst.at_least else "at most"
    spread = f" ± {number(worst.uncertainty, 1)}" if worst.uncertainty else ""
    return (
        f'<div class="big"><div>{number(worst.value)}{spread} {escape(worst.unit)}<small>measured: {escape(worst.name)}'
        f"</small></div><div>{number(worst.bound)} {escape(worst.unit)}<small>allowed: {side}</small></div></div>"
    )


def number(value: float, digits: int = 2) -> str:
    """A number for reading.

    Example:
        >>> number(2.4e-15), number(1e-8), number(0.25), number(float("nan"))
        ('2.4 × 10⁻¹⁵', '10⁻⁸', '0.25', 'nan')
    """
    text = f"{value:.{digits}g}"
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return {"1": power, "-1": f"−{power}"}.get(mantissa, f"{mantissa} × {power}")


def _measurements(result: CheckResult) -> str:
    rows = []
    for m in result.measurements:
        sign = "≥" if m.at_least else "≤"
        spread = f" ± {number(m.uncertainty, 1)}" if m.uncertainty else ""
        note = " (advice)" if m.advisory else ""
        rows.append(
            f"<tr{'' if m.passed else ' class=bad'}><td>{escape(m.name)}{note}</td>"
            f'<td class="n">{number(m.value, 3)}{spread}</td><td class="n">{sign} {number(m.bound)}</td>'
            f"<td>{escape(m.unit)}</td></tr>"
        )
    plural = "s" if len(rows) > 1 else ""
    return (
        f"<details><summary>{len(rows)} measurement{plural}, {result.evaluations} evaluations in "
        f'{result.seconds:.1f} s</summary><table><tr><th>measured</th><th class="n">value</th>'
        f'<th class="n">bound</th><th>unit</th></tr>{"".join(rows)}</table></details>'
    )


def _facts(card: ReportCard) -> str:
    rows = {**card.conditions, "versions": ", ".join(f"{name} {text}" for name, text in card.versions.items())}
    rows["wall time"] = f"{card.seconds:.0f} s"
    cells = "".join(f"<tr><td>{escape(label)}</td><td>{escape(text)}</td></tr>" for label, text in rows.items())
    if card.command:
        cells += f"<tr><td>to reproduce</td><td><code>{escape(card.command)}</code></td></tr>"
    return f'<div class="facts"><h2>Conditions</h2><table>{cells}</table></div>'
