"""Opening a foreign checkpoint: in a process of its own, with an interpreter that has the foreign package."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from atomsym.core import ArtifactError, ConfigError, InputError, MissingDependencyError
from atomsym.core.configs import read_json_object
from atomsym.workflows.convert import extract_fairchem, extract_mace, extract_nequip
from atomsym.workflows.convert.checkpoint import Checkpoint, kind_of
from atomsym.workflows.convert.fairchem_config import ForeignESCNMD, Selection
from atomsym.workflows.convert.mace_config import ForeignMACE
from atomsym.workflows.convert.nequip_config import ForeignNequIP

_SHOWN_LINES = 8


@dataclass(frozen=True)
class Extractor:
    """A program that opens checkpoints of one package.

    Attributes:
        module: the program; it has ``FORMAT`` and ``MISSING_PACKAGE``.
        package: what the interpreter needs, as pip calls it.
    """

    module: ModuleType
    package: str

    @property
    def format(self) -> str:
        """What it calls the files that it writes."""
        return str(self.module.FORMAT)


MACE = Extractor(extract_mace, "mace-torch")
FAIRCHEM = Extractor(extract_fairchem, "fairchem-core")
NEQUIP = Extractor(extract_nequip, "nequip")


def extract(
    path: Path, *, trust: bool = False, python: str | None = None, selection: Selection | None = None
) -> ForeignMACE | ForeignESCNMD | ForeignNequIP:
    """Have a checkpoint read by the extractor for its kind.

    Args:
        path: the file.
        trust: whether the code in the file may be executed. Without it the file is not even opened.
        python: interpreter with the package that wrote the file; default: this one.
        selection: of which model reference values are wanted, if the checkpoint has several.

    Raises:
        ConfigError: without ``trust``.
        InputError: if the file is of a kind that is not supported, the selection does not suit it, or the interpreter
            cannot be started.
        MissingDependencyError: if the interpreter lacks the package.
        ArtifactError: if the extractor fails; the message has the last lines of what it said.
    """
    if not trust:
        raise ConfigError(
            f"{path} was not opened. Checkpoints of other packages are pickles: opening one executes whatever code is "
            "in it. If you trust where this file comes from, add --trust; it will be opened in a process of its own"
        )
    chosen = selection or Selection()
    kind = kind_of(path)
    if kind is Checkpoint.FAIRCHEM:
        asked = {
            "head": chosen.head or "",
            "charge": chosen.charge,
            "spin": chosen.spin,
            "composition": dict(chosen.composition) if chosen.composition else None,
        }
        return ForeignESCNMD(*_run(FAIRCHEM, path, json.dumps(asked), python), chosen)
    if chosen.of_fairchem:
        raise InputError(f"{path} is {kind.value}: charge, spin and composition belong to fairchem's models")
    if kind is Checkpoint.NEQUIP:
        return ForeignNequIP(*_run(NEQUIP, path, chosen.head or "", python))
    return ForeignMACE(*_run(MACE, path, chosen.head or "", python))


def _run(
    extractor: Extractor, path: Path, argument: str, python: str | None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    interpreter, package = python or sys.executable, extractor.package
    with tempfile.TemporaryDirectory(prefix="atomsym-convert-") as folder:
        command = [interpreter, "-I", str(extractor.module.__file__), str(path.absolute()), folder, argument]
        try:
            result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            raise InputError(f"the interpreter {interpreter} cannot be started: {error.strerror}") from error
        if result.returncode == extractor.module.MISSING_PACKAGE:
            raise MissingDependencyError(
                f"converting {path.name} needs {package}, which {interpreter} cannot import "
                f"({_last_lines(result.stderr, 1)}). Install it with: {interpreter} -m pip install {package}, or name "
                "an interpreter that has it with --python"
            )
        if result.returncode != 0:
            raise ArtifactError(
                f"{path} could not be read (exit status {result.returncode} of {interpreter}):\n"
                f"{_last_lines(result.stderr, _SHOWN_LINES)}"
            )
        return read_files(Path(folder), extractor)


def read_extraction(description: Path, arrays: Path) -> ForeignMACE:
    """What the extractor of mace-torch's models wrote; errors as ``read_files``."""
    return ForeignMACE(*_read(description, arrays, MACE.format))


def read_files(folder: Path, extractor: Extractor) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and arrays that an extractor wrote into a folder.

    Raises:
        ArtifactError: if its files are missing, damaged or of another version.
        InputError: if the checkpoint holds no model.
    """
    return _read(folder / "description.json", folder / "arrays.safetensors", extractor.format)


def _read(description: Path, arrays: Path, wanted: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        plain = read_json_object(description.read_text(encoding="utf-8"))
        tensors = load_file(arrays)
    except (OSError, ConfigError, SafetensorError) as error:
        raise ArtifactError(f"the extracted files cannot be read: {error}") from error
    if plain.get("format") != wanted:
        raise ArtifactError(f"the extracted files are of format {plain.get('format')!r}; needed: {wanted}")
    if plain.get("not_a_module"):
        raise InputError(f"the checkpoint holds a {plain['class']}, not a model")
    return dict(plain), tensors


def _last_lines(text: str, number: int) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return "\n".join(lines[-number:]) or "it said nothing"
