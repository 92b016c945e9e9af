"""What the process learns from each attempt: reserved once, finished once, whatever happens in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from deployments.router.afterwards import Afterwards
from deployments.router.quarantine import Quarantine
from models.decision import Decision
from models.errors import (
    DeadlineExpired,
    HubError,
    InputError,
    ReplicaBusy,
    ReplicaLost,
    TicketRefused,
)
from models.forecast import LoadReport
from models.metrics import Meter
from routing.load import Flight, LoadTable, Outcome


@dataclass(slots=True)
class Attempt:
    """One call to one replica. `report` is what the replica said of its load, once it has."""

    flight: Flight
    sent_ns: int
    report: LoadReport | None = None


class Attempts:
    """Tells load table, quarantine and meter what becomes of calls. Belongs to one event loop."""

    def __init__(
        self,
        load: LoadTable,
        quarantine: Quarantine,
        *,
        afterwards: Afterwards,
        clock: Callable[[], int],
        meter: Meter,
    ) -> None:
        self._load = load
        self._quarantine = quarantine
        self._afterwards = afterwards
        self._clock = clock
        self._meter = meter
        self._in_flight: dict[str, Counter[str]] = {}

    @contextmanager
    def attempt(self, decision: Decision, *, rows: int) -> Iterator[Attempt]:
        """Reserve the decision's replica for as long as the block lasts, and learn from how it ends."""
        model = str(decision.chosen)
        now_ns = self._clock()
        attempt = Attempt(self._load.sent(decision, rows=rows, now_ns=now_ns), now_ns)
        self._quarantine.sent(model)
        self._in_flight.setdefault(decision.replica, Counter())[model] += 1
        outcome = Outcome.CANCELLED
        try:
            yield attempt
            outcome = Outcome.OK
        except HubError as error:
            outcome, error.decision = _outcome_of(error), decision
            raise
        finally:
            self._charge(decision.replica, model, outcome)
            learn = partial(self._learn, attempt, decision.pool, outcome, self._clock())
            if outcome is Outcome.OK:
                self._afterwards.do(learn)
            else:
                learn()  # the caller may decide again at once

    def _charge(self, replica: str, model: str, outcome: Outcome) -> None:
        """Count the call out; a crash is charged to all models in flight there, this one included."""
        models = self._in_flight[replica]
        if outcome is Outcome.LOST:
            self._quarantine.crashed(replica, list(models), self._clock())
        else:
            self._quarantine.ended(model, succeeded=outcome is Outcome.OK)
        models[model] -= 1
        if not models[model]:
            del models[model]
        if not models:
            del self._in_flight[replica]

    def _learn(self, attempt: Attempt, pool: str, outcome: Outcome, now_ns: int) -> None:
        self._load.finished(
            attempt.flight,
            outcome=outcome,
            elapsed_ms=(now_ns - attempt.sent_ns) / 1e6,
            now_ns=now_ns,
            report=attempt.report,
        )
        self._meter.count("hub_route_attempts_total", {"pool": pool, "outcome": outcome.value})
        if outcome is Outcome.OK and attempt.report:
            self._meter.observe("hub_inference_queue_ms", {"pool": pool}, attempt.report.queue_ms)


def _outcome_of(error: HubError) -> Outcome:
    match error:
        case TicketRefused() | ReplicaBusy():
            return Outcome.REFUSED
        case DeadlineExpired():
            return Outcome.TIMEOUT
        case ReplicaLost():
            return Outcome.LOST
        case InputError():
            return Outcome.CANCELLED  # the caller's fault, which speaks neither for nor against the replica
        case _:
            return Outcome.FAILED
