"""A `RequestRouter` for any Serve application: a call goes to the replica that will be done with it first.

What it believes and how it chooses is `routing/ticketless/`; here is how Serve is watched and obeyed.
Every call is timed from its own send to its own completion, on either transport; Serve's own callbacks come
in an order that depends on the transport, and none of them tells an answer from an exception.

Serve pickles this module by value: nothing here may hold state, and only Ray, `routing` and `models` may be
imported, which is all that an application has to ship. What is private of Serve is pinned by `tests/serve`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from types import TracebackType
from typing import Any, Final

import ray
from ray.core.generated.common_pb2 import TASK_CANCELLED  # type: ignore[attr-defined]  # generated
from ray.exceptions import GetTimeoutError, RayActorError
from ray.serve._private.common import ReplicaID, RunningReplicaInfo
from ray.serve._private.replica_result import ReplicaResult, gRPCReplicaResult
from ray.serve.config import RequestRouterConfig
from ray.serve.exceptions import RequestCancelledError
from ray.serve.request_router import FIFOMixin, PendingRequest, RequestRouter, RunningReplica

from routing.ticketless.choice import CallEnd, ChoiceConfig, ReplicaChoice
from routing.ticketless.replica import Flight

_FLIGHT: Final = "_latency_router_flight"
_TRIED: Final = "_latency_router_tried"
_ASK_AGAIN_S: Final = 0.01
_ASK_TIMES: Final = 5


def latency_routing(**settings: Any) -> RequestRouterConfig:
    """Makes a deployment's callers choose by expected completion; settings as in `ChoiceConfig`.

    Raises:
        pydantic.ValidationError: a setting is unknown or has a wrong value; it names the setting.
    """
    ChoiceConfig(**settings)
    return RequestRouterConfig(
        request_router_class=LatencyRouter,  # type: ignore[arg-type]  # declared too narrowly
        request_router_kwargs=settings,
    )


class LatencyRouter(FIFOMixin, RequestRouter):
    """Sends each call where it is expected to be answered first.

    Everything here runs on the loop of Serve's router. A call that finds all replicas full or out waits its
    turn: it is woken by the next completion, or by Serve's backoff if other callers' calls make room.
    """

    def initialize_state(self, **kwargs: Any) -> None:
        self._choice = ReplicaChoice(ChoiceConfig(**kwargs))
        self._rng = Random()  # noqa: S311 - ties between replicas are no secret
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._following: set[asyncio.Task[None]] = set()

    async def _choose_replica_for_request(
        self,
        pending_request: PendingRequest,
        *,
        is_retry: bool = False,  # noqa: ARG002 - the request itself remembers who was tried
    ) -> RunningReplica:
        tried = _tried(pending_request)
        attempt = 0
        while True:
            while not self.curr_replicas:
                self._replicas_updated_event.clear()
                await self._replicas_updated_event.wait()
            replica = self._choose(pending_request, tried)
            if replica is not None:
                tried.add(replica.replica_id.unique_id)
                return replica
            tried.clear()
            await self._room(attempt)
            attempt += 1

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Our choice, then the rest: what Serve asks where it picks without sending."""
        if pending_request is None:
            return [candidate_replicas]
        pending_request.routing_context.should_backoff = True
        chosen = self._choose(pending_request, set())
        return [[chosen], candidate_replicas] if chosen else [candidate_replicas]

    def create_replica_wrapper(self, replica_info: RunningReplicaInfo) -> RunningReplica:
        return _WatchedReplica(replica_info, self)

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        super().update_replicas(replicas)
        self._publish(replicas)
        while self._wake_one():
            pass

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        super().on_replica_actor_died(replica_id)
        self._publish(self.curr_replicas.values())

    def on_replica_actor_unavailable(self, replica_id: ReplicaID) -> None:
        super().on_replica_actor_unavailable(replica_id)
        self._choice.unreachable(replica_id.unique_id, time.monotonic_ns())

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaID, result: ReplicaResult
    ) -> None:
        super().on_request_routed(pending_request, replica_id, result)
        flight: Flight | None = getattr(result, _FLIGHT, None)
        admitted: Any = getattr(result, "_rejection_response", None)
        if flight is not None and admitted is not None:
            self._choice.heard(flight, admitted.num_ongoing_requests)

    def reserved(self, replica: str, ongoing: int) -> None:
        """A replica holds a place for a call that is not sent yet."""
        self._choice.reserved(replica, ongoing, time.monotonic_ns())

    def send(self, replica: str, call: Callable[[], ReplicaResult]) -> ReplicaResult:
        """Send a call, and watch it to its end."""
        flight = self._choice.sent(replica, time.monotonic_ns())
        try:
            result = call()
        except BaseException:
            self._finished(flight, CallEnd.FAILED, time.monotonic_ns())
            raise
        setattr(result, _FLIGHT, flight)
        loop = self._event_loop

        def ended(told: Any) -> None:  # on a thread of the transport
            loop.call_soon_threadsafe(self._ended, result, flight, told, time.monotonic_ns())

        result.add_done_callback(ended)
        return result

    def read(self, flight: Flight, *, ok: bool) -> None:
        """Whoever reads a stream, on whatever thread, met its end or an error."""

        def tell() -> None:
            self._choice.told(flight, ok=ok, now_ns=time.monotonic_ns())

        self._event_loop.call_soon_threadsafe(tell)

    def _choose(self, pending: PendingRequest, tried: set[str]) -> RunningReplica | None:
        model = pending.metadata.multiplexed_model_id
        others = {r.replica_id.unique_id for r in self._replicas_list if model not in r.multiplexed_model_ids}
        now_ns = time.monotonic_ns()
        chosen = self._choice.choose(now_ns, self._rng, tried | others) if model else None
        chosen = chosen or self._choice.choose(now_ns, self._rng, tried)
        return next((r for r in self._replicas_list if r.replica_id.unique_id == chosen), None)

    def _ended(self, *completed: Any) -> None:
        following = self._event_loop.create_task(self._follow(*completed))
        self._following.add(following)
        following.add_done_callback(self._following.discard)

    async def _room(self, attempt: int) -> None:
        """Until a call of ours has ended, or Serve's backoff is over."""
        woken = self._event_loop.create_future()
        self._waiting.append(woken)
        try:
            await asyncio.wait([woken], timeout=self._compute_backoff_s(attempt))
        finally:
            woken.cancel()

    def _wake_one(self) -> bool:
        """Let the call that has waited longest look again; False if none waits."""
        while self._waiting:
            woken = self._waiting.popleft()
            if not woken.done():
                woken.set_result(None)
                return True
        return False

    def _publish(self, replicas: Iterable[RunningReplica]) -> None:
        self._choice.replicas_updated((r.replica_id.unique_id, r.max_ongoing_requests) for r in replicas)

    async def _follow(self, result: ReplicaResult, flight: Flight, told: Any, ended_ns: int) -> None:
        """Find out what became of a call that completed, and learn from it. It is over in any case."""
        grpc, end = isinstance(result, gRPCReplicaResult), CallEnd.UNSEEN
        try:
            end = await (_grpc_end(result) if grpc else _actor_end(result, told))
        finally:
            self._finished(flight, end, ended_ns)

    def _finished(self, flight: Flight, end: CallEnd, ended_ns: int) -> None:
        self._choice.finished(flight, end, ended_ns)
        self._wake_one()


