"""An Apache Kafka with a TLS listener that wants a password; the plain one, for its own use, stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serve_app.servers.apache_kafka import apache_kafka
from serve_app.servers.ports import free_ports
from serve_app.servers.process import ServerProcess
from tests.support.certificate import Certificate

_SECURE = {
    "listeners": ",SECURED://127.0.0.1:{port}",
    "advertised.listeners": ",SECURED://127.0.0.1:{port}",
    "listener.security.protocol.map": ",SECURED:SASL_SSL",
}


def secured_kafka(
    directory: Path, certificate: Certificate, mechanism: str, login: str, *more: str
) -> tuple[ServerProcess, str]:
    """The server, not yet started, and the address of its SASL_SSL listener. `login` is the mechanism's JAAS
    module, `more` are further lines for its properties.
    """
    server = apache_kafka(directory)
    (port,) = free_ports(1)
    properties = Path(server.spec.command[-1])
    lines = [_extended(line, port) for line in properties.read_text().splitlines()]
    properties.write_text("\n".join([*lines, *_sasl(mechanism, login), *_tls(certificate), *more]))
    return server, f"127.0.0.1:{port}"


def _extended(line: str, port: int) -> str:
    return line + _SECURE.get(line.partition("=")[0], "").format(port=port)


def _sasl(mechanism: str, login: str) -> Sequence[str]:
    listener = "listener.name.secured."
    return (
        f"{listener}sasl.enabled.mechanisms={mechanism}",
        f"{listener}{mechanism.lower()}.sasl.jaas.config=org.apache.kafka.common.security.{login};",
    )


def _tls(certificate: Certificate) -> Sequence[str]:
    listener = "listener.name.secured."
    return (
        f"{listener}ssl.keystore.type=PEM",
        f"{listener}ssl.keystore.certificate.chain={_in_one_line(certificate.certificate)}",
        f"{listener}ssl.keystore.key={_in_one_line(certificate.key)}",
    )


def _in_one_line(path: Path) -> str:
    return path.read_text().strip().replace("\n", "\\n")
