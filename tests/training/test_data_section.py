"""What the data section of a config refuses."""

from __future__ import annotations

import pytest

from atomsym.core import ConfigError
from atomsym.training import DataSection


def test_a_training_file_named_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"names a file twice.*a\.xyz"):
        DataSection(train=("a.xyz", "b.xyz", "a.xyz"))
    assert DataSection(train=("a.xyz", "b.xyz")).train == ("a.xyz", "b.xyz")
