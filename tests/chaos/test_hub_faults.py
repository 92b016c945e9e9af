"""The hub as `hub up` starts it, while what is around the signal path is frozen, killed and flooded."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from messaging.config import KafkaConfig
from messaging.connect import open_bus
from models.principal import Tier
from models.strategy import load_strategies
from serve_app.access import local_token, principal_of
from tests.e2e.conftest import UpHub, make_tenant, up_hub
from tests.support.arrivals import next_arrival
from tests.support.eventually import eventually
from tests.support.hub_run import Load, Playback, asked, audited, ledger_of, played, subscribed
from tests.support.processes import command_of
from tests.support.scene.timeline import Arrival, Timeline, arrivals, schedule

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

PLAYBACK: Final = Playback(seconds=270, speed=20.0)
USERS: Final = [f"hub-user-{number:02d}" for number in range(20)]
PATIENT: Final = next(
    one for one in load_strategies(Path("config/strategies.yaml").read_text()) if one.name == "patient"
)
QUIET_S: Final = 15.0
"""After each fault, and before the first."""
FLOODERS: Final = 12
FLOODING: Final = "tenant-flood"
ANSWERED_S: Final = 2.5
"""The deadline that the callers ask for, and the way there and back on a busy machine."""
HALTED: Final = USERS[0]
HALTED_S: Final = 7.0
OBEYED_NS: Final = 100_000_000
"""From the acknowledgement of a halt on, where brokers answer."""


@dataclass(frozen=True)
class Step:
    """A fault that lasts a while, the share of the signals due meanwhile that must come in time, and whether
    a user is halted in the middle of it.
    """

    name: str
    script: Callable[[UpHub], Awaitable[None]]
    available: float
    halts: bool = False


class Span(NamedTuple):
    """From when a halt was acknowledged until it was taken back."""

    from_ns: int
    to_ns: int


@dataclass(frozen=True)
class Past:
    """A step that is over, and what `/health` said was not well in the middle of it."""

    step: Step
    from_ns: int
    to_ns: int
    unwell: str
    halted: Span | None


async def _replica_frozen(hub: UpHub) -> None:
    victim = hub.pids("ServeReplica:hub:pool-light")[0]
    async with _frozen(victim):
        await _wait(20)


async def _controller_killed(hub: UpHub) -> None:
    dead = hub.pids("ServeController")
    for pid in dead:
        os.kill(pid, signal.SIGKILL)
    await eventually(lambda: set(hub.pids("ServeController")) - set(dead), 60)
    await _wait(10)


async def _valkey_frozen(hub: UpHub) -> None:
    async with _frozen(hub.pids("valkey-server")[0]):
        await _wait(15)


async def _valkey_killed(hub: UpHub) -> None:
    """It comes back empty, on the same port."""
    pid = hub.pids("valkey-server")[0]
    command = command_of(pid)
    os.kill(pid, signal.SIGKILL)
    await _wait(15)
    back = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
    try:
        await _wait(10)
    finally:
        back.kill()
        await back.wait()


async def _tenant_floods(hub: UpHub) -> None:
    """A tenant asks without pause for what it may have 100 times a minute, and gets that."""
    await asyncio.to_thread(make_tenant, hub, FLOODING, Tier.FREE)
    principal = principal_of("flooder", tenant=FLOODING, tier=Tier.FREE)
    load = Load([local_token(hub.address, principal)] * FLOODERS, hub.address.url)
    await _wait(20)
    answers = Counter(one.status for one in await asyncio.to_thread(load.end))
    assert answers["200"] <= 2 * 100, answers
    assert answers["429"] > answers["200"], answers
    assert set(answers) <= {"200", "429", "503"}, answers


STEPS: Final = (
    Step("inference replica frozen 20 s", _replica_frozen, available=0.95),
    Step("Serve controller killed", _controller_killed, available=0.95, halts=True),
    Step("Valkey frozen 15 s", _valkey_frozen, available=0.95, halts=True),
    Step("one tenant floods for 20 s", _tenant_floods, available=0.95),
    Step("Valkey killed, back after 15 s", _valkey_killed, available=0.95),
)


@pytest.fixture
def own_hub(tmp_path: Path) -> Iterator[UpHub]:
    """A hub that nobody else played ticks to."""
    with up_hub(tmp_path) as running:
        yield running


async def test_what_is_around_the_signal_path_costs_no_signal(
    own_hub: UpHub, tell: Callable[[str], None]
) -> None:
    """Ledger clean over all of it, nobody's request fails but the flooder's, signals are in time."""
    hub = own_hub
    subscribed(hub, USERS, *(f"{PATIENT.ref}/{symbol}" for symbol in PATIENT.symbols))
    with audited(hub, PLAYBACK) as reader, played(hub, PLAYBACK) as playing:
        await eventually(lambda: _signals_flow(hub), 90)
        async with asked(hub) as load:
            past = [await _happened(hub, step) for step in STEPS]
        assert playing.wait(timeout=PLAYBACK.seconds) == 0
        ledger = ledger_of(reader)
    timeline = await _timeline(hub)
    rows = [_row(one, timeline, load) for one in past]
    for row in rows:
        tell(row)

    assert ledger["clean"], "\n".join(ledger["lines"])
    statuses = Counter(one.status for one in load.answers)
    assert set(statuses) == {"200"}, [one.refusal for one in load.answers if one.refusal]
    slow = [one.took_s for one in load.answers if one.took_s > ANSWERED_S]
    assert not slow, slow
    for one in past:
        assert _available(one, timeline) >= one.step.available, rows
        if one.halted:
            asked_for = _who_asked(timeline, one.halted)
            assert asked_for, f"{one.step.name}: nobody was asked for anything, so the halt proved nothing"
            assert HALTED not in asked_for, one.step.name


async def _happened(hub: UpHub, step: Step) -> Past:
    await _wait(QUIET_S)
    from_ns = time.time_ns()
    happening = asyncio.ensure_future(step.script(hub))
    await asyncio.wait({happening}, timeout=1)
    halted = await _halted(hub) if step.halts else None
    await asyncio.wait({happening}, timeout=5)
    unwell = await asyncio.to_thread(_unwell, hub)
    await happening
    return Past(step, from_ns, time.time_ns(), unwell, halted)


async def _halted(hub: UpHub) -> Span:
    """A user is halted for a while, by whoever answers."""
    halt = f"/api/v1/halts/user/{HALTED}"
    with hub.client("operator", admin=True) as operator:
        await asyncio.to_thread(operator.call, "PUT", halt, body={"reason": "a rehearsal"})
        from_ns = time.time_ns()
        await _wait(HALTED_S)
        to_ns = time.time_ns()
        await asyncio.to_thread(operator.call, "DELETE", halt)
    return Span(from_ns, to_ns)


def _who_asked(timeline: Timeline, halted: Span) -> set[str]:
    """Users whose signals asked for anything from a tenth of a second after the halt on."""
    since_ns = halted.from_ns + OBEYED_NS
    there = [one for one in timeline.arrivals if since_ns < one.projected_ns < halted.to_ns]
    return {one.user for one in there if one.asks}


def _unwell(hub: UpHub) -> str:
    with hub.client("observer", admin=True) as observer:
        checks = observer.call("GET", "/health")["checks"]
    bad = [f"{name}: {one['detail']}" for name, one in checks.items() if one["status"] != "ok"]
    return ", ".join(bad) or "all ok"


async def _signals_flow(hub: UpHub) -> bool:
    """Windows have been filled, and users have had their first signals."""
    return bool(await _arrived(hub))


async def _timeline(hub: UpHub) -> Timeline:
    found = await _arrived(hub)
    return Timeline(found, USERS, schedule(found, speed=PLAYBACK.speed), PATIENT.ttl_ms)


async def _arrived(hub: UpHub) -> list[Arrival]:
    bus = await open_bus(KafkaConfig(bootstrap=hub.address.kafka), client_id="timeline")
    try:
        return await arrivals(bus)
    finally:
        await bus.close()


def _available(past: Past, timeline: Timeline) -> float:
    """In time over owed: a bar of each symbol closes every half second, whatever happens."""
    closes = int((past.to_ns - past.from_ns) / 1e9 / (PATIENT.bar_ms / 1000 / PLAYBACK.speed))
    owed = closes * len(PATIENT.symbols) * len(USERS)
    return len(timeline.between(past.from_ns, past.to_ns).in_time) / owed


def _row(past: Past, timeline: Timeline, load: Load) -> str:
    there = timeline.between(past.from_ns, past.to_ns)
    took = sorted(one.took_s for one in load.answers if past.from_ns <= one.at_ns < past.to_ns)
    figures = f"{_available(past, timeline):.1%} | {there.longest_silence_s():.1f} | -"
    requests = f"{len(took)} requests answered, the slowest in {1000 * took[-1]:.0f} ms"
    return f"| {past.step.name} | with the others | {figures} | /health: {past.unwell}; {requests} |"


@asynccontextmanager
async def _frozen(pid: int) -> AsyncIterator[None]:
    """The process stands still while the block runs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def _wait(seconds: float) -> None:
    """What a fault does takes its time."""
    await next_arrival(1 / seconds)
