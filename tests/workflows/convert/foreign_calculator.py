"""This side of a foreign calculator: starts its script in the Python that has its package, and asks it."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

Plain = dict[str, Any]


class Peer:
    """A foreign calculator in a process of its own, for use in a ``with`` statement.

    Args:
        python: an interpreter with the foreign package.
        script: ``fairchem_peer`` or ``nequip_peer``, the file.
        checkpoint: the file.
        options: of ``serve`` of the script.
    """

    def __init__(self, python: str, script: str, checkpoint: str, **options: Any) -> None:
        self._process = subprocess.Popen(
            [python, script, "serve", checkpoint, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(options.get("threads", 1))},
        )

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, numbers: list[int], positions: list[list[float]], cell: list[list[float]] | None = None) -> Plain:
        """Energy, forces, stress and times of a structure.

        Raises:
            RuntimeError: if the process ended; the message is what it said.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = ""
        try:
            self._process.stdin.write(json.dumps({"numbers": numbers, "positions": positions, "cell": cell}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            pass
        if not line:
            _, said = self._process.communicate()
            raise RuntimeError(said[-3000:])
        answer: Plain = json.loads(line)
        return answer
