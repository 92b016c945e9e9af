"""Ensembles in the caller: several routed calls inside one request, combined within its deadline.

Engine, load table and budgets are the shipped ones; replicas are scripted, and time is virtual.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from typing import Final

import pytest

from deployments.router.calls import Work
from deployments.router.names import ENSEMBLE_POOL
from deployments.router.opening import assemble
from deployments.router.replies import Reply
from models.answer import Answer
from models.card import MOST_MEMBERS, ModelCard, ModelStatus
from models.decision import Decision, Degradation, Execution, Ticket
from models.errors import (
    BadShape,
    DeadlineExpired,
    HubError,
    InferenceFailed,
    NoModelMatches,
    NothingFeasible,
    ReplicaBusy,
    ReplicaLost,
    TicketRefused,
)
from models.evidence import ModelEvidence, Recalibration
from models.forecast import Forecast, InferCall, InferReply, LoadReport
from models.metrics import MemoryMeter
from models.request import Requirements
from models.task import TIME_SERIES_FORECAST, DataSize
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.evidence.recalibration import levels_of
from routing.load import LoadTable, ReplicaMeta
from routing.profiles import load_profiles
from tests.support.cards import a_card, an_ensemble
from tests.support.live_evidence import bounded, observed, seen_on
from tests.support.virtual_loop import run_virtual, until
from tests.unit.router.test_routed_client import PROFILES, windows

BLEND: Final = "blend@1"


@dataclass
class Says:
    """What the replicas of a member do: forecast `middle` -/+ `half` at 0.90 after a while, or fail then."""

    middle: float = 0.0
    half: float = 1.0
    after_s: float = 0.005
    error: HubError | None = None
    calibration: str = "test-1"


@dataclass
class Members:
    """Replicas of all members, and what they were asked. `out` calls are under way."""

    says: dict[str, Says] = field(default_factory=dict)
    calls: list[InferCall] = field(default_factory=list)
    out: int = 0
    ready: bool = True

    def send(self, call: InferCall, ticket: Ticket) -> MemberCall:
        assert ticket.pool == "pool"
        self.calls.append(call)
        return MemberCall(self, call, ticket, len(self.calls))

    @property
    def asked(self) -> list[str]:
        """The members in the order in which they were called."""
        return [call.model for call in self.calls]


@dataclass
class MemberCall:
    """A call of a member on its way."""

    members: Members
    call: InferCall
    ticket: Ticket
    seq: int

    async def reply(self) -> Reply:
        says = self.members.says.get(self.call.model, Says())
        self.members.out += 1
        try:
            await asyncio.sleep(says.after_s)
        finally:
            self.members.out -= 1
        if says.error:
            raise says.error
        forecast = Forecast(
            q05=says.middle - says.half,
            q50=says.middle,
            q95=says.middle + says.half,
            lower=says.middle - says.half,
            upper=says.middle + says.half,
            level=self.call.interval_level,
            prob_up=0.5,
            in_distribution=True,
        )
        load = LoadReport(
            replica=self.ticket.replica,
            boot="b",
            seq=self.seq,
            queued=0,
            in_service=0,
            slots=4,
            service_ms=says.after_s * 1e3,
            queue_ms=0.0,
            rows=len(self.call.window),
        )
        return InferReply([forecast] * len(self.call.window), "a" * 64, says.calibration, 1, 2, load)

    def cancel(self) -> None:
        """Its caller has stopped waiting."""


@dataclass
class Source:
    """A catalogue that a test may replace."""

    catalogue: Catalogue
    complete: bool = True


class Hub:
    """A routed client on virtual time, the replicas of its members and all that it learns into."""

    def __init__(
        self,
        members: Members,
        cards: Sequence[ModelCard],
        evidence: Mapping[str, ModelEvidence] | None = None,
    ) -> None:
        self.members, self.load, self.meter = members, LoadTable(), MemoryMeter()
        self.source = Source(Catalogue.of(cards, version=1, evidence=evidence))
        meta = ReplicaMeta(
            "pool", "cpu", 4, {str(card.key): list(card.warm) for card in cards if card.ensemble is None}
        )
        self.load.replicas_updated("pool", [(name, meta) for name in ("r1", "r2")], now_ns=0)
        self.client = assemble(
            engine=Engine(load_profiles(PROFILES.read_text(encoding="utf-8"))),
            source=self.source,
            pools=members,
            load=self.load,
            clock=now_ns,
            rng=Random(1),
            meter=self.meter,
        )

    def now_has(
        self, cards: Sequence[ModelCard], evidence: Mapping[str, ModelEvidence] | None = None
    ) -> None:
        """The catalogue is this one from now on."""
        self.source.catalogue = Catalogue.of(
            cards, version=self.source.catalogue.version + 1, evidence=evidence
        )

    async def infer(
        self,
        *,
        model: str | None = BLEND,
        within_s: float = 1.0,
        rows: int = 1,
        min_accuracy: float | None = None,
    ) -> Answer:
        """One call; what it taught is learned when it returns."""
        wanted = self.wanted(model=model, within_s=within_s, rows=rows, min_accuracy=min_accuracy)
        try:
            return await self.client.infer(wanted, *windows(rows), traceparent="")
        finally:
            await asyncio.sleep(0)

    def decide(self, model: str = BLEND) -> Decision:
        """Where a call would go now."""
        return self.client.decide(self.wanted(model=model, within_s=1.0))

    @staticmethod
    def wanted(
        *, model: str | None, within_s: float, rows: int = 1, min_accuracy: float | None = None
    ) -> Requirements:
        return Requirements(
            task=TIME_SERIES_FORECAST.name,
            rows=rows,
            data_size=DataSize.SMALL,
            deadline_ns=now_ns() + int(within_s * 1e9),
            instruments=("EURUSD",),
            profile="performance_optimized",
            model=model,
            min_accuracy=min_accuracy,
        )

    def in_flight(self) -> int:
        """Calls that are reserved somewhere."""
        return sum(belief["queue"]["own"] for belief in self.load.export()["replicas"].values())

    def counted(self, name: str) -> float:
        """A counter over all its labels."""
        return sum(value for (counter, _), value in self.meter.values.items() if counter == name)


def now_ns() -> int:
    """The virtual time as a wall clock would show it."""
    return 1_700_000_000_000_000_000 + int(asyncio.get_running_loop().time() * 1e9)


def with_loss(name: str, loss: float, *, warm_ms: float = 1.0) -> ModelCard:
    """A live model whose card claims this interval loss."""
    card = a_card(name, warm_ms=warm_ms)
    (pooled,) = card.evidence
    measured = bounded(loss, loss, loss)
    return card.model_copy(update={"evidence": (pooled.model_copy(update={"interval_score": measured}),)})


def lost(name: str, loss: float) -> ModelEvidence:
    """Live evidence with this loss."""
    pooled = seen_on().model_copy(update={"interval_score": bounded(loss, loss, loss)})
    return observed(name, instruments=(pooled,))


THREE: Final = (with_loss("a", 1.0), with_loss("b", 2.0), with_loss("c", 4.0))
"""Their weights are 4, 2 and 1 sevenths."""
SAYS: Final = {"a@1": Says(0.0, 1.0), "b@1": Says(7.0, 2.0), "c@1": Says(-7.0, 4.0)}


def a_hub(*ensembles: ModelCard, **changes: Says) -> Hub:
    """The three models and ensembles of them; by default one of all that are live."""
    says = {name: replace(one) for name, one in SAYS.items()}
    says |= {f"{name}@1": one for name, one in changes.items()}
    return Hub(Members(says), [*THREE, *(ensembles or (an_ensemble(),))])


def test_members_answer_together() -> None:
    """Weighted means, under the ensemble's name, recipe and calibration; who answered with which weight."""

    async def main() -> None:
        hub = a_hub()
        answer = await hub.infer(rows=3)
        (one, *others) = answer.forecasts

        assert hub.members.asked == ["a@1", "b@1", "c@1"]
        assert answer.lineage.members == pytest.approx({"a@1": 4 / 7, "b@1": 2 / 7, "c@1": 1 / 7})
        assert (one.q50, one.q95 - one.q50) == pytest.approx((1.0, 12 / 7))
        assert others == [one] * 2
        assert (answer.lineage.model, answer.lineage.artifact_sha256) == ("blend", an_ensemble().sha256)
        assert answer.lineage.calibration == "blend-1-members"
        assert answer.in_force is not None
        assert (answer.decision.pool, answer.decision.execution) == (ENSEMBLE_POOL, Execution.LOCAL)
        assert hub.in_flight() == 0

    run_virtual(main())


