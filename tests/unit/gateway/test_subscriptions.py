"""The caller's own subscriptions over HTTP, and the records that the fan-out will read."""

from __future__ import annotations

from typing import Any

import pytest

from deployments.front.subscriptions import (
    Address,
    SubscriptionReader,
    SubscriptionWriter,
    partition_of_user,
)
from messaging.ports import LogRecord
from messaging.topics import SUBSCRIPTIONS
from models.errors import AppendRefused, AppendUnknown
from models.principal import Tier
from models.subscription import RiskSettings, Subscription
from tests.unit.gateway.doubles import STRATEGY, TestHub, principal

URL = f"/api/v1/subscriptions/{STRATEGY.ref}/EURUSD"


async def records_of(hub: TestHub, user_id: str = "alice") -> list[LogRecord]:
    """All records of the user's partition."""
    partition = partition_of_user(user_id)
    _, end = await hub.bus.bounds(SUBSCRIPTIONS.name, partition)
    return [r async for batch in hub.bus.read(SUBSCRIPTIONS.name, partition, 0, end) for r in batch]


async def test_put_writes_what_the_fan_out_reads(hub: TestHub) -> None:
    """Identity, tier and entitlement from the token; risk from the body; on the user's partition."""
    answer = await hub.client.put(
        URL, json={"risk": {"scale": 0.5, "max_fraction": 0.2}}, headers=hub.auth(tier=Tier.PRO)
    )

    assert answer.status_code == 200, answer.text
    (record,) = await records_of(hub)
    written = Subscription.model_validate_json(record.value or b"")
    assert written == Subscription.model_validate(answer.json())
    assert record.key == written.key()
    assert (written.user_id, written.tenant_id, written.tier) == ("alice", "acme", Tier.PRO)
    assert written.entitled_until_ns == hub.clock() + 86_400 * 10**9
    assert written.risk == RiskSettings(scale=0.5, max_fraction=0.2)


async def test_a_subscription_is_read_back_changed_and_ended(hub: TestHub) -> None:
    """Each call sees what the one before wrote; a second account is a second subscription."""
    mine = hub.auth()
    assert (await hub.client.get(URL, headers=mine)).status_code == 404
    await hub.client.put(URL, headers=mine)
    await hub.client.put(URL, json={"risk": {"scale": 2}}, headers=mine)
    await hub.client.put(URL, params={"account": "second"}, headers=mine)

    assert (await hub.client.get(URL, headers=mine)).json()["risk"]["scale"] == 2
    listed = (await hub.client.get("/api/v1/subscriptions", headers=mine)).json()["subscriptions"]
    assert [item["account_id"] for item in listed] == ["default", "second"]

    assert (await hub.client.delete(URL, headers=mine)).status_code == 204
    assert (await hub.client.delete(URL, headers=mine)).status_code == 404
    listed = (await hub.client.get("/api/v1/subscriptions", headers=mine)).json()["subscriptions"]
    assert [item["account_id"] for item in listed] == ["second"]
    assert (await records_of(hub))[-1].value is None


@pytest.mark.parametrize(
    ("path", "query", "body", "field"),
    [
        ("nothing@1/EURUSD", {}, {}, "strategy"),
        (f"{STRATEGY.ref}/USDJPY", {}, {}, "symbol"),
        (f"{STRATEGY.ref}/EURUSD", {"account": "~claim"}, {}, "account"),
        (f"{STRATEGY.ref}/EURUSD", {"account": ""}, {}, "account"),
        (f"{STRATEGY.ref}/EURUSD", {}, {"risk": {"scale": -1}}, "risk.scale"),
        (f"{STRATEGY.ref}/EURUSD", {}, {"risk": {"max_fraction": 2}}, "risk.max_fraction"),
        (f"{STRATEGY.ref}/EURUSD", {}, {"tier": "enterprise"}, "tier"),
        (f"{STRATEGY.ref}/EURUSD", {}, {"user_id": "bob"}, "user_id"),
    ],
)
async def test_what_cannot_be_subscribed_is_named(
    hub: TestHub, path: str, *, query: dict[str, str], body: dict[str, Any], field: str
) -> None:
    """Unknown strategy or symbol, bad account, bad risk, and every attempt to set what is not the user's."""
    answer = await hub.client.put(
        f"/api/v1/subscriptions/{path}", params=query, json=body, headers=hub.auth()
    )

    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert await records_of(hub) == []


