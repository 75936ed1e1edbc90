"""The program of a worker process: answers requests on its standard input until that ends.

Messages are bytes with their length before them; an answer has a byte for its kind first. Nothing is pickled. What a
library prints goes to the standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import struct
import sys
from collections.abc import Callable
from typing import IO

from atomsym.core import AtomsymError

ANSWER, FAILURE = b"a", b"f"
_LENGTH = struct.Struct("<Q")

Handler = Callable[[bytes], bytes]


def write_message(stream: IO[bytes], content: bytes) -> None:
    """Write one message and flush it."""
    stream.write(_LENGTH.pack(len(content)) + content)
    stream.flush()


def read_message(stream: IO[bytes]) -> bytes | None:
    """The next message; None where the stream ends, also in the middle of a message."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(header)
    content = stream.read(length)
    return content if len(content) == length else None


def make_handler(factory: str, settings: bytes) -> Handler:
    """Call ``module:function`` with the settings, a JSON object; it returns the function that answers requests."""
    module, _, name = factory.partition(":")
    handler: Handler = getattr(importlib.import_module(module), name)(json.loads(settings))
    return handler


def serve(factory: str, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests one after the other; the first message holds the settings."""
    settings = read_message(requests)
    if settings is None:
        return
    handler = make_handler(factory, settings)
    while (request := read_message(requests)) is not None:
        try:
            answer = ANSWER + handler(request)
        except AtomsymError as error:
            answer = FAILURE + str(error).encode()
        write_message(answers, answer)


def main() -> None:
    """Serve with the standard streams."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that a library that prints cannot disturb the messages
    serve(sys.argv[1], sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
