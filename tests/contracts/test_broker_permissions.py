"""Apache Kafka with the printed rules in force: every principal tries everything; what happens is the table.

Scorecard row S12. That a record whose `user_id` is not its key's is dropped by every reader is shown in
`tests/unit/signals/test_reader.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import TransactionalIdAuthorizationFailed

from messaging.connect import open_bus
from messaging.kafka import KafkaBus, reader
from messaging.kafka.acls import rules_of
from messaging.kafka.client import connection_options
from messaging.ports import EventBus, Record
from messaging.principals import OPERATOR, PRINCIPALS, READER, READER_GROUPS, ROOMS, Access
from messaging.topics import GROUPS, PREDICTIONS, SIGNALS, SUBSCRIPTIONS, TOPICS, create_topics
from models.errors import AccessDenied, AppendDenied, ConfigError
from models.events import CLAIM_KEY, Claim
from models.metrics import MemoryMeter
from serve_app.audit.live import read_live
from serve_app.audit.run_ledger import RunLedger
from signals.encoding import encode
from tests.conftest import without_kafka
from tests.support.certificate import Certificate
from tests.support.permitted_kafka import PermittedKafka, permitted_kafka

pytestmark = pytest.mark.kafka

ON_KAFKA = [access for access in PRINCIPALS if rules_of(access)]
FOREIGN = "payroll"
"""Somebody else's topic and group on the same cluster."""
_TURN_S = 0.6
"""Several times what a connection takes."""


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PermittedKafka]:
    """The broker with rules, topics and a record in each; nobody of the hub has logged in yet."""
    directory = tmp_path_factory.mktemp("permitted")
    try:
        permitted = permitted_kafka(directory, Certificate(directory))
    except ConfigError as error:
        without_kafka(error.message)
        raise
    permitted.server.start()
    try:
        permitted.server.wait_ready()
        permitted.admit()
        asyncio.run(_prepared(permitted))
        yield permitted
    finally:
        permitted.server.stop()


async def _prepared(kafka: PermittedKafka) -> None:
    bus = await open_bus(kafka.plain, client_id="owner-of-the-cluster")
    await create_topics(bus, 1)
    await bus.create_topic(FOREIGN, partitions=1, policy={}, replication=1)
    producer = await bus.producer("seed")
    for name in (*(topic.name for topic in TOPICS), FOREIGN):
        await producer.append(name, 0, [Record(b"~seed", b"{}")], timeout_s=10)
    await bus.close()


@asynccontextmanager
async def logged_in(
    kafka: PermittedKafka, access: Access, *, meter: MemoryMeter | None = None
) -> AsyncIterator[EventBus]:
    """A bus as this principal."""
    config = kafka.config(access.principal, request_timeout_ms=2500)
    bus = await open_bus(config, client_id=access.principal, meter=meter)
    try:
        yield bus
    finally:
        await bus.close()


async def _may(trial: Awaitable[object]) -> bool:
    """Whether the broker let it pass; what else goes wrong is an error of the test."""
    try:
        await trial
    except (AccessDenied, AppendDenied):
        return False
    return True


async def _some_at_a_time(trials: Sequence[Coroutine[Any, Any, bool]]) -> list[bool]:
    """What became of each. A slow machine does not get all their connections at once: each has a turn to
    connect in. What the broker hides it is silent about, and for that nobody waits for anybody.
    """
    turns = asyncio.Semaphore(4)

    async def in_turn(trial: Coroutine[Any, Any, bool]) -> bool:
        async with turns:
            going_on = asyncio.create_task(trial)
            await asyncio.wait({going_on}, timeout=_TURN_S)
        return await going_on

    return await asyncio.gather(*map(in_turn, trials))


async def _read(bus: EventBus, topic: str) -> list[bytes | None]:
    return [record.value async for records in bus.read(topic, 0, 0, 1) for record in records]


async def _follow(bus: EventBus, topic: str) -> NoReturn:
    tail = await bus.tail(topic, {0: 0})
    while True:
        await tail.batch(max_wait_s=0.2)


async def _write(bus: EventBus, topic: str, records: Sequence[Record] = (Record(b"~try", b"{}"),)) -> int:
    producer = await bus.producer("try")
    return await producer.append(topic, 0, records, timeout_s=10)


async def _join(bus: EventBus, group: str, topic: str) -> None:
    await (await bus.join(group, topic)).leave()


