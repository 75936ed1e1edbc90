"""Saving and loading generators of protostructures, in the container of model files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import atomsym
import atomsym.generators
from atomsym.artifacts.atomic import write_atomically
from atomsym.artifacts.card import ModelCard
from atomsym.artifacts.container import Header, check_content, chunks_of, encode, read_header, read_tensors
from atomsym.artifacts.files import usable_device
from atomsym.artifacts.folders import find_model, model_files
from atomsym.artifacts.tensors import check_finite, check_fit
from atomsym.core import ArtifactError, AtomsymError, ConfigError
from atomsym.core.configs import config_from_dict, config_to_json, read_json_object
from atomsym.generators import ProtostructureGenerator, generator_class

FORMAT = "atomsym-generator"
FORMAT_VERSION = "1"
FOLDER = Path(atomsym.generators.__file__).parent / "pretrained"
"""Where the generators that are shipped lie."""


@dataclass(frozen=True)
class GeneratorDescription:
    """Everything that the file of a generator says of itself, without its tensors.

    Attributes:
        card: the author's statements; its level of theory is that of the crystals it was trained on.
        architecture: name under which its class is registered.
        config: settings as plain data.
        created_with: program and version that wrote the file.
        content_hash: sha256 of the file's content, 64 hexadecimal digits.
        n_parameters: number of values in all tensors.
        size: bytes of the file.
    """

    card: ModelCard
    architecture: str
    config: dict[str, Any]
    created_with: str
    content_hash: str
    n_parameters: int
    size: int


def save_generator(generator: ProtostructureGenerator, path: str | os.PathLike[str], card: ModelCard) -> None:
    """Write a generator and what people need to know of it into one file, atomically.

    Args:
        generator: of a registered architecture.
        path: the file; its folder must exist.
        card: the author's statements.

    Raises:
        ArtifactError: if a tensor is not finite or the file cannot be written; one that was there is then unchanged.
        ConfigError: if the architecture is not registered or its config is not plain data.
    """
    if generator_class(generator.architecture) is not type(generator):
        raise ConfigError(f"{type(generator).__qualname__} is not the class registered as '{generator.architecture}'")
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "architecture": generator.architecture,
        "config": config_to_json(generator.config),
        "created_with": f"atomsym {atomsym.__version__}",
        **dataclasses.asdict(card),
    }
    tensors = generator.state_dict()
    check_finite(tensors, "the generator")
    write_atomically(path, encode(tensors, metadata))


def load_generator(path_or_name: str | os.PathLike[str], device: torch.device | str = "cpu") -> ProtostructureGenerator:
    """Load a generator after checking every byte of its file.

    Args:
        path_or_name: a path, or the name of a generator that is shipped.
        device: where the tensors go; "auto" is the GPU if there is one, and the CPU otherwise.

    Returns:
        The generator in evaluation mode, with the dtypes of the file.

    Raises:
        InputError: if there is no such file or device.
        ArtifactError: if the file is damaged, was changed, is not that of a generator or does not fit its description.
    """
    place = usable_device(device)
    path = find_generator(path_or_name)
    where = str(path)
    header, data = _read(path, where)
    tensors = read_tensors(header, data, where)
    described = _description(header, len(header.raw) + len(data), where)
    try:
        own = generator_class(described.architecture)
        with torch.random.fork_rng(devices=[]):  # random initial weights must not advance the caller's random numbers
            generator = own(config_from_dict(own.Config, described.config))
    except (AtomsymError, ValueError, TypeError, RuntimeError, MemoryError, OverflowError) as error:
        raise ArtifactError(f"{where}: no generator can be built from its config: {error}") from error
    dtypes = {tensor.dtype for tensor in tensors.values() if tensor.dtype.is_floating_point}
    if len(dtypes) == 1:
        generator = generator.to(dtype=dtypes.pop())
    check_fit(generator.state_dict(), tensors, where)
    check_finite(tensors, where)
    generator.load_state_dict(tensors, strict=True)
    return generator.to(place).eval()


def read_generator_card(path_or_name: str | os.PathLike[str]) -> GeneratorDescription:
    """What the file of a generator says of itself; its content hash is checked, no network is built.

    Raises:
        InputError, ArtifactError: as ``load_generator``, except for faults that only show when the network is built.
    """
    path = find_generator(path_or_name)
    header, data = _read(path, str(path))
    check_content(header, [data], str(path))
    return _description(header, len(header.raw) + len(data), str(path))


def find_generator(path_or_name: str | os.PathLike[str]) -> Path:
    """The file of a generator that is given by name or by path.

    Raises:
        InputError: if there is neither; the message suggests the nearest name.
    """
    return find_model(path_or_name, [FOLDER], what="generator")


def generator_files() -> Iterator[Path]:
    """Files of the generators that are shipped, sorted by name."""
    return model_files([FOLDER])


def _read(path: Path, where: str) -> tuple[Header, bytes]:
    try:
        with path.open("rb") as file:
            header = read_header(file, where)
            data = b"".join(chunks_of(file))
    except OSError as error:
        raise ArtifactError(f"{where}: cannot be read: {error.strerror or error}") from error
    found, version = header.metadata.get("format"), header.metadata.get("format_version")
    if found != FORMAT:
        raise ArtifactError(f"{where}: the format is {found!r}; that of a generator is '{FORMAT}'")
    if version != FORMAT_VERSION:
        by = header.metadata.get("created_with", "an unknown program")
        raise ArtifactError(f"{where}: format version {version}, written with {by}; it should be {FORMAT_VERSION}")
    return header, data


def _description(header: Header, size: int, where: str) -> GeneratorDescription:
    metadata = header.metadata
    try:
        names = [field.name for field in dataclasses.fields(ModelCard)]
        return GeneratorDescription(
            card=config_from_dict(ModelCard, {name: metadata[name] for name in names}),
            architecture=metadata["architecture"],
            config=read_json_object(metadata["config"]),
            created_with=metadata["created_with"],
            content_hash=header.content_hash,
            n_parameters=header.n_values,
            size=size,
        )
    except KeyError as error:
        raise ArtifactError(f"{where}: the description of the generator lacks {error}") from error
    except ConfigError as error:
        raise ArtifactError(f"{where}: the description of the generator is wrong: {error}") from error
