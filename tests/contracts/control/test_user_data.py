"""Long-term user data by HTTP: whose it is, what may be asked, how stale it is, and how it is erased."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from sqlalchemy import insert

from messaging.memory import MemoryBus
from models.user_event import DataType
from storage.postgres.tables.people import TENANTS, USERS
from tests.contracts.postgres.test_user_data_pages import put, row
from tests.support.control import ControlHub
from tests.support.eventually import eventually
from tests.support.user_data import event, stored, write

TRADER = ("tenant:trader",)
BOSS = ("tenant:admin",)
HOSTILE_TYPES = [
    "trades; DROP TABLE hub.users",
    "trades' OR '1'='1",
    "user_trades",
    "TRADES",
    "..%2Ftrades",
    "trades%00",
    "user_data_trades_2026_11",
    "*",
    "a" * 500,
]


async def people(control: ControlHub, *users: tuple[str, str]) -> None:
    """Tenants and users, as rows."""
    given: dict[str, Any] = {"entitled_until_ns": 2**62, "created_ns": 1, "changed_ns": 1, "version": 1}
    for tenant in {tenant for tenant, _ in users}:
        async with control.services.database.tenant(tenant) as connection:
            values = {"tenant_id": tenant, "name": tenant, "tier": "free", "status": "active"}
            await connection.execute(insert(TENANTS), values | given)
    for tenant, user in users:
        async with control.services.database.tenant(tenant) as connection:
            values = {"tenant_id": tenant, "user_id": user, "login": user, "name": user}
            more: dict[str, Any] = {"roles": [], "enabled": 1, "profile": {}, "version": 1}
            times = {"not_before_ns": 0, "created_ns": 1, "changed_ns": 1}
            await connection.execute(insert(USERS), values | more | times)


@pytest.fixture
async def hub(control: ControlHub) -> ControlHub:
    """Two tenants, three users, some trades of each."""
    await people(control, ("acme", "u1"), ("acme", "u2"), ("bolt", "v1"))
    now_ns = time.time_ns()
    trades = [row(n, now_ns - n) for n in range(5)]
    trades += [row(9, now_ns, user_id="u2"), row(10, now_ns, tenant_id="bolt", user_id="v1")]
    await put(control.services.database, *trades)
    return control


async def ask(hub: ControlHub, path: str, who: tuple[str, str, tuple[str, ...]], **query: Any) -> Any:
    """An answer to somebody: (tenant, user, roles)."""
    tenant, user, roles = who
    return await hub.client.get(
        f"/tenants/{path}", headers=hub.auth(user, tenant=tenant, roles=roles), params=query
    )


async def test_a_user_reads_its_own_by_page(hub: ControlHub) -> None:
    """Oldest first; `next_cursor` leads to the end and is then None."""
    me = ("acme", "u1", TRADER)
    first = (await ask(hub, "acme/users/u1/data/trades", me, limit=3)).json()
    second = (await ask(hub, "acme/users/u1/data/trades", me, limit=3, cursor=first["next_cursor"])).json()

    numbers = [one["body"]["n"] for page in (first, second) for one in page["events"]]
    assert numbers == [4, 3, 2, 1, 0]
    assert second["next_cursor"] is None
    assert {one["user_id"] for one in first["events"]} == {"u1"}


async def test_whose_data_may_be_read(hub: ControlHub) -> None:
    """Own data, and that of the tenant's users with `data:all`; all else is absent, in the same words."""
    path = "acme/users/{}/data/trades"
    allowed = [
        (path.format("u1"), ("acme", "u1", TRADER)),
        (path.format("u1"), ("acme", "boss", BOSS)),
        (path.format("u1"), ("platform", "root", ("admin",))),
    ]
    for asked, who in allowed:
        assert (await ask(hub, asked, who)).status_code == 200, who

    refused = [
        (path.format("u2"), ("acme", "u1", TRADER)),
        (path.format("nobody"), ("acme", "u1", TRADER)),
        (path.format("v1"), ("acme", "boss", BOSS)),
        (path.format("nobody"), ("acme", "boss", BOSS)),
        (path.format("u1"), ("bolt", "v1", TRADER)),
        (path.format("u1"), ("bolt", "u1", TRADER)),
        (path.format("u1"), ("bolt", "boss", BOSS)),
        ("bolt/users/v1/data/trades", ("acme", "boss", BOSS)),
        ("absent/users/v1/data/trades", ("acme", "boss", BOSS)),
        (path.format("u1"), ("platform", "op", ("operator",))),
    ]
    answers = [await ask(hub, asked, who) for asked, who in refused]
    assert [answer.status_code for answer in answers] == [404] * len(refused)
    assert len({answer.content for answer in answers}) == 1
    exports = [await ask(hub, asked.removesuffix("/trades"), who) for asked, who in refused]
    assert {answer.status_code for answer in exports} == {404}


