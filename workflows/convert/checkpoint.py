"""What kind of file a checkpoint is, without executing anything of it."""

from __future__ import annotations

import pickletools
import zipfile
from enum import StrEnum
from pathlib import Path

from atomsym.core import ArtifactError, InputError
from atomsym.workflows.convert.mace_config import refuse_accelerated

SUPPORTED = (
    "models of mace-torch as saved by its training program (*.model), inference checkpoints (*.pt) of fairchem's "
    "eSEN and UMA, and checkpoints (*.ckpt) and packages (*.nequip.zip) of nequip"
)
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # first bytes of files that torch.save wrote before zip archives
_PLAIN_PACKAGES = {"torch", "collections", "numpy", "_codecs", "builtins", "__builtin__", "copyreg", "copy_reg"}


class Checkpoint(StrEnum):
    """Kinds that can be told apart from outside."""

    MACE = "a mace-torch model"
    FAIRCHEM = "a checkpoint of fairchem"
    NEQUIP = "a checkpoint or package of nequip"
    UNKNOWN_PICKLE = "a pickle in torch's old format"


def kind_of(path: Path) -> Checkpoint:
    """Look at the first bytes, the names in the archive and the classes that its pickle names.

    Raises:
        InputError: if there is no such file, or it is of a kind that is not supported (yet); the message says which.
        ArtifactError: if it is no checkpoint at all.
    """
    if not path.is_file():
        raise InputError(f"no file '{path}'")
    with path.open("rb") as file:
        start = file.read(len(_LEGACY))
    if zipfile.is_zipfile(path):
        return _kind_of_archive(path)
    if start == _LEGACY:
        return Checkpoint.UNKNOWN_PICKLE
    if start[8:9] == b"{":
        raise InputError(f"{path} is a safetensors file already; load it with atomsym.artifacts.load_model")
    raise ArtifactError(f"{path} is not a file that torch.save writes. Supported are {SUPPORTED}")


def _kind_of_archive(path: Path) -> Checkpoint:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            pickles = [name for name in names if name.endswith("data.pkl")]
            content = archive.read(pickles[0]) if pickles else b""
            packages = _packages(content) if pickles else set()
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError) as error:
        raise ArtifactError(f"{path} is a damaged archive: {error}") from error
    if any(name.endswith(".data/extern_modules") for name in names):
        if any("/nequip/nn/" in name for name in names):
            return Checkpoint.NEQUIP
        raise _not_yet(path, "a package of torch that is not nequip's")
    if any("/code/" in name for name in names):
        raise _compiled(path, "TorchScript")
    if any("aotinductor" in name for name in names):
        raise _compiled(path, "AOTInductor")
    if not pickles:
        raise ArtifactError(f"{path} is an archive without a pickle. Supported are {SUPPORTED}")
    refuse_accelerated(packages)
    if "mace" in packages:
        return Checkpoint.MACE
    if "fairchem" in packages:
        return Checkpoint.FAIRCHEM
    if b"pytorch-lightning_version" in content and b"nequip" in content:
        return Checkpoint.NEQUIP
    if packages <= _PLAIN_PACKAGES:
        raise _not_yet(
            path, "weights without a model (a state dict, such as Orb-v3's, or a training checkpoint of mace-torch)"
        )
    raise _not_yet(path, f"a pickle of objects of {', '.join(sorted(packages - _PLAIN_PACKAGES))}")


def _packages(pickle: bytes) -> set[str]:
    """Top-level packages of the classes and functions that a pickle names; nothing is imported."""
    found, strings = set(), ["", ""]
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name in ("GLOBAL", "INST"):
            found.add(str(argument).split()[0].split(".")[0])
        elif opcode.name == "STACK_GLOBAL":
            found.add(strings[-2].split(".")[0])
        elif isinstance(argument, str):
            strings = [strings[-1], argument]
    return found


def _not_yet(path: Path, what: str) -> InputError:
    return InputError(f"{path} is {what}, which cannot be converted yet. Supported are {SUPPORTED}")


def _compiled(path: Path, how: str) -> InputError:
    return InputError(
        f"{path} is a compiled model ({how}), which cannot be converted. Give the file that it was compiled from, with "
        "nequip the checkpoint (*.ckpt) or package (*.nequip.zip); models deployed by nequip before 0.7 have none: "
        "train again with a newer version"
    )
