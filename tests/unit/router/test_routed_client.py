"""The path of a routed call: decide, reserve, call, learn, answer, once more elsewhere if need be.

Engine and load table are the shipped ones; the pools are scripted.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.router.observer import Observer
from deployments.router.opening import assemble
from deployments.router.replies import Refusal, Reply
from deployments.router.routed_client import RoutedClient
from models.answer import Answer
from models.card import ModelCard, ModelStatus
from models.decision import Ticket
from models.errors import (
    BadShape,
    DeadlineExpired,
    HubError,
    InferenceFailed,
    NothingFeasible,
    ReplicaBusy,
    ReplicaLost,
    TicketRefused,
    UnknownProfile,
)
from models.evidence import ModelEvidence, Recalibration
from models.forecast import Forecast, InferCall, InferReply, LoadReport
from models.metrics import MemoryMeter
from models.request import Requirements
from models.task import CONTEXT_FEATURES, TIME_SERIES_FORECAST, WINDOW, DataSize
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.evidence.recalibration import levels_of
from routing.load import LoadTable, ReplicaMeta
from routing.profiles import load_profiles
from routing.trials.experiments import Experiments
from tests.support.cards import a_card
from tests.support.eventually import eventually
from tests.support.live_evidence import observed

PROFILES: Final = Path(__file__).parents[3] / "config" / "profiles.yaml"
CARDS: Final = (a_card("quick", warm_ms=1.0), a_card("steady", warm_ms=3.0))
FORECAST: Final = Forecast(
    q05=-1, q50=0, q95=1, lower=-1, upper=1, level=0.9, prob_up=0.5, in_distribution=True
)
Script = Callable[[InferCall, Ticket], "HubError | None"]


@dataclass
class ScriptedPools:
    """Answers each call as `script` says: None answers, an error is raised; `refuse` sends it as a reply. The
    next `stalls` calls take `stall_s`.
    """

    script: Script = lambda call, ticket: None
    refuse: bool = False
    takes_s: float = 0.0
    stalls: int = 0
    stall_s: float = 5.0
    ready: bool = True
    sent: list[Ticket] = field(default_factory=list)
    cancelled: int = 0

    def send(self, call: InferCall, ticket: Ticket) -> ScriptedResponse:
        self.sent.append(ticket)
        self.stalls -= 1
        return ScriptedResponse(self, call, ticket, self.stall_s if self.stalls >= 0 else self.takes_s)

    @property
    def tried(self) -> list[str]:
        """Replicas in the order in which they were called."""
        return [ticket.replica for ticket in self.sent]


@dataclass
class ScriptedResponse:
    """One scripted call on its way."""

    pools: ScriptedPools
    call: InferCall
    ticket: Ticket
    takes_s: float

    async def reply(self) -> Reply:
        if self.takes_s:
            await asyncio.sleep(self.takes_s)
        error = self.pools.script(self.call, self.ticket)
        load = LoadReport(
            replica=self.ticket.replica,
            boot="b",
            seq=len(self.pools.sent),
            queued=0,
            in_service=0,
            slots=4,
            service_ms=1.5,
            queue_ms=0.25,
            rows=len(self.call.window),
        )
        if error is None:
            return InferReply([FORECAST] * len(self.call.window), "a" * 64, "c1", 1, 2, load)
        if self.pools.refuse:
            return Refusal(error, load)
        raise error

    def cancel(self) -> None:
        self.pools.cancelled += 1


@dataclass(frozen=True)
class FixedCatalogue:
    """A catalogue without a broker."""

    catalogue: Catalogue
    complete: bool = True


@dataclass
class Hub:
    """A routed client and everything it learns into."""

    client: RoutedClient
    pools: ScriptedPools
    load: LoadTable
    meter: MemoryMeter

    async def infer(
        self,
        *,
        within_s: float = 5.0,
        profile: str = "performance_optimized",
        model: str | None = None,
    ) -> Answer:
        """One call for two windows, and what is learned from it afterwards."""
        asked = wanted(within_s=within_s, profile=profile, model=model)
        try:
            return await self.client.infer(asked, *windows(2), traceparent="")
        finally:
            await asyncio.sleep(0)

    def in_flight(self) -> float:
        """Our own calls that the table believes to be on their way; what it heard of others has faded."""
        in_a_minute = time.time_ns() + 60_000_000_000
        return round(sum(standing.calls for standing in self.load.snapshot(in_a_minute).standings), 6)

    def counted(self, name: str, **labels: str) -> float:
        """A counter's value."""
        return self.meter.values.get((name, tuple(sorted(labels.items()))), 0.0)