def test_only_an_ensembles_lineage_speaks_of_members() -> None:
    """What others write is what it was."""

    async def main() -> None:
        hub = a_hub()
        ensemble, member = await hub.infer(), await hub.infer(model="a@1")

        assert "members" in ensemble.lineage.model_dump(mode="json")
        assert "members" not in member.lineage.model_dump(mode="json")

    run_virtual(main())


def test_all_members_are_asked_at_once_and_before_the_calls_own_deadline() -> None:
    """The slowest decides how long it takes; there is time left to combine."""

    async def main() -> None:
        hub = a_hub(a=Says(after_s=0.1), b=Says(after_s=0.1), c=Says(after_s=0.1))
        begun = now_ns()
        await hub.infer(within_s=1.0)

        assert (now_ns() - begun) / 1e9 == pytest.approx(0.1)
        for call in hub.members.calls:
            assert 0.9 < (call.deadline_ns - begun) / 1e9 < 1.0

    run_virtual(main())


@pytest.mark.parametrize("error", [InferenceFailed("broke"), ReplicaBusy("full"), ReplicaLost("dead")])
def test_a_member_that_fails_is_left_out(error: HubError) -> None:
    """The others count as before in proportion, and the lineage says who it was made of."""

    async def main() -> None:
        hub = a_hub(c=Says(error=error))
        answer = await hub.infer()

        assert answer.lineage.members == pytest.approx({"a@1": 2 / 3, "b@1": 1 / 3})
        assert answer.forecasts[0].q50 == pytest.approx(7 / 3)
        assert hub.in_flight() == 0

    run_virtual(main())


