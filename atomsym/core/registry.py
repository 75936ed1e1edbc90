"""Classes by name: how a file or a config finds its class."""

from __future__ import annotations

from typing import Generic, TypeVar

from atomsym.core.configs import did_you_mean
from atomsym.core.errors import ConfigError

Kind = TypeVar("Kind", bound=type)


class Registry(Generic[Kind]):
    """Classes of one kind, each under the name that an attribute of it gives.

    Args:
        what: the kind in words, for messages.
        attribute: of the classes, which holds the name.

    Example:
        >>> shapes = Registry[type]("shape", "name")
        >>> @shapes.register
        ... class Square:
        ...     name = "square"
        >>> shapes["square"].__name__, shapes.names()
        ('Square', ('square',))
    """

    def __init__(self, what: str, attribute: str) -> None:
        self._what, self._attribute = what, attribute
        self._classes: dict[str, Kind] = {}

    def register(self, found: Kind) -> Kind:
        """Class decorator: make a class known under its name.

        Raises:
            ConfigError: if another class has that name already.
        """
        name = getattr(found, self._attribute)
        known = self._classes.setdefault(name, found)
        if known is not found:
            raise ConfigError(f"the {self._what} name '{name}' is taken by {known.__qualname__}")
        return found

    def __getitem__(self, name: str) -> Kind:
        """The class of a name.

        Raises:
            ConfigError: if there is none; the message suggests the nearest name.
        """
        if name not in self._classes:
            known = self.names()
            raise ConfigError(f"no {self._what} '{name}'{did_you_mean(name, known)} Known: {', '.join(known)}")
        return self._classes[name]

    def names(self) -> tuple[str, ...]:
        """All registered names, sorted."""
        return tuple(sorted(self._classes))
