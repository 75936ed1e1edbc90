"""The report card in a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atomsym.testing.outcome import CheckResult, Measurement, Verdict
from atomsym.workflows.check.card import ReportCard

STYLES = {
    Verdict.PASS: ("✓ pass", "green"),
    Verdict.FAIL: ("✗ FAIL", "bold red"),
    Verdict.WARN: ("! warn", "yellow"),
    Verdict.NOT_APPLICABLE: ("– n/a", "dim"),
    Verdict.ERROR: ("✗ ERROR", "bold magenta"),
}


def print_card(card: ReportCard, console: Console) -> None:
    """Table of all checks, the conditions, and the sentences of those that did not pass."""
    table = Table(
        title=f"Physics report card: {escape(card.name)}", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("check", no_wrap=True)
    table.add_column("promise")
    table.add_column("verdict", no_wrap=True)
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("bound", no_wrap=True)
    for result in card.results:
        label, style = STYLES[result.verdict]
        measured, bound = numbers_of(result.worst)
        table.add_row(result.id, result.title, f"[{style}]{label}[/]", measured, escape(f"{bound} {result.unit}"))
    console.print(table)
    for result in card.results:
        if result.verdict is not Verdict.PASS:
            label, style = STYLES[result.verdict]
            console.print(f"[{style}]{result.id}[/] {escape(result.explanation)}", highlight=False)
    conditions = "; ".join(f"{label}: {text}" for label, text in card.conditions.items())
    console.print(f"[dim]{escape(conditions)}[/]", highlight=False)
    style = "bold green" if card.passed else "bold red"
    console.print(f"[{style}]{card.summary}[/] in {card.seconds:.0f} s", highlight=False)


def numbers_of(worst: Measurement | None) -> tuple[str, str]:
    """Measured value and bound as text."""
    if worst is None:
        return "", ""
    sign = "≥" if worst.at_least else "≤"
    return f"{worst.value:.2g}", f"{sign} {worst.bound:g}"


def progress_line(result: CheckResult) -> str:
    """One finished check, for a progress display."""
    label, style = STYLES[result.verdict]
    return f"[{style}]{label:8}[/] {result.id:5} {escape(result.title)}"