def test_a_member_that_fails_once_is_asked_elsewhere() -> None:
    """As any other routed call: by its second replica."""

    async def main() -> None:
        hub = a_hub(c=Says(after_s=0.05, error=ReplicaBusy("full")))
        asking = asyncio.create_task(hub.infer())
        await until(lambda: hub.members.asked.count("c@1") == 2)
        hub.members.says["c@1"].error = None

        assert (await asking).lineage.members.keys() == {"a@1", "b@1", "c@1"}

    run_virtual(main())


def test_a_member_that_no_replica_takes_is_left_out_and_nobody_stands_in_for_it() -> None:
    """Not even where the ensemble itself would be the next best model to ask."""

    async def main() -> None:
        hub = a_hub(c=Says(error=TicketRefused("gone")))
        answer = await hub.infer()

        assert answer.lineage.members.keys() == {"a@1", "b@1"}
        assert sorted(hub.members.asked) == ["a@1", "b@1", "c@1", "c@1"]

    run_virtual(main())


@pytest.mark.parametrize("within_s", [0.05, 0.3, 2.0])
def test_a_late_member_is_left_out_and_the_deadline_kept(within_s: float) -> None:
    """It is given up in time for the others to be combined."""

    async def main() -> None:
        hub = a_hub(c=Says(after_s=60.0))
        begun = now_ns()
        answer = await hub.infer(within_s=within_s)

        assert now_ns() - begun < within_s * 1e9
        assert answer.lineage.members.keys() == {"a@1", "b@1"}
        assert (hub.members.out, hub.in_flight()) == (0, 0)

    run_virtual(main())


NAMED: Final = an_ensemble(of=("a@1", "b@1", "c@1"))


def unreplaced(*losses: float, **says: Says) -> Hub:
    """An ensemble of models that are not live, so that none of them stands in for it when it fails."""
    cards = [with_loss(name, loss) for name, loss in zip("abc", losses, strict=True)]
    members = [card.model_copy(update={"status": ModelStatus.SHADOW}) for card in cards]
    return Hub(Members({f"{name}@1": one for name, one in says.items()}), [*members, NAMED])


@pytest.mark.parametrize(("losses", "enough"), [((1.0, 2.0, 2.0), True), ((1.0, 2.0, 1.99), False)])
def test_half_of_the_weight_is_enough(losses: tuple[float, ...], *, enough: bool) -> None:
    """And anything less is not."""

    async def main() -> None:
        broken = Says(error=InferenceFailed("broke"))
        hub = unreplaced(*losses, b=broken, c=broken)
        if enough:
            assert (await hub.infer()).lineage.members == {"a@1": 1.0}
        else:
            with pytest.raises(InferenceFailed):
                await hub.infer()

    run_virtual(main())


