"""`hub explain` of a decision on a scripted hub: what was decided, and what became of it in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from models.decision import Decision
from models.errors import NotFound, Problem, ReplicaLost, problem_of
from models.outcome import OutcomeRecord, RecordedDecision
from serve_app.cli import app
from serve_app.client import HubClient, Refused
from serve_app.commands import ask
from tests.unit.gateway.doubles import decision

MADE = decision("a" * 32, now_ns=1_000_000_000)
ANSWERED = OutcomeRecord(met=True, elapsed_ms=4.5, attempts=1, inference_ms=3.25, queue_ms=0.5)
LOST = ReplicaLost("replica r1 died")


@pytest.fixture
def explain(monkeypatch: pytest.MonkeyPatch) -> Callable[[Decision, OutcomeRecord | None], str]:
    """The command's output for a decision that ended so."""

    def run(made: Decision, outcome: OutcomeRecord | None) -> str:
        record = RecordedDecision.encode(made, outcome)

        def answer(request: httpx2.Request) -> httpx2.Response:
            if request.url.path == f"/api/v1/decisions/{made.decision_id}":
                return httpx2.Response(200, content=record)
            return problem(problem_of(NotFound("you have no such signal")))

        @contextmanager
        def client(*_: Any) -> Iterator[HubClient]:
            with HubClient("http://hub", "token", transport=httpx2.MockTransport(answer)) as hub:
                yield hub

        monkeypatch.setattr(ask, "client", client)
        monkeypatch.setenv("COLUMNS", "200")
        return CliRunner().invoke(app, ["explain", made.decision_id], catch_exceptions=False).output

    return run


def problem(content: Problem) -> httpx2.Response:
    """The hub's answer to what it refuses."""
    headers = {"content-type": "application/problem+json"}
    return httpx2.Response(content.status, headers=headers, content=content.model_dump_json())


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (ANSWERED, "answered in time after 4.50 ms, of which it waited 0.50 and ran 3.25; attempt 1"),
        (
            OutcomeRecord.failed(LOST, MADE, now_ns=1_030_000_000),
            "failed after 30.00 ms with replica_lost: replica r1 died; attempt 1",
        ),
    ],
    ids=["answered", "failed"],
)
def test_says_what_became_of_it(
    explain: Callable[[Decision, OutcomeRecord | None], str], outcome: OutcomeRecord, words: str
) -> None:
    """An answer and a failure, each with its time."""
    assert f"became: {words}" in explain(MADE, outcome)


def test_a_decision_alone_became_nothing(
    explain: Callable[[Decision, OutcomeRecord | None], str],
) -> None:
    """Of `hub route` there is only the decision."""
    shown = explain(MADE, None)

    assert "ridge@1 on r1" in shown
    assert "became" not in shown


def test_a_refusal_says_how_to_have_it_explained() -> None:
    """The words of the client end in the command to type."""
    failed = ReplicaLost("replica r1 died")
    failed.decision = MADE
    transport = httpx2.MockTransport(lambda _: problem(problem_of(failed)))

    with HubClient("http://hub", "token", transport=transport) as hub, pytest.raises(Refused) as caught:
        hub.call("POST", "/api/v1/infer", body={})

    assert caught.value.message == f"503 replica_lost: replica r1 died; hub explain {'a' * 32}"
