"""What programs say in the terminal: one line while they work, and their doubts at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def status_line(console: Console) -> Iterator[Callable[[str], None]]:
    """A line with a spinner, a text and the time; gone after the block, and never there on a quiet console.

    Example:
        >>> with status_line(Console(quiet=True)) as show:
        ...     show("step 1")
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=console.quiet) as bar:
        task = bar.add_task("preparing")

        def show(text: str) -> None:
            bar.update(task, description=text)

        yield show


def counted(what: str, done: int, of: int) -> str:
    """How far a piece of work is, as text; 0 for ``of`` if that is not known.

    Example:
        >>> counted("displacements", 3, 18)
        'displacements: 3 of 18'
    """
    return f"{what}: {done}{f' of {of}' if of else ''}"


def print_warnings(notes: Iterable[str], console: Console) -> None:
    """A line a doubt."""
    for note in notes:
        console.print(f"[bold yellow]warning:[/] {escape(note)}", highlight=False)
