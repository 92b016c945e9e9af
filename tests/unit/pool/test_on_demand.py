"""More models than memory: who is unloaded, and what becomes of a call for a model that is not loaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from deployments.pool import shelf as shelf_module
from deployments.pool.placement import Part
from models.card import ModelStatus
from models.errors import DeadlineExpired, ReplicaBusy, TicketRefused
from models.events import ModelMoved, ModelRetired
from tests.support.cards import a_card
from tests.support.eventually import eventually
from tests.unit.execution.doubles import a_call
from tests.unit.pool.replicas import (
    EVERYTHING,
    MODEL_BYTES,
    ROOMY,
    Library,
    Replica,
    a_log,
    announced,
    registered,
    running,
    says,
)

SPARE = Part(offers=lambda _: True, loads=lambda _: False)


class Hub:
    """A log, a library and the replicas of one test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.log = a_log()
        self.library = Library()

    async def replica(
        self,
        *names: str,
        part: Part = EVERYTHING,
        status: ModelStatus = ModelStatus.CANDIDATE,
        room_for: int = ROOMY // MODEL_BYTES,
        most_waiting: int = 32,
    ) -> Replica:
        """A replica that offers these models, in whose memory so many of them fit."""
        says(self.log, *(registered(name, status) for name in names))
        ready = await self._stack.enter_async_context(
            running(
                self.library,
                self.log,
                part=part,
                most_bytes=room_for * MODEL_BYTES,
                most_waiting=most_waiting,
            )
        )
        await eventually(lambda: ready.offers() == {f"{name}@1" for name in names})
        return ready


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    """Replicas that look at the catalogue often; gates are opened in the end."""
    monkeypatch.setattr(shelf_module, "_LOOK_S", 0.02)
    async with AsyncExitStack() as stack:
        hub = Hub(stack)
        yield hub
        for gate in hub.library.gates.values():
            gate.set()


async def test_the_least_recently_used_is_unloaded_and_still_offered(hub: Hub) -> None:
    """With what a call takes then: the load, and the model's own time on top."""
    hub.library.load_ms = 40.0
    replica = await hub.replica("a", "b", room_for=2)
    await replica.answer(a_call("a@1"))

    says(hub.log, registered("c"))
    await eventually(lambda: replica.holds() == {"a@1", "c@1"})

    assert replica.shelf.cold() == ["b@1"]
    warm, cold = (replica.shelf.profiles()[name][0] for name in ("a@1", "b@1"))
    assert (warm["p50_ms"], cold["p50_ms"]) == (1.0, 41.0)
    assert cold["p99_ms"] > 2 * 41.0
    await eventually(lambda: [replica.counted(state) for state in ("held", "cold", "refused")] == [2, 1, 0])


async def test_live_models_stay_whatever_is_asked_for(hub: Hub) -> None:
    """Candidates make room for each other, and for a live model that comes."""
    replica = await hub.replica("live", status=ModelStatus.LIVE, room_for=2)
    says(hub.log, registered("a"), registered("b"))
    await eventually(lambda: len(replica.offers()) == 3)
    for name in ("a@1", "b@1", "a@1", "b@1"):
        await replica.answer(a_call(name))
        assert replica.holds() == {"live@1", name}

    says(hub.log, ModelMoved(epoch=0, model="a@1", to=ModelStatus.LIVE, reason="x", by="op", at_ns=1))
    await eventually(lambda: replica.holds() == {"live@1", "a@1"})


async def test_a_call_loads_its_model_and_says_how_long_it_waited(hub: Hub) -> None:
    """The load is no part of the call's service or queue: only the first call pays it."""
    replica = await hub.replica("a", "b", room_for=1)
    (cold,) = replica.shelf.cold()
    gate = hub.library.shut(cold)

    call = asyncio.create_task(replica.answer(a_call(cold)))
    await eventually(lambda: hub.library.loads[cold] == 2)
    begun = asyncio.get_running_loop().time()
    await eventually(lambda: asyncio.get_running_loop().time() - begun > 0.2)
    gate.set()
    first, second = await call, await replica.answer(a_call(cold))

    assert first.load.load_ms > 200
    assert first.load.service_ms + first.load.queue_ms < first.load.load_ms / 2
    assert second.load.load_ms == 0.0
    assert replica.holds() == {cold}
    assert replica.shelf.profiles()[cold][0]["p50_ms"] == 1.0


async def test_callers_share_a_load(hub: Hub) -> None:
    """And then a run, as calls for the same model do."""
    replica = await hub.replica("a", part=SPARE)
    gate = hub.library.shut("a@1")
    calls = [a_call("a@1", first=number) for number in (1.0, 2.0, 3.0)]

    replies = asyncio.create_task(replica.calls.infer_many(calls))
    await eventually(lambda: hub.library.loads["a@1"] == 2)
    gate.set()

    assert all(reply.load.load_ms > 0 for reply in await replies)
    assert hub.library.loads["a@1"] == 2
    assert hub.library.models["a@1"].ran == [[1.0, 2.0, 3.0]]


