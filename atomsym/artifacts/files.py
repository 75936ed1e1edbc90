"""Saving and loading potentials: weights, settings and model card in one file that is checked to the last bit."""

from __future__ import annotations

import dataclasses
import json
import os

import torch
from torch import Tensor

import atomsym
import atomsym.heads
import atomsym.symmetrizers
from atomsym.artifacts.atomic import write_atomically
from atomsym.artifacts.card import UNITS, ModelCard, ModelDescription
from atomsym.artifacts.container import Header, check_content, chunks_of, encode, read_header, read_tensors
from atomsym.artifacts.folders import find_model
from atomsym.artifacts.tensors import check_finite, check_fit
from atomsym.artifacts.upgrades import FORMAT, FORMAT_VERSION, Content, format_version, upgraded
from atomsym.core import ArtifactError, AtomsymError, ConfigError, InputError
from atomsym.core.configs import config_from_dict, config_to_json, read_json_object
from atomsym.core.elements import MAX_ATOMIC_NUMBER
from atomsym.core.precision import DTYPES
from atomsym.models import Potential, architecture

PathOrName = str | os.PathLike[str]


def save_model(
    potential: Potential, path: str | os.PathLike[str], card: ModelCard, *, created_with: str | None = None
) -> ModelDescription:
    """Write a potential and what people need to know of it into one file, atomically.

    The same potential and card give the same bytes. Tensors are stored in their own dtype.

    Args:
        potential: of a registered architecture; all its floating-point tensors share one dtype.
        path: the file; its folder must exist. The suffix ``.safetensors`` is customary.
        card: the author's statements.
        created_with: program and version to be stated; default: atomsym and its version.

    Returns:
        The description that ``read_card`` will give.

    Raises:
        ArtifactError: if a tensor is not finite, dtypes are mixed, or the file cannot be written; a file that was
            there before is then unchanged.
        ConfigError: if the architecture is not registered or its config is not plain data.
    """
    metadata = _metadata_of(potential, card, created_with or f"atomsym {atomsym.__version__}")
    tensors = potential.state_dict()
    check_finite(tensors, "the model")
    content = encode(tensors, metadata)
    write_atomically(path, content)
    return read_card(path)


