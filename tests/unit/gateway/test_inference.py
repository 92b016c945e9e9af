"""`POST /api/v1/infer` and `/api/v1/route`: what may be asked, and what comes back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from models.decision import Decision
from models.errors import BadShape, DeadlineExpired, HubError, NoModelMatches, NothingFeasible, ReplicaLost
from models.task import DataSize
from tests.unit.gateway.doubles import FORECAST, TestHub, decision, inputs, put_bars

FOUNDING = {
    "model_type": "time_series_forecast",
    "data_size": "large",
    "latency_requirement": "< 100ms",
    "accuracy_requirement": "> 95%",
}
TYPED = {"task": "time_series_forecast"}


async def test_the_founding_call_is_valid_as_written(hub: TestHub) -> None:
    """Founding words in the body, the profile as query parameter."""
    answer = await hub.client.post(
        "/api/v1/route",
        params={"routing_strategy": "performance_optimized"},
        json=FOUNDING,
        headers=hub.auth(),
    )

    assert answer.status_code == 200, answer.text
    asked = hub.router.asked[0]
    assert (asked.task, asked.profile) == ("time_series_forecast", "performance_optimized")
    assert (asked.data_size, asked.rows, asked.min_accuracy) == (DataSize.LARGE, 4096, 0.95)
    assert asked.deadline_ns - hub.clock() == 100_000_000
    assert answer.json()["promise"]["p_meet"] == 0.99


async def test_the_founding_profile_may_be_in_the_body(hub: TestHub) -> None:
    """Beside the other founding words."""
    body = FOUNDING | {"routing_strategy": "cost_optimized"}
    await hub.client.post("/api/v1/route", json=body, headers=hub.auth())

    assert hub.router.asked[0].profile == "cost_optimized"


async def test_two_different_profiles_are_refused(hub: TestHub) -> None:
    """Query and body must not contradict each other."""
    answer = await hub.client.post(
        "/api/v1/route",
        params={"routing_strategy": "balanced"},
        json=FOUNDING | {"routing_strategy": "cost_optimized"},
        headers=hub.auth(),
    )

    assert (answer.status_code, answer.json()["field"]) == (422, "routing_strategy")


async def test_infers_with_the_inputs_sent(hub: TestHub) -> None:
    """One forecast per window, with what was chosen and promised."""
    body = TYPED | {"inputs": inputs(3)}
    answer = await hub.client.post("/api/v1/infer", json=body, headers=hub.auth())

    content = answer.json()
    assert answer.status_code == 200, answer.text
    assert content["forecasts"] == [FORECAST.model_dump()] * 3
    assert content["choice"]["model"] == "ridge"
    assert content["degradation"] == "none"
    assert content["choice"]["decision"] is None
    assert hub.router.asked[0].rows == 3


async def test_infers_for_a_symbol_from_the_hubs_own_bars(hub: TestHub) -> None:
    """The window comes from the feed's bars by the shared code; their width becomes a requirement."""
    await put_bars(hub.feed)
    body = TYPED | {"symbol": "EURUSD"}
    answer = await hub.client.post("/api/v1/infer", json=body, headers=hub.auth())

    assert answer.status_code == 200, answer.text
    asked = hub.router.asked[0]
    assert (asked.instruments, asked.bar_ms, asked.rows) == (("EURUSD",), 10_000, 1)
    assert hub.router.windows[0].shape == (1, 256)
    assert np.count_nonzero(hub.router.windows[0]) == 256


async def test_explains_on_request(hub: TestHub) -> None:
    """The whole decision rides along, and is the one that can be fetched by its id."""
    answer = await hub.client.post("/api/v1/route?explain=true", json=FOUNDING, headers=hub.auth())
    decision_id = answer.json()["decision_id"]
    kept = await hub.client.get(f"/api/v1/decisions/{decision_id}", headers=hub.auth())

    assert kept.status_code == 200
    assert kept.json() == answer.json()["decision"] | {"outcome": None}
    assert Decision.model_validate(answer.json()["decision"]).decision_id == decision_id


async def test_the_last_good_answer_stands_in_for_a_symbol(hub: TestHub) -> None:
    """Nothing can answer in time: the tenant's last answer to the same question, marked and with its age."""
    await put_bars(hub.feed)
    body = TYPED | {"symbol": "EURUSD"}
    first = await hub.client.post("/api/v1/infer", json=body, headers=hub.auth())
    hub.router.fail = NothingFeasible("no replica is fast enough", retry_after_s=1.0)
    hub.clock.move(2)
    again = await hub.client.post("/api/v1/infer", json=body, headers=hub.auth("bob"))

    assert again.status_code == 200, again.text
    assert again.json()["degradation"] == "last_good"
    assert again.json()["age_ms"] == 2000
    assert again.json()["forecasts"] == first.json()["forecasts"]


