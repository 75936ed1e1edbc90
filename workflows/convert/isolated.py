"""Opening a foreign checkpoint: in a process of its own, with an interpreter that has the foreign package."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from atomsym.core import ArtifactError, ConfigError, InputError, MissingDependencyError
from atomsym.core.configs import read_json_object
from atomsym.workflows.convert import extract_mace
from atomsym.workflows.convert.checkpoint import kind_of
from atomsym.workflows.convert.mace_config import ForeignMACE

_SHOWN_LINES = 8


def extract(path: Path, *, trust: bool = False, python: str | None = None, head: str | None = None) -> ForeignMACE:
    """Have a checkpoint read by the extractor.

    Args:
        path: the file.
        trust: whether the code in the file may be executed. Without it the file is not even opened.
        python: interpreter with mace-torch; default: this one.
        head: of which reference values are wanted, if the model has several.

    Raises:
        ConfigError: without ``trust``.
        InputError: if the file is of a kind that is not supported, or the interpreter cannot be started.
        MissingDependencyError: if the interpreter has no mace-torch.
        ArtifactError: if the extractor fails; the message has the last lines of what it said.
    """
    if not trust:
        raise ConfigError(
            f"{path} was not opened. Checkpoints of other packages are pickles: opening one executes whatever code is "
            "in it. If you trust where this file comes from, add --trust; it will be opened in a process of its own"
        )
    kind_of(path)
    interpreter = python or sys.executable
    with tempfile.TemporaryDirectory(prefix="atomsym-convert-") as folder:
        command = [interpreter, "-I", extract_mace.__file__, str(path.absolute()), folder, head or ""]
        try:
            result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            raise InputError(f"the interpreter {interpreter} cannot be started: {error.strerror}") from error
        if result.returncode == extract_mace.MISSING_PACKAGE:
            raise MissingDependencyError(
                f"converting {path.name} needs mace-torch, which {interpreter} cannot import "
                f"({_last_lines(result.stderr, 1)}). Install it with: {interpreter} -m pip install mace-torch, or name "
                "an interpreter that has it with --python"
            )
        if result.returncode != 0:
            raise ArtifactError(
                f"{path} could not be read (exit status {result.returncode} of {interpreter}):\n"
                f"{_last_lines(result.stderr, _SHOWN_LINES)}"
            )
        return read_extraction(Path(folder) / "description.json", Path(folder) / "arrays.safetensors")


def read_extraction(description: Path, arrays: Path) -> ForeignMACE:
    """What the extractor wrote.

    Raises:
        ArtifactError: if its files are missing, damaged or of another version.
        InputError: if the checkpoint holds no model.
    """
    try:
        plain = read_json_object(description.read_text(encoding="utf-8"))
        tensors = load_file(arrays)
    except (OSError, ConfigError, SafetensorError) as error:
        raise ArtifactError(f"the extracted files cannot be read: {error}") from error
    if plain.get("format") != extract_mace.FORMAT:
        raise ArtifactError(f"the extracted files are of format {plain.get('format')!r}; needed: {extract_mace.FORMAT}")
    if plain.get("not_a_module"):
        raise InputError(f"the checkpoint holds a {plain['class']}, not a model")
    return ForeignMACE(plain, tensors)


def _last_lines(text: str, number: int) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return "\n".join(lines[-number:]) or "it said nothing"
