"""The examples in the docstrings run and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

PACKAGES = ("atomsym.nn", "atomsym.derivatives", "atomsym.models", "atomsym.core")


def modules() -> list[str]:
    found = []
    for package in PACKAGES:
        found += [
            f"{package}.{m.name}"
            for m in pkgutil.iter_modules(importlib.import_module(package).__path__)
            if not m.ispkg
        ]
    return found


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_hold(name: str) -> None:
    failures, _ = doctest.testmod(importlib.import_module(name))
    assert failures == 0
