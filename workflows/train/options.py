"""Options that the programs that train share, for typer, and what they ask for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from atomsym.core import ConfigError
from atomsym.training import with_overrides
from atomsym.training.checkpoints import RunKind, read_checkpoint_of
from atomsym.training.config_files import read_config_of
from atomsym.training.session import Config
from atomsym.workflows.run_folders import require_run_of

ConfigFile = Annotated[Path | None, typer.Argument(metavar="[CONFIG.yaml]", help="What to do.", show_default=False)]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Folder of the run.", show_default="atomsym-train-NAME")
]


def overrides(example: str) -> Any:
    """``--set`` of entries of the config, with an example."""
    return typer.Option("--set", help=f"Replace an entry, e.g. {example}; repeatable.", show_default=False)


def resume(entries: Iterable[str]) -> Any:
    """``--resume``, and which entries of the config may change then."""
    text = f"Go on with the run in this folder; of the settings only {', '.join(entries)} may change."
    return typer.Option("--resume", help=text, show_default=False)


def asked_for(
    program: str,
    kind: RunKind[Config],
    config_file: Path | None,
    changes: list[str] | None,
    output: Path | None,
    resume_folder: Path | None,
) -> tuple[Config, Path, dict[str, Any]]:
    """The config, the folder, and for a run that goes on the entries that change.

    Args:
        program: name of the command.
        kind: of the runs of that program.
        config_file, changes, output, resume_folder: the options above.

    Raises:
        ConfigError: if neither or both of a new run and one that goes on are asked for, or the config is wrong.
        InputError, ArtifactError: if the folder holds no run that can go on.
    """
    if resume_folder is None:
        if config_file is None:
            raise ConfigError("name a CONFIG.yaml to train with, or a folder to --resume")
        config = read_config_of(kind.config_class, config_file, changes or [])
        return config, output or Path(f"atomsym-train-{config.output.name}"), {}
    if config_file is not None or output is not None:
        raise ConfigError(
            "--resume goes on with the config and in the folder of the run; leave out CONFIG and --output"
        )
    require_run_of(program, resume_folder)
    return read_checkpoint_of(kind, resume_folder).config, resume_folder, with_overrides({}, changes or [])
