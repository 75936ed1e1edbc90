"""R-4: a pickle is executed only where the user says so, and then in another process."""

from __future__ import annotations

import ast
import importlib.util
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from atomsym.core import ArtifactError, ConfigError, InputError, MissingDependencyError
from atomsym.workflows.convert.command import convert
from atomsym.workflows.convert.isolated import extract

SOURCES = Path(__file__).parents[3]
without_mace = pytest.mark.skipif(importlib.util.find_spec("mace") is not None, reason="mace-torch is installed")


class Malicious:
    """Creates a file when it is unpickled; says that it belongs to mace."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.witness,)


class Named:
    """Pickled as a class of mace.modules, which is not there."""


def malicious_file(folder: Path, kind: str) -> tuple[Path, Path]:
    path, witness = folder / f"{kind}.model", folder / "executed"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Malicious(witness)))
    else:
        torch.save(Malicious(witness), path, _use_new_zipfile_serialization=kind == "zip")
    return path, witness


KINDS = ["zip", "legacy", "pickle"]


def test_the_malicious_file_is_malicious(tmp_path: Path) -> None:
    path, witness = malicious_file(tmp_path, "zip")
    torch.load(path, weights_only=False)
    assert witness.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_without_trust_nothing_is_executed(tmp_path: Path, kind: str) -> None:
    path, witness = malicious_file(tmp_path, kind)
    with pytest.raises(ConfigError, match="--trust"):
        convert(path, tmp_path / "x.safetensors")
    assert not witness.exists()
    assert not (tmp_path / "x.safetensors").exists()


def test_without_trust_the_file_is_not_even_looked_at(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="was not opened"):
        extract(tmp_path / "does-not-exist.model")


@pytest.mark.parametrize("kind", ["zip", "pickle"])
def test_what_is_no_model_of_mace_is_not_executed_even_with_trust(tmp_path: Path, kind: str) -> None:
    path, witness = malicious_file(tmp_path, kind)
    with pytest.raises((InputError, ArtifactError), match=r"models of mace-torch"):
        extract(path, trust=True)
    assert not witness.exists()


@without_mace
def test_without_mace_nothing_is_executed_and_the_install_line_is_given(tmp_path: Path) -> None:
    path, witness = malicious_file(tmp_path, "legacy")
    with pytest.raises(MissingDependencyError, match="pip install mace-torch"):
        extract(path, trust=True)
    assert not witness.exists()


def test_only_the_extractors_open_pickles() -> None:
    loading = {"load", "loads", "Unpickler"}
    for folder in ("atomsym", "calculators", "datasets", "workflows"):
        for source in (SOURCES / folder).rglob("*.py"):
            calls = [node.func for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call)]
            found = [
                call.attr
                for call in calls
                if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name)
                and call.value.id in ("torch", "pickle") and call.attr in loading
            ]  # fmt: skip
            assert not found or source.name in ("extract_mace.py", "extract_fairchem.py"), source


def mace_archive(path: Path, module: bytes = b"mace.modules.models", *others: str) -> Path:
    """An archive as torch.save writes it, whose pickle names a class and would fail to load."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02c" + module + b"\nMACE\n.")
        for name in others:
            archive.writestr(name, "")
    return path


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path: None, InputError, "no file"),
        (lambda path: path.write_text("hello"), ArtifactError, "not a file that torch.save writes"),
        (lambda path: path.write_bytes(b""), ArtifactError, "not a file that torch.save writes"),
        (lambda path: torch.save({"weight": torch.ones(3)}, path), InputError, "Orb-v3"),
        (lambda path: save_file({"x": torch.ones(3)}, path), InputError, "safetensors file already"),
        (lambda path: mace_archive(path, b"x.nn", "x/.data/extern_modules"), InputError, "package of torch"),
        (lambda path: mace_archive(path, b"mace.x", "x/code/y.py"), InputError, "TorchScript"),
        (lambda path: mace_archive(path, b"schnetpack.model"), InputError, "objects of schnetpack"),
        (lambda path: mace_archive(path, b"cuequivariance_torch.x"), InputError, "mace_cueq_to_e3nn"),
        (lambda path: zipfile.ZipFile(path, "w").close(), ArtifactError, "without a pickle"),
    ],
)
def test_files_of_other_kinds_are_refused_by_name(
    tmp_path: Path, make: object, error: type[Exception], message: str
) -> None:
    path = tmp_path / "file.model"
    make(path)  # type: ignore[operator]
    with pytest.raises(error, match=message):
        extract(path, trust=True)


def program(folder: Path, text: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell script in the place of an interpreter")
def test_a_failing_extractor_is_quoted(tmp_path: Path) -> None:
    path = mace_archive(tmp_path / "x.model")
    failing = program(tmp_path, "echo 'AttributeError: MACE has no attribute q' >&2; exit 1")
    with pytest.raises(ArtifactError, match=r"exit status 1(.|\n)*no attribute q"):
        extract(path, trust=True, python=failing)
    with pytest.raises(ArtifactError, match="cannot be read"):
        extract(path, trust=True, python=program(tmp_path, "exit 0"))  # writes nothing
    with pytest.raises(InputError, match="cannot be started"):
        extract(path, trust=True, python=str(tmp_path / "none"))


def test_the_command_says_it_in_one_message(tmp_path: Path) -> None:
    path, witness = malicious_file(tmp_path, "zip")
    command = [sys.executable, "-c", "from atomsym.workflows.cli import main; main()", "convert", str(path), "-o", "x"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 2
    assert "--trust" in result.stderr
    assert "Traceback" not in result.stderr
    assert not witness.exists()
