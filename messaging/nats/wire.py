"""The NATS connection: settings that make silence visible, and its errors in the hub's own terms."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from nats.aio.client import Client
from nats.errors import Error as NatsError

from messaging.config import NatsConfig
from messaging.denials import Denials
from messaging.nats.floors import too_old
from messaging.nats.permissions import inbox_of
from models.errors import AccessDenied, BrokerUnavailable, ConfigError

_LOG: Final = logging.getLogger(__name__)
_RECONNECT_WAIT_S: Final = 0.25
_UNANSWERED_PINGS: Final = 2
_DENIED: Final = "permissions violation"
"""In the server's word on what it does not let through; nothing else tells."""


class _Tidy(Client):
    """nats-py forgets the socket of an attempt that failed after it was opened; of a frozen server that is
    one for each attempt.
    """

    async def _connect_to_server(self, s: Any) -> None:
        opened: Any = self._transport
        if opened is not None:
            opened.close()
        await super()._connect_to_server(s)

    async def close(self) -> None:
        """nats-py lets two tasks wait for the end of one socket; by ending the task that reconnects, closing
        cancels its own wait, too. That is no cancellation of ours.
        """
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        try:
            await super().close()
        except asyncio.CancelledError:
            if task and task.cancelling() > before:
                raise


async def connect(
    config: NatsConfig, name: str, *, on_reconnect: Callable[[], Awaitable[None]], denials: Denials
) -> Client:
    """A connection that reconnects for ever and buffers nothing meanwhile: a late tick helps nobody. What the
    server denies later goes to `denials`.

    Raises BrokerUnavailable, with the last reason, if none is made within the request timeout, and
    ConfigError for a server with known holes where `refuse_unpatched` says so.
    """
    client = _Tidy()
    try:
        async with asyncio.timeout(config.request_timeout_s):
            await client.connect(
                servers=list(config.servers),
                name=name,
                ping_interval=config.ping_interval_s,  # type: ignore[arg-type]  # it is slept for
                max_outstanding_pings=_UNANSWERED_PINGS,
                max_reconnect_attempts=-1,
                reconnect_time_wait=_RECONNECT_WAIT_S,  # type: ignore[arg-type]  # likewise
                pending_size=-1,
                error_cb=partial(_heard, denials),
                reconnected_cb=on_reconnect,
                **_credentials(config),
            )
    except (NatsError, TimeoutError, OSError) as error:
        await client.close()
        servers, reason = ", ".join(config.servers), client.last_error or error
        raise BrokerUnavailable(f"no NATS server accepted a connection at {servers}: {reason!r}") from error
    if complaint := too_old(_version_of(client)):
        if config.refuse_unpatched:
            await client.close()
            raise ConfigError(complaint, field="nats")
        _LOG.warning("%s", complaint)
    return client


def _version_of(client: Client) -> tuple[int, int, int]:
    said = client.connected_server_version
    return said.major, said.minor, said.patch


@asynccontextmanager
async def translated(what: str, denials: Denials) -> AsyncIterator[None]:
    """Raise the errors of nats-py as BrokerUnavailable, or AccessDenied if the server denied something in the
    meantime: the request is then not answered. A cancellation ends the block for certain.
    """
    before = denials.count
    try:
        async with cancellable():
            yield
    except (NatsError, TimeoutError, OSError) as error:
        if denials.count > before:
            raise AccessDenied(f"{what}: {denials.last}") from error
        raise BrokerUnavailable(f"{what}: NATS did not answer as expected ({error!r})") from error


@asynccontextmanager
async def cancellable() -> AsyncIterator[None]:
    """A block that a cancellation ends at the latest where the block does.

    nats-py waits with `asyncio.wait_for`, which until Python 3.12 drops a cancellation that arrives together
    with the answer: the task would go on as if nobody had wanted it to end.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


def _credentials(config: NatsConfig) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    if config.user and config.password:
        chosen |= {"user": config.user, "password": config.password.resolve()}
        chosen |= {"inbox_prefix": inbox_of(config.user)}
    if config.token:
        chosen["token"] = config.token.resolve()
    if config.ca_file:
        chosen["tls"] = ssl.create_default_context(cafile=config.ca_file)
    return chosen


async def _heard(denials: Denials, error: Exception) -> None:
    if _DENIED in str(error).lower():
        denials.note(str(error))
    else:
        _LOG.warning("NATS: %r", error)
