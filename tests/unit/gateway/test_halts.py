"""The kill switch over HTTP: who may work it, what it writes, and what it says when it cannot."""

from __future__ import annotations

import orjson
import pytest

from messaging.subjects import HALT_SUBJECT
from messaging.topics import CONTROL
from models.halt import Halt, HaltScope, halt_key
from tests.unit.gateway.doubles import STRATEGY, TestHub

WHY = {"reason": "runaway model"}
ANY = [("all", "*"), ("tenant", "acme"), ("user", "bob"), ("model", "ridge@1"), ("strategy", STRATEGY.ref)]


def logged(hub: TestHub) -> list[tuple[bytes, bytes | None]]:
    """What is in the log of halts."""
    return [(record.key, record.value) for record in hub.log.partition(CONTROL.name, 0).records]


@pytest.mark.parametrize(("scope", "halted"), ANY)
async def test_an_admin_halts_and_resumes(hub: TestHub, scope: str, halted: str) -> None:
    """Both answer when the log has them; the halt says who and why, and health shows it."""
    admin, path = hub.auth("root", roles=["admin"]), f"/api/v1/halts/{scope}/{halted}"
    made = await hub.client.put(path, json=WHY, headers=admin)
    health = (await hub.client.get("/health", headers=admin)).json()
    resumed = await hub.client.delete(path, headers=admin)
    after = await hub.client.get("/api/v1/halts", headers=admin)

    key = halt_key(HaltScope(scope), halted)
    assert (made.status_code, resumed.status_code, after.json()) == (200, 204, {"halts": []})
    assert Halt.model_validate_json(logged(hub)[0][1] or b"").model_dump(include={"by", "reason"}) == {
        "by": "root",
        "reason": "runaway model",
    }
    assert [entry[0] for entry in logged(hub)] == [key, key]
    assert logged(hub)[1][1] is None
    assert [(one["scope"], one["id"]) for one in health["halts"]] == [(scope, halted)]


async def test_a_halt_is_told_before_it_is_logged(hub: TestHub) -> None:
    """Whoever listens knows it sooner than from the log."""
    heard = hub.market.listen(HALT_SUBJECT)
    await hub.client.put("/api/v1/halts/user/alice", json=WHY, headers=hub.auth("alice"))

    assert orjson.loads(heard.get_nowait())["id"] == "alice"


async def test_without_nats_a_halt_is_halted_all_the_same(hub: TestHub) -> None:
    """NATS is the fast way, the log is the true one."""
    hub.market.stop()
    answer = await hub.client.put("/api/v1/halts/user/alice", json=WHY, headers=hub.auth("alice"))

    assert (answer.status_code, len(logged(hub))) == (200, 1)


@pytest.mark.parametrize(("scope", "halted"), ANY)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_user_works_no_switch_but_its_own(hub: TestHub, scope: str, halted: str, method: str) -> None:
    """Of whatever scope; and nothing is written."""
    answer = await hub.client.request(
        method, f"/api/v1/halts/{scope}/{halted}", json=WHY, headers=hub.auth("alice")
    )

    assert (answer.status_code, answer.json()["code"], logged(hub)) == (403, "forbidden", [])


async def test_a_user_halts_and_resumes_itself(hub: TestHub) -> None:
    """And sees its own halt."""
    mine = hub.auth("alice")
    await hub.client.put("/api/v1/halts/user/alice", json=WHY, headers=mine)
    seen = (await hub.client.get("/api/v1/halts", headers=mine)).json()["halts"]
    resumed = await hub.client.delete("/api/v1/halts/user/alice", headers=mine)

    assert [(one["id"], one["by"]) for one in seen] == [("alice", "alice")]
    assert resumed.status_code == 204


async def test_what_an_operator_halted_the_user_cannot_resume(hub: TestHub) -> None:
    """It learns that it is halted and why, but not by whom; halting itself again changes nothing."""
    await hub.client.put(
        "/api/v1/halts/user/alice", json=WHY, headers=hub.auth("root", "acme", roles=["admin"])
    )
    mine = hub.auth("alice")
    again = await hub.client.put("/api/v1/halts/user/alice", json={"reason": "me too"}, headers=mine)
    resumed = await hub.client.delete("/api/v1/halts/user/alice", headers=mine)

    assert (again.json()["by"], again.json()["reason"]) == ("an operator", "runaway model")
    assert (resumed.status_code, len(logged(hub))) == (403, 1)


async def test_halts_of_others_are_nobodys_business(hub: TestHub) -> None:
    """In the list as in health: only what stops the caller's own signals."""
    admin = hub.auth("root", "acme", roles=["admin"])
    for path in ("user/bob", "tenant/rival", "tenant/acme", f"strategy/{STRATEGY.ref}"):
        await hub.client.put(f"/api/v1/halts/{path}", json=WHY, headers=admin)
    listed = (await hub.client.get("/api/v1/halts", headers=hub.auth("alice", "acme"))).json()["halts"]
    health = (await hub.client.get("/health", headers=hub.auth("alice", "acme"))).json()["halts"]

    assert [(one["scope"], one["id"]) for one in listed] == [
        ("strategy", STRATEGY.ref),
        ("tenant", "acme"),
    ]
    assert health == listed


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("all/everything", WHY, "halted"),
        ("user/*", WHY, "halted"),
        ("user/~claim", WHY, "user_id"),
        ("model/rigde@1", WHY, "halted"),
        ("strategy/momentum@7", WHY, "halted"),
        ("nobody/x", WHY, "scope"),
        ("user/bob", {}, "reason"),
        ("user/bob", {"reason": ""}, "reason"),
        ("user/bob", {"reason": "x" * 501}, "reason"),
        ("user/" + "x" * 129, WHY, "halted"),
    ],
)
async def test_a_switch_that_would_stop_nothing_is_refused(
    hub: TestHub, path: str, body: dict[str, str], field: str
) -> None:
    """A typing error in a kill switch is found when it is worked, not when it is needed."""
    answer = await hub.client.put(
        f"/api/v1/halts/{path}", json=body, headers=hub.auth("root", roles=["admin"])
    )

    assert (answer.status_code, answer.json()["field"], logged(hub)) == (422, field, [])


async def test_nothing_to_resume_is_not_found(hub: TestHub) -> None:
    """An operator learns that it was not halted."""
    answer = await hub.client.delete("/api/v1/halts/user/bob", headers=hub.auth("root", roles=["admin"]))

    assert answer.status_code == 404


async def test_a_log_that_does_not_answer_is_said(hub: TestHub) -> None:
    """The caller must not believe in a halt that is nowhere."""
    hub.log.faults.refuse = 1.0
    answer = await hub.client.put("/api/v1/halts/user/alice", json=WHY, headers=hub.auth("alice"))

    assert (answer.status_code, answer.json()["retryable"]) == (503, True)
