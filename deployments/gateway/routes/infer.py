"""Routed inference: `POST /api/v1/infer` answers, `POST /api/v1/route` only decides."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query

from deployments.front.permits import Infers
from deployments.gateway.inputs import tensors_of_inputs
from deployments.gateway.last_good import GoodAnswer
from deployments.gateway.markets import Tensors
from deployments.gateway.services import Hub, Services
from models.answer import Answer
from models.base import Frozen
from models.decision import Decision, Degradation, Promise
from models.errors import BadValue, DeadlineExpired, HubError, NothingFeasible, ReplicaError
from models.forecast import Forecast
from models.ids import traceparent
from models.outcome import OutcomeRecord
from models.prediction import Lineage
from models.principal import Principal
from models.request import Ask, InferAsk, Requirements
from models.task import task_named
from routing.protection.ladder import reserve_ms

router = APIRouter(prefix="/api/v1", tags=["inference"])

AskT = TypeVar("AskT", bound=Ask)
Explain = Annotated[bool, Query(description="Add the whole decision: filters, shortlist, seed")]
Strategy = Annotated[
    str | None, Query(alias="routing_strategy", description="The profile, if not in the body")
]


class Choice(Frozen):
    """What was chosen, promised and why. `decision` is there if an explanation was asked for."""

    decision_id: str
    model: str
    version: str
    pool: str
    replica: str
    profile: str
    attempt: int
    promise: Promise
    degradation: Degradation
    reason: str
    catalogue_version: int
    decision: Decision | None = None

    @classmethod
    def of(cls, decision: Decision, *, explain: bool) -> Choice:
        return cls(
            decision_id=decision.decision_id,
            model=decision.chosen.name,
            version=decision.chosen.version,
            pool=decision.pool,
            replica=decision.replica,
            profile=decision.profile,
            attempt=decision.attempt,
            promise=decision.promise,
            degradation=decision.degradation,
            reason=decision.reason,
            catalogue_version=decision.catalogue_version,
            decision=decision if explain else None,
        )


class InferAnswer(Frozen):
    """One forecast per window. `age_ms` is there if this is the last good answer and not a new one."""

    forecasts: tuple[Forecast, ...]
    choice: Choice
    lineage: Lineage
    degradation: Degradation
    age_ms: float | None = None


@router.post("/route")
async def route(
    ask: Ask, hub: Hub, caller: Infers, *, explain: Explain = False, strategy: Strategy = None
) -> Choice:
    """Decide which model and replica would answer, and with which promise. Nothing is run or reserved.

    The founding words are valid, too: `{"model_type": "time_series_forecast", "data_size": "large",
    "latency_requirement": "< 100ms", "accuracy_requirement": "> 95%"}`.
    """
    ask = _with_strategy(ask, strategy)
    task_named(ask.task)
    if ask.symbol:
        hub.markets.check(ask.symbol)
    decision = hub.router.decide(_requirements(ask, None, hub, caller))
    await hub.decisions.remember(caller, decision)
    return Choice.of(decision, explain=explain)


@router.post("/infer")
async def infer(
    ask: InferAsk, hub: Hub, caller: Infers, *, explain: Explain = False, strategy: Strategy = None
) -> InferAnswer:
    """Run the task on the chosen model, for the inputs sent or for the newest window of the symbol."""
    ask = _with_strategy(ask, strategy)
    tensors = await _tensors(ask, hub)
    requirements = _requirements(ask, tensors, hub, caller)
    trace = traceparent(hub.rng)
    try:
        answer = await hub.router.infer(
            requirements, tensors.window, tensors.context, traceparent=trace, unit=caller.user_id
        )
    except HubError as error:
        await _remember_failure(error, hub, caller)
        if good := await _stand_in(error, ask, hub, caller):
            return _from_memory(good, age_ms=hub.last_good.age_ms(good), explain=explain)
        raise
    outcome = OutcomeRecord.of(answer, deadline_ns=requirements.deadline_ns)
    await hub.decisions.remember(caller, answer.decision, outcome)
    if ask.inputs is None:
        await hub.last_good.keep(caller.tenant_id, ask, _good(answer, hub.clock()))
    return _answered(answer, explain=explain)


def _with_strategy(ask: AskT, strategy: str | None) -> AskT:
    """The founding call gives the profile beside the body; twice is fine if both say the same."""
    if strategy is None or strategy == ask.routing_strategy:
        return ask
    if "routing_strategy" in ask.model_fields_set:
        raise BadValue("routing_strategy differs between query and body; send one", field="routing_strategy")
    return ask.model_copy(update={"routing_strategy": strategy})


async def _tensors(ask: InferAsk, hub: Services) -> Tensors:
    task = task_named(ask.task)
    if ask.inputs is not None:
        return tensors_of_inputs(ask.inputs, task)
    if ask.symbol is None:
        raise BadValue("send `inputs`, or a `symbol` for which the hub keeps bars", field="inputs")
    return await hub.markets.tensors(ask.symbol, ask.bar_ms)


def _requirements(ask: Ask, tensors: Tensors | None, hub: Services, caller: Principal) -> Requirements:
    """What must hold. Where an answer from memory may stand in, some of the deadline is kept back for it."""
    chosen_by_hub: dict[str, Any] = {"bar_ms": tensors.bar_ms} if tensors and tensors.bar_ms else {}
    if tensors and isinstance(ask, InferAsk) and ask.inputs is None:
        chosen_by_hub["max_latency_ms"] = ask.max_latency_ms - reserve_ms(ask.max_latency_ms)
    return Requirements.of(
        ask.model_copy(update=chosen_by_hub),
        rows=tensors.rows if tensors else None,
        tier=caller.tier.value,
        tenant=caller.tenant_id,
        now_ns=hub.clock(),
    )


async def _remember_failure(error: HubError, hub: Services, caller: Principal) -> None:
    """Record what had been decided, if anything had, with what became of it."""
    if decision := error.decision:
        await hub.decisions.remember(
            caller, decision, OutcomeRecord.failed(error, decision, now_ns=hub.clock())
        )


async def _stand_in(error: HubError, ask: InferAsk, hub: Services, caller: Principal) -> GoodAnswer | None:
    """The last good answer, where there is one and the hub, not the caller, is why there is none now."""
    if ask.inputs is None and isinstance(error, (NothingFeasible, DeadlineExpired, ReplicaError)):
        return await hub.last_good.find(caller.tenant_id, ask)
    return None


def _good(answer: Answer, now_ns: int) -> GoodAnswer:
    return GoodAnswer(
        at_ns=now_ns,
        forecasts=tuple(answer.forecasts),
        decision=answer.decision,
        lineage=answer.lineage,
    )


def _answered(answer: Answer, *, explain: bool) -> InferAnswer:
    return InferAnswer(
        forecasts=tuple(answer.forecasts),
        choice=Choice.of(answer.decision, explain=explain),
        lineage=answer.lineage,
        degradation=answer.decision.degradation,
    )


def _from_memory(good: GoodAnswer, *, age_ms: float, explain: bool) -> InferAnswer:
    return InferAnswer(
        forecasts=good.forecasts,
        choice=Choice.of(good.decision, explain=explain),
        lineage=good.lineage,
        degradation=Degradation.LAST_GOOD,
        age_ms=age_ms,
    )