def test_with_less_than_half_the_error_names_who_is_missing() -> None:
    """Each with its reason, by code; the caller's own deadline has not passed."""

    async def main() -> None:
        hub = unreplaced(1.0, 2.0, 4.0, a=Says(error=InferenceFailed("broke")), c=Says(after_s=60.0))
        begun = now_ns()
        with pytest.raises(InferenceFailed, match="a@1: broke; c@1: ") as caught:
            await hub.infer()

        assert caught.value.details == {"missing": {"a@1": "inference_failed", "c@1": "deadline_expired"}}
        assert caught.value.decision is not None
        assert str(caught.value.decision.chosen) == BLEND
        assert now_ns() - begun < 1e9
        assert (hub.members.out, hub.in_flight()) == (0, 0)

    run_virtual(main())


def test_a_smaller_model_stands_in_for_an_ensemble_that_fails() -> None:
    """Labelled, as for any other model that was named."""

    async def main() -> None:
        failing = Says(after_s=0.05, error=InferenceFailed("broke"))
        hub = a_hub(an_ensemble(of=("a@1", "b@1")), a=failing)
        answer = await hub.infer()

        assert answer.decision.degradation is Degradation.SMALLER_MODEL
        assert answer.lineage.members == {}

    run_virtual(main())


def test_what_the_caller_got_wrong_is_told_as_that() -> None:
    """Bad input is no failure of the ensemble, and is not tried again."""

    async def main() -> None:
        wrong = {name: Says(error=BadShape("window was short")) for name in "abc"}
        hub = a_hub(**wrong)
        with pytest.raises(BadShape):
            await hub.infer()

        assert len(hub.members.asked) == 3

    run_virtual(main())


def test_a_caller_that_gives_up_stops_every_member() -> None:
    """No call is left under way, and nothing reserved."""

    async def main() -> None:
        hub = a_hub(**{name: Says(after_s=60.0) for name in "abc"})
        asking = asyncio.create_task(hub.infer(within_s=100.0))
        await until(lambda: hub.members.out == 3)
        assert hub.in_flight() == 4

        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

        assert (hub.members.out, hub.in_flight()) == (0, 0)

    run_virtual(main())


def test_no_smaller_model_stands_in_for_a_member() -> None:
    """It would count for what it is not: a member that is too slow for the deadline is not asked at all."""

    async def main() -> None:
        cards = [*THREE, with_loss("slow", 4.0, warm_ms=500.0), an_ensemble()]
        hub = Hub(Members(), cards)
        answer = await hub.infer(within_s=0.2)

        assert answer.lineage.members.keys() == {"a@1", "b@1", "c@1"}
        assert hub.members.asked == ["a@1", "b@1", "c@1"]

    run_virtual(main())


def test_member_calls_are_no_promises_of_their_own() -> None:
    """One request was promised something; beside the answers, none."""

    async def main() -> None:
        hub = a_hub()
        await hub.infer()
        assert hub.counted("hub_promise_met_total") == 1
        assert hub.client.beside(10_000, 60_000) == ["a@1", "b@1", BLEND, "c@1"]

        wanted = hub.wanted(model=BLEND, within_s=1.0)
        beside = await hub.client.infer_beside(wanted, *windows(1), traceparent="")
        await asyncio.sleep(0)

        assert len(beside.lineage.members) == 3
        assert hub.counted("hub_promise_met_total") == 1

    run_virtual(main())


def test_is_asked_with_its_own_interval_level_and_members_with_none() -> None:
    """How accurate it has to be is a matter of the ensemble's evidence, which is on no member's card."""

    async def main() -> None:
        exact = {"0.95": bounded(0.95, 0.94, 0.96)}
        evidence = {BLEND: observed("blend", instruments=(seen_on(coverage=exact),))}
        members = [card.model_copy(update={"evidence": card.evidence}) for card in THREE]
        hub = Hub(Members(dict(SAYS)), [*members, an_ensemble()], evidence)
        answer = await hub.infer(min_accuracy=0.93)
        (one,) = answer.forecasts
        own = an_ensemble().calibration

        assert (one.level, answer.decision.promise.interval_level) == (0.95, 0.95)
        assert {call.interval_level for call in hub.members.calls} == {0.90}
        assert one.upper - one.q50 == pytest.approx(own.multiplier(0.95) * (one.q95 - one.q50))

    run_virtual(main())


