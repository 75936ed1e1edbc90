"""Work spread over processes of one thread each; a process that dies costs one request, not the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any

from atomsym.core import CalculationError, ConfigError
from atomsym.workflows.label import worker

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_WAITING = 2  # requests in hand for each worker: one at work, one that waits


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes:
        index: of the request.
        content: the handler's answer; None if there is none.
        failure: why not.
    """

    index: int
    content: bytes | None
    failure: str = ""


class Workers:
    """Processes that answer requests; a context manager, which ends them.

    Args:
        factory: ``module:function``; called once in each process with the settings, it returns the function that
            answers: bytes to bytes. An ``AtomsymError`` of that function becomes ``Answer.failure``.
        settings: plain data.
        number: of processes.

    Raises:
        ConfigError: if the number is below 1.

    The processes have one thread each (their environment says so; that of this process is left alone), and end when
    this process does, however it ends.
    """

    def __init__(self, factory: str, settings: Mapping[str, Any], number: int) -> None:
        if number < 1:
            raise ConfigError(f"the number of workers must be at least 1; found {number}")
        self._factory, self._settings, self._number = factory, json.dumps(settings).encode(), number
        self._own = threading.local()
        self._processes: list[_Process] = []
        self._threads = ThreadPoolExecutor(number, "workers")

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:  # do not wait for what is at work
            for process in list(self._processes):
                process.end()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for process in list(self._processes):
            process.end()

    def answers(
        self, requests: Iterable[tuple[int, bytes]], should_stop: Callable[[], object] = lambda: False
    ) -> Iterator[Answer]:
        """Answers as they come. At most two requests for each worker are taken from the iterable ahead of time.

        Args:
            requests: number and content of each.
            should_stop: asked before a request is taken; after a yes, only what is at work is finished.

        Raises:
            CalculationError: if a process cannot be started.
        """
        pending: set[Future[Answer]] = set()
        source = iter(requests)
        exhausted = False
        while True:
            while not exhausted and len(pending) < _WAITING * self._number:
                request = None if should_stop() else next(source, None)
                if request is None:
                    exhausted = True
                else:
                    pending.add(self._threads.submit(self._answer, *request))
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()

    def _answer(self, index: int, request: bytes) -> Answer:
        process = getattr(self._own, "process", None)
        if process is None:
            process = self._own.process = _Process(self._factory, self._settings)
            self._processes.append(process)
        answer = process.ask(request)
        if answer is None:
            self._own.process = None
            self._processes.remove(process)
            return Answer(index, None, f"the worker process ended: {process.last_words()}")
        kind, content = answer[:1], answer[1:]
        if kind == worker.ANSWER:
            return Answer(index, content)
        return Answer(index, None, content.decode(errors="replace"))


class _Process:
    """One worker process and its streams."""

    def __init__(self, factory: str, settings: bytes) -> None:
        environment = {**os.environ, **dict.fromkeys(_THREADS, "1")}
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from {worker.__name__} import main; main()", factory],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
                start_new_session=True,  # Ctrl-C in a terminal is for the parent, which lets work in hand finish
            )
        except OSError as error:
            raise CalculationError(f"a worker process cannot be started: {error}") from error
        self._send(settings)

    def ask(self, request: bytes) -> bytes | None:
        """The answer; None if the process has ended."""
        output = self._process.stdout
        if not self._send(request) or output is None:
            return None
        return worker.read_message(output)

    def _send(self, content: bytes) -> bool:
        stream = self._process.stdin
        if stream is None:
            return False
        try:
            worker.write_message(stream, content)
        except (OSError, ValueError):  # the process has ended, or was ended by us
            return False
        return True

    def last_words(self) -> str:
        """The last line that it wrote to the standard error, or its exit status; afterwards it is gone."""
        status = self._wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        self.end()
        return lines[-1] if lines else f"exit status {status}"

    def end(self) -> None:
        """Close its input, which ends the process; one that is busy is killed."""
        if self._process.stdin is not None:
            with suppress(OSError):  # unsent bytes of a process that is gone
                self._process.stdin.close()
        self._wait()
        for stream in (self._process.stdout, self._errors):  # only now: a thread may have waited for an answer
            if stream is not None:
                stream.close()

    def _wait(self) -> int:
        try:
            return self._process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