@pytest.mark.parametrize("change", [{"min_accuracy": 0.95}, {"symbol": "NZDUSD"}, {"horizon_ms": 60_000}])
async def test_the_last_good_answer_never_answers_another_question(
    hub: TestHub, change: dict[str, Any]
) -> None:
    """A stricter or different question is refused, with when to come back."""
    await put_bars(hub.feed)
    await put_bars(hub.feed, symbol="NZDUSD")
    body = TYPED | {"symbol": "EURUSD"}
    await hub.client.post("/api/v1/infer", json=body, headers=hub.auth())
    hub.router.fail = NothingFeasible("no replica is fast enough", retry_after_s=1.2)
    other = await hub.client.post("/api/v1/infer", json=body | change, headers=hub.auth())

    assert (other.status_code, other.json()["code"]) == (503, "nothing_feasible")
    assert (other.json()["retryable"], other.headers["retry-after"]) == (True, "2")


async def test_the_last_good_answer_stays_with_its_tenant(hub: TestHub) -> None:
    """Another tenant with the same question gets the refusal."""
    await put_bars(hub.feed)
    body = TYPED | {"symbol": "EURUSD"}
    await hub.client.post("/api/v1/infer", json=body, headers=hub.auth())
    hub.router.fail = ReplicaLost("the replica died")
    foreign = await hub.client.post("/api/v1/infer", json=body, headers=hub.auth(tenant="other"))

    assert (foreign.status_code, foreign.json()["code"]) == (503, "replica_lost")


async def test_inputs_of_the_caller_are_never_answered_from_memory(hub: TestHub) -> None:
    """With own inputs there is no last good answer."""
    body = TYPED | {"symbol": "EURUSD", "inputs": inputs()}
    await hub.client.post("/api/v1/infer", json=body, headers=hub.auth())
    hub.router.fail = NothingFeasible("no replica is fast enough")

    assert (await hub.client.post("/api/v1/infer", json=body, headers=hub.auth())).status_code == 503


@pytest.mark.parametrize("error", [ReplicaLost("r1 died"), DeadlineExpired("late"), BadShape("short")])
async def test_a_decided_request_that_fails_leaves_its_record(hub: TestHub, error: HubError) -> None:
    """The problem names the decision, and the caller reads there what was decided and how it ended."""
    made = decision("a" * 32, now_ns=hub.clock() - 30_000_000)
    hub.router.fail, error.decision = error, made
    answer = await hub.client.post("/api/v1/infer", json=TYPED | {"inputs": inputs()}, headers=hub.auth())
    kept = await hub.client.get(f"/api/v1/decisions/{answer.json()['decision_id']}", headers=hub.auth())

    assert (answer.status_code, answer.json()["code"]) == (error.http_status, error.code)
    record = kept.json()
    outcome = record.pop("outcome")
    assert Decision.model_validate(record) == made
    assert outcome == {
        "met": False,
        "elapsed_ms": 30.0,
        "attempts": 1,
        "inference_ms": None,
        "queue_ms": None,
        "error": error.code,
        "detail": error.message,
    }


async def test_a_failure_answered_from_memory_leaves_its_record(hub: TestHub) -> None:
    """The caller gets the last good answer; the operator finds why it is not a new one."""
    await put_bars(hub.feed)
    body = TYPED | {"symbol": "EURUSD"}
    await hub.client.post("/api/v1/infer", json=body, headers=hub.auth())
    hub.router.fail = ReplicaLost("r1 died")
    hub.router.fail.decision = decision("a" * 32, now_ns=hub.clock())
    again = await hub.client.post("/api/v1/infer", json=body, headers=hub.auth())
    kept = await hub.client.get(f"/api/v1/decisions/{'a' * 32}", headers=hub.auth())

    assert (again.status_code, again.json()["degradation"]) == (200, "last_good")
    assert kept.json()["outcome"]["error"] == "replica_lost"


async def test_a_request_refused_before_a_decision_names_none(hub: TestHub) -> None:
    """There is nothing to explain beyond the refusal itself."""
    hub.router.fail = NothingFeasible("no replica is fast enough")
    answer = await hub.client.post("/api/v1/infer", json=TYPED | {"inputs": inputs()}, headers=hub.auth())

    assert (answer.status_code, answer.json()["decision_id"]) == (503, None)


async def test_an_impossible_requirement_says_which_and_the_best_on_offer(hub: TestHub) -> None:
    """The engine's facts reach the caller unchanged."""
    hub.router.fail = NoModelMatches(
        "min_accuracy 0.999 removed every model; the best offers 0.98",
        field="min_accuracy",
        details={"requirement": "min_accuracy", "best": 0.98},
    )
    answer = await hub.client.post("/api/v1/route", json=TYPED | {"min_accuracy": 0.999}, headers=hub.auth())

    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (
        422,
        "no_model_matches",
        "min_accuracy",
    )
    assert problem["details"]["best"] == 0.98


