"""``atomsym benchmark guidance``: aims of draws beside what another network sees in them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from atomsym.artifacts import load_generator
from atomsym.core import ConfigError
from atomsym.metrics.embedding import shipped_embedding
from atomsym.workflows.benchmarks.guidance import judge_error, measure_guidance
from atomsym.workflows.cli import app


def test_the_shipped_generator_goes_where_it_is_sent() -> None:
    rows = measure_guidance(load_generator("wyformer"), shipped_embedding(), [-3.0, 0.0], [1.0], n=60, seed=1)
    free, low, high = rows
    assert [row.target for row in rows] == [None, -3.0, 0.0]
    assert low.mean < free.mean - 0.5 < high.mean - 0.5
    assert low.mean == pytest.approx(-3.0, abs=0.6)
    assert high.mean == pytest.approx(0.0, abs=0.6)
    assert low.deviation < free.deviation
    assert 0 < low.near <= 1
    assert low.quartiles[0] <= low.quartiles[1] <= low.quartiles[2]


def test_the_command_prints_the_same_twice() -> None:
    arguments = ["benchmark", "guidance", "wyformer", "--target", "-2", "--guidance", "2", "-n", "8", "--json"]
    first, second = (CliRunner().invoke(app, arguments, catch_exceptions=False) for _ in range(2))
    assert first.exit_code == 0
    assert first.stdout == second.stdout
    result = json.loads(first.stdout)
    assert result["judge"] == shipped_embedding().content_hash
    assert [(row["target"], row["guidance"], row["n"]) for row in result["rows"]] == [(None, 0.0, 8), (-2.0, 2.0, 8)]


def test_wrong_aims_are_refused_before_any_draw() -> None:
    generator, judge = load_generator("wyformer"), shipped_embedding()
    assert judge_error(judge) == pytest.approx(0.0626)
    with pytest.raises(ConfigError, match="strengths of guidance above 0"):
        measure_guidance(generator, judge, [-1.0], [0.0], n=4, seed=0)
    with pytest.raises(ConfigError, match="finite"):
        measure_guidance(generator, judge, [float("nan")], [1.0], n=4, seed=0)
    with pytest.raises(ConfigError, match="does not tell its error"):
        judge_error(replace(judge, description={}))
    other = replace(judge, description={**judge.description, "property": "colour"})
    with pytest.raises(ConfigError, match="'colour' is not a property"):
        measure_guidance(generator, other, [1.0], [1.0], n=4, seed=0)
