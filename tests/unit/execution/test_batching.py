"""Calls that run together: who may, what each gets, and what one of them cannot do to the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.router.execution.batching import Part, batch_of, run_together
from deployments.router.execution.run_times import RunTimes
from deployments.router.execution.worker import InferenceWorker
from deployments.router.replies import Refusal, Reply
from models.card import WarmProfile
from models.errors import BadShape, InferenceFailed
from models.forecast import InferCall, InferReply
from tests.support.cards import a_card
from tests.support.eventually import eventually
from tests.unit.execution.doubles import Clock, GatedModel, a_call, a_worker

MS = 1_000_000
FIXED = (
    WarmProfile(rows=1, p50_ms=1.0, p99_ms=2.0, n=100),
    WarmProfile(rows=256, p50_ms=2.0, p99_ms=4.0, n=9),
)
"""A model whose runs cost a millisecond however few rows they have: company is nearly free."""
LINEAR = (
    WarmProfile(rows=1, p50_ms=1.0, p99_ms=1.0, n=100),
    WarmProfile(rows=64, p50_ms=64.0, p99_ms=64.0, n=9),
)
"""A model in which every row costs the same: company saves nothing."""


@dataclass(frozen=True, eq=False)
class Waits:
    """A call in a queue."""

    call: InferCall


def a_queue(*calls: InferCall) -> list[Waits]:
    """Calls in the order in which they came."""
    return [Waits(call) for call in calls]


def chosen(
    queue: list[Waits], *, most_rows: int = 64, times: RunTimes | None = None, left_ms: int = 20_000
) -> list[int]:
    """The places in the queue that run together when so much is left of the first call's deadline."""
    now_ns = queue[0].call.deadline_ns - left_ms * MS
    batch = batch_of(queue, most_rows=most_rows, times=times or RunTimes(FIXED), now_ns=now_ns)
    return [queue.index(item) for item in batch]


def test_calls_for_one_model_and_level_run_together() -> None:
    """Others of the queue are passed over, and keep their places."""
    queue = a_queue(a_call(), a_call("other@1"), a_call(level=0.5), a_call())

    assert chosen(queue) == [0, 3]


def test_rows_are_bounded_and_nobody_is_overtaken() -> None:
    """The call that would be too much ends the batch, although a smaller one behind it would still fit."""
    queue = a_queue(a_call(rows=4), a_call(rows=5), a_call(rows=1))

    assert chosen(queue, most_rows=8) == [0]


def test_the_first_runs_whatever_its_size() -> None:
    """A call that exceeds the bound alone runs alone."""
    assert chosen(a_queue(a_call(rows=9), a_call()), most_rows=8) == [0]


def test_a_run_never_takes_longer_than_its_earliest_deadline_allows() -> None:
    """Company that the first call's deadline has no time for has to wait."""
    slow = RunTimes(
        [WarmProfile(rows=rows, p50_ms=100.0 + rows, p99_ms=100.0 + rows, n=9) for rows in (1, 64)]
    )

    assert chosen(a_queue(a_call(), a_call(rows=2)), times=slow, left_ms=110) == [0, 1]
    assert chosen(a_queue(a_call(), a_call(rows=20)), times=slow, left_ms=110) == [0]


def test_a_slower_machine_makes_smaller_batches() -> None:
    """What runs really took corrects the card: ten times slower, the same deadline has room for less."""
    times = RunTimes(FIXED)
    queue = a_queue(a_call(), a_call())
    assert chosen(queue, times=times, left_ms=8) == [0, 1]

    for _ in range(50):
        times.observe(1, 10.0)

    assert times.usual_ms(1) == pytest.approx(10.0, rel=0.01)
    assert chosen(queue, times=times, left_ms=8) == [0]


def test_company_that_saves_nothing_is_left_to_another_slot() -> None:
    """Where a row costs the same alone and in company, calls do not wait for each other."""
    assert chosen(a_queue(a_call(), a_call()), times=RunTimes(LINEAR)) == [0]


def test_a_model_of_unknown_speed_runs_alone() -> None:
    """Without a measurement nobody can tell what a deadline allows."""
    assert chosen(a_queue(a_call(), a_call()), times=RunTimes(())) == [0]


@given(
    calls=st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(1, 9), st.integers(1, 40)), min_size=1, max_size=20
    ),
    most_rows=st.integers(0, 24),
)
def test_a_batch_keeps_every_rule(calls: list[tuple[str, int, int]], most_rows: int) -> None:
    """Any queue: the first is in, in order, of one model, within rows and the earliest deadline."""
    times, now_ns = RunTimes(FIXED), time.time_ns()
    queue = a_queue(*(a_call(name, rows=rows, within_s=ms / 1e3) for name, rows, ms in calls))

    batch = batch_of(queue, most_rows=most_rows, times=times, now_ns=now_ns)

    places = [queue.index(item) for item in batch]
    same = [place for place, item in enumerate(queue) if item.call.model == queue[0].call.model]
    rows = sum(len(item.call.window) for item in batch)
    assert places == same[: len(places)]
    if len(batch) > 1:
        assert rows <= most_rows
        assert now_ns + times.high_ms(rows) * MS <= min(item.call.deadline_ns for item in batch)