def wanted(
    *, within_s: float = 5.0, profile: str = "performance_optimized", model: str | None = None
) -> Requirements:
    """What the calls of this file ask for."""
    return Requirements(
        task=TIME_SERIES_FORECAST.name,
        rows=2,
        data_size=DataSize.SMALL,
        deadline_ns=time.time_ns() + int(within_s * 1e9),
        profile=profile,
        model=model,
    )


def windows(rows: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """So many windows, with their context."""
    return np.zeros((rows, WINDOW), np.float32), np.zeros((rows, len(CONTEXT_FEATURES)), np.float32)


def a_hub(
    pools: ScriptedPools,
    *,
    replicas: Sequence[str] = ("r1", "r2"),
    cards: Sequence[ModelCard] = CARDS,
    evidence: Mapping[str, ModelEvidence] | None = None,
    canary_share: float = 0.0,
) -> Hub:
    """A client over one pool with these replicas, each holding all models."""
    load, meter = LoadTable(), MemoryMeter()
    meta = ReplicaMeta("pool", "cpu", 4, {str(card.key): list(card.warm) for card in cards})
    load.replicas_updated("pool", [(name, meta) for name in replicas], now_ns=0)
    source = FixedCatalogue(Catalogue.of(cards, version=7, evidence=evidence))
    experiments = Experiments(canary_share=canary_share)
    client = assemble(
        engine=Engine(load_profiles(PROFILES.read_text(encoding="utf-8"))),
        source=source,
        pools=pools,
        load=load,
        clock=time.time_ns,
        rng=Random(1),
        meter=meter,
        observer=Observer(experiments, catalogue=lambda: source.catalogue, clock=time.time_ns),
    )
    return Hub(client, pools, load, meter)


def first_time(error: HubError) -> Script:
    """A script in which the first call fails and all others are answered."""
    calls: list[InferCall] = []

    def script(call: InferCall, ticket: Ticket) -> HubError | None:
        calls.append(call)
        return error if len(calls) == 1 else None

    return script


async def test_answers_with_decision_lineage_and_stages() -> None:
    """The answer says which replica and artefact made it, and when each stage was reached."""
    hub = a_hub(ScriptedPools())
    answer = await hub.infer()

    assert len(answer.forecasts) == 2
    assert answer.lineage.model == answer.decision.chosen.name == "quick"
    assert answer.lineage.replica == hub.pools.tried[0]
    assert (answer.lineage.artifact_sha256, answer.lineage.attempts) == ("a" * 64, 1)
    assert (answer.lineage.inference_us, answer.lineage.queue_us) == (1500, 250)
    assert answer.stages["decided"] <= answer.stages["sent"] <= answer.stages["inferred"]
    assert answer.decision.catalogue_version == 7


async def test_the_ticket_binds_call_and_decision() -> None:
    """What is sent names the decision's model, replica, level and deadline."""
    hub = a_hub(ScriptedPools())
    answer = await hub.infer()
    ticket = hub.pools.sent[0]

    assert ticket.decision_id == answer.decision.decision_id
    assert (str(ticket.model), ticket.replica) == (str(answer.decision.chosen), answer.decision.replica)
    assert ticket.interval_level == answer.decision.promise.interval_level


@pytest.mark.parametrize("refuse", [True, False], ids=["refusal", "exception"])
@pytest.mark.parametrize(
    "error", [TicketRefused("gone"), ReplicaBusy("full"), ReplicaLost("dead"), InferenceFailed("broke")]
)
async def test_tries_once_more_elsewhere(error: HubError, *, refuse: bool) -> None:
    """A replica that did not answer costs a second attempt on another one, and the caller sees no error."""
    hub = a_hub(ScriptedPools(first_time(error), refuse=refuse))

    answer = await hub.infer()

    assert (answer.decision.attempt, answer.lineage.attempts) == (2, 2)
    assert len(set(hub.pools.tried)) == 2
    assert hub.in_flight() == 0


async def test_nobody_runs_a_request_a_third_time() -> None:
    """After two attempts that a replica took the last error is the caller's."""
    hub = a_hub(ScriptedPools(lambda call, ticket: ReplicaBusy(f"{ticket.replica} is full")))

    with pytest.raises(ReplicaBusy, match="is full"):
        await hub.infer()

    assert len(hub.pools.sent) == 2


def failing_with(*errors: HubError) -> Script:
    """A script of these failures, one call each; all other calls are answered."""
    left = list(errors)
    return lambda call, ticket: left.pop(0) if left else None


GONE, DEAD = TicketRefused("gone"), ReplicaLost("dead")
FIVE = ("r1", "r2", "r3", "r4", "r5")


@pytest.mark.parametrize("errors", [(GONE, GONE), (GONE, GONE, GONE), (DEAD, GONE), (GONE, DEAD)], ids=str)
async def test_a_call_that_no_replica_took_is_no_second_attempt(errors: tuple[HubError, ...]) -> None:
    """As when the replicas of a pool are replaced one after the other: the next one answers."""
    hub = a_hub(ScriptedPools(failing_with(*errors)), replicas=FIVE)

    answer = await hub.infer()

    assert answer.decision.attempt == len(errors) + 1 == len(set(hub.pools.tried))
    assert hub.in_flight() == 0


@pytest.mark.parametrize(
    "errors", [(GONE,) * 4, (DEAD, DEAD), (GONE, DEAD, DEAD), (DEAD, GONE, DEAD)], ids=str
)
async def test_calls_one_after_the_other_have_an_end(errors: tuple[HubError, ...]) -> None:
    """Two that were taken, four in all; the last error is the caller's."""
    hub = a_hub(ScriptedPools(failing_with(*errors)), replicas=FIVE)

    with pytest.raises(type(errors[-1])):
        await hub.infer()

    assert len(hub.pools.sent) == len(errors)


async def test_without_a_second_replica_the_first_error_stands() -> None:
    """Where nothing else can answer, the caller learns what happened and not that nothing matches."""
    hub = a_hub(ScriptedPools(lambda call, ticket: ReplicaLost("dead")), replicas=["r1"])

    with pytest.raises(ReplicaLost):
        await hub.infer()


@pytest.mark.parametrize("error", [BadShape("window was short"), DeadlineExpired("late")])
async def test_what_another_replica_cannot_mend_is_not_repeated(error: HubError) -> None:
    """Bad input and spent time are raised at once."""
    hub = a_hub(ScriptedPools(lambda call, ticket: error, refuse=True))

    with pytest.raises(type(error)):
        await hub.infer()

    assert len(hub.pools.sent) == 1


async def test_an_error_carries_the_decision_of_the_attempt_that_failed() -> None:
    """The second one after two attempts, with the replica that the error is about."""
    hub = a_hub(ScriptedPools(lambda call, ticket: ReplicaBusy(f"{ticket.replica} is full")))

    with pytest.raises(ReplicaBusy) as caught:
        await hub.infer()

    decision = caught.value.decision
    assert decision is not None
    assert (decision.attempt, decision.replica) == (2, hub.pools.tried[1])
    assert caught.value.message == f"{decision.replica} is full"


@pytest.mark.parametrize(
    "error", [BadShape("window was short"), DeadlineExpired("late"), ReplicaLost("dead")]
)
async def test_an_error_of_the_only_attempt_carries_its_decision(error: HubError) -> None:
    """Also where no second replica could be asked."""
    hub = a_hub(ScriptedPools(lambda call, ticket: error), replicas=["r1"])

    with pytest.raises(type(error)) as caught:
        await hub.infer()

    assert caught.value.decision is not None
    assert (caught.value.decision.attempt, caught.value.decision.replica) == (1, "r1")


async def test_an_error_before_the_decision_carries_none() -> None:
    """Nothing was decided where no replica is there."""
    hub = a_hub(ScriptedPools(), replicas=[])

    with pytest.raises(NothingFeasible) as caught:
        await hub.infer()

    assert caught.value.decision is None


async def test_a_timeout_stops_the_call() -> None:
    """At the deadline the call is cancelled where it runs, and the caller gets DeadlineExpired."""
    hub = a_hub(ScriptedPools(takes_s=5), replicas=["r1"])
    begun = time.monotonic()

    with pytest.raises(DeadlineExpired):
        await hub.infer(within_s=0.1)

    assert time.monotonic() - begun < 2
    assert hub.pools.cancelled == 1
    assert hub.in_flight() == 0


async def test_a_caller_that_gives_up_stops_the_call() -> None:
    """Cancelling the caller cancels the call and releases its reservation."""
    hub = a_hub(ScriptedPools(takes_s=5))
    task = asyncio.create_task(hub.infer())
    await eventually(lambda: hub.pools.sent)
    assert hub.in_flight() == 1

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert hub.pools.cancelled == 1
    assert hub.in_flight() == 0


async def test_calls_at_once_spread_over_the_replicas() -> None:
    """Each decision sees the reservations of those before it."""
    hub = a_hub(ScriptedPools(takes_s=0.01))

    await asyncio.gather(*(hub.infer() for _ in range(8)))

    assert sorted(hub.pools.tried.count(replica) for replica in ("r1", "r2")) == [4, 4]


async def test_a_lost_replica_is_avoided_at_once() -> None:
    """After a crash the next decisions go elsewhere, although the corpse is still listed."""
    dead: set[str] = set()

    def script(call: InferCall, ticket: Ticket) -> HubError | None:
        dead.add(ticket.replica) if not dead else None
        return ReplicaLost("dead") if ticket.replica in dead else None

    hub = a_hub(ScriptedPools(script), replicas=["r1", "r2", "r3"])
    await hub.infer()
    for _ in range(10):
        assert (await hub.infer()).decision.attempt == 1

    assert hub.pools.tried.count(next(iter(dead))) == 1


async def test_a_model_that_crashes_twice_is_not_chosen_again() -> None:
    """The second crash of a model in a row shuts it out; requests are answered by another model."""

    def script(call: InferCall, ticket: Ticket) -> HubError | None:
        return ReplicaLost("dead") if call.model == "quick@1" else None

    hub = a_hub(ScriptedPools(script), replicas=["r1", "r2", "r3", "r4", "r5"])
    with pytest.raises(ReplicaLost):
        await hub.infer()

    answers = [await hub.infer() for _ in range(5)]

    assert {(answer.decision.chosen.name, answer.decision.attempt) for answer in answers} == {("steady", 1)}


async def test_the_last_model_is_never_shut_out() -> None:
    """Where the quarantined model is the only one, it is still asked."""
    crashes = [ReplicaLost("dead"), ReplicaLost("dead")]
    pools = ScriptedPools(lambda call, ticket: crashes.pop() if crashes else None)
    hub = a_hub(pools, replicas=["r1", "r2", "r3", "r4"], cards=CARDS[:1])
    with pytest.raises(ReplicaLost):
        await hub.infer()

    assert (await hub.infer()).decision.chosen.name == "quick"


async def test_a_model_that_crashes_twice_is_refused_to_whoever_names_it() -> None:
    """Naming it would kill a replica with each call; where it has no substitute, the caller is told why."""
    hub = a_hub(
        ScriptedPools(lambda call, ticket: ReplicaLost("dead")),
        replicas=["r1", "r2", "r3", "r4"],
        cards=CARDS[:1],
    )
    with pytest.raises(ReplicaLost):
        await hub.infer(model="quick")
    sent = len(hub.pools.sent)

    with pytest.raises(NothingFeasible, match="in quarantine"):
        await hub.infer(model="quick")
    assert len(hub.pools.sent) == sent == 2


async def test_a_decision_alone_reserves_and_sends_nothing() -> None:
    """`decide` says where a call would go, and leaves no trace in the load."""
    hub = a_hub(ScriptedPools())
    decision = hub.client.decide(wanted())

    assert decision.replica in {"r1", "r2"}
    assert (hub.in_flight(), hub.pools.sent) == (0, [])


async def test_without_replicas_nothing_is_feasible() -> None:
    """Pools that are empty refuse with an error that may be retried."""
    hub = a_hub(ScriptedPools(), replicas=[])

    with pytest.raises(NothingFeasible) as caught:
        await hub.infer()

    assert caught.value.retryable


async def test_an_unknown_profile_is_no_label() -> None:
    """What a client made up is refused, and does not become a time series."""
    hub = a_hub(ScriptedPools())
    with pytest.raises(UnknownProfile):
        await hub.infer(profile="made-up")

    counted = hub.counted("hub_decisions_total", profile="unknown", model="none", outcome="unknown_profile")
    assert counted == 1


async def test_measures_attempts_and_promises() -> None:
    """Attempts are counted by outcome, calls by whether the promise was kept."""
    hub = a_hub(ScriptedPools(first_time(ReplicaBusy("full")), refuse=True))
    await hub.infer()

    assert hub.counted("hub_route_attempts_total", pool="pool", outcome="refused") == 1
    assert hub.counted("hub_route_attempts_total", pool="pool", outcome="ok") == 1
    assert hub.counted("hub_promise_met_total", profile="performance_optimized", met="true") == 1


@pytest.mark.parametrize(
    ("pools", "complete", "ready"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_is_ready_with_catalogue_and_pools(*, pools: bool, complete: bool, ready: bool) -> None:
    """Ready once the catalogue was read to its end and the pools are up."""
    hub = a_hub(ScriptedPools(ready=pools))
    source = FixedCatalogue(Catalogue.of(CARDS, version=7), complete=complete)
    hub.client._decisions._source = source

    assert hub.client.ready() is ready


async def test_an_answer_has_the_calibration_in_force() -> None:
    """Intervals at the rolling multipliers, under their version; no replica knows them."""
    card = a_card("quick", warm_ms=1.0)
    card = card.model_copy(update={"calibration": card.calibration.model_copy(update={"version": "c1"})})
    own = levels_of(card.calibration)
    now = Recalibration(version="r1", multipliers={"*": tuple(2 * multiplier for multiplier in own)})
    hub = a_hub(ScriptedPools(), cards=[card], evidence={"quick@1": observed("quick", calibration=now)})

    answer = await hub.infer()

    assert answer.lineage.calibration == "r1"
    assert [(one.q05, one.q95, one.lower, one.upper) for one in answer.forecasts] == [(-2, 2, -2, 2)] * 2
    assert answer.in_force is not None
    assert answer.in_force.rows == (now.multipliers["*"],) * 2


async def test_a_model_that_was_calibrated_anew_answers_as_it_does() -> None:
    """Where the replica's card is another than the catalogue's, nobody knows what to move."""
    now = Recalibration(version="r1", multipliers={"*": (1.0,) * 8})
    hub = a_hub(ScriptedPools(), evidence={"quick@1": observed("quick", calibration=now)})

    answer = await hub.infer()

    assert (answer.lineage.calibration, answer.in_force) == ("c1", None)
    assert answer.forecasts == [FORECAST] * 2


async def test_models_are_asked_beside_the_answer_without_counting_as_one() -> None:
    """Live, shadow and canary models of the market; their calls promise nobody anything."""
    statuses = {"a": "live", "b": "shadow", "c": "canary", "d": "candidate", "e": "load-only", "f": "demoted"}
    cards = [
        a_card(name).model_copy(update={"status": ModelStatus(status)}) for name, status in statuses.items()
    ]
    hub = a_hub(ScriptedPools(), cards=cards)

    assert hub.client.beside(10_000, 60_000) == ["a@1", "b@1", "c@1"]
    assert hub.client.beside(10_000, 30_000) == []

    asked = wanted(model="b@1")
    answer = await hub.client.infer_beside(asked, *windows(2), traceparent="")
    await asyncio.sleep(0)

    assert str(answer.decision.chosen) == "b@1"
    assert not [name for name, _ in hub.meter.values if name == "hub_promise_met_total"]


def on_trial() -> list[ModelCard]:
    """A live model, and a quicker one on trial."""
    canary = a_card("new", warm_ms=0.5).model_copy(update={"status": ModelStatus.CANARY})
    return [a_card("steady", warm_ms=3.0), canary]


async def test_a_share_of_requests_is_answered_by_canaries() -> None:
    """Of many users about so many; the same user is always in it or never, and who names a model is not."""
    hub = a_hub(ScriptedPools(), cards=on_trial(), canary_share=0.2)

    async def chosen(unit: str, model: str | None = None) -> str:
        answer = await hub.client.infer(wanted(model=model), *windows(2), traceparent="", unit=unit)
        return answer.decision.chosen.name

    drawn = {f"user-{number}": await chosen(f"user-{number}") for number in range(200)}
    counts = Counter(drawn.values())

    assert 20 <= counts["new"] <= 60
    assert counts["new"] + counts["steady"] == 200
    tried = next(unit for unit, name in drawn.items() if name == "new")
    assert await chosen(tried) == "new"
    assert await chosen(tried, model="steady") == "steady"


async def test_a_canary_that_cannot_keep_the_promise_is_passed_over() -> None:
    """Being on trial is no reason for a refusal; nor is a canary of which nothing was measured yet."""
    unmeasured = on_trial()[1].model_copy(update={"evidence": ()})
    hub = a_hub(ScriptedPools(), cards=[on_trial()[0], unmeasured], canary_share=1.0)
    asked = wanted().model_copy(update={"min_accuracy": 0.9})

    assert (await hub.client.infer(asked, *windows(2), traceparent="")).decision.chosen.name == "steady"
    assert (await hub.infer()).decision.chosen.name == "new"


async def test_a_request_for_canaries_where_there_are_none_is_an_ordinary_one() -> None:
    """The share is there before the first model is on trial."""
    hub = a_hub(ScriptedPools(), canary_share=1.0)

    assert (await hub.infer()).decision.chosen.name == "quick"
