"""Configuration of the wires: what is refused, what clients are made of it, and that secrets come late."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from messaging.backoff import Backoff
from messaging.config import KafkaConfig, NatsConfig, SaslMechanism, Security
from messaging.kafka.client import new_consumer, new_producer
from messaging.nats.floors import too_old
from messaging.ports import Record
from messaging.sizes import MAX_BATCH_BYTES, fitting
from messaging.subjects import SUBJECTS, bar_subject, tick_subject, token
from models.errors import BadValue, ConfigError
from models.secret import SecretRef

PASSWORD = SecretRef(env="TEST_KAFKA_PASSWORD")
SECURE = KafkaConfig(
    bootstrap="a:1,b:2",
    security=Security.SASL_SSL,
    sasl_mechanism=SaslMechanism.SCRAM_SHA_256,
    username="hub",
    password=PASSWORD,
)


@pytest.mark.parametrize("bootstrap", ["", "host", "host:port", "a:1, b:2", "http://a:1/"])
def test_a_bootstrap_is_hosts_and_ports(bootstrap: str) -> None:
    """Anything else is refused where it is written, not on connecting."""
    with pytest.raises(ValidationError, match="bootstrap"):
        KafkaConfig(bootstrap=bootstrap)


def test_credentials_and_security_fit() -> None:
    """No SASL without a password, and none that would silently not be sent."""
    with pytest.raises(ValidationError, match="needs `username` and `password`"):
        KafkaConfig(bootstrap="a:1", security=Security.SASL_SSL)
    with pytest.raises(ValidationError, match="sends no `username`"):
        KafkaConfig(bootstrap="a:1", username="u", password=PASSWORD)
    with pytest.raises(ValidationError, match="go together"):
        NatsConfig(servers=("nats://a:1",), user="u")
    with pytest.raises(ValidationError, match="either"):
        NatsConfig(servers=("nats://a:1",), user="u", password=PASSWORD, token=PASSWORD)


@pytest.mark.parametrize("version", [(2, 11, 16), (2, 12, 7), (2, 12, 30), (2, 14, 0), (2, 15, 1), (3, 0, 0)])
def test_patched_servers_pass(version: tuple[int, int, int]) -> None:
    """In the oldest lines that were patched, and in all newer ones."""
    assert too_old(version) is None


@pytest.mark.parametrize("version", [(0, 0, 0), (2, 9, 10), (2, 11, 15), (2, 12, 6), (2, 13, 9)])
def test_servers_with_holes_are_told_apart(version: tuple[int, int, int]) -> None:
    """A line that was never patched is older than any that was, whatever its number."""
    assert "known holes" in (too_old(version) or "")


def test_the_bundled_broker_has_a_configuration_of_its_own() -> None:
    """Its quirks in one place."""
    config = KafkaConfig.tansu("127.0.0.1:1")

    assert (config.idempotent, config.fetch_max_wait_ms) == (False, 5)


async def test_secrets_are_resolved_on_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration travels without them; a client is refused where the secret is missing."""
    monkeypatch.delenv("TEST_KAFKA_PASSWORD", raising=False)
    with pytest.raises(ConfigError, match="TEST_KAFKA_PASSWORD"):
        new_producer(SECURE, "c")
    monkeypatch.setenv("TEST_KAFKA_PASSWORD", "opensesame")
    producer = new_producer(SECURE, "c")

    assert b"opensesame" not in pickle.dumps(SECURE)
    assert "opensesame" not in repr(SECURE)
    assert producer.client._sasl_plain_password == "opensesame"
    await producer.stop()


async def test_clients_get_safe_settings() -> None:
    """What aiokafka's defaults would get wrong, and the TLS context with host name checks."""
    config = SECURE.model_copy(update={"password": SecretRef(file=str(Path(__file__)))})
    producer = new_producer(config, "c")
    consumer = new_consumer(config, "c", group="g")

    assert producer._sender._acks == -1
    assert producer._txn_manager is not None
    assert producer.client._ssl_context.check_hostname
    assert producer.client._security_protocol == "SASL_SSL"
    assert producer.client._sasl_mechanism == "SCRAM-SHA-256"
    assert not consumer._enable_auto_commit
    assert consumer._auto_offset_reset == "earliest"
    assert (consumer._session_timeout_ms, consumer._heartbeat_interval_ms) == (6000, 300)
    await producer.stop()
    await consumer.stop()


def test_symbols_make_one_token() -> None:
    """A dot would split it, a wildcard would match others."""
    assert tick_subject("EURUSD") == "hub.v1.market.EURUSD.tick"
    assert tick_subject("EURUSD.pro") == "hub.v1.market.EURUSD_pro.tick"
    assert bar_subject("EURUSD", 10_000) == "hub.v1.market.EURUSD.bar.10000"
    for bad in ("", "EUR USD", "EUR*", ">", "a\r\nPUB x"):
        with pytest.raises(BadValue):
            token(bad)


def test_no_stream_keeps_requests() -> None:
    """A stream answers requests on its subjects itself."""
    assert not any(subject.pattern.startswith("rpc.") for subject in SUBJECTS)


def test_what_fits_is_counted_in_bytes() -> None:
    """Keys, values and headers count; the first record that does not fit ends the count."""
    records = [Record(b"k" * 10, b"v" * 90)] * 10

    assert fitting(records, 10_000) == 10
    assert fitting(records, 600) == 3
    assert fitting([Record(b"k", None, (("h", b"x" * 500),))], 500) == 0
    assert fitting([], 1) == 0


def test_backoff_doubles_up_to_its_limit() -> None:
    """The first attempt after a success waits for nothing."""
    backoff = Backoff(first_s=0.1, most_s=0.5)

    assert [backoff.next_s() for _ in range(6)] == [0, 0.1, 0.2, 0.4, 0.5, 0.5]
    backoff.reset()
    assert backoff.next_s() == 0


@pytest.mark.parametrize(
    "record",
    [
        Record(b"", b""),
        Record(b"k", None),
        Record(b"k" * 100, b"v" * 700),
        Record(b"k", b"v", (("h" * 20, b"x" * 3), ("b", b""))),
        Record(b"k", b"v" * 200_000),
    ],
)
async def test_the_library_takes_what_fits(record: Record) -> None:
    """Our count is never above what aiokafka puts into one batch of the same limit."""
    producer = new_producer(KafkaConfig(bootstrap="127.0.0.1:1"), "c")
    batch = producer.create_batch()
    for _ in range(fitting([record] * 30_000, MAX_BATCH_BYTES)):
        added = batch.append(
            timestamp=1_800_000_000_000, key=record.key, value=record.value, headers=list(record.headers)
        )
        assert added is not None
    await producer.stop()
