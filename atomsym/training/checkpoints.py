"""Checkpoints: everything that a run needs to go on exactly, in one file that is checked to the last bit.

A checkpoint is a safetensors file in the container of model files: tensors by name, and text for the rest. There is no
pickle in it. The random numbers of a step are a function of the seed and of the step's number, so no generator state
is needed, and a checkpoint can be taken between any two steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor

import atomsym
from atomsym.artifacts import config_from_json, config_to_json, write_atomically
from atomsym.artifacts.container import encode, read_header, read_tensors
from atomsym.core import ArtifactError, ConfigError
from atomsym.training.config import TrainingConfig

FORMAT_VERSION = 1
FILE_NAME = "checkpoint.safetensors"

Config = TypeVar("Config")


@dataclass(frozen=True)
class RunKind(Generic[Config]):
    """What is trained: the checkpoints of other kinds of runs are refused.

    Attributes:
        format: stands in the file.
        config_class: of the runs.
        file_name: of the checkpoint in the folder of a run.
    """

    format: str
    config_class: type[Config]
    file_name: str = FILE_NAME


POTENTIAL_RUN = RunKind("atomsym-checkpoint", TrainingConfig)


@dataclass
class Progress:
    """Where a run is. Everything here is the same on all ranks.

    Attributes:
        epoch, position: epochs that are complete, and batches done of the next one.
        step: steps done.
        stage: number of the current stage.
        seconds: time spent so far, over all sessions.
        best_loss, best_epoch: of the validation in the current stage; None before the first.
        best_errors: validation errors of the best model: row, quantity, entry to value.
        stale_epochs: validations since the best one.
        plateau_factor, plateau_loss, plateau_epochs: memory of the plateau schedule.
        sums: of the epoch so far: steps, loss, then count and Σ|e| of energies per atom (or targets) and of forces.
        log_bytes, step_log_bytes: length of the logs.
        finished: why the run is complete; empty while it is not.
        data_digest: recognises the data.
    """

    epoch: int = 0
    position: int = 0
    step: int = 0
    stage: int = 0
    seconds: float = 0.0
    best_loss: float | None = None
    best_epoch: int | None = None
    best_errors: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    stale_epochs: int = 0
    plateau_factor: float = 1.0
    plateau_loss: float | None = None
    plateau_epochs: int = 0
    sums: tuple[float, ...] = (0.0,) * 6
    log_bytes: int = 0
    step_log_bytes: int = 0
    finished: str = ""
    data_digest: str = ""


@dataclass(frozen=True)
class Checkpoint(Generic[Config]):
    """What is in the file.

    Attributes:
        config: of the run, complete.
        progress: where it is.
        tensors: by name: ``model/…``, ``average/…``, ``best/…`` and ``optimizer/…``.
    """

    config: Config
    progress: Progress
    tensors: dict[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with ``prefix/``, without it."""
        return {n.removeprefix(f"{prefix}/"): t for n, t in self.tensors.items() if n.startswith(f"{prefix}/")}


def write_checkpoint(
    folder: Path,
    config: Config,
    progress: Progress,
    parts: Mapping[str, Mapping[str, Tensor]],
    kind: RunKind[Config],
) -> None:
    """Replace the checkpoint of a folder, atomically.

    Raises:
        ArtifactError: if it cannot be written; the one that was there is unchanged.
    """
    tensors = {f"{part}/{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
    metadata = {
        "format": kind.format,
        "format_version": str(FORMAT_VERSION),
        "created_with": f"atomsym {atomsym.__version__}",
        "config": config_to_json(config),
        "progress": config_to_json(progress),
    }
    write_atomically(folder / kind.file_name, encode(tensors, metadata))


def read_checkpoint(folder: Path) -> Checkpoint[TrainingConfig]:
    """Read the checkpoint of a potential's training after checking every byte of it.

    Raises:
        ArtifactError: as ``read_checkpoint_of``.
    """
    return read_checkpoint_of(POTENTIAL_RUN, folder)


def read_checkpoint_of(kind: RunKind[Config], folder: Path) -> Checkpoint[Config]:
    """Read the checkpoint of a folder after checking every byte of it.

    Raises:
        ArtifactError: if there is none, or it is damaged, of another format or of a newer version.
    """
    path = folder / kind.file_name
    where = str(path)
    if not path.is_file():
        raise ArtifactError(f"{folder} holds no training run: there is no {kind.file_name} in it")
    try:
        with path.open("rb") as file:
            header = read_header(file, where)
            data = file.read()
    except OSError as error:
        raise ArtifactError(f"{where}: cannot be read: {error.strerror or error}") from error
    tensors = read_tensors(header, data, where)
    _require_format(header.metadata, kind.format, where)
    try:
        config = config_from_json(kind.config_class, header.metadata["config"])
        progress: Any = config_from_json(Progress, header.metadata["progress"])
    except (ConfigError, KeyError) as error:
        raise ArtifactError(f"{where}: the state of the run cannot be read: {error}") from error
    return Checkpoint(config, progress, tensors)


def _require_format(metadata: Mapping[str, str], expected: str, where: str) -> None:
    if metadata.get("format") != expected:
        raise ArtifactError(f"{where}: the format is {metadata.get('format')!r}; expected '{expected}'")
    version = metadata.get("format_version", "")
    if version != str(FORMAT_VERSION):
        raise ArtifactError(
            f"{where}: checkpoint version {version!r}, written with {metadata.get('created_with')}; this program reads "
            f"version {FORMAT_VERSION}. Go on with the program that wrote it"
        )
