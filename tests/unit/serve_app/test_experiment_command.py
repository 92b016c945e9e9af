"""`hub experiment` on a scripted hub: which experiments there are, and how the arms of one compare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner, Result

from models.errors import BadValue
from routing.trials.experiments import Experiments
from routing.trials.running import TrialReport
from serve_app.cli import app
from serve_app.client import HubClient
from serve_app.commands import experiment
from tests.unit.routing.test_experiments import trial


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[TrialReport]:
    """What the hub says of its experiments."""
    reports: list[TrialReport] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == "/api/v1/routing/analytics"
        found = [report.model_dump(mode="json") for report in reports]
        return httpx2.Response(200, json={"gateway": "g7", "uptime_s": 61.0, "experiments": found})

    @contextmanager
    def client(*_: Any, admin: bool) -> Iterator[HubClient]:
        assert admin
        with HubClient("http://hub", "token", transport=httpx2.MockTransport(answer)) as made:
            yield made

    monkeypatch.setattr(experiment, "client", client)
    return reports


def hub(*arguments: str) -> Result:
    """Run a command on a wide terminal."""
    return CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})


def harmful() -> tuple[TrialReport, Experiments]:
    """An experiment that stopped itself."""
    return trial(Random(1), {"control": 0.95, "treatment": 0.7}, 1_500)


def test_the_list_says_how_each_stands(trials: list[TrialReport]) -> None:
    """One line each, and whose view it is."""
    assert "no experiment is configured" in hub("experiment", "list").output
    trials.append(harmful()[0])
    (line,) = [line for line in hub("experiment", "list").output.splitlines() if "quick" in line]

    assert "1,500" in line
    assert "treatment: worse than the control; stopped" in line


def test_arms_are_shown_with_their_bounds(trials: list[TrialReport]) -> None:
    """The mean of each metric, and the difference to the control in brackets."""
    trials.append(harmful()[0])
    output = hub("experiment", "show", "quick").output
    (control,) = [line for line in output.splitlines() if "control " in line and "│" in line]
    (treatment,) = [line for line in output.splitlines() if "treatment " in line and "│" in line]
    found = trials[0].arms[1].intervals["met"]  # type: ignore[index]  # a StrEnum is its value

    assert f"[{found.difference:+.4g}: {found.lower:+.4g} to {found.upper:+.4g}]" in treatment
    assert "[" not in control
    assert "gateway g7" in output


def test_an_unknown_experiment_is_named_with_those_there_are(trials: list[TrialReport]) -> None:
    """As any other word that is not known."""
    trials.append(harmful()[0])
    with pytest.raises(BadValue, match="no experiment 'slow'; running are: quick"):
        hub("experiment", "show", "slow")
