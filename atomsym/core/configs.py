"""Frozen dataclasses to JSON and back, strictly: what is read is what was written, or an error says what differs."""

from __future__ import annotations

import difflib
import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from atomsym.core.errors import ConfigError

Config = TypeVar("Config")
Plain = dict[str, Any]


def config_to_dict(config: Any) -> Plain:
    """Plain data (dicts, lists, str, int, float, bool, None) of a dataclass instance, fields in their order.

    Args:
        config: instance of a dataclass whose values are plain data, tuples of them, or such dataclasses.

    Raises:
        ConfigError: if a value is of another kind, or a number is not finite.
    """
    if not is_dataclass(config) or isinstance(config, type):
        raise ConfigError(f"expected an instance of a dataclass; found {type(config).__name__}")
    return {field.name: _to_plain(getattr(config, field.name), field.name) for field in fields(config)}


def config_from_dict(config_class: type[Config], data: Mapping[str, Any]) -> Config:
    """Build a dataclass from plain data; every key and type is checked.

    Args:
        config_class: a dataclass with type hints of str, int, float, bool, None, ``Literal``, tuples, dicts with text
            as keys, optional values, nested dataclasses, and ``Any`` for plain data that the class checks itself.
        data: one entry for every field without a default, and no others. Lists stand for tuples, whole numbers
            are accepted where a float is expected.

    Raises:
        ConfigError: if a key is unknown (the message suggests the nearest one) or missing, or a value is of the wrong
            type; the message has the path of the field, such as ``radial.n_basis``.
    """
    return _dataclass_from(config_class, data, "")


def checked_settings(config_class: type[Any], data: Mapping[str, Any], path: str = "") -> Plain:
    """Some of the fields of a dataclass, checked as ``config_from_dict`` does; those that are not given stay out.

    For settings that are completed later, such as those of a model whose elements come from the data.

    Args:
        config_class: as for ``config_from_dict``.
        data: values by name of the field.
        path: of ``data`` in messages.

    Raises:
        ConfigError: as ``config_from_dict``, but for missing keys.
    """
    known = _known_fields(config_class, data, path)
    hints = get_type_hints(config_class)
    return {name: _read(hints[name], data[name], _joined(path, name)) for name in known if name in data}


def config_to_json(config: Any) -> str:
    """The dataclass as one line of JSON: no spaces, fields in their order, so that equal configs give equal text.

    Raises:
        ConfigError: as ``config_to_dict``.
    """
    return json.dumps(config_to_dict(config), separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def config_from_json(config_class: type[Config], text: str) -> Config:
    """Read what ``config_to_json`` wrote.

    Raises:
        ConfigError: if the text is not a JSON object, or as ``config_from_dict``.
    """
    return config_from_dict(config_class, read_json_object(text))


def read_json_object(text: str) -> Plain:
    """Parse a JSON object, refusing what the standard library lets through: repeated keys, NaN and infinities.

    Raises:
        ConfigError: if the text is not a JSON object.
    """
    try:
        data = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_no_constant)
    except RecursionError:
        raise ConfigError("JSON is nested too deeply") from None
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"expected a JSON object; found {type(data).__name__}")
    return data


