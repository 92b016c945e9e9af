"""One question to each kind of server that only a ready one answers, asked without a client library."""

from __future__ import annotations

import http.client
import socket
import struct

from serve_app.servers.ports import LOOPBACK

TIMEOUT_S = 1.0
KAFKA_METADATA = 3
KAFKA_CLIENT = b"central-hub-probe"


def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=TIMEOUT_S):
            return True
    except OSError:
        return False


def http_ok(port: int, path: str) -> bool:
    """Whether a GET of the path answers 200."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def redis_pongs(port: int) -> bool:
    """Whether a PING is answered, which a server still loading its data does not."""
    return _ask(port, b"PING\r\n", 7) == b"+PONG\r\n"


def kafka_has_broker(port: int) -> bool:
    """Whether the metadata names a live broker: then topics can be made and records written."""
    header = struct.pack(">hhih", KAFKA_METADATA, 1, 1, len(KAFKA_CLIENT)) + KAFKA_CLIENT
    request = header + struct.pack(">i", 0)  # an empty list of topics: none
    answer = _ask(port, struct.pack(">i", len(request)) + request, 12)
    if len(answer) < 12:
        return False
    _, _, brokers = struct.unpack(">iii", answer)
    return bool(brokers > 0)


def _ask(port: int, question: bytes, length: int) -> bytes:
    """The first bytes of the answer; fewer if the server closes, none if it cannot be reached."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=TIMEOUT_S) as connection:
            connection.sendall(question)
            return _read(connection, length)
    except OSError:
        return b""


def _read(connection: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        chunk = connection.recv(length - len(received))
        if not chunk:
            break
        received += chunk
    return received