def test_each_call_gets_its_own_rows_and_its_share_of_the_time() -> None:
    """Outputs are split in order; the shares add up to the run's time."""
    model = GatedModel(a_card("ridge"))
    calls = [a_call(rows=1, first=1.0), a_call(rows=3, first=2.0)]

    outcomes = run_together(model, calls, iter([0, 8 * MS]).__next__)

    parts = [outcome for outcome in outcomes if isinstance(outcome, Part)]
    assert [[forecast.q50 for forecast in part.forecasts] for part in parts] == [[1.0], [2.0] * 3]
    assert [part.service_ms for part in parts] == [2.0, 6.0]
    assert model.runs == 1


def test_a_poisoned_call_fails_alone() -> None:
    """When a run fails, its calls run again one by one, and only the culprit has an error."""
    model = GatedModel(a_card("ridge"), poison=2.0)

    good, bad, also_good = run_together(
        model, [a_call(first=first) for first in (1.0, 2.0, 3.0)], time.time_ns
    )

    assert isinstance(bad, InferenceFailed)
    assert isinstance(good, Part)
    assert isinstance(also_good, Part)
    assert model.ran == [[1.0, 2.0, 3.0], [1.0], [2.0], [3.0]]


def test_calls_of_different_widths_do_not_spoil_each_other() -> None:
    """Tensors that cannot be joined run one by one; the model judges each."""
    model = GatedModel(a_card("ridge"))
    narrow = InferCall("c", "ridge@1", np.zeros((1, 3), np.float32), a_call().context, 0.9, 0, "")

    outcomes = run_together(model, [a_call(), narrow], time.time_ns)

    assert [type(outcome) for outcome in outcomes] == [Part, Part]
    assert model.runs == 2


@pytest.fixture
async def model() -> GatedModel:
    """A model whose runs cost nearly the same however many rows they have."""
    return GatedModel(a_card("ridge").model_copy(update={"warm": FIXED}))


@pytest.fixture
async def worker(model: GatedModel) -> AsyncIterator[InferenceWorker]:
    """One slot, and batches of up to eight rows."""
    worker = a_worker([model], Clock(), batch_rows=8)
    yield worker
    model.gate.set()
    worker.close()


def middles(replies: list[Reply]) -> list[list[float]]:
    """The middle of every forecast, reply by reply."""
    return [[f.q50 for f in reply.forecasts] for reply in replies if isinstance(reply, InferReply)]


async def test_what_waits_for_a_slot_runs_as_one(worker: InferenceWorker, model: GatedModel) -> None:
    """While the slot is taken calls gather; when it is free all of them are one run, each with its answer."""
    model.gate.clear()
    first = asyncio.create_task(worker.infer(a_call(first=1.0)))
    await eventually(lambda: model.runs)
    others = [asyncio.create_task(worker.infer(a_call(first=float(n)))) for n in (2, 3, 4)]
    await asyncio.sleep(0)

    model.gate.set()
    replies = await asyncio.gather(first, *others)

    assert model.ran == [[1.0], [2.0, 3.0, 4.0]]
    assert middles(replies) == [[1.0], [2.0], [3.0], [4.0]]


async def test_calls_that_came_together_run_together(worker: InferenceWorker, model: GatedModel) -> None:
    """Nobody gets the free slot alone while the others of the same delivery stand behind it."""
    replies = await worker.infer_many([a_call(first=float(n)) for n in range(3)])

    assert model.ran == [[0.0, 1.0, 2.0]]
    assert middles(replies) == [[0.0], [1.0], [2.0]]


async def test_a_report_accounts_for_all_of_a_calls_time(worker: InferenceWorker) -> None:
    """Shares of the run add up to it, and with the queue time they make up the time in the worker."""
    replies = await worker.infer_many([a_call(rows=rows) for rows in (1, 3)])

    for reply in replies:
        assert isinstance(reply, InferReply)
        run_ms = (reply.finished_ns - reply.started_ns) / 1e6
        assert reply.load.service_ms == pytest.approx(run_ms * reply.load.rows / 4)
        assert reply.load.service_ms + reply.load.queue_ms >= run_ms


async def test_who_gives_up_does_not_take_the_others_along(
    worker: InferenceWorker, model: GatedModel
) -> None:
    """One of a batch is cancelled in mid-run; the others get their answers and the slot is free again."""
    model.gate.clear()
    calls = [asyncio.create_task(worker.infer(a_call(first=float(n)))) for n in range(3)]
    await eventually(lambda: model.runs)

    calls[1].cancel()
    model.gate.set()
    done = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(done[1], asyncio.CancelledError)
    assert [type(done[0]), type(done[2])] == [InferReply, InferReply]
    assert isinstance(await worker.infer(a_call()), InferReply)


async def test_bad_input_in_company_is_refused_alone(worker: InferenceWorker, model: GatedModel) -> None:
    """The caller whose row is bad gets the refusal, the one beside it an answer."""
    model.poison = 2.0

    good, bad = await worker.infer_many([a_call(first=1.0), a_call(first=2.0)])
    mismatched = await worker.infer(
        InferCall(
            "c", "ridge@1", a_call().window, np.zeros((2, 8), np.float32), 0.9, a_call().deadline_ns, ""
        )
    )

    assert isinstance(good, InferReply)
    assert isinstance(bad, Refusal)
    assert isinstance(bad.error, InferenceFailed)
    assert isinstance(mismatched, Refusal)
    assert isinstance(mismatched.error, BadShape)