async def test_a_call_with_less_time_than_the_load_takes_goes_elsewhere(hub: Hub) -> None:
    """At once, and nothing is loaded for it; one with more time is answered."""
    hub.library.load_ms = 500.0
    replica = await hub.replica("a", part=SPARE)

    error = await replica.refusal(a_call("a@1", within_s=0.3))

    assert isinstance(error, TicketRefused)
    assert "500.0 ms" in error.message
    assert hub.library.loads["a@1"] == 1
    await replica.answer(a_call("a@1"))


async def test_a_call_does_not_outwait_its_deadline(hub: Hub) -> None:
    """The load goes on for whoever comes next."""
    replica = await hub.replica("a", part=SPARE)
    gate = hub.library.shut("a@1")

    assert isinstance(await replica.refusal(a_call("a@1", within_s=0.05)), DeadlineExpired)
    assert isinstance(await replica.refusal(a_call("a@1", within_s=-1)), DeadlineExpired)

    gate.set()
    await eventually(lambda: replica.holds() == {"a@1"})
    assert hub.library.loads["a@1"] == 2


async def test_a_load_that_fails_is_refused_by_name_and_keeps_no_other_waiting(hub: Hub) -> None:
    """Nor does one that hangs; what failed is offered again once it loads."""
    replica = await hub.replica("broken", "good", "stuck", part=SPARE)
    hub.library.broken.add("broken@1")
    hub.library.shut("stuck@1")
    stuck = asyncio.create_task(replica.refusal(a_call("stuck@1", within_s=5)))

    error = await replica.refusal(a_call("broken@1"))
    assert isinstance(error, TicketRefused)
    assert error.message == "model broken@1 is not loaded: the artefact of broken@1 does not load"
    assert "broken@1" not in replica.offers()
    await replica.answer(a_call("good@1"))
    assert isinstance(await replica.refusal(a_call("broken@1")), TicketRefused)
    assert not stuck.done()

    hub.library.broken.clear()
    await eventually(lambda: "broken@1" in replica.offers())
    await replica.answer(a_call("broken@1"))
    stuck.cancel()


async def test_only_so_many_wait(hub: Hub) -> None:
    """The next is refused, and may find room elsewhere."""
    replica = await hub.replica("a", part=SPARE, most_waiting=1)
    gate = hub.library.shut("a@1")
    waits = asyncio.create_task(replica.answer(a_call("a@1")))
    await eventually(lambda: hub.library.loads["a@1"] == 2)

    assert isinstance(await replica.refusal(a_call("a@1")), ReplicaBusy)
    gate.set()
    await waits
    await replica.answer(a_call("a@1"))


async def test_a_model_that_works_is_not_unloaded(hub: Hub) -> None:
    """Rather too much for a moment than a call that loses its model."""
    replica = await hub.replica("a", "b", room_for=1)
    (cold,) = replica.shelf.cold()
    (busy,) = replica.holds()
    hub.library.models[busy].gate.clear()
    running_call = asyncio.create_task(replica.answer(a_call(busy)))
    await eventually(lambda: hub.library.models[busy].runs)

    behind = asyncio.create_task(replica.answer(a_call(cold)))
    await eventually(lambda: replica.holds() == {busy, cold})
    hub.library.models[busy].gate.set()

    await asyncio.gather(running_call, behind)
    await eventually(lambda: len(replica.holds()) == 1)


async def test_a_model_that_is_retired_while_it_is_loaded_is_refused(hub: Hub) -> None:
    """It was wanted when the call came."""
    replica = await hub.replica("a", part=SPARE)
    gate = hub.library.shut("a@1")
    waits = asyncio.create_task(replica.refusal(a_call("a@1")))
    await eventually(lambda: hub.library.loads["a@1"] == 2)

    says(hub.log, ModelRetired(epoch=0, model="a@1", reason="x", at_ns=1))
    await eventually(lambda: replica.offers() == set())
    gate.set()

    assert "it was retired" in (await waits).message
    assert replica.holds() == set()


async def test_a_version_that_was_retired_and_brought_again_is_the_new_artefact(hub: Hub) -> None:
    """Even if both happened between two looks at the catalogue."""
    replica = await hub.replica("a")
    again = announced(a_card("a", sha256="b" * 64))

    says(hub.log, ModelRetired(epoch=0, model="a@1", reason="x", at_ns=1), again)
    await eventually(lambda: hub.library.loads["a@1"] == 2)

    assert (await replica.answer(a_call("a@1"))).artifact_sha256 == "b" * 64


async def test_a_spare_copy_is_measured_once_and_loaded_when_it_is_asked_for(hub: Hub) -> None:
    """It then stays like any other."""
    replica = await hub.replica("a", "b", part=SPARE)
    assert replica.holds() == set()
    assert hub.library.loads == {"a@1": 1, "b@1": 1}

    await replica.answer(a_call("a@1"))

    says(hub.log, registered("c"))
    await eventually(lambda: "c@1" in replica.offers())
    assert replica.holds() == {"a@1"}


async def test_models_of_the_repository_are_answered_as_ever(hub: Hub) -> None:
    """They are not the shelf's."""
    replica = await hub.replica("a", part=SPARE)

    assert (await replica.answer(a_call("ridge@1"))).load.load_ms == 0.0
    assert isinstance(await replica.refusal(a_call("nobody@1")), TicketRefused)