def did_you_mean(word: str, known: list[str] | tuple[str, ...]) -> str:
    """``; did you mean 'cutoff'?`` when something near is known, else a full stop."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else "."


def _without_repeats(pairs: list[tuple[str, Any]]) -> Plain:
    data = dict(pairs)
    if len(data) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"the key '{repeated}' is there twice")
    return data


def _no_constant(name: str) -> float:
    raise ConfigError(f"{name} is not a finite number")


def _to_plain(value: Any, path: str) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"{path} is {value}; numbers must be finite")
        return value
    if isinstance(value, tuple | list):
        return [_to_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ConfigError(f"the keys of {path} must be text; found {_shown(list(value))}")
        return {key: _to_plain(item, _joined(path, key)) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _to_plain(getattr(value, field.name), _joined(path, field.name)) for field in fields(value)}
    raise ConfigError(
        f"{path} is a {type(value).__name__}; allowed are str, int, float, bool, None, and tuples and dicts of them"
    )


def _dataclass_from(config_class: type[Config], data: Any, path: str) -> Config:
    known = _known_fields(config_class, data, path)
    hints = get_type_hints(config_class)
    values = {}
    for name, field in known.items():
        if name in data:
            values[name] = _read(hints[name], data[name], _joined(path, name))
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"the key '{_joined(path, name)}' of {config_class.__name__} is missing")
    return config_class(**values)


def _known_fields(config_class: type[Any], data: Any, path: str) -> dict[str, Field[Any]]:
    """The fields that can be given, after a check that no other key is."""
    if not is_dataclass(config_class):
        raise ConfigError(f"{config_class!r} is not a dataclass")
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path or config_class.__name__} must be an object; found {_shown(data)}")
    known = {field.name: field for field in fields(config_class) if field.init}
    for key in data:
        if key not in known:
            hint = did_you_mean(str(key), list(known))
            raise ConfigError(
                f"unknown key '{_joined(path, key)}'{hint} {config_class.__name__} has: {', '.join(known)}"
            )
    return known


def _joined(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _read(hint: Any, value: Any, path: str) -> Any:
    if hint is Any:
        return _read_any(value, path)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _read_union(get_args(hint), value, path)
    if origin is Literal:
        allowed = get_args(hint)
        if not any(type(value) is type(option) and value == option for option in allowed):
            hint_text = did_you_mean(str(value), [str(option) for option in allowed])
            raise ConfigError(f"{path} is {_shown(value)}{hint_text} Allowed: {', '.join(map(repr, allowed))}")
        return value
    if origin is tuple:
        return _read_tuple(get_args(hint), value, path)
    if origin is dict:
        return _read_mapping(get_args(hint)[1], value, path)
    if is_dataclass(hint) and isinstance(hint, type):
        return _dataclass_from(hint, value, path)
    return _read_scalar(hint, value, path)


def _read_union(options: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and type(None) in options:
        return None
    errors = []
    for option in options:
        if option is type(None):
            continue
        try:
            return _read(option, value, path)
        except ConfigError as error:
            errors.append(str(error))
    raise ConfigError("; or ".join(errors) if errors else f"{path} must be None; found {_shown(value)}")


def _read_tuple(items: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path} must be a list; found {_shown(value)}")
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_read(items[0], item, f"{path}[{index}]") for index, item in enumerate(value))
    if len(value) != len(items):
        raise ConfigError(f"{path} must have {len(items)} items; found {len(value)}")
    pairs = zip(items, value, strict=True)
    return tuple(_read(hint, item, f"{path}[{index}]") for index, (hint, item) in enumerate(pairs))


def _read_mapping(item: Any, value: Any, path: str) -> Plain:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path} must be an object; found {_shown(value)}")
    for key in value:
        if not isinstance(key, str):
            raise ConfigError(f"the keys of {path} must be text; found {_shown(key)}")
    return {key: _read(item, entry, _joined(path, key)) for key, entry in value.items()}


def _read_any(value: Any, path: str) -> Any:
    """Plain data of a kind that the dataclass leaves open; it checks such values itself."""
    if isinstance(value, Mapping):
        return _read_mapping(Any, value, path)
    if isinstance(value, list | tuple):
        return tuple(_read_any(item, f"{path}[{index}]") for index, item in enumerate(value))
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ConfigError(f"{path} must be plain data; found {_shown(value)}")


def _read_scalar(hint: Any, value: Any, path: str) -> Any:
    if hint is float and type(value) in (int, float):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
        raise ConfigError(f"{path} is not a finite number")
    if hint in (str, int, bool) and type(value) is hint:
        return value
    if hint in (str, int, float, bool):
        raise ConfigError(f"{path} must be {hint.__name__}; found {_shown(value)}")
    raise ConfigError(f"{path} has the type {hint!r}, which cannot be read from a config")


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text[:57]}..." if len(text) > 60 else text
