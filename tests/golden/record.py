"""`python -m tests.golden.record`: writes the golden logs of this release, by the code that ships with it.

The signal path is a simulated history with faults (one seed), the catalogue comes from a registry that is run
three times, decisions, halts and user events from a gateway, all on the memory bus. Once a release is out its
directory stays as it is.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version

from deployments.reader.dead_letters import letter_of
from deployments.reader.fold import Judged
from deployments.registry.lifecycle import promote, register, rollback
from deployments.registry.registrations import Ready
from messaging.memory import MemoryLog
from messaging.nats.codec import encode as encode_market
from messaging.ports import LogRecord
from messaging.subjects import CLOCK_SUBJECT, HALT_SUBJECT, bar_subject, tick_subject
from messaging.topics import (
    CONTROL,
    DECISIONS,
    EVENT_MARKS,
    EVIDENCE,
    MODELS,
    OUTCOMES,
    PREDICTIONS,
    SIGNAL_STATE,
    SIGNALS,
    SIGNALS_DLQ,
    SUBSCRIPTIONS,
    USER_EVENTS,
)
from models.evidence import SHADOW_KEY, Shadow, Trial
from models.halt import Halt, HaltScope
from models.market import Bar, MarketClock, Tick
from models.outcome import OutcomeRecord
from models.principal import Tier
from models.subscription import Entitlement, Subscription
from serve_app.contracts.__main__ import rendered
from serve_app.contracts.schemas import schemas
from signals.encoding import decode_owed, encode
from signals.reader import Verdict
from tests.golden.known import known
from tests.golden.logs import ROOT, Golden, write
from tests.golden.readers import results
from tests.golden.used import used
from tests.simulation.world import World
from tests.support.cards import a_card
from tests.support.eventually import eventually
from tests.support.virtual_loop import run_virtual
from tests.unit.gateway.doubles import SECRET, SECRET_ENV, TestHub, decision, make_hub, principal
from tests.unit.gateway.test_decisions import recorded, running
from tests.unit.gateway.test_user_events import BODIES, SERVICE
from tests.unit.registry.test_worker import Checked, published
from tests.unit.registry.test_worker import running as registry
from tests.unit.tracker.market import SPREAD, market, tracking

SEED = 46
"""With claims, void and repeated records, skipped and undelivered slots, checkpoints and marks."""


def main() -> None:
    """Write logs, what today's readers make of them, and the schemas."""
    release = ROOT / f"v{'.'.join(version('central-hub').split('.')[:2])}"
    (release / "schemas").mkdir(parents=True, exist_ok=True)
    records = [*run_virtual(_signal_path()), *asyncio.run(_around_it())]
    write(release, records)
    (release / "results.json").write_text(json.dumps(results(records), indent=1) + "\n")
    for name, schema in schemas().items():
        (release / "schemas" / f"{name}.json").write_text(rendered(schema))


async def _signal_path() -> list[Golden]:
    """Everything that forecaster and fan-out wrote and were told in one history."""
    world = World(SEED)
    await world.run()
    topics = (PREDICTIONS, SUBSCRIPTIONS, SIGNALS, SIGNAL_STATE)
    path = [one for topic in topics for one in _of(world.log, topic.name)]
    return [*path, _shadow(path), _entitled(path)]


def _shadow(path: list[Golden]) -> Golden:
    """A shadow behind the last prediction of its partition, by that one's owner."""
    last = [one for one in path if one.topic == PREDICTIONS.name and not one.key.startswith(b"~")][-1]
    owed = decode_owed(last.value or b"")
    slot = owed.slot
    shadow = Shadow(
        epoch=owed.epoch,
        symbol=slot.symbol,
        bar_ms=slot.bar_ms,
        horizon_ms=slot.horizon_ms,
        bar_close_ms=slot.bar_close_ms,
        mid=1.1,
        trials=(Trial(model="mlp@1", calibration="c", spread=SPREAD), Trial(model="bad@1", failed="lost")),
    )
    behind = max(one.offset for one in path if (one.topic, one.partition) == (last.topic, last.partition))
    return Golden(last.topic, last.partition, behind + 1, last.timestamp_ms, SHADOW_KEY, encode(shadow))


def _entitled(path: list[Golden]) -> Golden:
    """An entitlement behind the last record of a subscriber's partition."""
    last = [one for one in path if one.topic == SUBSCRIPTIONS.name and one.value][-1]
    who = Subscription.from_record(last.value or b"")
    one = Entitlement(
        tenant_id=who.tenant_id,
        user_id=who.user_id,
        tier=Tier.ENTERPRISE,
        entitled_until_ns=who.entitled_until_ns,
        version=2,
    )
    behind = max(one.offset for one in path if (one.topic, one.partition) == (last.topic, last.partition))
    return Golden(last.topic, last.partition, behind + 1, last.timestamp_ms, one.key(), encode(one))