def test_without_live_evidence_it_meets_no_accuracy() -> None:
    """What nobody has measured is routed to by name alone."""

    async def main() -> None:
        with pytest.raises(NoModelMatches):
            await a_hub().infer(min_accuracy=0.5)

    run_virtual(main())


def test_members_answer_at_the_calibration_in_force() -> None:
    """Their latest multipliers of the instrument, and on top of them the ensemble's own."""

    async def main() -> None:
        twice = tuple(2 * multiplier for multiplier in levels_of(THREE[0].calibration))
        thrice = tuple(3 * multiplier for multiplier in levels_of(an_ensemble().calibration))
        evidence = {
            "a@1": observed(
                "a", instruments=(), calibration=Recalibration(version="ra", multipliers={"EURUSD": twice})
            ),
            BLEND: observed(
                "blend", instruments=(), calibration=Recalibration(version="rb", multipliers={"*": thrice})
            ),
        }
        hub = Hub(Members(dict(SAYS)), [THREE[0], an_ensemble()], evidence)
        answer = await hub.infer()

        assert answer.lineage.calibration == "rb"
        assert answer.forecasts[0].q95 == pytest.approx(3 * 2 * 1.0)

    run_virtual(main())


def test_weights_follow_the_evidence_and_the_ensemble_stays_who_it_is() -> None:
    """What was learned of its speed is kept, however often its weights change."""

    async def main() -> None:
        hub = a_hub()
        first = await hub.infer()
        hub.now_has(hub.source.catalogue.cards, {"a@1": lost("a", 4.0), "b@1": lost("b", 4.0)})
        second = await hub.infer()

        assert second.decision.replica == first.decision.replica
        assert second.lineage.members["a@1"] == second.lineage.members["b@1"]

    run_virtual(main())


def test_two_ensembles_at_once_do_not_disturb_each_other() -> None:
    """Each has members, weights and a replica of its own; where one fails the other answers on."""

    async def main() -> None:
        pair, other = an_ensemble("pair", of=("a@1", "b@1")), an_ensemble("other", of=("b@1", "c@1"))
        hub = a_hub(pair, other)
        for _ in range(3):
            one, two = await asyncio.gather(hub.infer(model="pair"), hub.infer(model="other"))
            assert one.lineage.members.keys() == {"a@1", "b@1"}
            assert two.lineage.members.keys() == {"b@1", "c@1"}
            assert one.decision.replica != two.decision.replica

        hub.members.says["a@1"].error = InferenceFailed("broke")
        for _ in range(20):
            with suppress(HubError):
                assert (await hub.infer(model="pair@1")).lineage.model != "pair"
        assert (await hub.infer(model="other@1")).lineage.members.keys() == {"b@1", "c@1"}
        assert hub.in_flight() == 0

    run_virtual(main())


def test_an_ensemble_that_is_retired_answers_what_it_has_begun() -> None:
    """And nothing after that; its replica is gone from the load table."""

    async def main() -> None:
        hub = a_hub(a=Says(after_s=0.1))
        asking = asyncio.create_task(hub.infer())
        await until(lambda: hub.members.out)
        assert len(hub.load.replicas(ENSEMBLE_POOL)) == 1

        hub.now_has(THREE)
        with pytest.raises(NoModelMatches):
            await hub.infer()

        assert hub.load.replicas(ENSEMBLE_POOL) == ()
        assert len((await asking).lineage.members) == 3
        assert hub.in_flight() == 0

    run_virtual(main())


def test_a_member_that_is_retired_on_the_way_is_left_out_from_the_next_call_on() -> None:
    """The call that had asked it takes its answer."""

    async def main() -> None:
        hub = a_hub(a=Says(after_s=0.1))
        asking = asyncio.create_task(hub.infer())
        await until(lambda: hub.members.out)
        hub.now_has([*THREE[1:], an_ensemble()])

        after = await hub.infer()

        assert len((await asking).lineage.members) == 3
        assert after.lineage.members == pytest.approx({"b@1": 2 / 3, "c@1": 1 / 3})

    run_virtual(main())


def test_one_member_that_is_left_answers_alone() -> None:
    """What the ensemble promises is its own evidence still; with none left it is not offered."""

    async def main() -> None:
        hub = Hub(Members(dict(SAYS)), [THREE[1], an_ensemble(of=("a", "b"))])
        answer = await hub.infer()
        assert answer.lineage.members == {"b@1": 1.0}
        assert answer.forecasts[0].q50 == 7.0

        hub.now_has([with_loss("z", 1.0), an_ensemble(of=("a", "b"))])
        with pytest.raises(NothingFeasible):
            await hub.infer()
        assert hub.load.replicas(ENSEMBLE_POOL) == ()

    run_virtual(main())