class _WatchedReplica(RunningReplica):
    """A replica whose calls are watched by the router that made it: unary, streams, and by dispatch.

    A broadcast is not: it goes to every replica, and says nothing of how fast ordinary calls are.
    """

    def __init__(self, info: RunningReplicaInfo, router: LatencyRouter) -> None:
        super().__init__(info)
        self._router = router

    def try_send_request(self, pr: PendingRequest, with_rejection: bool) -> ReplicaResult:  # noqa: FBT001
        send = super().try_send_request
        if _TRIED not in vars(pr) and pr.metadata._reserved_slot_token is None:  # noqa: SLF001
            return send(pr, with_rejection)
        result = self._router.send(self.replica_id.unique_id, lambda: send(pr, with_rejection))
        if pr.metadata.is_streaming:
            _watch_reader(result, self._router)
        return result

    async def reserve_slot(self, request_metadata: Any) -> Any:
        token, held = await super().reserve_slot(request_metadata)
        self._router.reserved(self.replica_id.unique_id, held.num_ongoing_requests)
        return token, held


def _tried(pending: PendingRequest) -> set[str]:
    """Replicas that did not take this request; kept on it, because nothing else tells two requests apart."""
    tried: set[str] = vars(pending).setdefault(_TRIED, set())
    return tried


