"""A call where its model is: admission, deadlines, refusals that carry the load, runs for several calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest

from deployments.router.execution.worker import InferenceWorker
from deployments.router.replies import Refusal
from models.decision import Ticket
from models.errors import BadShape, DeadlineExpired, HubError, InferenceFailed, ReplicaBusy, TicketRefused
from models.forecast import InferCall, InferReply
from tests.support.cards import a_card
from tests.support.eventually import eventually
from tests.unit.execution.doubles import SECOND, Clock, GatedModel, a_call, a_ticket, a_worker


@pytest.fixture
def model() -> GatedModel:
    """The one model of the replica."""
    return GatedModel(a_card("ridge", sha256="a" * 64))


@pytest.fixture
def clock() -> Clock:
    """Time as the replica sees it."""
    return Clock()


@pytest.fixture
async def worker(model: GatedModel, clock: Clock) -> AsyncIterator[InferenceWorker]:
    """A worker with one slot and room for one more call, in which every call runs alone."""
    worker = a_worker([model], clock, max_queue=1)
    yield worker
    model.gate.set()
    worker.close()


async def refused(worker: InferenceWorker, call: InferCall, ticket: Ticket | None = None) -> HubError:
    """The reason for which the worker refuses the call."""
    reply = await worker.infer(call, ticket)
    assert isinstance(reply, Refusal)
    assert reply.load.replica == "r1"
    return reply.error


async def test_answers_with_lineage_and_load(worker: InferenceWorker) -> None:
    """A reply has one forecast per row, the artefact's hash, and what the replica says of its load."""
    reply = await worker.infer(a_call(rows=3), a_ticket("r1"))

    assert isinstance(reply, InferReply)
    assert [forecast.level for forecast in reply.forecasts] == [0.9] * 3
    assert reply.artifact_sha256 == "a" * 64
    assert (reply.load.boot, reply.load.slots, reply.load.rows) == ("b1", 1, 3)
    assert reply.started_ns <= reply.finished_ns
    assert reply.load.service_ms == pytest.approx((reply.finished_ns - reply.started_ns) / 1e6)


async def test_reports_are_numbered(worker: InferenceWorker) -> None:
    """Each reply carries the next number, so that a late report cannot overwrite a newer one."""
    replies = [await worker.infer(a_call()) for _ in range(3)]

    assert [reply.load.seq for reply in replies] == [1, 2, 3]


async def test_refuses_when_the_queue_is_full(worker: InferenceWorker, model: GatedModel) -> None:
    """One call runs, one waits, the third is refused at once with the load that explains it."""
    model.gate.clear()
    calls = [asyncio.create_task(worker.infer(a_call())) for _ in range(2)]
    await eventually(lambda: model.runs)

    reply = await worker.infer(a_call())

    assert isinstance(reply, Refusal)
    assert isinstance(reply.error, ReplicaBusy)
    assert (reply.load.in_service, reply.load.queued) == (1, 1)
    model.gate.set()
    assert all(isinstance(done, InferReply) for done in await asyncio.gather(*calls))


async def test_refuses_expired_work_on_arrival(worker: InferenceWorker, model: GatedModel) -> None:
    """A call whose deadline has passed is not run."""
    error = await refused(worker, a_call(within_s=-1))

    assert isinstance(error, DeadlineExpired)
    assert model.runs == 0


async def test_checks_the_deadline_again_after_the_queue(
    worker: InferenceWorker, model: GatedModel, clock: Clock
) -> None:
    """A call that expired while it waited is not run either, and its slot goes to the next."""
    model.gate.clear()
    first = asyncio.create_task(worker.infer(a_call(within_s=100)))
    await eventually(lambda: model.runs)
    second = asyncio.create_task(worker.infer(a_call(within_s=10)))
    await asyncio.sleep(0)

    clock.ahead_ns = 20 * SECOND
    model.gate.set()
    replies = await asyncio.gather(first, second)

    assert isinstance(replies[0], InferReply)
    assert isinstance(replies[1], Refusal)
    assert isinstance(replies[1].error, DeadlineExpired)
    assert "left the queue" in replies[1].error.message
    assert model.runs == 1
    assert isinstance(await worker.infer(a_call(within_s=100)), InferReply)


async def test_a_slot_is_held_until_the_run_has_ended(worker: InferenceWorker, model: GatedModel) -> None:
    """A caller that gives up does not free the thread its run still occupies."""
    model.gate.clear()
    given_up = asyncio.create_task(worker.infer(a_call()))
    await eventually(lambda: model.runs)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)

    waiting = asyncio.create_task(worker.infer(a_call()))
    await asyncio.sleep(0)
    assert isinstance(await refused(worker, a_call()), ReplicaBusy)

    model.gate.set()
    assert isinstance(await waiting, InferReply)


@pytest.mark.parametrize("call", [a_call("ridge@2"), a_call("other@1")], ids=["version", "name"])
async def test_refuses_a_model_it_does_not_hold(worker: InferenceWorker, call: InferCall) -> None:
    """A call for another model or version is refused by name, so that the caller decides again."""
    error = await refused(worker, call)

    assert isinstance(error, TicketRefused)
    assert call.model in error.message


