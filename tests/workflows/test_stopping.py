"""Long work stops in good order: on signals and time limits, with one exit code, and leaves no trace."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from atomsym.core import ConfigError
from atomsym.workflows.cli import app
from atomsym.workflows.stopping import EXIT_STOPPED, stop_requests, stoppable


def test_a_signal_is_a_reason_to_stop_and_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with stop_requests() as stop:
        assert stop() == ""
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # batch systems send it again
        assert stop() == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_time_limit_is_a_reason_to_stop() -> None:
    with stop_requests(1e-9) as stop:
        assert stop() == "time limit"
    with stop_requests(10.0) as stop:
        assert stop() == ""
    with pytest.raises(ConfigError, match="must be above 0"), stop_requests(0.0):
        pass


def test_a_thread_without_signals_can_be_stopped_by_time() -> None:
    found: list[str] = []

    def work() -> None:
        with stop_requests(1e-9) as stop:
            found.append(stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["time limit"]


def test_a_second_ctrl_c_ends_a_program_at_once_and_tells_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted_twice() -> None:
        with stoppable(Console(stderr=True), "atomsym md --resume run"):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(typer.Exit) as ended:
        interrupted_twice()
    assert ended.value.exit_code == EXIT_STOPPED
    assert "Go on with: atomsym md --resume run" in capsys.readouterr().err


@pytest.mark.parametrize("program", ["md", "relax", "train"])
def test_help_tells_the_exit_code_of_a_stopped_program(program: str) -> None:
    shown = CliRunner().invoke(app, [program, "--help"]).stdout
    assert f"{EXIT_STOPPED} stopped (Ctrl-C, SIGTERM, time limit)" in " ".join(shown.split())
