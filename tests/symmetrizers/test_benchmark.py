"""``atomsym benchmark symmetrizers``: what it measures is what the symmetrizers promise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from atomsym.core import ConfigError
from atomsym.workflows.benchmarks import symmetrizers as benchmark
from atomsym.workflows.benchmarks import symmetrizers_command, symmetrizers_plot
from atomsym.workflows.benchmarks.symmetrizers import CASES, SymmetrizerBenchmarkSettings
from atomsym.workflows.cli import app


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timings are not what is tested."""
    monkeypatch.setattr(benchmark, "best_seconds", lambda function: 1e-3)
    monkeypatch.setattr(benchmark, "PATH_POINTS", 9)


@pytest.mark.usefixtures("quickly")
def test_the_table_shows_what_each_symmetrizer_promises(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    found = CliRunner().invoke(app, ["benchmark", "symmetrizers", "--json", "--rotations", "2", "-o", str(folder)])
    assert found.exit_code == 0, found.output
    result = json.loads(found.stdout)
    assert json.loads((folder / "result.json").read_text()) == result
    assert (folder / "symmetrizers.png").stat().st_size > 10_000
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == ["bare", *CASES]
    assert rows["bare"]["rotation_error"] > 1e-3
    for name, row in rows.items():
        assert row["jump"] < 1e-6 or not row["continuous"], name
        if row["exact"] in ("E3", "SE3"):
            assert row["rotation_error"] < 1e-9, name
        if row["exact"] == "E3":
            assert row["mirror_error"] < 1e-9, name
    assert all(rows[name]["jump"] > 1e-4 for name in ("full E3", "full SE3", "stochastic", "deterministic"))
    assert all(rows[name]["mirror_error"] > 1e-6 for name in ("full SE3", "weighted, SE3"))
    assert rows["full E3"]["frames"] == 8
    assert rows["full E3"]["over_bare"] == 1.0  # by the clock of this test


def test_the_terminal_shows_every_row_in_80_columns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cases = ["bare", *CASES]
    rows = tuple(
        benchmark.SymmetrizerRow(name, "finite", False, 216, 1e-10, 2e-10, 3e-10, 987.6, 39.4) for name in cases
    )
    result = benchmark.SymmetrizerBenchmark(SymmetrizerBenchmarkSettings(), "a model", rows, (0.0, 1.0), {})
    monkeypatch.setattr(symmetrizers_command, "run_symmetrizers", lambda *_: result)
    monkeypatch.setattr(symmetrizers_plot, "write_picture", lambda _, path: path)
    found = CliRunner().invoke(app, ["benchmark", "symmetrizers", "-o", str(tmp_path / "out")], env={"COLUMNS": "80"})
    assert found.exit_code == 0, found.output
    for case in cases:
        assert case.split(", ")[0] in found.output
    assert found.output.count("2.0e-10 3.0e-10 987.6   39.4") == len(cases)


def test_settings_out_of_range_are_errors() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        SymmetrizerBenchmarkSettings(batch=0)