def test_a_member_without_a_loss_is_not_asked() -> None:
    """Nothing was measured of it, on its card or live."""

    async def main() -> None:
        unknown = a_card("new").model_copy(update={"evidence": ()})
        hub = Hub(Members(), [*THREE, unknown, an_ensemble()])
        assert "new@1" not in (await hub.infer()).lineage.members

    run_virtual(main())


def test_never_asks_an_ensemble() -> None:
    """Neither one that is live, nor one whose name a recipe has: the name was another model's then."""

    async def main() -> None:
        named = an_ensemble("named", of=("a", "inner", "inner@1"))
        hub = a_hub(an_ensemble(), an_ensemble("inner"), named)
        for model in (BLEND, "inner@1", "named@1"):
            await hub.infer(model=model)

        assert set(hub.members.asked) == {"a@1", "b@1", "c@1"}
        assert hub.members.asked[-1:] == ["a@1"]

    run_virtual(main())


def test_asks_so_many_members_and_no_more() -> None:
    """The best of all that are live."""

    async def main() -> None:
        cards = [with_loss(f"m{number:02}", 1.0 + number) for number in range(MOST_MEMBERS + 4)]
        hub = Hub(Members(), [*cards, an_ensemble()])
        await hub.infer()

        assert sorted(hub.members.asked) == [f"m{number:02}@1" for number in range(MOST_MEMBERS)]

    run_virtual(main())


def test_learns_how_long_it_takes_from_its_own_replies() -> None:
    """Before the first its card speaks, afterwards what its members and the way to them took."""

    async def main() -> None:
        hub = a_hub(**{name: Says(after_s=0.04) for name in "abc"})
        before = hub.decide().promise.expected_ms
        expected = []
        for _ in range(60):
            await hub.infer()
            expected.append(hub.decide().promise.expected_ms)

        assert before < 2.0
        assert expected[-1] == pytest.approx(40.0, rel=0.2)

    run_virtual(main())


def test_a_reply_says_what_is_under_way_and_is_newer_than_the_last() -> None:
    """As a replica's does, so the load table believes it."""

    async def main() -> None:
        hub = a_hub()
        loads = [(await hub.infer()).load for _ in range(3)]

        assert all(load is not None for load in loads)
        said = [(load.boot, load.seq, load.in_service, load.slots) for load in loads if load]
        assert {(boot, busy, slots) for boot, _, busy, slots in said} == {(said[0][0], 0, 64)}
        assert all(one < two for (_, one, *_), (_, two, *_) in pairwise(said))

    run_virtual(main())


def test_more_calls_at_once_than_one_ensemble_may_have_are_refused() -> None:
    """What one process may set going is bounded; a call that ends makes room."""

    async def main() -> None:
        hub = a_hub(**{name: Says(after_s=0.1) for name in "abc"})
        decision = hub.decide()
        work = Work(hub.wanted(model=BLEND, within_s=5.0), *windows(1), "")
        calls = hub.client._answers._calls
        out = [asyncio.create_task(calls.call(work, decision)) for _ in range(64)]
        await until(lambda: hub.members.out >= 3 * 64)  # some of them a second time

        with pytest.raises(ReplicaBusy):
            await calls.call(work, decision)
        assert len(await asyncio.gather(*out)) == 64
        assert len((await calls.call(work, decision)).lineage.members) == 3

    run_virtual(main())


def test_a_deadline_that_is_over_reaches_no_member() -> None:
    """There is nothing to decide any more."""

    async def main() -> None:
        hub = a_hub()
        with pytest.raises(DeadlineExpired):
            await hub.infer(within_s=-0.001)
        assert hub.members.asked == []

    run_virtual(main())


def test_a_candidate_answers_who_names_its_version() -> None:
    """As any other model does."""

    async def main() -> None:
        hub = a_hub(an_ensemble().model_copy(update={"status": ModelStatus.CANDIDATE}))
        assert (await hub.infer()).lineage.model == "blend"
        with pytest.raises(NoModelMatches):
            await hub.infer(model="blend")

    run_virtual(main())
