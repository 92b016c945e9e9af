"""How to reach Kafka and NATS: frozen, hashable, without secrets. `SecretRef`s are resolved on connecting."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from models.base import Frozen
from models.secret import SecretRef


class Security(StrEnum):
    """Kafka's `security.protocol`."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"

    @property
    def sasl(self) -> bool:
        """Whether a user name and a password are sent."""
        return self in {Security.SASL_PLAINTEXT, Security.SASL_SSL}

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self in {Security.SSL, Security.SASL_SSL}


class SaslMechanism(StrEnum):
    """The mechanisms that need no more than a user name and a password."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


class Compression(StrEnum):
    """How a producer's batches travel and lie in the log; readers find out by themselves."""

    NONE = "none"
    GZIP = "gzip"
    SNAPPY = "snappy"
    LZ4 = "lz4"
    ZSTD = "zstd"


class KafkaConfig(Frozen):
    """One Kafka cluster, `bootstrap` as `host:port[,host:port]`; `KafkaConfig.tansu` for the bundled broker.

    `fetch_max_wait_ms` bounds how long a record of one partition can wait behind an idle fetch.
    `answer_timeout_ms` bounds a question about offsets and the wait for records that are there: then the
    cluster is asked anew who leads, which may be another broker since.
    `idempotent` is false for a broker without idempotent producers; such a one's other answers are mistrusted
    where that is known to be needed (`KafkaBus.bounds`).
    `compression` matters: the signals of one batch are equal but for their last two hundred bytes.
    `ca_file` holds the certificates to trust instead of the system's.
    """

    bootstrap: Annotated[str, StringConstraints(pattern=r"^[^\s,]+:\d+(,[^\s,]+:\d+)*$")]
    security: Security = Security.PLAINTEXT
    sasl_mechanism: SaslMechanism = SaslMechanism.SCRAM_SHA_512
    username: str | None = None
    password: SecretRef | None = None
    ca_file: str | None = None
    idempotent: bool = True
    compression: Compression = Compression.SNAPPY
    fetch_max_wait_ms: Annotated[int, Field(gt=0)] = 50
    request_timeout_ms: Annotated[int, Field(gt=0)] = 10_000
    answer_timeout_ms: Annotated[int, Field(gt=0)] = 3_000
    session_timeout_ms: Annotated[int, Field(gt=0)] = 6_000
    heartbeat_interval_ms: Annotated[int, Field(gt=0)] = 300

    @classmethod
    def tansu(cls, bootstrap: str) -> Self:
        """The bundled broker: it refuses idempotent producers and sleeps through long polls."""
        return cls(bootstrap=bootstrap, idempotent=False, fetch_max_wait_ms=5)

    def login(self, username: str, password: SecretRef) -> Self:
        """The same cluster as another principal; ValidationError where `security` sends no password."""
        return self.model_validate({**dict(self), "username": username, "password": password})

    @model_validator(mode="after")
    def _credentials_fit(self) -> Self:
        if self.security.sasl and not (self.username and self.password):
            raise ValueError(f"security {self.security.value} needs `username` and `password`")
        if not self.security.sasl and (self.username or self.password):
            raise ValueError(
                f"security {self.security.value} sends no `username` and `password`; remove them"
            )
        return self


class NatsConfig(Frozen):
    """NATS servers as `nats://host:port` (`tls://` to encrypt); a user and password, a token, or nothing.

    `ping_interval_s` decides how soon a silent server is noticed: after two unanswered pings.
    `refuse_unpatched`: a server with known holes in its permissions is refused and not only complained about.
    """

    servers: Annotated[tuple[str, ...], Field(min_length=1)]
    user: str | None = None
    password: SecretRef | None = None
    token: SecretRef | None = None
    ca_file: str | None = None
    ping_interval_s: Annotated[float, Field(gt=0)] = 1.0
    request_timeout_s: Annotated[float, Field(gt=0)] = 2.0
    refuse_unpatched: bool = False

    def login(self, user: str, password: SecretRef) -> Self:
        """The same servers as another principal."""
        return self.model_validate({**dict(self), "user": user, "password": password, "token": None})

    @model_validator(mode="after")
    def _credentials_fit(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("`user` and `password` go together")
        if self.token and self.user:
            raise ValueError("name either `token` or `user` and `password`")
        return self
