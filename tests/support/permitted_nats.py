"""A NATS server that lets each principal do what `messaging.principals` says, over TLS."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from messaging.config import NatsConfig
from messaging.nats.permissions import accounts, password_variable, permissions_of
from messaging.principals import PRINCIPALS
from models.secret import SecretRef
from serve_app.servers.bundled import nats
from serve_app.servers.process import ServerProcess
from tests.support.certificate import Certificate


@dataclass(frozen=True)
class PermittedNats:
    """The server, and how each principal reaches it."""

    server: ServerProcess
    certificate: Certificate
    directory: Path

    def config(self, principal: str) -> NatsConfig:
        """As this principal, with its password."""
        return NatsConfig(
            servers=(f"tls://{self.server.address}",),
            user=principal,
            password=SecretRef(file=str(self.directory / f"{principal}.nats-password")),
            ca_file=str(self.certificate.certificate),
            request_timeout_s=5.0,
        )


def permitted_nats(directory: Path, certificate: Certificate) -> PermittedNats:
    """The server with the printed configuration, not yet started."""
    server = nats(directory)
    with Path(server.spec.command[-1]).open("a") as file:
        file.write(accounts())
        file.write(f'tls {{ cert_file: "{certificate.certificate}", key_file: "{certificate.key}" }}\n')
    passwords = {}
    for access in PRINCIPALS:
        if permissions_of(access):
            passwords[password_variable(access)] = password = f"p-{secrets.token_hex(16)}"
            (directory / f"{access.principal}.nats-password").write_text(password)
    spec = replace(server.spec, environment=passwords)
    return PermittedNats(ServerProcess(spec), certificate, directory)