async def test_an_ended_entitlement_cannot_subscribe(hub: TestHub) -> None:
    """The token is good, the entitlement in it is over."""
    answer = await hub.client.put(URL, headers=hub.auth(entitled_until_ns=hub.clock() - 10**9))

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_many_are_written_and_each_user_reads_its_own(hub: TestHub) -> None:
    """1,000 users over all partitions; a user's reader sees that user alone, in one tenant."""
    many = [subscription(f"user-{number}") for number in range(1000)]
    await SubscriptionWriter(hub.bus).put_many(many)

    reader = SubscriptionReader(hub.bus)
    assert await reader.of(principal("user-7")) == [subscription("user-7")]
    assert await reader.of(principal("user-7", tenant="other")) == []
    assert await reader.of(principal("user-1000")) == []
    used = {partition_of_user(item.user_id) for item in many}
    ends = [(await hub.bus.bounds(SUBSCRIPTIONS.name, partition))[1] for partition in used]
    assert (len(used), sum(ends)) == (24, 1000)


async def test_a_reader_reads_on_over_compaction(hub: TestHub) -> None:
    """Gaps where older settings were do not disturb it, whether it had read them or not."""
    writer, early = SubscriptionWriter(hub.bus), SubscriptionReader(hub.bus)
    await writer.put(subscription("alice", scale=1))
    await early.of(principal())
    await writer.put(subscription("alice", scale=2))
    hub.log.partition(SUBSCRIPTIONS.name, partition_of_user("alice")).compact()

    for reader in (early, SubscriptionReader(hub.bus)):
        assert await reader.of(principal()) == [subscription("alice", scale=2)]


async def test_an_older_setting_never_lands_behind_a_newer_one(hub: TestHub) -> None:
    """What was still held back when its outcome became unknown is dropped before the next is written."""
    writer = SubscriptionWriter(hub.bus, timeout_s=0.05)
    hub.log.cut("gateway")
    with pytest.raises(AppendUnknown):
        await writer.put(subscription("alice", scale=1))
    hub.log.mend("gateway")
    await writer.put(subscription("alice", scale=2))

    (only,) = await records_of(hub)
    assert Subscription.model_validate_json(only.value or b"").risk.scale == 2


async def test_a_refused_append_rebuilds_the_producer(hub: TestHub) -> None:
    """It would be wedged on a real broker; one that was not even sent leaves it as it is."""
    writer = SubscriptionWriter(hub.bus)
    hub.log.faults.refuse = 1.0
    with pytest.raises(AppendRefused):
        await writer.put(subscription("alice"))
    hub.log.faults.refuse = 0.0
    await writer.put(subscription("alice", scale=2))

    assert writer._producer
    assert writer._producer.health().rebuilds == 1


async def test_a_tombstone_is_keyed_like_its_subscription(hub: TestHub) -> None:
    """Otherwise compaction would never remove the subscription."""
    writer = SubscriptionWriter(hub.bus)
    await writer.put(subscription("alice"))
    await writer.delete("alice", Address("default", STRATEGY.ref, "EURUSD"))

    put, tombstone = await records_of(hub)
    assert (tombstone.key, tombstone.value) == (put.key, None)


def subscription(user_id: str, *, scale: float = 1.0) -> Subscription:
    """A subscription of a user."""
    return Subscription(
        user_id=user_id,
        tenant_id="acme",
        account_id="default",
        strategy=STRATEGY.ref,
        symbol="EURUSD",
        tier=Tier.PRO,
        entitled_until_ns=10**18,
        risk=RiskSettings(scale=scale),
    )
