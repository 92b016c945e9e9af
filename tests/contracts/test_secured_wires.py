"""Kafka over TLS with a password, and NATS over TLS with a password or a token, as production runs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from messaging.config import KafkaConfig, NatsConfig, SaslMechanism, Security
from messaging.connect import open_bus, open_feed
from messaging.ports import Record
from models.errors import BrokerUnavailable, ConfigError
from models.secret import SecretRef
from serve_app.servers.bundled import nats
from serve_app.servers.process import ServerProcess
from tests.conftest import without_kafka
from tests.support.certificate import Certificate
from tests.support.secured_kafka import secured_kafka

PASSWORD = "correct-horse"
SOON = {"request_timeout_s": 1.0}
"""NATS refuses at once and every time; how long a client tries again is not what is looked at."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The servers' certificate."""
    return Certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secret(tmp_path: Path) -> SecretRef:
    """The right password, in a file."""
    path = tmp_path / "secret"
    path.write_text(PASSWORD + "\n")
    return SecretRef(file=str(path))


@pytest.fixture
def wrong(tmp_path: Path) -> SecretRef:
    """Another one."""
    path = tmp_path / "wrong"
    path.write_text("battery-staple")
    return SecretRef(file=str(path))


@contextmanager
def running(server: ServerProcess) -> Iterator[None]:
    """Started and stopped."""
    server.start()
    try:
        server.wait_ready()
        yield
    finally:
        server.stop()


@pytest.fixture(scope="module")
def kafka_address(certificate: Certificate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The SASL_SSL listener of an Apache Kafka."""
    try:
        server, address = secured_kafka(
            tmp_path_factory.mktemp("kafka"),
            certificate,
            "PLAIN",
            f'plain.PlainLoginModule required user_hub="{PASSWORD}"',
        )
    except ConfigError as error:
        without_kafka(error.message)
        raise
    with running(server):
        yield address


@pytest.mark.kafka
class TestKafka:
    """SASL_SSL, the production profile."""

    @pytest.fixture
    def config(self, kafka_address: str, certificate: Certificate, secret: SecretRef) -> KafkaConfig:
        """As it should be."""
        return KafkaConfig(
            bootstrap=kafka_address,
            security=Security.SASL_SSL,
            sasl_mechanism=SaslMechanism.PLAIN,
            username="hub",
            password=secret,
            ca_file=str(certificate.certificate),
            request_timeout_ms=5000,
        )

    async def test_every_client_gets_in(self, config: KafkaConfig) -> None:
        """Admin, producer, reader and group member work over the encrypted connection."""
        bus = await open_bus(config, client_id="x")
        await bus.create_topic("t", partitions=1, policy={}, replication=1)
        base = await (await bus.producer("p")).append("t", 0, [Record(b"k", b"v")], timeout_s=5)
        found = [record.value async for chunk in bus.read("t", 0, 0, 1) for record in chunk]
        member = await bus.join("g", "t")

        assert (base, found) == (0, [b"v"])
        assert await member.changed() == {0}
        await bus.close()

    async def test_a_wrong_password_is_refused(self, config: KafkaConfig, wrong: SecretRef) -> None:
        """And nothing of either password is in the error."""
        with pytest.raises(BrokerUnavailable) as refusal:
            await open_bus(config.model_copy(update={"password": wrong}), client_id="x")

        assert "battery" not in repr(refusal.value)

    async def test_an_unknown_certificate_is_refused(self, config: KafkaConfig) -> None:
        """Without the right authority the password is never sent."""
        with pytest.raises(BrokerUnavailable):
            await open_bus(config.model_copy(update={"ca_file": None}), client_id="x")


@pytest.mark.nats
class TestNats:
    """TLS with user and password, or with a token."""

    @pytest.fixture(params=["password", "token"])
    def config(
        self, request: pytest.FixtureRequest, certificate: Certificate, secret: SecretRef, tmp_path: Path
    ) -> Iterator[NatsConfig]:
        """Of a server that wants the one or the other."""
        by_password = request.param == "password"
        authorization = f'user: hub, password: "{PASSWORD}"' if by_password else f'token: "{PASSWORD}"'
        server = nats(tmp_path)
        with Path(server.spec.command[-1]).open("a") as file:
            file.write(f"authorization {{ {authorization} }}\n")
            file.write(f'tls {{ cert_file: "{certificate.certificate}", key_file: "{certificate.key}" }}\n')
        with running(server):
            yield NatsConfig(
                servers=(f"tls://{server.address}",),
                ca_file=str(certificate.certificate),
                user="hub" if by_password else None,
                password=secret if by_password else None,
                token=None if by_password else secret,
            )

    async def test_the_feed_gets_in(self, config: NatsConfig) -> None:
        """It sees to its streams over the encrypted connection."""
        feed = await open_feed(config, name="x")
        assert await feed.bars("EURUSD", 1000, limit=1) == ([], 0)
        await feed.close()

    async def test_a_wrong_secret_is_refused(self, config: NatsConfig, wrong: SecretRef) -> None:
        """The error says why, and nothing of either secret is in it."""
        name = "token" if config.token else "password"
        with pytest.raises(BrokerUnavailable, match="Authorization") as refusal:
            await open_feed(config.model_copy(update={name: wrong, **SOON}), name="x")

        assert "battery" not in repr(refusal.value)

    async def test_an_unknown_certificate_is_refused(self, config: NatsConfig) -> None:
        """Without the right authority the secret is never sent."""
        with pytest.raises(BrokerUnavailable, match="CERTIFICATE"):
            await open_feed(config.model_copy(update={"ca_file": None, **SOON}), name="x")