@pytest.mark.parametrize("data_type", HOSTILE_TYPES)
async def test_a_type_that_is_not_on_the_list_is_refused(hub: ControlHub, data_type: str) -> None:
    """SQL in `data_type` is no type; the tables are still there."""
    answer = await ask(hub, f"acme/users/u1/data/{data_type}", ("acme", "u1", TRADER))
    assert answer.status_code in {404, 422} if "%2F" in data_type else answer.status_code == 422
    assert (await ask(hub, "acme/users/u1/data/trades", ("acme", "u1", TRADER))).status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("cursor", word) for word in ("x", "'; --", "\0", "W10", "A" * 300)),
        *(("limit", number) for number in (0, -1, 201, "x", 10**20)),
        *(("from", number) for number in (-1, 2**63, "now", 1e300)),
        ("to", -1),
    ],
)
async def test_a_bad_question_is_told_which_field(hub: ControlHub, name: str, value: Any) -> None:
    """4xx, by the name that was sent."""
    answer = await ask(hub, "acme/users/u1/data/trades", ("acme", "u1", TRADER), **{name: value})
    assert answer.status_code == 422
    assert name in str(answer.json()["field"])


@pytest.mark.parametrize("user", ["~claim", "a%00b", "x" * 65, "u1' OR 1=1"])
async def test_a_user_that_cannot_be_is_refused(hub: ControlHub, user: str) -> None:
    """Before anybody is asked."""
    answer = await ask(hub, f"acme/users/{user}/data/trades", ("acme", "boss", BOSS))
    assert answer.status_code == 422


async def test_an_answer_is_some_seconds_old_at_most_and_says_so_by_its_key(hub: ControlHub) -> None:
    """A second question is answered from the store; another user's or window's is another key."""
    me = ("acme", "u1", TRADER)
    before = (await ask(hub, "acme/users/u1/data/trades", me)).json()
    await put(hub.services.database, row(99, time.time_ns()))
    assert (await ask(hub, "acme/users/u1/data/trades", me)).json() == before
    fresh = (await ask(hub, "acme/users/u1/data/trades", me, limit=99)).json()
    assert len(fresh["events"]) == len(before["events"]) + 1


async def test_erasing_leaves_what_a_rule_keeps_and_is_written_down(hub: ControlHub) -> None:
    """Without a policy all goes; the others' data stays; a trader may not."""
    denied = await hub.client.delete(
        "/tenants/acme/users/u1/data", headers=hub.auth("u1", tenant="acme", roles=TRADER)
    )
    assert denied.status_code == 403
    answer = await hub.client.delete(
        "/tenants/acme/users/u1/data", headers=hub.auth("boss", tenant="acme", roles=BOSS)
    )
    assert (answer.status_code, answer.json()["erased"]["trades"]) == (200, 5)
    assert await stored(hub.services.database) == ["event-000009"]
    foreign = await hub.client.delete(
        "/tenants/acme/users/v1/data", headers=hub.auth("boss", tenant="acme", roles=BOSS)
    )
    assert foreign.status_code == 404
    assert await stored(hub.services.database, "bolt") == ["event-000010"]


async def test_an_export_comes_as_lines_of_json(hub: ControlHub) -> None:
    """One's own, whole."""
    answer = await ask(hub, "acme/users/u1/data", ("acme", "u1", TRADER))
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert len(lines) == 5
    assert {line["event"]["tenant_id"] for line in lines} == {"acme"}


async def test_what_is_written_to_the_log_can_be_read_soon(control: ControlHub) -> None:
    """The control plane moves events by itself, and says how far behind it is to those who run the hub."""
    await write(MemoryBus(control.log, "gateway"), DataType.TRADES, [event("u7", "event-01")])

    async def arrived() -> bool:
        query = {"limit": time.time_ns() % 200 + 1}  # never from the store
        answer = await ask(control, "acme/users/u7/data/trades", ("acme", "u7", TRADER), **query)
        return [one["event_id"] for one in answer.json()["events"]] == ["event-01"]

    await eventually(arrived, 30)
    health = await control.client.get("/health", headers=control.auth())
    (trades,) = [one for one in health.json()["user_data"] if one["data_type"] == "trades"]
    assert trades["moved"] == {"stored": 1}
    assert trades["behind_s"] is not None
    assert (
        await control.client.get("/health", headers=control.auth("u7", tenant="acme", roles=TRADER))
    ).status_code == 403
