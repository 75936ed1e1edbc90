"""Labelling of all structures of a file: parallel, resumable, in the order of the file."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atomsym.artifacts import write_atomically
from atomsym.core import ConfigError, InputError, LabelledStructure
from atomsym.datasets import write_extxyz, write_lmdb
from atomsym.datasets.lmdb_files import decode, encode
from atomsym.workflows.journal import FAILURE, LABELS, Journal
from atomsym.workflows.label.engine import make_engine
from atomsym.workflows.label.settings import LabelSettings
from atomsym.workflows.label.structures import structures_of
from atomsym.workflows.label.workers import Answer, Workers
from atomsym.workflows.paths import make_folder, require_writable

Progress = Callable[[int, int, int], None]
_TASK = "atomsym.workflows.label.task:label_task"


@dataclass(frozen=True)
class LabelResult:
    """Outcome of a run.

    Attributes:
        complete: whether every structure was dealt with; if not, ``run_label(..., resume=True)`` goes on.
        reason: why it is not complete, "" if it is.
        n_structures: in the input.
        n_labelled: with labels.
        n_failed: without; ``failures`` says why.
        seconds: of this run.
        output, failures: files; not yet there if not complete.
    """

    complete: bool
    reason: str
    n_structures: int
    n_labelled: int
    n_failed: int
    seconds: float
    output: Path
    failures: Path

    def to_json(self) -> str:
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}
        return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def run_label(
    settings: LabelSettings,
    *,
    resume: bool = False,
    progress: Progress = lambda done, total, failed: None,
    should_stop: Callable[[], object] = lambda: False,
) -> LabelResult:
    """Label the structures of a file.

    Results are appended to a file beside the output as they come, and written in the order of the input at the end, so
    the output does not depend on the number of workers or on interruptions.

    Args:
        settings: what to do.
        resume: go on with an unfinished run of the same settings.
        progress: called with the number of structures done, of all, and of failures.
        should_stop: asked between structures; its answer, if true, is the reason.

    Raises:
        InputError: if the input cannot be read, the output exists or cannot be written, or an unfinished run is there
            and ``resume`` is False.
        ConfigError: if the unfinished run had other settings or another input.
        MissingDependencyError: if the engine's package, or that of the output's format, is missing.
    """
    started = time.monotonic()
    require_writable(settings.output)
    if settings.output.exists():
        raise InputError(f"{settings.output} exists already; remove it or choose another file with --output")
    total = sum(1 for _ in structures_of(settings.input))  # also finds a damaged frame before the work begins
    if total == 0:
        raise InputError(f"{settings.input} holds no structures")
    level = make_engine(settings.engine, settings.engine_settings).level_of_theory  # wrong settings end here
    _open_partial(settings, resume)
    with Journal(settings.partial / "results.bin") as journal:
        reason = _label_missing(settings, journal, total, progress, should_stop)
        complete = len(journal) == total
        counts = (total, len(journal) - journal.n_failed, journal.n_failed)
        if complete:
            _write_results(settings, journal, level, counts)
    if complete:
        shutil.rmtree(settings.partial)
    reason = "" if complete else reason
    seconds = time.monotonic() - started
    return LabelResult(complete, reason, *counts, seconds, settings.output, settings.failures)


def _open_partial(settings: LabelSettings, resume: bool) -> None:
    """Make the folder of the run, or check that the one that is there belongs to the same task."""
    identity = {**settings.task(), "input_sha256": _sha256(settings.input)}
    file = settings.partial / "settings.json"
    if file.exists():
        if not resume:
            raise InputError(f"{settings.partial} holds an unfinished run; go on with it with --resume, or remove it")
        found = _identity(file)
        changed = [name for name, value in identity.items() if found.get(name) != value]
        if changed:
            raise ConfigError(
                f"{settings.partial} was begun with other {', '.join(changed)}; --resume goes on with the same ones"
            )
        return
    make_folder(settings.partial)
    write_atomically(file, (json.dumps(identity, indent=2) + "\n").encode())


def _identity(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: not the settings of a labelling run ({error}); remove the folder") from error
    return found if isinstance(found, dict) else {}


def _label_missing(
    settings: LabelSettings, journal: Journal, total: int, progress: Progress, should_stop: Callable[[], object]
) -> str:
    """Label what the journal lacks; the reason for stopping, if it was stopped."""
    reason = ""

    def stop() -> bool:
        nonlocal reason
        answer = should_stop()
        if answer and not reason:
            reason = answer if isinstance(answer, str) else "stopped"
        return bool(answer)

    progress(len(journal), total, journal.n_failed)
    if len(journal) == total:
        return ""
    with Workers(_TASK, settings.task(), min(settings.workers, total - len(journal))) as workers:
        for answer in workers.answers(_requests(settings.input, journal), stop):
            _record(journal, answer)
            progress(len(journal), total, journal.n_failed)
    return reason


def _record(journal: Journal, answer: Answer) -> None:
    if answer.content is None:
        journal.append(answer.index, FAILURE, answer.failure.encode())
    else:
        journal.append(answer.index, LABELS, answer.content)


def _requests(path: Path, journal: Journal) -> Iterator[tuple[int, bytes]]:
    for index, (structure, obstacle) in enumerate(structures_of(path)):
        if index in journal:
            continue
        if obstacle:
            journal.append(index, FAILURE, obstacle.encode())
        else:
            yield index, encode(structure)


def _write_results(settings: LabelSettings, journal: Journal, level: str, counts: tuple[int, int, int]) -> None:
    failures = [i for i in sorted(journal.kinds) if journal.kinds[i] == FAILURE]
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(("index", "reason"))
    rows.writerows((index, journal.content(index).decode(errors="replace")) for index in failures)
    write_atomically(settings.failures, table.getvalue().encode())
    done: dict[str, Any] = dict(zip(("n_structures", "n_labelled", "n_failed"), counts, strict=True))
    done |= {"level_of_theory": level, "input_sha256": _sha256(settings.input)}
    write_atomically(settings.summary, settings.to_json(**done).encode())
    write = write_lmdb if settings.output.name.lower().endswith(".lmdb") else write_extxyz
    write(_labelled(journal), settings.output)


def _labelled(journal: Journal) -> Iterator[LabelledStructure]:
    for index in sorted(journal.kinds):
        if journal.kinds[index] == LABELS:
            yield decode(journal.content(index), f"{journal.path}, structure {index}")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
