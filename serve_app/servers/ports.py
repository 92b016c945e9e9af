"""Free loopback ports that stay free across a restart of their server."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"
# Below the range from which Linux picks the local ends of outgoing connections, above Ray's worker ports:
# a port given back for a moment is still there when its server returns.
FIRST, LAST = 20_000, 32_000
ATTEMPTS = 200


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on. They are not reserved: take them soon.

    Raises:
        OSError: none was found.
    """
    found: list[int] = []
    for port in random.SystemRandom().sample(range(FIRST, LAST), ATTEMPTS):
        if len(found) == count:
            break
        if _is_free(port):
            found.append(port)
    if len(found) < count:
        raise OSError(f"no free port among {ATTEMPTS} tried between {FIRST} and {LAST} on {LOOPBACK}")
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
