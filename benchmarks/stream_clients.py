"""A thousand clients in one process of their own, for `stream.py`.

Commands: `open hub|peer` connects everybody, `shake RATE` hangs up so many random ones a second, `calm` stops
that, `take` answers with what came since (user, sequence, wall time in nanoseconds) and with the loop's lag.
`close` ends all connections. A client that hangs up connects again with the last sequence it saw.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from random import Random
from typing import Final

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from benchmarks.child import commands, say
from benchmarks.stream_log import TENANT, user_of
from deployments.front.tokens import LocalTokens, mint
from models.principal import Principal, Tier
from models.secret import SecretRef

_AT_ONCE: Final = 50
_PAUSE_S: Final = 0.001
_YEAR_S: Final = 365 * 86_400

Arrival = tuple[str, int, int]


class Client:
    """One user's client; connects again whenever its connection ends, until told to stop."""

    def __init__(self, user: str, address: str, token: str, arrivals: list[Arrival]) -> None:
        self.user = user
        self._address = address
        self._headers = {"Authorization": f"Bearer {token}"}
        self._arrivals = arrivals
        self._socket: ClientConnection | None = None
        self.last = 0
        self.open = asyncio.Event()

    async def run(self) -> None:
        """Receive until cancelled."""
        while True:
            address = self._address.format(user=self.user, last=self.last)
            async with connect(address, additional_headers=self._headers, compression=None) as socket:
                self._socket = socket
                self.open.set()
                try:
                    async for text in socket:
                        self._take(text)
                except ConnectionClosed:
                    continue

    async def hang_up(self) -> None:
        """End the connection, if there is one."""
        if self._socket:
            await self._socket.close()

    def _take(self, text: str | bytes) -> None:
        now_ns, frame = time.time_ns(), orjson.loads(text)
        if "type" not in frame:
            self._arrivals.append((self.user, frame["sequence"], now_ns))
            self.last = frame["sequence"]


class Crowd:
    """All clients of one server at a time."""

    def __init__(self, addresses: dict[str, str], secret: str, count: int) -> None:
        self._addresses = addresses
        self._tokens = [_token(user_of(number), secret) for number in range(count)]
        self._clients: list[Client] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._shaking: asyncio.Task[None] | None = None
        self._known: dict[str, int] = {}
        self.arrivals: list[Arrival] = []

    async def open(self, which: str) -> None:
        """Connect everybody, some at a time, from now on: after the last signal that any of them saw."""
        self._clients = [
            Client(user_of(number), self._addresses[which], token, self.arrivals)
            for number, token in enumerate(self._tokens)
        ]
        for start in range(0, len(self._clients), _AT_ONCE):
            group = self._clients[start : start + _AT_ONCE]
            for client in group:
                client.last = self._known.get(client.user, 0)
            self._tasks += [asyncio.create_task(client.run()) for client in group]
            await asyncio.gather(*(client.open.wait() for client in group))

    async def close(self) -> None:
        """Disconnect everybody."""
        self._known = {client.user: client.last for client in self._clients}
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def shake(self, rate: float) -> None:
        """Hang up so many a second."""
        self._shaking = asyncio.create_task(self._shake(rate, Random(1)))

    def calm(self) -> None:
        """No more of that."""
        if self._shaking:
            self._shaking.cancel()

    async def _shake(self, rate: float, rng: Random) -> None:
        while True:
            await asyncio.sleep(rng.expovariate(rate))
            await rng.choice(self._clients).hang_up()

    def take(self) -> list[Arrival]:
        """What came since the last call."""
        taken = list(self.arrivals)
        self.arrivals.clear()
        return taken


class Lag:
    """How much longer than asked for the loop sleeps."""

    def __init__(self) -> None:
        self._lags_ms: list[float] = []

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(_PAUSE_S)
            self._lags_ms.append((time.perf_counter() - begun - _PAUSE_S) * 1e3)

    def take(self) -> list[float]:
        """Since the last call."""
        taken, self._lags_ms = self._lags_ms, []
        return taken


async def main(arguments: Sequence[str] | None = None) -> None:
    """Obey the parent until it closes the pipe."""
    parser = argparse.ArgumentParser()
    for name in ("hub", "peer", "secret"):
        parser.add_argument(name)
    parser.add_argument("count", type=int)
    asked = parser.parse_args(arguments)
    addresses = {"hub": asked.hub + "?since_seq={last}", "peer": asked.peer + "?user={user}"}
    crowd, lag = Crowd(addresses, asked.secret, asked.count), Lag()
    watching = asyncio.create_task(lag.watch())
    say({"ready": True})
    async for command in commands():
        word, _, rest = command.partition(" ")
        match word:
            case "open":
                await crowd.open(rest)
            case "close":
                await crowd.close()
            case "shake":
                crowd.shake(float(rest))
            case "calm":
                crowd.calm()
        say({"arrivals": crowd.take(), "lags_ms": lag.take()} if word == "take" else {})
    watching.cancel()
    await crowd.close()


def _token(user: str, secret: str) -> str:
    now_s = int(time.time())
    principal = Principal(
        user_id=user,
        tenant_id=TENANT,
        tier=Tier.SERVICE,
        roles=frozenset({"tenant:trader"}),
        entitled_until_ns=(now_s + _YEAR_S) * 10**9,
    )
    return mint(principal, LocalTokens(secret=SecretRef(file=secret)), now_s=now_s, ttl_s=86_400)


if __name__ == "__main__":
    asyncio.run(main())