def _watch_reader(result: Any, router: LatencyRouter) -> None:
    """Learn the outcome of a stream from whoever reads it: no transport tells."""
    reading = _Reading(router, getattr(result, _FLIGHT))
    anext_, next_ = result.__anext__, result.__next__

    async def watched_anext() -> Any:
        with reading:
            return await anext_()

    def watched_next() -> Any:
        with reading:
            return next_()

    result.__anext__, result.__next__ = watched_anext, watched_next


class _Reading:
    """Tells the router of the exception that ends a stream, be it the ordinary one."""

    def __init__(self, router: LatencyRouter, flight: Flight) -> None:
        self._router = router
        self._flight = flight

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, RequestCancelledError):
            self._router.read(self._flight, ok=isinstance(error, StopAsyncIteration | StopIteration))


async def _actor_end(result: Any, told: Any) -> CallEnd:
    """What became of an actor call that completed.

    Serve is told of the stream that carries the answer; the answer's own reference tells more. The completion
    may overtake the reply that admitted the call, by which alone the answer has a reference.
    """
    for _ in range(_ASK_TIMES):
        if isinstance(told, RayActorError):
            return CallEnd.FAILED
        if _refused(result):
            return CallEnd.REFUSED
        if result._obj_ref is not None:  # noqa: SLF001
            return _object_end(result._obj_ref)  # noqa: SLF001
        if isinstance(told, BaseException):
            return CallEnd.ABANDONED
        if result._is_streaming:  # noqa: SLF001
            return CallEnd.UNSEEN
        await asyncio.sleep(_ASK_AGAIN_S)
    return CallEnd.UNSEEN


def _object_end(answer: Any) -> CallEnd:
    """An object that holds an error has its number as metadata; the object itself is not unpacked."""
    worker: Any = ray._private.worker.global_worker  # noqa: SLF001 - by its path: it cannot be pickled
    try:
        [[_, metadata, _]] = worker.core_worker.get_objects([answer], 0)
    except GetTimeoutError:  # large, and still on another node
        return CallEnd.UNSEEN
    if metadata == str(TASK_CANCELLED).encode():
        return CallEnd.ABANDONED
    return CallEnd.FAILED if metadata.isdigit() else CallEnd.ANSWERED


async def _grpc_end(result: Any) -> CallEnd:
    """What became of a gRPC call that completed."""
    call = result._call  # noqa: SLF001
    if _refused(result):
        return CallEnd.REFUSED
    if call.cancelled():
        return CallEnd.ABANDONED
    if (await call.code()).name != "OK":
        return CallEnd.FAILED
    if (await call.initial_metadata()).get("accepted", "1") == "0":
        return CallEnd.REFUSED
    if result._is_streaming:  # noqa: SLF001
        return CallEnd.UNSEEN
    return CallEnd.FAILED if (await call).is_error else CallEnd.ANSWERED


def _refused(result: Any) -> bool:
    admitted = result._rejection_response  # noqa: SLF001
    return admitted is not None and not admitted.accepted