@pytest.mark.parametrize("access", ON_KAFKA, ids=lambda access: access.principal)
class TestEachPrincipal:
    """Against every topic, group and right of the cluster."""

    async def test_reads_what_the_table_says(self, kafka: PermittedKafka, access: Access) -> None:
        """And nothing else, whether it can see the topic or not."""
        names = [*(topic.name for topic in TOPICS), FOREIGN]
        async with logged_in(kafka, access) as bus:
            found = await _some_at_a_time([_may(_read(bus, name)) for name in names])

        assert {name for name, may in zip(names, found, strict=True) if may} == {
            topic.name for topic in access.reads
        }

    async def test_writes_what_it_owns(self, kafka: PermittedKafka, access: Access) -> None:
        """With an idempotent producer, as the hub does."""
        names = [*(topic.name for topic in TOPICS), FOREIGN]
        async with logged_in(kafka, access) as bus:
            found = {name for name in names if await _may(_write(bus, name))}

        assert found == {topic.name for topic in access.owns}

    async def test_joins_its_own_groups(self, kafka: PermittedKafka, access: Access) -> None:
        """Not those of other rooms: a foreign member would take partitions from their owners."""
        groups = [*(group.name for group in GROUPS), f"{READER_GROUPS}one", FOREIGN]
        topic = next(iter(access.reads)).name
        async with logged_in(kafka, access) as bus:
            found = await _some_at_a_time([_may(_join(bus, group, topic)) for group in groups])

        joined = {group for group, may in zip(groups, found, strict=True) if may}
        assert joined == {group for group in groups if _is_own(access, group)}

    async def test_runs_no_transactions(self, kafka: PermittedKafka, access: Access) -> None:
        """Nobody has a transactional id: the hub does not use them, and a fenced one is a weapon."""
        producer = AIOKafkaProducer(
            bootstrap_servers=kafka.secured,
            security_protocol="SASL_SSL",
            ssl_context=kafka.certificate.context(),
            sasl_mechanism="SCRAM-SHA-512",
            sasl_plain_username=access.principal,
            sasl_plain_password=kafka.secret(access.principal).resolve(),
            transactional_id=access.principal,
        )
        try:
            with pytest.raises(TransactionalIdAuthorizationFailed):
                await producer.start()
        finally:
            await producer.stop()

    async def test_makes_topics_only_as_the_operator(self, kafka: PermittedKafka, access: Access) -> None:
        """Not even the operator makes one that is not the hub's."""
        async with logged_in(kafka, access) as bus:
            created = await _may(bus.create_topic("hub.other", partitions=1, policy={}, replication=1))
            remade = await create_topics(bus, 1) if access is OPERATOR else []

        assert (created, remade) == (False, [])


def _is_own(access: Access, group: str) -> bool:
    if access.group is None:
        return False
    return group.startswith(access.group) if access.any_group else group == access.group


async def test_a_reader_cannot_forge_a_claim(kafka: PermittedKafka) -> None:
    """Neither idempotent nor plain: no record of its lands in the log of signals."""
    claim = Record(CLAIM_KEY, encode(Claim(owner="thief", nonce="n", claimed_ns=1)))
    async with logged_in(kafka, READER) as bus:
        before = await bus.bounds(SIGNALS.name, 0)
        with pytest.raises(AppendDenied, match="hub-reader"):
            await _write(bus, SIGNALS.name, [claim])
        plain = kafka.config(READER.principal).model_copy(update={"idempotent": False})
        thief = KafkaBus(plain, "thief")
        with pytest.raises(AppendDenied, match=r"append to user\.signals\[0\].*hub-reader"):
            await _write(thief, SIGNALS.name, [claim])
        await thief.close()

        assert await bus.bounds(SIGNALS.name, 0) == before


async def test_denials_name_who_and_what_and_are_counted(
    kafka: PermittedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a topic that may be written and not read, of a hidden one, and of one that is followed."""
    monkeypatch.setattr(reader, "_STUCK_S", 0.5)
    meter, gateway = MemoryMeter(), ROOMS["gateway"]
    async with logged_in(kafka, gateway, meter=meter) as bus:
        with pytest.raises(AccessDenied, match=r"read hub\.decisions\[0\].*principal hub-gateway"):
            await _read(bus, "hub.decisions")
        with pytest.raises(AccessDenied, match=rf"bounds of {FOREIGN}\[0\].*principal hub-gateway"):
            await bus.bounds(FOREIGN, 0)
        with pytest.raises(AccessDenied, match=f"follow {FOREIGN}"):
            await _follow(bus, FOREIGN)

    assert meter.values["hub_denied_total", (("broker", "kafka"), ("principal", "hub-gateway"))] == 3


async def test_a_producer_that_was_denied_writes_on_where_it_may(kafka: PermittedKafka) -> None:
    """After the rebuild that every refusal asks for."""
    async with logged_in(kafka, ROOMS["forecaster"]) as bus:
        producer = await bus.producer("p")
        with pytest.raises(AppendDenied):
            await producer.append(SIGNALS.name, 0, [Record(b"k", b"v")], timeout_s=10)
        await producer.rebuild()

        assert await producer.append(PREDICTIONS.name, 0, [Record(b"~k", b"{}")], timeout_s=10) > 0


async def test_the_ledger_is_drawn_up_by_the_auditor(kafka: PermittedKafka) -> None:
    """`hub ledger --config`: over TLS, with the login that may read what it needs and nothing else."""
    book = RunLedger([], SIGNALS.partitions)
    cluster = connection_options(kafka.config("hub-auditor"), "hub-ledger")

    await read_live(cluster, book, None, patience_s=1, fetch_max_wait_ms=20, progress=lambda *_: None)

    assert book.records >= len((SIGNALS, PREDICTIONS, SUBSCRIPTIONS))