async def _judged() -> list[Golden]:
    """The first outcomes of a tracker, and the last evidence of each model."""
    log = MemoryLog(random.Random(1), clock=time.time_ns)
    await market(log, 40)
    async with tracking(log) as worker:
        await eventually(lambda: worker.status()["outcomes"] == 4 * 34)
        await eventually(lambda: worker.status()["evidence_written"] >= 2)
    newest = {one.key: one for one in _of(log, EVIDENCE.name)}
    return [*_of(log, OUTCOMES.name)[:4], *newest.values()]


async def _around_it() -> list[Golden]:
    """The catalogue, decisions and user events, dead letters, and a message of each kind."""
    os.environ[SECRET_ENV] = SECRET
    hub = await make_hub(time.time_ns() // 10**9 * 10**9)
    await _decided(hub)
    await _saved(hub)
    await _halted(hub)
    topics = (DECISIONS, EVENT_MARKS, CONTROL, *USER_EVENTS)
    kept = [one for topic in topics for one in _of(hub.log, topic.name)]
    await hub.client.aclose()
    await hub.bus.close()
    return [
        *await _catalogue(),
        *await _judged(),
        *known(),
        *await used(),
        *kept,
        _dead_letter(),
        *_messages(),
    ]


async def _catalogue() -> Iterable[Golden]:
    log = MemoryLog(random.Random(1), clock=time.time_ns)
    log.add_topic(MODELS.name, MODELS.partitions, MODELS.policy)
    for cards in (("naive", "ridge"), ("ridge", "mlp"), ("ridge", "mlp", "lightgbm")):
        await published(log, Checked([a_card(name) for name in cards]))
    async with registry(log, Checked([a_card(name) for name in cards])) as worker:
        await worker.change(register(Ready(a_card("ridge", "2"), "signed")), by="root")
        await worker.change(promote("ridge@2", "better"), by="root")
        await worker.change(rollback("ridge", "worse"), by="root")
    return _of(log, MODELS.name)


async def _decided(hub: TestHub) -> None:
    outcome = OutcomeRecord(met=True, elapsed_ms=4.5, attempts=1, inference_ms=3.25, queue_ms=0.5)
    async with running(hub.services.decisions):
        await hub.services.decisions.remember(principal(), decision("a" * 32), outcome)
        await hub.services.decisions.remember(principal(), decision("b" * 32))
        await eventually(lambda: recorded(hub) == 2)


async def _saved(hub: TestHub) -> None:
    for data_type, (kind, body) in BODIES.items():
        sent = {"type": kind, "body": body, "user_id": "alice"}
        where = f"/api/v1/events/{data_type}"
        answer = await hub.client.post(where, json=sent, headers=hub.auth("svc", **SERVICE))
        answer.raise_for_status()


async def _halted(hub: TestHub) -> None:
    """Two halts; one is taken back."""
    admin = hub.auth("ops", roles=["admin"])
    for halted in ("alice", "bob"):
        where, why = f"/api/v1/halts/user/{halted}", {"reason": "a drill"}
        (await hub.client.put(where, json=why, headers=admin)).raise_for_status()
    (await hub.client.delete("/api/v1/halts/user/bob", headers=admin)).raise_for_status()


def _dead_letter() -> Golden:
    poison = LogRecord(SIGNALS.name, 3, 7, 1, b"user-1", b"no json")
    judged = Judged(poison, Verdict.UNDECODABLE, detail="value: Invalid JSON")
    letter = letter_of(judged, reader="reader-one", attempt=1, times_ns=(1, 2))
    return Golden(SIGNALS_DLQ.name, 3, 0, 1, letter.key, letter.value)


def _messages() -> Iterator[Golden]:
    bar = Bar("EURUSD", 10_000, 20_000, 1.1, 1.2, 1.0, 1.1, 1e-4, 7)
    halt = Halt(scope=HaltScope.STRATEGY, id="alpha@1", reason="drill", by="ops", at_ns=1)
    for subject, value in (
        (tick_subject("EURUSD"), encode_market(Tick("EURUSD", 5, 1.1, 1.1001, 1, "s", 1))),
        (CLOCK_SUBJECT, encode_market(MarketClock(10, "s", 2, {"EURUSD": 1}))),
        (bar_subject("EURUSD", 10_000), encode_market(bar)),
        (HALT_SUBJECT, encode(halt)),
    ):
        yield Golden(subject, 0, 0, 0, b"", value)


def _of(log: MemoryLog, topic: str) -> list[Golden]:
    partitions = range(log.states()[topic].partitions)
    found = [one for partition in partitions for one in log.partition(topic, partition).records]
    return [Golden(o.topic, o.partition, o.offset, o.timestamp_ms, o.key, o.value) for o in found]


if __name__ == "__main__":
    main()
