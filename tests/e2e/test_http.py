"""The API through Serve's real proxy, with curl and with the project's own client: answers and refusals."""

from __future__ import annotations

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serve_app.client import Refused
from tests.e2e.conftest import UpHub

pytestmark = pytest.mark.timeout(360)  # the first test starts the hub, which has START_TIMEOUT_S

FOUNDING = {
    "model_type": "time_series_forecast",
    "data_size": "large",
    "latency_requirement": "< 100ms",
    "accuracy_requirement": "> 95%",
}
TWO_WINDOWS = {
    "task": "time_series_forecast",
    "min_accuracy": 0.9,
    "inputs": {"window": [[0.0001, -0.0001] * 128] * 2, "context": [[0.0] * 8] * 2},
}


def _curl(hub: UpHub, path: str, body: Any, *headers: str) -> tuple[int, dict[str, Any]]:
    command = ["curl", "-s", "-w", "\n%{http_code}", f"{hub.address.url}{path}"]
    command += [
        "-H",
        "Content-Type: application/json",
        "--data-raw",
        body if isinstance(body, str) else json.dumps(body),
    ]
    for header in headers:
        command += ["-H", header]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    content, _, status = answer.stdout.rpartition("\n")
    return int(status), json.loads(content)


def _bearer(hub: UpHub, user: str = "curl-user") -> str:
    return f"Authorization: Bearer {hub.token(user)}"


def test_founding_words_are_routed_as_written(hub: UpHub) -> None:
    """Curl with the founding request gets a model, a replica and a promise."""
    path = "/api/v1/route?routing_strategy=performance_optimized"
    relaxed = {**FOUNDING, "data_size": "small", "accuracy_requirement": "> 90%"}

    status, choice = _curl(hub, path, relaxed, _bearer(hub))

    assert status == 200, choice
    assert choice["profile"] == "performance_optimized"
    assert choice["promise"]["coverage_lower"] >= 0.9
    assert choice["replica"]


def test_inference_answers_with_the_promise_it_kept(hub: UpHub) -> None:
    """Inputs in, one forecast per window out, with the level that was asked for."""
    status, answer = _curl(hub, "/api/v1/infer", TWO_WINDOWS, _bearer(hub))

    assert status == 200, answer
    assert len(answer["forecasts"]) == 2
    for forecast in answer["forecasts"]:
        assert forecast["lower"] <= forecast["q50"] <= forecast["upper"]
        assert forecast["level"] >= 0.9
    assert answer["lineage"]["model"] == answer["choice"]["model"]


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ("{not json", 400, None, None),
        ({"task": "astrology"}, 422, "unknown_task", "task"),
        ({"task": "time_series_forecast", "max_latency_ms": -5}, 422, None, "max_latency_ms"),
        ({**FOUNDING, "latency_requirement": "soon"}, 422, None, "latency_requirement"),
        ({"task": "time_series_forecast", "routing_strategy": "luck"}, 422, "unknown_profile", None),
        ({"task": "time_series_forecast", "min_accuracy": 0.9999}, 422, "no_model_matches", None),
        ({"task": "time_series_forecast", "symbol": "XAUXAG"}, 422, "unknown_symbol", "symbol"),
    ],
)
def test_bad_route_requests_are_refused_by_name(  # noqa: PLR0917 - pytest fills these by name
    hub: UpHub, body: Any, status: int, code: str | None, field: str | None
) -> None:
    """4xx with a problem body that names the field."""
    answered, problem = _curl(hub, "/api/v1/route", body, _bearer(hub))

    assert answered == status, problem
    assert code is None or problem["code"] == code
    assert field is None or problem["field"] == field


def test_impossible_accuracy_names_the_best_on_offer(hub: UpHub) -> None:
    """The refusal says which requirement removed every model, and what there is."""
    _, problem = _curl(
        hub, "/api/v1/route", {"task": "time_series_forecast", "min_accuracy": 0.9999}, _bearer(hub)
    )

    assert "accuracy" in problem["detail"]
    assert problem["details"]


def test_wrong_shape_and_nan_are_refused(hub: UpHub) -> None:
    """A window of 255 returns, and one with a NaN, name the input."""
    short = {"task": "time_series_forecast", "inputs": {"window": [[0.0] * 255], "context": [[0.0] * 8]}}
    broken = json.dumps(short).replace("0.0", "NaN", 1)

    assert _curl(hub, "/api/v1/infer", short, _bearer(hub))[0] == 422
    assert _curl(hub, "/api/v1/infer", broken, _bearer(hub))[0] in {400, 422}


def test_no_identity_but_the_token(hub: UpHub) -> None:
    """No token, a forged one, and identity headers beside a good one."""
    lying = ["x-user-id: admin", "x-tenant-id: other", "x-subscription-tier: enterprise"]

    assert _curl(hub, "/api/v1/route", FOUNDING)[0] == 401
    assert _curl(hub, "/api/v1/route", FOUNDING, "Authorization: Bearer forged", *lying)[0] == 401
    with hub.client("headers-user") as client:
        client.call("PUT", "/api/v1/subscriptions/patient@1/EURUSD")
    with hub.client("other-user") as client:
        assert client.call("GET", "/api/v1/subscriptions") == {"subscriptions": []}


def test_discovery_is_for_admins(hub: UpHub) -> None:
    """The founding response shape, with the role and not without."""
    with hub.client("boss", admin=True) as client:
        topics = client.call("GET", "/api/config/messaging/kafka/topics", query={"domain": "user"})
    with hub.client("someone") as client, pytest.raises(Refused, match="403"):
        client.call("GET", "/api/config/messaging/kafka/topics")

    assert topics["status"] == "success"
    assert topics["domain"] == "user"
    assert "user.signals" in json.dumps(topics["topics"])


def test_what_the_hub_decides_is_recorded_and_decided_again(hub: UpHub, tmp_path: Path) -> None:
    """Bit for bit by the recorded profiles; by a cheaper one with what would have changed."""
    file = str(tmp_path / "traffic.jsonl.gz")
    asked = TWO_WINDOWS | {"routing_strategy": "performance_optimized"}
    with ThreadPoolExecutor(1) as pool, hub.client("recorded") as client:
        recording = pool.submit(hub.command, "record", file, "--seconds", "2")
        answered = 0
        while not recording.done():
            answered += bool(client.call("POST", "/api/v1/infer", body=asked))
    recorded = recording.result()
    same = hub.command("replay", file)
    cheaper = hub.command("replay", file, "--profile", "cost_optimized")

    assert recorded.returncode == 0, recorded.stdout + recorded.stderr
    assert same.returncode == 0, same.stdout + same.stderr
    reproduced = re.search(r"(\d[\d,]*) decisions reproduced, bit for bit", same.stdout)
    assert reproduced, same.stdout
    assert 10 <= int(reproduced[1].replace(",", "")) <= answered
    assert cheaper.returncode == 0, cheaper.stdout + cheaper.stderr
    assert "would have gone elsewhere" in cheaper.stdout
    assert "standard error" in cheaper.stdout
