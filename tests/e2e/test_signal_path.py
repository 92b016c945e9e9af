"""Ticks in, each user's signals out, on Apache Kafka, through the commands a person would use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from serve_app.demo.scene import EXAMPLE_TICKS
from tests.e2e.conftest import UpHub
from tests.e2e.examples import DESK_USERS, Desk, desks
from tests.support.eventually import eventually
from tests.support.processes import replicas

pytestmark = pytest.mark.timeout(360)  # the first test starts the hub, which has START_TIMEOUT_S

USERS = [f"e2e-user-{number}" for number in range(12)]
SECONDS, SPEED = 12, 60.0
PARTITIONS = 24
_TICKS = [argument for text in EXAMPLE_TICKS for argument in ("--ticks", text)]


@pytest.fixture(scope="module")
def services(hub: UpHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Desk]]:
    """The two example services, which read while all this happens."""
    with desks(hub, tmp_path_factory.mktemp("desks")) as running:
        yield running


@pytest.fixture(scope="module")
def ledger(hub: UpHub, services: dict[str, Desk]) -> dict[str, Any]:
    """One playback with twelve subscribed users; midway a fan-out worker and an inference replica die."""
    for user in USERS:
        with hub.client(user) as client:
            for symbol in ("EURUSD", "NZDUSD"):
                client.call("PUT", f"/api/v1/subscriptions/patient@1/{symbol}")
    killer = threading.Timer(SECONDS / 2, _kill, [hub])
    auditor = _auditor(hub)
    killer.start()
    played = hub.command("play", "--seconds", str(SECONDS), "--speed", str(SPEED))
    assert played.returncode == 0, played.stderr
    killer.join()
    output, _ = auditor.communicate("end\n", timeout=60)
    return dict(json.loads(output.splitlines()[-1]))


def _auditor(hub: UpHub) -> subprocess.Popen[str]:
    played = [*_TICKS, "--seconds", str(SECONDS), "--speed", str(SPEED)]
    command = [sys.executable, "-m", "serve_app.audit", "--kafka", hub.address.kafka]
    command += ["--strategies", str(Path("config/strategies.yaml").resolve()), *played]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _kill(hub: UpHub) -> None:
    for deployment in ("Fanout", "pool-light"):
        os.kill(replicas(hub.process.pid, deployment)[0], signal.SIGKILL)


def test_ledger_is_clean_although_two_processes_died(ledger: dict[str, Any]) -> None:
    """Nothing lost, doubled, reordered, late or misdelivered; what had no owner is recorded."""
    assert ledger["clean"], "\n".join(ledger["lines"])
    assert ledger["expected"] > 0
    assert ledger["delivered"] + ledger["undelivered"] == ledger["expected"]
    assert ledger["delivered"] > ledger["expected"] // 2


def test_inference_kill_costs_at_most_one_slot_per_series(ledger: dict[str, Any]) -> None:
    """The retry elsewhere hides the death of a replica: each of the two series misses one slot at most."""
    missed = [ledger["skipped"].get(f"patient@1 {reason}", 0) for reason in ("refused", "timeout")]

    assert sum(missed) <= 2, ledger["skipped"]


def test_foreign_client_finds_every_user_where_it_expects_them(hub: UpHub, ledger: dict[str, Any]) -> None:
    """A librdkafka producer with `murmur2_random` puts the same keys on the same partitions."""
    found = _partitions_by_user(hub)

    assert set(USERS) <= {key.decode() for key in found}
    assert found == _librdkafka_partitions(hub, list(found))


async def test_example_services_did_everything_once(
    hub: UpHub, ledger: dict[str, Any], services: dict[str, Desk], tmp_path: Path
) -> None:
    """Ours and one of librdkafka alone: each has every number of its users, in order, and the ledger of the
    run, which two processes did not survive, agrees with what both say they did.
    """
    ours, foreign = services["desk"], services["foreign"]
    await eventually(lambda: all(_caught_up(ours, foreign, user) for user in DESK_USERS), timeout_s=20)

    for desk in services.values():
        for user in DESK_USERS:
            numbers = desk.sequences(user)
            assert numbers == list(range(1, len(numbers) + 1)), desk.said[-2000:]
            assert len(numbers) > SECONDS
    played = ["--seconds", str(SECONDS), "--speed", str(SPEED)]
    reads = [f"--reads={name}={desk.file}" for name, desk in services.items()]
    live = hub.command("ledger", *played, *reads, "--save", str(tmp_path / "run.gz"))
    again = hub.command("ledger", "--recorded", str(tmp_path / "run.gz"), *reads)

    assert live.returncode == 0, live.stdout + live.stderr
    assert (again.returncode, _verdict(again.stdout)) == (0, _verdict(live.stdout))


def _verdict(said: str) -> str:
    """From the sum to the last word."""
    return said[said.index("owed") : said.index("LEDGER CLEAN")]


def _caught_up(ours: Desk, foreign: Desk, user: str) -> bool:
    return bool(ours.sequences(user)) and ours.sequences(user) == foreign.sequences(user)


def _partitions_by_user(hub: UpHub) -> dict[bytes, int]:
    """Every key of `user.signals` with its partition, read to the end by librdkafka."""
    settings = {"bootstrap.servers": hub.address.kafka, "group.id": "foreign", "enable.partition.eof": True}
    consumer = Consumer({**settings, "enable.auto.commit": False})
    consumer.assign([TopicPartition("user.signals", partition, 0) for partition in range(PARTITIONS)])
    found: dict[bytes, int] = {}
    ended = 0
    while ended < PARTITIONS:
        message = consumer.poll(10)
        assert message is not None, "the broker fell silent"
        key, partition = message.key() or b"~", message.partition()
        ended += message.error() is not None
        if not key.startswith(b"~") and partition is not None:
            found[key] = partition
    consumer.close()
    return found


def _librdkafka_partitions(hub: UpHub, keys: list[bytes]) -> dict[bytes, int]:
    """Where librdkafka itself places the keys, on a topic of the same size."""
    servers: dict[str, str | int | float | bool] = {"bootstrap.servers": hub.address.kafka}
    topic = NewTopic("foreign-check", num_partitions=PARTITIONS, replication_factor=1)
    admin = AdminClient(servers)
    admin.create_topics([topic])["foreign-check"].result(10)
    placed: dict[bytes, int] = {}
    producer = Producer({**servers, "partitioner": "murmur2_random"})
    for key in keys:
        producer.produce("foreign-check", b"", key=key, on_delivery=lambda _, sent: _note(placed, sent))
    producer.flush(10)
    return placed


def _note(placed: dict[bytes, int], sent: Message) -> None:
    key, partition = sent.key(), sent.partition()
    assert isinstance(key, bytes)
    assert partition is not None
    placed[key] = partition


def test_user_reads_and_explains_their_own_signals(hub: UpHub, ledger: dict[str, Any]) -> None:
    """`signals` pages by sequence without a gap, and `explain` leads back to the decision."""
    with hub.client(USERS[0]) as client:
        page = client.call("GET", "/api/v1/signals", query={"since_seq": 0, "limit": 50})
        signal_ = page["signals"][-1]
        explained = client.call("GET", f"/api/v1/signals/{signal_['delivery_id']}/explain")

    assert [one["sequence"] for one in page["signals"]] == list(range(1, len(page["signals"]) + 1))
    assert {one["user_id"] for one in page["signals"]} == {USERS[0]}
    assert explained["prediction"]["slot"]["signal_id"] == signal_["signal_id"]


def test_commands_show_what_the_api_knows(hub: UpHub, ledger: dict[str, Any]) -> None:
    """`hub signals`, `hub models` and `hub route` print it; a wrong id is a clear refusal."""
    token = hub.token(USERS[1])
    signals = hub.command("signals", "--token", token)
    models = hub.command("models", "--token", token)
    route = hub.command("route", "--token", token, "--accuracy", "> 90%")
    wrong = hub.command("explain", "no-such-id", "--token", token)

    assert "patient@1" in signals.stdout, signals.stderr
    assert "ridge@" in models.stdout, models.stderr
    assert "promised" in route.stdout, route.stderr
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "404" in wrong.stderr
