"""The stream under Serve: real WebSocket clients, Serve's own proxy, a real broker, a redeploy."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from ray import serve
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from deployments.front.limits import load_tiers
from deployments.front.tokens import LocalTokens, mint
from deployments.stream.config import StreamConfig
from deployments.stream.deployment import ROUTE, build_stream
from messaging.connect import open_bus
from messaging.ports import Producer, Record
from messaging.topics import SIGNALS, partition_of
from models.events import CLAIM_KEY
from models.principal import Principal, Tier
from serve_app.launch import local_settings, topics_ready
from serve_app.local_stack import LocalStack
from tests.unit.gateway.doubles import TIERS
from tests.unit.signals.records import CLOSE_MS, signal_bytes

pytestmark = [pytest.mark.serve, pytest.mark.slow, pytest.mark.timeout(300)]
USERS = ("ada", "bob", "cyd")


class Owner:
    """Writes signals as the fan-out does, each user's for this user only."""

    def __init__(self, producer: Producer, sequences: dict[str, int]) -> None:
        self._producer = producer
        self._epochs: dict[int, int] = {}
        self._sequences = sequences

    async def write(self, user: str) -> int:
        """The user's next signal; its sequence."""
        partition = partition_of(user.encode(), SIGNALS.partitions)
        if partition not in self._epochs:
            self._epochs[partition] = await self._append(partition, Record(CLAIM_KEY, b"{}"))
        self._sequences[user] = sequence = self._sequences[user] + 1
        body = signal_bytes(
            close_ms=CLOSE_MS + sequence * 10_000,
            user_id=user,
            sequence=sequence,
            epoch=self._epochs[partition],
        )
        changed = {"expires_ns": time.time_ns() + 600 * 10**9, "reason": f"canary-{user}"}
        await self._append(
            partition, Record(user.encode(), json.dumps({**json.loads(body), **changed}).encode())
        )
        return sequence

    async def _append(self, partition: int, record: Record) -> int:
        return await self._producer.append(SIGNALS.name, partition, [record], timeout_s=10)


@dataclass(frozen=True)
class Deployed:
    """A stream on bundled servers, and how to reach it through Serve's proxy."""

    url: str
    config: StreamConfig

    def deploy(self) -> None:
        """Put it, or a new one in its place."""
        serve.run(build_stream(self.config), name="stream", route_prefix=ROUTE)

    def token(self, user: str, *, entitled_s: int = 3600) -> str:
        """A token of the user."""
        principal = Principal(
            user_id=user,
            tenant_id="tenant",
            tier=Tier.PRO,
            roles=frozenset({"tenant:trader"}),
            entitled_until_ns=time.time_ns() + entitled_s * 10**9,
        )
        assert isinstance(self.config.tokens, LocalTokens)
        return mint(principal, self.config.tokens, now_s=int(time.time()), ttl_s=600)

    def open(self, user: str, since_seq: int) -> connect:
        """Connect as a program does; a header that claims another identity counts for nothing."""
        headers = {"Authorization": f"Bearer {self.token(user)}", "X-User-Id": "bob"}
        return connect(f"{self.url}?since_seq={since_seq}", additional_headers=headers)


@pytest.fixture(scope="module")
def stream(ray_runtime: None, serve_port: int) -> Iterator[Deployed]:
    """The deployed stream."""
    with LocalStack(broker="tansu") as stack:
        settings = local_settings(stack, "tansu")
        topics_ready(settings, create=True)
        config = StreamConfig(
            kafka=settings.kafka,
            redis=settings.redis,
            tokens=settings.tokens,
            tiers=load_tiers(TIERS),
            num_cpus=0,
        )
        deployed = Deployed(f"ws://127.0.0.1:{serve_port}{ROUTE}", config)
        deployed.deploy()
        yield deployed
        serve.delete("stream")


@pytest.fixture(scope="module")
def sequences() -> dict[str, int]:
    """The last of each user, which every owner goes on from."""
    return dict.fromkeys(USERS, 0)


@pytest.fixture
async def owner(stream: Deployed, sequences: dict[str, int]) -> AsyncIterator[Owner]:
    """Who writes the signals."""
    bus = await open_bus(stream.config.kafka, client_id="owner")
    producer = await bus.producer("owner")
    yield Owner(producer, sequences)
    await producer.close()
    await bus.close()


async def signals(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    """The next signals that come."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            frame = json.loads(await socket.recv())
            if "type" not in frame:
                found.append(frame)
    return found


async def test_each_user_gets_its_own_signals_history_and_live(stream: Deployed, owner: Owner) -> None:
    """Also where both live in one replica, and whatever a header says of who is calling."""
    written = {user: [await owner.write(user) for _ in range(3)] for user in USERS}
    for user in USERS:
        async with stream.open(user, written[user][0] - 1) as socket:
            came = await signals(socket, len(written[user]))
            for name in USERS:
                written[name].append(await owner.write(name))
            came += await signals(socket, 1)
        assert [one["sequence"] for one in came] == written[user]
        assert {one["reason"] for one in came} == {f"canary-{user}"}


async def test_a_redeploy_sends_clients_away_and_they_go_on_where_they_were(
    stream: Deployed, owner: Owner
) -> None:
    """The old replica closes with 1001 before Serve would kill it; the new one has what came meanwhile."""
    first = await owner.write("ada")
    async with stream.open("ada", first - 1) as socket:
        assert [one["sequence"] for one in await signals(socket, 1)] == [first]
        deploying = asyncio.create_task(asyncio.to_thread(stream.deploy))
        async with asyncio.timeout(100):
            await socket.wait_closed()
    assert socket.close_code == 1001
    assert str(socket.close_reason).endswith(f"last sequence {first}")
    second = await owner.write("ada")
    await deploying
    async with stream.open("ada", first) as socket:
        assert [one["sequence"] for one in await signals(socket, 1)] == [second]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer forged"}, {"X-User-Id": "ada"}])
async def test_without_a_token_the_upgrade_is_refused(stream: Deployed, headers: dict[str, str]) -> None:
    """401 with a problem, through the proxy too."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(stream.url, additional_headers=headers)

    response = refused.value.response
    assert response.status_code == 401
    assert json.loads(response.body or b"{}")["code"] == "unauthenticated"


async def test_a_browser_brings_its_token_as_a_subprotocol(stream: Deployed) -> None:
    """And no entitlement is 403."""
    offered = ["hub.stream.1", f"bearer.{stream.token('cyd')}"]
    async with connect(stream.url, subprotocols=offered) as socket:  # type: ignore[arg-type]
        assert socket.subprotocol == "hub.stream.1"
    ended = {"Authorization": f"Bearer {stream.token('cyd', entitled_s=-1)}"}
    with pytest.raises(InvalidStatus) as refused:
        await connect(stream.url, additional_headers=ended)
    assert refused.value.response.status_code == 403
