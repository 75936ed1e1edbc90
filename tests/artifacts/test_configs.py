"""Configs survive JSON unchanged, and anything else than what a class describes is refused with its path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atomsym.artifacts import config_from_dict, config_from_json, config_to_dict, config_to_json
from atomsym.core import ConfigError
from atomsym.models import ARGON, ZBL, LennardJones, LennardJonesConfig, Sum, SumConfig, ZBLConfig


@dataclass(frozen=True)
class Radial:
    n_basis: int = 8
    kind: Literal["bessel", "gaussian"] = "bessel"


@dataclass(frozen=True)
class Network:
    elements: tuple[int, ...]
    cutoff: float
    radial: Radial = Radial()
    layers: tuple[Radial, ...] = ()
    window: tuple[float, int] = (0.5, 2)
    name: str | None = None
    trained: bool = False
    table: tuple[tuple[float, ...], ...] = ()


networks = st.builds(
    Network,
    elements=st.lists(st.integers(1, 118)).map(tuple),
    cutoff=st.floats(allow_nan=False, allow_infinity=False),
    radial=st.builds(Radial, n_basis=st.integers(), kind=st.sampled_from(["bessel", "gaussian"])),
    layers=st.lists(st.builds(Radial, n_basis=st.integers(0, 9)), max_size=3).map(tuple),
    window=st.tuples(st.floats(0, 1), st.integers()),
    name=st.none() | st.text(),
    trained=st.booleans(),
    table=st.lists(st.lists(st.floats(-1, 1)).map(tuple), max_size=3).map(tuple),
)


@given(networks)
def test_a_config_survives_json_exactly(config: Network) -> None:
    text = config_to_json(config)
    assert "\n" not in text
    again = config_from_json(Network, text)
    assert again == config
    assert config_to_json(again) == text


@pytest.mark.parametrize("potential", [LennardJones(ARGON), Sum.of(LennardJones(ARGON), ZBL(ZBLConfig()))])
def test_configs_of_potentials_survive_json(potential: Any) -> None:
    assert config_from_json(type(potential.config), config_to_json(potential.config)) == potential.config
    assert isinstance(potential.config, LennardJonesConfig | SumConfig)


GOOD = {"elements": [18], "cutoff": 5.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cutof": 4.0}, "unknown key 'cutof'; did you mean 'cutoff'?"),
        ({"radial": {"nbasis": 4}}, "unknown key 'radial.nbasis'; did you mean 'n_basis'?"),
        ({"radial": {"n_basis": 4.0}}, "radial.n_basis must be int; found 4.0"),
        ({"radial": {"n_basis": True}}, "radial.n_basis must be int; found True"),
        ({"radial": {"kind": "besel"}}, "radial.kind is 'besel'; did you mean 'bessel'?"),
        ({"radial": 3}, "radial must be an object; found 3"),
        ({"layers": [{"n_basis": 1}, {"n_basis": "2"}]}, "layers[1].n_basis must be int; found '2'"),
        ({"cutoff": "5"}, "cutoff must be float; found '5'"),
        ({"cutoff": None}, "cutoff must be float; found None"),
        ({"cutoff": 10**400}, "cutoff is not a finite number"),
        ({"elements": 18}, "elements must be a list; found 18"),
        ({"elements": [18, "Ar"]}, "elements[1] must be int; found 'Ar'"),
        ({"window": [1.0]}, "window must have 2 items; found 1"),
        ({"trained": 1}, "trained must be bool; found 1"),
        ({"name": 4}, "name must be str; found 4"),
    ],
)
def test_a_wrong_entry_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_from_dict(Network, {**GOOD, **change})
    assert message in str(caught.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="'cutoff' of Network is missing"):
        config_from_dict(Network, {"elements": [1]})


@pytest.mark.parametrize(
    "text",
    [
        "[1]", "3", "", "{", '{"elements": [18], "cutoff": NaN}', '{"elements": [18], "cutoff": -Infinity}',
        '{"elements": [18], "cutoff": 1e999}', '{"elements": [18], "cutoff": 5.0, "cutoff": 6.0}', "[" * 100_000,
        '{"a":' * 100_000, '{"elements": [18], "cutoff": ' + "9" * 5000 + "}",
    ],
)  # fmt: skip
def test_text_that_is_no_config_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        config_from_json(Network, text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1: 1}, {"a": object()}, b"bytes", Network])
def test_values_that_are_not_plain_data_are_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="name"):
        config_to_dict(Network(elements=(1,), cutoff=1.0, name=value))