async def test_refuses_a_foreign_ticket(worker: InferenceWorker, model: GatedModel) -> None:
    """A ticket for another replica is not honoured, whoever delivered it."""
    assert isinstance(await refused(worker, a_call(), a_ticket("r2")), TicketRefused)
    assert model.runs == 0


@pytest.mark.parametrize("error", [BadShape("window was short"), InferenceFailed("ridge@1 failed")])
async def test_a_failed_run_is_refused_with_its_reason(
    worker: InferenceWorker, model: GatedModel, error: HubError
) -> None:
    """What the model raises travels back typed, and the slot is free again."""
    model.error = error

    assert await refused(worker, a_call()) is error

    model.error = None
    assert isinstance(await worker.infer(a_call()), InferReply)


async def test_what_no_error_of_ours_is_becomes_one(worker: InferenceWorker, model: GatedModel) -> None:
    """A model that breaks in its own way is a failed inference that names model and reason."""
    model.error = ZeroDivisionError("no scale")

    error = await refused(worker, a_call())

    assert isinstance(error, InferenceFailed)
    assert error.message == "ridge@1 failed: ZeroDivisionError: no scale"


@pytest.mark.parametrize("shapes", [((), ()), ((2, 256), (1, 8)), ((1, 256), ())], ids=str)
async def test_refuses_tensors_whose_rows_do_not_match(
    worker: InferenceWorker, model: GatedModel, shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    """What could not be told apart from the rows of others is refused before it waits with them."""
    window, context = (np.zeros(shape, np.float32) for shape in shapes)

    error = await refused(worker, replace(a_call(), window=window, context=context))

    assert isinstance(error, BadShape)
    assert error.field == "context"
    assert model.runs == 0


async def test_answers_here_without_a_thread(worker: InferenceWorker, model: GatedModel) -> None:
    """The same checks and the same report, but the answer is there when the method returns."""
    reply = worker.infer_here(a_call(first=0.5))
    late = worker.infer_here(a_call(within_s=-1))
    model.error = InferenceFailed("out of order")
    failed = worker.infer_here(a_call())

    assert isinstance(reply, InferReply)
    assert [forecast.q50 for forecast in reply.forecasts] == [0.5]
    assert reply.load.service_ms + reply.load.queue_ms > 0
    assert isinstance(late, Refusal)
    assert isinstance(late.error, DeadlineExpired)
    assert isinstance(failed, Refusal)
    assert isinstance(failed.error, InferenceFailed)
    assert [reply.load.seq, late.load.seq, failed.load.seq] == [1, 2, 3]


async def test_closing_refuses_what_waits(worker: InferenceWorker, model: GatedModel) -> None:
    """What runs is answered, what waits is refused at once, and so is what comes later."""
    model.gate.clear()
    calls = [asyncio.create_task(worker.infer(a_call())) for _ in range(2)]
    await eventually(lambda: model.runs)

    worker.close()
    waited, later = await calls[1], await worker.infer(a_call())
    model.gate.set()

    assert isinstance(await calls[0], InferReply)
    for reply in (waited, later):
        assert isinstance(reply, Refusal)
        assert isinstance(reply.error, TicketRefused)


async def test_health_is_a_tiny_inference(worker: InferenceWorker, model: GatedModel) -> None:
    """The check runs the model, and what that raises makes the replica unhealthy."""
    await worker.check()
    assert model.runs == 1

    model.error = InferenceFailed("out of order")
    with pytest.raises(InferenceFailed):
        await worker.check()


def test_metadata_is_plain_and_names_every_model(worker: InferenceWorker) -> None:
    """Routers learn pool, hardware, slots and warm profiles before the first answer."""
    said = worker.metadata(pool="fast", hardware="cpu")

    assert (said["pool"], said["hardware"], said["slots"]) == ("fast", "cpu", 1)
    assert [profile["rows"] for profile in said["models"]["ridge@1"]] == [1, 256]


async def test_holds_one_more_model_while_it_works(worker: InferenceWorker) -> None:
    """It answers for it from then on, says how fast it is, and checks it in its turn."""
    call = replace(a_call(), model="late@1")
    assert isinstance(await refused(worker, call), TicketRefused)
    late = GatedModel(a_card("late"))

    worker.hold(late)

    assert isinstance(await worker.infer(call), InferReply)
    assert [profile["rows"] for profile in worker.profiles(["late@1"])["late@1"]] == [1, 256]
    before = late.runs
    await worker.check()
    await worker.check()
    assert late.runs == before + 1


async def test_whoever_waits_for_a_model_that_is_dropped_goes_elsewhere(
    worker: InferenceWorker, model: GatedModel
) -> None:
    """The run that has begun ends as it would, the one that waits is refused at once."""
    model.gate.clear()
    running = asyncio.create_task(worker.infer(a_call()))
    await eventually(lambda: model.runs)
    waiting = asyncio.create_task(worker.infer(a_call()))
    await asyncio.sleep(0)

    worker.drop("ridge@1")
    refusal = await waiting
    model.gate.set()

    assert isinstance(refusal, Refusal)
    assert isinstance(refusal.error, TicketRefused)
    assert isinstance(await running, InferReply)
    assert isinstance(await refused(worker, a_call()), TicketRefused)
