"""A stage for the stream's tests: a log in memory, virtual time, one replica's app, and scripted clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final, TypeVar

import orjson

from deployments.front.denials import DenialLog
from deployments.front.limits import RateLimiter, load_tiers
from deployments.front.metering import UsageMeter
from deployments.front.tokens import unauthenticated
from deployments.front.user_signals import UserSignals
from deployments.front.verified import Known
from deployments.stream.app import StreamApp
from deployments.stream.config import SessionConfig
from deployments.stream.entrance import Entrance
from deployments.stream.follower import Follower
from deployments.stream.owed import Sources
from deployments.stream.session import Tools
from deployments.stream.switchboard import SocketLimits, Switchboard
from messaging.marks import SignalMarks
from messaging.ports import Record
from messaging.topics import SIGNALS
from models.errors import TenantSuspended
from models.events import BEAT_KEY
from models.metrics import MemoryMeter
from models.principal import Principal
from storage.memory import MemoryFastStore
from tests.support.virtual_loop import run_virtual
from tests.unit.front.signal_log import ALICE, PARTITION, SignalLog, principal
from tests.unit.gateway.doubles import TIERS
from tests.unit.signals.records import NOW_NS

T = TypeVar("T")
LATER_NS: Final = 3600 * 10**9


class Tokens:
    """Every word is a token of the user of that name, until it is taken away."""

    def __init__(self) -> None:
        self.expires_s: dict[str, float] = {}
        self.gone: set[str] = set()
        self.suspended: set[str] = set()
        self.principals: dict[str, Principal] = {}

    async def verify(self, bearer: str) -> Principal:
        return (await self.known(bearer)).principal

    async def known(self, bearer: str) -> Known:
        if not bearer or bearer in self.gone:
            raise unauthenticated()
        if bearer in self.suspended:
            raise TenantSuspended("your tenant is suspended")
        who = self.principals.get(bearer) or principal(bearer)
        return Known(who, self.expires_s.get(bearer, 2**40), None, None, 0.0, 0.0)


class Stage:
    """Owns the log and the replica; `config` bounds its sessions."""

    def __init__(self, **config: Any) -> None:
        self.log = SignalLog(self.clock)
        self.log.claim()
        self.meter, self.tokens, self.switchboard = MemoryMeter(), Tokens(), Switchboard()
        bus = self.log.bus
        self.follower = Follower(bus, self.switchboard, rng=Random(2))
        self.usage = UsageMeter(bus, name="stream", clock=self.clock, rng=Random(4), meter=self.meter)
        self.denials = DenialLog(
            bus,
            name="stream",
            clock=self.clock,
            monotonic=lambda: self.clock() / 1e9,
            rng=Random(5),
            meter=self.meter,
        )
        store = MemoryFastStore(self.clock)
        tiers = load_tiers(TIERS)
        limiter = RateLimiter(tiers, shared=store, local=MemoryFastStore(self.clock), gateways=1)
        sources = Sources(self.follower, UserSignals(bus, SignalMarks(bus)), Random(3), page=7)
        self.app = StreamApp(
            Entrance(self.tokens, limiter, self.denials, self.clock),
            SocketLimits(tiers, replicas=1),
            self.switchboard,
            Tools(
                sources,
                self.tokens,
                self.meter,
                self.usage,
                self.clock,
                SessionConfig(**{"beat_s": 2.0, **config}),
            ),
        )
        self._tasks: list[asyncio.Task[Any]] = [asyncio.create_task(self.follower.run())]

    @staticmethod
    def clock() -> int:
        return NOW_NS + int(asyncio.get_running_loop().time() * 1e9)

    async def ready(self) -> Stage:
        """Follows the log."""
        await self.follower.ready.wait()
        return self

    def signal(self, sequence: int, user: str = ALICE, **fields: Any) -> int:
        """A signal that does not expire on this stage."""
        return self.log.signal(sequence, user, **{"expires_ns": NOW_NS + LATER_NS, **fields})

    def owner_beats(self) -> None:
        """The partition's owner says that it lives."""
        beat = orjson.dumps({"epoch": self.log.epoch, "cursor": {}, "now_ns": self.clock()})
        self.log.log.partition(SIGNALS.name, PARTITION).land(
            [Record(BEAT_KEY, beat)], self.clock() // 1_000_000
        )

    def open(self, query: str = "", token: str = ALICE, **scope: Any) -> Client:
        """A client that connects."""
        client = Client(query, token, **scope)
        self._tasks.append(asyncio.create_task(self.app(client.scope, client.receive, client.send)))
        return client


class Client:
    """One socket as the ASGI server sees it. While `stuck`, nothing sent to it gets through."""

    def __init__(self, query: str, token: str, **scope: Any) -> None:
        self.scope: dict[str, Any] = {
            "type": "websocket",
            "path": "/api/v1/stream",
            "root_path": "/api/v1/stream",
            "query_string": query.encode(),
            "headers": [(b"authorization", f"Bearer {token}".encode())] if token else [],
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
            **scope,
        }
        self.messages: list[dict[str, Any]] = []
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._incoming.put_nowait({"type": "websocket.connect"})
        self._free = asyncio.Event()
        self._free.set()

    async def receive(self) -> dict[str, Any]:
        return await self._incoming.get()

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.send":
            await self._free.wait()
        self.messages.append(message)

    def stick(self, *, free: bool = False) -> None:
        """Take nothing any more, or again."""
        (self._free.set if free else self._free.clear)()

    def leave(self) -> None:
        """Disconnect."""
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})

    def say(self, text: str) -> None:
        """Send something."""
        self._incoming.put_nowait({"type": "websocket.receive", "text": text})

    @property
    def frames(self) -> list[dict[str, Any]]:
        """What came, decoded."""
        return [orjson.loads(m["text"]) for m in self.messages if m["type"] == "websocket.send"]

    @property
    def sequences(self) -> list[int]:
        """Of the signals that came."""
        return [frame["sequence"] for frame in self.frames if "type" not in frame]

    def notes(self, kind: str) -> list[dict[str, Any]]:
        """Notes of one type."""
        return [frame for frame in self.frames if frame.get("type") == kind]

    @property
    def closed(self) -> tuple[int, str] | None:
        """Code and reason."""
        found = [(m["code"], m["reason"]) for m in self.messages if m["type"] == "websocket.close"]
        return found[0] if found else None

    @property
    def refused(self) -> tuple[int, dict[str, Any]] | None:
        """Status and problem of a refusal before the upgrade."""
        status = [m["status"] for m in self.messages if m["type"] == "websocket.http.response.start"]
        body = b"".join(m["body"] for m in self.messages if m["type"] == "websocket.http.response.body")
        return (status[0], orjson.loads(body)) if status else None

    @property
    def accepted(self) -> bool:
        return bool(self.messages) and self.messages[0]["type"] == "websocket.accept"


def play(story: Callable[[Stage], Awaitable[T]], **config: Any) -> T:
    """Tell a story on virtual time, of a replica that follows the log already."""

    async def told() -> T:
        return await story(await Stage(**config).ready())

    return run_virtual(told())
