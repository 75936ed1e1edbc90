"""How model files of older format versions become the current one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from atomsym.core import ArtifactError

FORMAT = "atomsym-model"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Content:
    """A verified file, before it becomes a potential: metadata as text by key, tensors by name."""

    metadata: dict[str, str]
    tensors: dict[str, Tensor]


Upgrade = Callable[[Content], Content]

UPGRADES: dict[int, Upgrade] = {}
"""The function under v turns content of version v into content of version v + 1. It must not touch anything else."""


def format_version(metadata: dict[str, str], where: str) -> int:
    """The file's format version, if this program can read or upgrade it.

    Args:
        metadata: of the file's header.
        where: name of the file for messages.

    Raises:
        ArtifactError: if the format is another one, or its version is newer, or too old for the known upgrades.
    """
    if metadata.get("format") != FORMAT:
        raise ArtifactError(f"{where}: the format is {metadata.get('format')!r}; expected '{FORMAT}'")
    text = metadata.get("format_version", "")
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and int(text) > 0):
        raise ArtifactError(f"{where}: {text!r} is not a format version; expected a whole number from 1")
    version = int(text)
    by = metadata.get("created_with", "an unknown program")
    if version > FORMAT_VERSION:
        raise ArtifactError(
            f"{where}: format version {version}, written with {by}, is newer than this program reads (up to "
            f"{FORMAT_VERSION}). Update it with: pip install --upgrade atomsym"
        )
    missing = [step for step in range(version, FORMAT_VERSION) if step not in UPGRADES]
    if missing:
        raise ArtifactError(
            f"{where}: format version {version} cannot be upgraded to {FORMAT_VERSION} any more; "
            f"load and save it again with the program that wrote it: {by}"
        )
    return version


def upgraded(content: Content, where: str) -> Content:
    """The content in the current format version.

    Raises:
        ArtifactError: as ``format_version``.
    """
    for step in range(format_version(content.metadata, where), FORMAT_VERSION):
        content = UPGRADES[step](content)
        content.metadata["format_version"] = str(step + 1)
    return content
