"""What happens to a call inside a replica. Knows nothing of Ray, so that it is tested without it.

arrive -> expired? -> take a slot (or wait, or refuse) -> expired? -> run the model on a thread -> reply.
Every reply and every refusal carries the replica's load.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.pool.slots import Slots
from deployments.router.replies import Refusal, Reply
from models.card import ModelCard
from models.decision import Ticket
from models.errors import DeadlineExpired, HubError, InferenceFailed, TicketRefused
from models.forecast import Forecast, InferCall, InferReply, LoadReport
from models.metrics import Meter
from models.task import CONTEXT_FEATURES, WINDOW

log = logging.getLogger("ray.serve")

_HEALTH_LEVEL: Final = 0.95
_HEALTH_RETURN: Final = 5e-5
"""Half a basis point, the size of a real bar's return: a window of zeros has no spread to forecast with."""


class LoadedModel(Protocol):
    """A model that is ready to answer; `inference.session.Session` is one."""

    card: ModelCard

    def run(
        self, window: NDArray[np.float32], context: NDArray[np.float32], *, level: float
    ) -> list[Forecast]:
        """One calibrated forecast per row. Safe on several threads at once."""
        ...


@dataclass(frozen=True, slots=True)
class _Run:
    """What one run of a model gave, and when it started and ended (wall nanoseconds)."""

    forecasts: list[Forecast]
    started_ns: int
    finished_ns: int

    @property
    def service_ms(self) -> float:
        return (self.finished_ns - self.started_ns) / 1e6


class InferenceWorker:
    """Several models behind one bounded queue.

    Owned by one event loop; only `timed` runs on the threads. A slot that a call took belongs to the run on
    its thread and is freed when that ends: a caller that gives up cannot stop ONNX half-way.
    """

    def __init__(
        self,
        *,
        replica: str,
        boot: str,
        models: Iterable[LoadedModel],
        slots: Slots,
        clock: Callable[[], int],
        meter: Meter,
    ) -> None:
        self._replica = replica
        self._boot = boot
        self._models = {str(model.card.key): model for model in models}
        self._slots = slots
        self._clock = clock
        self._meter = meter
        self._threads = ThreadPoolExecutor(slots.slots, thread_name_prefix="onnx")
        self._reports = itertools.count(1)
        self._health_turn = itertools.cycle(self._models.values())

    def metadata(self, *, pool: str, hardware: str) -> dict[str, Any]:
        """The static card of this replica in plain types: what it holds and how fast that was when warm."""
        return {
            "pool": pool,
            "hardware": hardware,
            "slots": self._slots.slots,
            "models": {
                name: [profile.model_dump() for profile in model.card.warm]
                for name, model in self._models.items()
            },
        }

    async def infer(self, call: InferCall, ticket: Ticket | None = None) -> Reply:
        """Forecasts of the call, or a refusal that says why there are none."""
        arrived_ns = self._clock()
        try:
            model = self._admitted(call, ticket)
            run = await self._run(model, call)
        except HubError as error:
            if isinstance(error, InferenceFailed):
                log.warning("%s", error.message)
            return Refusal(error, self._report(call, service_ms=0.0, queue_ms=0.0))
        self._meter.observe("hub_inference_ms", {"model": call.model}, run.service_ms)
        queue_ms = (run.started_ns - arrived_ns) / 1e6
        return InferReply(
            forecasts=run.forecasts,
            artifact_sha256=model.card.sha256,
            calibration=model.card.calibration.version,
            started_ns=run.started_ns,
            finished_ns=run.finished_ns,
            load=self._report(call, service_ms=run.service_ms, queue_ms=queue_ms),
        )

    async def check(self) -> None:
        """Run one row through the next model in turn; raises what the model raises."""
        model = next(self._health_turn)
        await self._on_thread(model, *_ordinary_row(model.card), _HEALTH_LEVEL)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _admitted(self, call: InferCall, ticket: Ticket | None) -> LoadedModel:
        if ticket is not None and ticket.replica != self._replica:
            raise TicketRefused(f"the ticket names replica {ticket.replica}, this is {self._replica}")
        if call.model not in self._models:
            raise TicketRefused(f"replica {self._replica} holds {', '.join(self._models)}, not {call.model}")
        self._refuse_late(call, "arrived")
        return self._models[call.model]

    def _refuse_late(self, call: InferCall, where: str) -> None:
        late_ms = (self._clock() - call.deadline_ns) / 1e6
        if late_ms >= 0:
            raise DeadlineExpired(f"the call {where} {late_ms:.1f} ms after its deadline; nothing was run")

    async def _run(self, model: LoadedModel, call: InferCall) -> _Run:
        await self._slots.take()
        try:
            self._refuse_late(call, "left the queue")
            work = self._on_thread(model, call.window, call.context, call.interval_level)
        except BaseException:
            self._slots.free()
            raise
        work.add_done_callback(self._ended)
        return await asyncio.shield(work)

    def _on_thread(
        self, model: LoadedModel, window: NDArray[np.float32], context: NDArray[np.float32], level: float
    ) -> asyncio.Future[_Run]:
        def timed() -> _Run:
            started_ns = self._clock()
            forecasts = model.run(window, context, level=level)
            return _Run(forecasts, started_ns, self._clock())

        return asyncio.get_running_loop().run_in_executor(self._threads, timed)

    def _ended(self, work: asyncio.Future[_Run]) -> None:
        self._slots.free()
        if not work.cancelled():
            work.exception()  # marks it as seen: nobody awaits the run of a caller that gave up

    def _report(self, call: InferCall, *, service_ms: float, queue_ms: float) -> LoadReport:
        return LoadReport(
            replica=self._replica,
            boot=self._boot,
            seq=next(self._reports),
            queued=self._slots.queued,
            in_service=self._slots.in_service,
            slots=self._slots.slots,
            service_ms=service_ms,
            queue_ms=queue_ms,
            rows=len(call.window),
        )


def _ordinary_row(card: ModelCard) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One window of alternating small returns, with every context feature in the middle of its domain."""
    window = np.full((1, WINDOW), _HEALTH_RETURN, np.float32)
    window[:, ::2] *= -1
    domain = card.calibration.domain
    middle = [sum(domain.get(name, (0.0, 0.0))) / 2 for name in CONTEXT_FEATURES]
    return window, np.array([middle], np.float32)