def load_model(
    path_or_name: PathOrName, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> Potential:
    """Load a potential after checking every byte of its file.

    Args:
        path_or_name: a path, or the name of a model in a registered folder (see ``find_model``).
        device: where the tensors go; "auto" is the GPU if there is one, and the CPU otherwise.
        dtype: torch.float32 or torch.float64; default: as stored.

    Returns:
        The potential in evaluation mode.

    Raises:
        InputError: if there is no such file or device.
        ArtifactError: if the file is damaged, was changed, is of another format or a newer version, or does not fit
            its own description.

    Example:
        >>> import atomsym.calculators
        >>> load_model("argon").architecture
        'lennard-jones'
    """
    return load_with_description(path_or_name, device, dtype)[0]


def load_with_description(
    path_or_name: PathOrName, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> tuple[Potential, ModelDescription]:
    """As ``load_model``, with the description, from one reading of the file."""
    place = usable_device(device)
    path = find_model(path_or_name)
    where = str(path)
    try:
        with path.open("rb") as file:
            header = read_header(file, where)
            format_version(header.metadata, where)
            data = file.read()
    except OSError as error:
        raise ArtifactError(f"{where}: cannot be read: {error.strerror or error}") from error
    content = upgraded(Content(dict(header.metadata), read_tensors(header, data, where)), where)
    described = _description(content.metadata, header, len(header.raw) + len(data), where)
    potential = _build(described, content.tensors, where)
    return potential.to(device=place, dtype=dtype).eval(), described


def read_card(path_or_name: PathOrName) -> ModelDescription:
    """What a model file says of itself; its content hash is checked, no model is built.

    Raises:
        InputError, ArtifactError: as ``load_model``, except for faults that only show when the model is built.
    """
    path = find_model(path_or_name)
    where = str(path)
    try:
        with path.open("rb") as file:
            header = read_header(file, where)
            format_version(header.metadata, where)
            check_content(header, chunks_of(file), where)
            size = file.tell()
    except OSError as error:
        raise ArtifactError(f"{where}: cannot be read: {error.strerror or error}") from error
    metadata = upgraded(Content(dict(header.metadata), {}), where).metadata
    return _description(metadata, header, size, where)


def usable_device(device: torch.device | str) -> torch.device:
    """The device of a name, "auto" included.

    Raises:
        InputError: if there is no such device here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(device)
    except RuntimeError as error:  # torch names a score of devices that this package has never seen
        raise InputError(
            f"the device {device!r} cannot be used here: there is no such device. Pass 'cpu', 'cuda' or 'auto'"
        ) from error
    try:
        return torch.empty(0, device=device).device  # with its number, as tensors state it
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"the device {device!r} cannot be used here: {reason}. Pass 'cpu' or 'auto'") from error


def _metadata_of(potential: Potential, card: ModelCard, created_with: str) -> dict[str, str]:
    if architecture(potential.architecture) is not type(potential):
        raise ConfigError(
            f"{type(potential).__qualname__} is not the class registered as '{potential.architecture}'; "
            "a model file could not be loaded again"
        )
    dtypes = {tensor.dtype for tensor in potential.state_dict().values() if tensor.dtype.is_floating_point}
    if len(dtypes) > 1 or not dtypes <= set(DTYPES.values()):
        raise ArtifactError(f"all tensors must be of one dtype, float32 or float64; found {sorted(map(str, dtypes))}")
    dtype = next((name for name, value in DTYPES.items() if value in dtypes), "float64")
    return {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "architecture": potential.architecture,
        "config": config_to_json(potential.config),
        "elements": json.dumps(list(potential.elements), separators=(",", ":")),
        "cutoff": json.dumps(float(potential.cutoff)),
        "units": UNITS,
        "dtype": dtype,
        "created_with": created_with,
        **{key: str(value) for key, value in dataclasses.asdict(card).items() if key != "training" or value},
    }


def _description(metadata: dict[str, str], header: Header, size: int, where: str) -> ModelDescription:
    try:
        names = [f.name for f in dataclasses.fields(ModelCard) if f.name in metadata or f.name != "training"]
        card = config_from_dict(ModelCard, {name: metadata[name] for name in names})
        config = read_json_object(metadata["config"])
        elements, cutoff = json.loads(metadata["elements"]), json.loads(metadata["cutoff"])
        if metadata["units"] != UNITS:
            raise ArtifactError(f"{where}: the units are {metadata['units']!r}; expected '{UNITS}'")
        if metadata["dtype"] not in DTYPES:
            raise ArtifactError(f"{where}: the dtype is {metadata['dtype']!r}; expected one of {', '.join(DTYPES)}")
        if not _are_elements(elements) or type(cutoff) not in (int, float):
            raise ArtifactError(f"{where}: elements {elements} or cutoff {cutoff} cannot be those of a model")
        return ModelDescription(
            card=card,
            architecture=metadata["architecture"],
            config=config,
            elements=tuple(elements),
            cutoff=float(cutoff),
            dtype=metadata["dtype"],
            format_version=int(header.metadata["format_version"]),
            created_with=metadata["created_with"],
            content_hash=header.content_hash,
            n_parameters=header.n_values,
            size=size,
        )
    except KeyError as error:
        raise ArtifactError(f"{where}: the description of the model lacks {error}") from error
    except (ConfigError, ValueError, TypeError, RecursionError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{where}: the description of the model is wrong: {error}") from error


def _are_elements(values: object) -> bool:
    return isinstance(values, list) and all(type(z) is int and 0 < z <= MAX_ATOMIC_NUMBER for z in values)


def _build(described: ModelDescription, tensors: dict[str, Tensor], where: str) -> Potential:
    try:
        potential_class = architecture(described.architecture)
        config = config_from_dict(potential_class.Config, described.config)
        with torch.random.fork_rng(devices=[]):  # random initial weights must not advance the caller's generator
            potential = potential_class(config)
    except (AtomsymError, ValueError, TypeError, RuntimeError, MemoryError, OverflowError) as error:
        raise ArtifactError(f"{where}: no model can be built from its config: {error}") from error
    potential = potential.to(dtype=DTYPES[described.dtype])
    if (tuple(potential.elements), float(potential.cutoff)) != (described.elements, described.cutoff):
        raise ArtifactError(
            f"{where}: the file contradicts itself: it states elements {described.elements} and cutoff "
            f"{described.cutoff}; its config gives {potential.elements} and {potential.cutoff}"
        )
    check_fit(potential.state_dict(), tensors, where)
    check_finite(tensors, where)
    potential.load_state_dict(tensors, strict=True)
    return potential
