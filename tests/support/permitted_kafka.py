"""An Apache Kafka that lets each principal do what `messaging.principals` says, and nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs do not re-export them
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from messaging.config import KafkaConfig, Security
from messaging.kafka.acls import SCRAM_ITERATIONS, Rule, all_rules
from messaging.principals import PRINCIPALS
from models.secret import SecretRef
from serve_app.servers.process import ServerProcess
from tests.support.certificate import Certificate
from tests.support.secured_kafka import secured_kafka

AUTHORIZER = (
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users=User:ANONYMOUS",  # who comes by the plain listener: the broker itself, and `admit`
)


@dataclass(frozen=True)
class PermittedKafka:
    """The server with its two doors: `plain` for the super user, the secured one for everybody else."""

    server: ServerProcess
    secured: str
    certificate: Certificate
    directory: Path

    @property
    def plain(self) -> KafkaConfig:
        """As the super user."""
        return KafkaConfig(bootstrap=self.server.address)

    def config(self, principal: str, *, request_timeout_ms: int = 10_000) -> KafkaConfig:
        """As this principal, with its password."""
        return KafkaConfig(
            bootstrap=self.secured,
            security=Security.SASL_SSL,
            username=principal,
            password=self.secret(principal),
            ca_file=str(self.certificate.certificate),
            request_timeout_ms=request_timeout_ms,
        )

    def secret(self, principal: str) -> SecretRef:
        """Where its password is; made when it is first asked for."""
        file = self.directory / f"{principal}.password"
        if not file.exists():
            file.write_text(secrets.token_urlsafe(24))
        return SecretRef(file=str(file))

    def admit(self) -> None:
        """Put the rules in force and give each principal its password."""
        admin = AdminClient({"bootstrap.servers": self.server.address})
        _settled(admin.create_acls([acl for rule in all_rules() for acl in _bindings(rule)]).values())
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, SCRAM_ITERATIONS)
        logins: list[UserScramCredentialAlteration] = [
            UserScramCredentialUpsertion(name, scram, self.secret(name).resolve().encode())
            for name in (access.principal for access in PRINCIPALS)
        ]
        _settled(admin.alter_user_scram_credentials(logins).values())


def permitted_kafka(directory: Path, certificate: Certificate) -> PermittedKafka:
    """The server, not yet started; `admit` once it runs. ConfigError where Kafka cannot run."""
    login = "scram.ScramLoginModule required"
    server, secured = secured_kafka(directory, certificate, "SCRAM-SHA-512", login, *AUTHORIZER)
    return PermittedKafka(server, secured, certificate, directory)


def _bindings(rule: Rule) -> Iterable[AclBinding]:
    pattern = ResourcePatternType.PREFIXED if rule.prefixed else ResourcePatternType.LITERAL
    for operation in rule.operations:
        yield AclBinding(
            ResourceType[rule.kind],
            rule.name,
            pattern,
            f"User:{rule.principal}",
            "*",
            AclOperation[operation],
            AclPermissionType.ALLOW,
        )


def _settled(futures: Iterable[object]) -> None:
    for future in futures:
        future.result(timeout=10)  # type: ignore[attr-defined]
