"""What happens to a call where its model is. Knows nothing of Ray, so that it is tested without it.

arrive -> expired? -> wait for a slot (or refuse) -> expired? -> run on a thread, with others -> reply.
Every reply and every refusal carries the worker's load.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from deployments.router.execution.batching import LoadedModel, Outcome, Part, batch_of, run_together
from deployments.router.execution.ordinary import ORDINARY_LEVEL, ordinary_row
from deployments.router.execution.reports import Reports
from deployments.router.execution.run_times import RunTimes
from deployments.router.execution.slots import Slots
from deployments.router.replies import Refusal, Reply
from models.decision import Ticket
from models.errors import BadShape, DeadlineExpired, HubError, InferenceFailed, TicketRefused
from models.forecast import InferCall
from models.metrics import Meter

log = logging.getLogger("ray.serve")


@dataclass(slots=True, eq=False)
class Arrived:
    """A call that was let in, and where its outcome goes; that is cancelled when its caller gives up."""

    call: InferCall
    outcome: asyncio.Future[Part]

    def settle(self, outcome: Outcome) -> None:
        if self.outcome.done():
            return
        if isinstance(outcome, Part):
            self.outcome.set_result(outcome)
        else:
            self.outcome.set_exception(outcome)


class InferenceWorker:
    """Several models behind one bounded queue.

    Owned by one event loop; only `run_together` is on the threads. The slot of a run is freed when it ends:
    a caller that gives up cannot stop ONNX half-way. Up to `batch_rows` rows of calls for the same model run
    as one; with 0 every call runs alone. `threads` are the worker's own from then on; by default one a slot.
    """

    def __init__(
        self,
        *,
        replica: str,
        boot: str,
        models: Iterable[LoadedModel],
        slots: Slots[Arrived],
        clock: Callable[[], int],
        meter: Meter,
        batch_rows: int = 0,
        threads: Executor | None = None,
    ) -> None:
        self._replica = replica
        self._models = {str(model.card.key): model for model in models}
        self._times = {name: RunTimes(model.card.warm) for name, model in self._models.items()}
        self._slots = slots
        self._clock = clock
        self._meter = meter
        self._batch_rows = batch_rows
        self._threads = threads or ThreadPoolExecutor(slots.slots, thread_name_prefix="onnx")
        self._starting = False
        self._closed = False
        self._reports = Reports(replica, boot, slots)
        self._checks = itertools.count()

    def metadata(self, *, pool: str, hardware: str) -> dict[str, Any]:
        """The static card of this worker in plain types: what it holds and how fast that was when warm."""
        return {
            "pool": pool,
            "hardware": hardware,
            "slots": self._slots.slots,
            "models": self.profiles(self._models),
        }

    def profiles(self, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """How fast these models are when warm, in plain types, by name."""
        return {
            name: [profile.model_dump() for profile in self._models[name].card.warm] for name in sorted(names)
        }

    def hold(self, model: LoadedModel) -> None:
        """Answer for one more model from now on, or for a newer one of the same name."""
        name = str(model.card.key)
        self._models[name], self._times[name] = model, RunTimes(model.card.warm)

    def drop(self, name: str) -> None:
        """Refuse this model from now on, and whoever waits for it; runs that have begun go on."""
        self._models.pop(name, None)  # its times stay: runs that have begun report to them
        for arrived in tuple(self._slots.waiting):
            if arrived.call.model == name:
                self._slots.leave(arrived)
                arrived.settle(TicketRefused(f"replica {self._replica} holds {name} no more"))

    async def infer(self, call: InferCall, ticket: Ticket | None = None) -> Reply:
        """Forecasts of the call, or a refusal that says why there are none."""
        arrived_ns = self._clock()
        try:
            model = self._admitted(call, ticket)
            part = await self._queued(call)
        except HubError as error:
            return self.refusal(call, error)
        return self._reports.reply(call, part, model.card, arrived_ns=arrived_ns)

    async def infer_many(self, calls: Sequence[InferCall], ticket: Ticket | None = None) -> list[Reply]:
        """One reply per call. They stand in the queue together, so those for one model may run as one."""
        return await asyncio.gather(*(self.infer(call, ticket) for call in calls))

    def infer_here(self, call: InferCall, ticket: Ticket | None = None) -> Reply:
        """The same at once, on the caller's thread: its event loop waits for the model."""
        arrived_ns = self._clock()
        try:
            model = self._admitted(call, ticket)
            outcomes = run_together(model, [call], self._clock)
            part = self._learned(call.model, outcomes)[0]
            if isinstance(part, HubError):
                raise part
        except HubError as error:
            return self.refusal(call, error)
        return self._reports.reply(call, part, model.card, arrived_ns=arrived_ns)

    def refusal(self, call: InferCall, error: HubError) -> Refusal:
        """A refusal of the call, with the load of this worker."""
        if isinstance(error, InferenceFailed):
            log.warning("%s", error.message)
        return self._reports.refusal(call, error)

    def warm_ms(self, call: InferCall) -> float:
        """What a run of this call alone takes by the model's card; infinite if nobody knows."""
        times = self._times.get(call.model)
        return times.warm_ms(len(call.window)) if times else math.inf

    async def check(self) -> None:
        """Run one row through the next model in turn; raises what the model raises."""
        models = list(self._models.values())
        model = models[next(self._checks) % len(models)]
        run = partial(model.run, *ordinary_row(model.card), level=ORDINARY_LEVEL)
        await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def close(self) -> None:
        """Let what runs end, and refuse the rest."""
        self._closed = True
        self._threads.shutdown(wait=False)
        for arrived in tuple(self._slots.waiting):
            self._slots.leave(arrived)
            arrived.settle(TicketRefused(f"replica {self._replica} stops"))

    def _admitted(self, call: InferCall, ticket: Ticket | None) -> LoadedModel:
        if self._closed:
            raise TicketRefused(f"replica {self._replica} stops")
        if ticket is not None and ticket.replica != self._replica:
            raise TicketRefused(f"the ticket names replica {ticket.replica}, this is {self._replica}")
        if call.model not in self._models:
            raise TicketRefused(f"replica {self._replica} holds {', '.join(self._models)}, not {call.model}")
        _check_rows(call)
        if late := self._late(call, "arrived"):
            raise late
        return self._models[call.model]

    def _late(self, call: InferCall, where: str) -> DeadlineExpired | None:
        late_ms = (self._clock() - call.deadline_ns) / 1e6
        if late_ms < 0:
            return None
        return DeadlineExpired(f"the call {where} {late_ms:.1f} ms after its deadline; nothing was run")

    async def _queued(self, call: InferCall) -> Part:
        loop = asyncio.get_running_loop()
        arrived = Arrived(call, loop.create_future())
        self._slots.join(arrived)
        if not self._starting:  # those who arrive in the same iteration of the loop may run together
            self._starting = True
            loop.call_soon(self._start)
        try:
            return await arrived.outcome
        finally:
            self._slots.leave(arrived)

    def _start(self) -> None:
        """Give every free slot to who waits first, and to those who run together with it."""
        self._starting = False
        while self._slots.available and self._slots.waiting:
            first = self._slots.waiting[0]
            if late := self._late(first.call, "left the queue"):
                self._slots.leave(first)
                first.settle(late)
            else:
                self._run(first.call.model)

    def _run(self, model: str) -> None:
        now_ns, times = self._clock(), self._times[model]
        batch = batch_of(self._slots.waiting, most_rows=self._batch_rows, times=times, now_ns=now_ns)
        calls = [arrived.call for arrived in batch]
        run = partial(run_together, self._models[model], calls, self._clock)
        work = asyncio.get_running_loop().run_in_executor(self._threads, run)
        self._slots.take(batch)
        work.add_done_callback(partial(self._ended, batch))

    def _ended(self, batch: Sequence[Arrived], work: asyncio.Future[list[Outcome]]) -> None:
        self._slots.free(batch)
        outcomes = self._learned(batch[0].call.model, work.result())
        for arrived, outcome in zip(batch, outcomes, strict=True):
            arrived.settle(outcome)
        self._start()

    def _learned(self, model: str, outcomes: list[Outcome]) -> list[Outcome]:
        """The outcomes, once it is noted how long their runs took."""
        for run in {outcome.run for outcome in outcomes if isinstance(outcome, Part)}:
            self._times[model].observe(run.rows, run.took_ms)
            self._meter.observe("hub_inference_ms", {"model": model}, run.took_ms)
        return outcomes


def _check_rows(call: InferCall) -> None:
    """Calls that run together are told apart by their rows; the model itself checks everything else."""
    window, context = call.window.shape, call.context.shape
    if not (window and context) or window[0] != context[0]:
        raise BadShape(
            f"window was {list(window)} and context {list(context)}; expected as many rows in both",
            field="context",
        )
