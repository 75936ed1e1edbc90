"""Training configs as YAML files, and single entries changed from the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from atomsym.artifacts import config_from_dict, config_to_dict
from atomsym.core import ConfigError
from atomsym.training.config import TrainingConfig

Config = TypeVar("Config")

_RESOLVED = {  # pattern and possible first letters of scalars that are not text
    "bool": (r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "int": (r"^[-+]?\d+$", "-+0123456789"),
    "float": (r"^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$", "-+.0123456789"),
}


class _StrictLoader(yaml.SafeLoader):
    """YAML as people expect it: 1e-3 is a number, No and on are text (No is an element), a key comes once.

    Anchors are refused: they are how a small file becomes endless data.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "references such as *name are not supported", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is not text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' is there twice", key_node.start_mark
                )
            seen.add(key)
        return dict(super().construct_mapping(node, deep))


_StrictLoader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0].endswith(":null")]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _kind, (_pattern, _first) in _RESOLVED.items():
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(_pattern), list(_first))


def read_config(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> TrainingConfig:
    """Read a training config.

    Args:
        path: YAML file with the entries of ``TrainingConfig``.
        overrides: ``loss.forces=100``, in order; the value is read as YAML.

    Raises:
        ConfigError: as ``read_config_of``.
    """
    return read_config_of(TrainingConfig, path, overrides)


def read_config_of(config_class: type[Config], path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Config:
    """Read a config of any kind.

    Args:
        config_class: frozen dataclass.
        path, overrides: as for ``read_config``.

    Raises:
        ConfigError: if the file cannot be read, is not YAML, or has an unknown key, a wrong type or a value out of
            range; the message names the file and the entry.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    data = parse_yaml(text, str(path))
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path}: expected entries such as 'epochs: 100'; found {type(data).__name__}")
    try:
        return config_from_dict(config_class, with_overrides(data, overrides))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse_yaml(text: str, where: str) -> Any:
    """Plain data from YAML text.

    Raises:
        ConfigError: if the text is not YAML, a key is there twice or is not text.
    """
    try:
        return yaml.load(text, _StrictLoader)  # a subclass of the safe loader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{where}: not YAML: {error}") from error


def with_overrides(data: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of nested plain data with entries such as ``loss.forces=100`` or ``stages.0.start_epoch=5`` replaced.

    Raises:
        ConfigError: if an override has no ``=`` or its path goes through something that has no entries.

    Example:
        >>> with_overrides({"loss": {"energy": 1.0}}, ["loss.forces=1e2"])
        {'loss': {'energy': 1.0, 'forces': 100.0}}
    """
    result = _copied(data)
    for override in overrides:
        path, separator, text = override.partition("=")
        if not separator or not path:
            raise ConfigError(f"'{override}' must have the form entry=value, such as loss.forces=100")
        _set(result, path.strip().split("."), parse_yaml(text, f"--set {override}"), override)
    return result


def _set(data: Any, keys: list[str], value: Any, override: str) -> None:
    for depth, key in enumerate(keys[:-1]):
        if isinstance(data, list) and key.isdecimal() and int(key) < len(data):
            data = data[int(key)]
        elif isinstance(data, dict):
            data = data.setdefault(key, {})
        else:
            raise ConfigError(f"--set {override}: '{'.'.join(keys[: depth + 1])}' is not there")
    last = keys[-1]
    if isinstance(data, list) and last.isdecimal() and int(last) < len(data):
        data[int(last)] = value
    elif isinstance(data, dict):
        data[last] = value
    else:
        raise ConfigError(f"--set {override}: '{'.'.join(keys[:-1])}' has no entries to set")


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value


def config_to_yaml(config: Any) -> str:
    """A config as YAML text; ``read_config`` gives an equal one back.

    Raises:
        ConfigError: if a value is not plain data.
    """
    return yaml.safe_dump(config_to_dict(config), sort_keys=False, allow_unicode=True, width=110)