_W = inputs()["window"][0]
_C = inputs()["context"][0]
BAD_BODIES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown task": ({"task": "fortune_telling"}, "task"),
    "unknown field": (TYPED | {"max_latency": 5}, "max_latency"),
    "unknown founding latency": (FOUNDING | {"latency_requirement": "soon"}, "latency_requirement"),
    "unknown founding accuracy": (FOUNDING | {"accuracy_requirement": "> 195%"}, "accuracy_requirement"),
    "founding and typed at once": (FOUNDING | {"max_latency_ms": 5}, "latency_requirement"),
    "negative deadline": (TYPED | {"max_latency_ms": -1}, "max_latency_ms"),
    "zero deadline": (TYPED | {"max_latency_ms": 0}, "max_latency_ms"),
    "no deadline": (TYPED | {"max_latency_ms": None}, "max_latency_ms"),
    "endless deadline": (TYPED | {"max_latency_ms": 1e12}, "max_latency_ms"),
    "unknown size": (TYPED | {"data_size": "huge"}, "data_size"),
    "more rows than the size": (TYPED | {"data_size": "small", "inputs": inputs(9)}, "data_size"),
    "certain accuracy": (TYPED | {"min_accuracy": 1}, "min_accuracy"),
    "no inputs and no symbol": (TYPED, "inputs"),
    "empty window": (TYPED | {"inputs": {"window": [], "context": []}}, "inputs.window"),
    "short window": (TYPED | {"inputs": {"window": [_W[1:]], "context": [_C]}}, "inputs.window[0]"),
    "ragged window": (TYPED | {"inputs": {"window": [_W, _W[1:]], "context": [_C, _C]}}, "inputs.window[1]"),
    "long context": (TYPED | {"inputs": {"window": [_W], "context": [[*_C, 0]]}}, "inputs.context[0]"),
    "other number of rows": (TYPED | {"inputs": {"window": [_W, _W], "context": [_C]}}, "inputs.context"),
    "text in the window": (
        TYPED | {"inputs": {"window": [["x", *_W[1:]]], "context": [_C]}},
        "inputs.window[0][0]",
    ),
    "too large for 32 bits": (
        TYPED | {"inputs": {"window": [[0.0, 1e300, *_W[2:]]], "context": [_C]}},
        "inputs.window[0][1]",
    ),
    "NaN": (
        TYPED | {"inputs": {"window": [[float("nan"), *_W[1:]]], "context": [_C]}},
        "inputs.window[0][0]",
    ),
    "inf": (
        TYPED | {"inputs": {"window": [_W], "context": [[*_C[1:], float("inf")]]}},
        "inputs.context[0][7]",
    ),
    "unknown symbol": (TYPED | {"symbol": "BTCUSD"}, "symbol"),
    "a broker's spelling": (TYPED | {"symbol": "EURUSD.pro"}, "symbol"),
    "other bar width": (TYPED | {"symbol": "EURUSD", "bar_ms": 1}, "bar_ms"),
}


@pytest.mark.parametrize(("body", "field"), BAD_BODIES.values(), ids=BAD_BODIES)
async def test_bad_input_is_refused_by_name(hub: TestHub, body: dict[str, Any], field: str) -> None:
    """A 4xx problem whose `field` and text name what was wrong; the router is not asked."""
    answer = await hub.client.post(
        "/api/v1/infer",
        content=json.dumps(body),
        headers=hub.auth() | {"Content-Type": "application/json"},
    )

    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == 422, problem
    assert (problem["field"], problem["retryable"]) == (field, False)
    assert not hub.router.asked


async def test_an_unknown_symbol_names_the_known_ones(hub: TestHub) -> None:
    """On both routes."""
    for path in ("/api/v1/infer", "/api/v1/route"):
        answer = await hub.client.post(path, json=TYPED | {"symbol": "BTCUSD"}, headers=hub.auth())

        assert answer.json()["code"] == "unknown_symbol"
        assert "EURUSD, NZDUSD" in answer.json()["detail"]


async def test_too_few_bars_say_when_to_come_back(hub: TestHub) -> None:
    """The symbol is known, the window is not full: 503 with the time of one bar."""
    await put_bars(hub.feed, count=100)
    answer = await hub.client.post("/api/v1/infer", json=TYPED | {"symbol": "EURUSD"}, headers=hub.auth())

    assert (answer.status_code, answer.json()["code"]) == (503, "no_window")
    assert answer.headers["retry-after"] == "10"


@pytest.mark.parametrize("body", ["{", "", "[" * 100_000, b"\xff\xfe", '{"task": 1e999}', "[]", "null", "7"])
async def test_what_is_no_json_object_is_refused(hub: TestHub, body: str | bytes) -> None:
    """Malformed, deep, binary or another type: a 4xx problem, never a 5xx."""
    headers = hub.auth() | {"Content-Type": "application/json"}
    answer = await hub.client.post("/api/v1/infer", content=body, headers=headers)

    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_form_says_what_to_send_instead(hub: TestHub) -> None:
    """`curl -d` without a content type sends a form."""
    headers = hub.auth() | {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await hub.client.post("/api/v1/infer", content=json.dumps(TYPED), headers=headers)

    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["detail"]
