"""A busy stretch of routing with a tape running: what replay is tested with."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from models.decision import Decision
from models.errors import HubError
from models.evidence import ModelEvidence
from routing.catalogue import Catalogue
from routing.engine import Engine
from routing.load import Flight, LoadConfig, LoadTable, Outcome
from routing.recordings.recording import Header, Line, Made, encode
from routing.recordings.tape import Tape
from tests.support.cards import a_card
from tests.support.live_evidence import bounded, observed, seen_on
from tests.unit.routing.worlds import (
    PROFILE_NAMES,
    PROFILES_YAML,
    START_MS,
    a_report,
    holding,
    the_profiles,
    wants,
)

CARDS: Final = [
    a_card("quick", warm_ms=1.0, cost=2.0, skill=0.01),
    a_card("steady", warm_ms=3.0, cost=0.1, skill=0.03),
    a_card("wise", warm_ms=9.0, cost=3.0, skill=0.08),
]


def _seen(rng: Random) -> dict[str, ModelEvidence]:
    """Live evidence of one of the models, for or against it."""
    name = rng.choice(["quick", "steady", "wise"])
    lower = rng.uniform(-0.1, 0.1)
    seen = seen_on(skill=bounded(lower + 0.01, lower, lower + 0.02))
    return {f"{name}@1": observed(name, instruments=(seen,), cursor=rng.randrange(1000))}


REPLICAS: Final = {
    "light": {f"l{number}": holding(*CARDS[:2], pool="light", slots=2) for number in range(2)},
    "heavy": {f"h{number}": holding(*CARDS[2:], pool="heavy", hardware="big") for number in range(2)},
}
OUTCOMES: Final = [*[Outcome.OK] * 2000, *Outcome]


def a_header() -> Header:
    """The header of a recording with the shipped profiles."""
    return Header("gateway-test", START_MS * 1_000_000, PROFILES_YAML.read_text(), LoadConfig())


@dataclass
class Stretch:
    """Requests, sends, ends, failures and changing replicas, all at random from one seed."""

    seed: int = 1
    table: LoadTable = field(default_factory=LoadTable)
    now_ms: float = float(START_MS)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._rng = Random(self.seed)
        self._engine = Engine(the_profiles())
        self._catalogue = Catalogue.of(CARDS, version=0)
        self._out: list[tuple[Flight, float]] = []
        self._seq = 0
        for pool, replicas in REPLICAS.items():
            self.table.replicas_updated(pool, list(replicas.items()), now_ns=self.now_ns)

    @property
    def now_ns(self) -> int:
        return round(self.now_ms * 1e6)

    def run(self, decisions: int, tape: Tape | None = None) -> None:
        """So many requests, with what happens between them."""
        for _ in range(decisions):
            self.now_ms += self._rng.expovariate(0.3)
            self._happen()
            with contextlib.suppress(HubError):
                self._request(tape)

    def _request(self, tape: Tape | None) -> None:
        rng = self._rng
        arguments: dict[str, Any] = {
            "wanted": wants(
                int(self.now_ms),
                within_ms=rng.choice([2.0, *[60.0, 200.0, 1000.0] * 3]),
                profile=rng.choice(PROFILE_NAMES),
                tier=rng.choice(["free", "pro"]),
                model=rng.choice([None, "quick", "steady", "wise"]),
            ),
            "catalogue": self._catalogue,
            "now_ns": self.now_ns,
            "rng": rng,
            "exclude": frozenset(rng.sample(["l0", "h0"], rng.choice([0] * 9 + [1]))),
            "attempt": rng.choice([1, 1, 2]),
        }
        self.counts["requests"] += 1
        if tape:
            decision = tape.decide(self._engine.decide, **arguments)
        else:
            decision = self._engine.decide(load=self.table.snapshot(self.now_ns), **arguments)
        self.counts["decided"] += 1
        if rng.random() < 0.9:
            self._send(decision)

    def _send(self, decision: Decision) -> None:
        flight = self.table.sent(decision, rows=self._rng.choice([1, 8, 40]), now_ns=self.now_ns)
        self._out.append((flight, self.now_ms))

    def _happen(self) -> None:
        """Calls end, and now and then a replica comes or goes, the cards change, or somebody takes a look."""
        rng = self._rng
        while self._out and rng.random() < min(0.9, len(self._out) / 4):
            self._end(*self._out.pop(rng.randrange(len(self._out))))
        if rng.random() < 0.01:
            pool = rng.choice(["light", "heavy"])
            kept = rng.sample(list(REPLICAS[pool].items()), rng.choice([1, 2, 2]))
            self.table.replicas_updated(pool, kept, now_ns=self.now_ns)
        if rng.random() < 0.0005:
            self.table.unreachable(rng.choice(["l1", "h1"]), now_ns=self.now_ns)
        if rng.random() < 0.002:
            self._catalogue = Catalogue.of(
                CARDS[: rng.choice([2, 3])], version=self._catalogue.version + 1, evidence=_seen(rng)
            )
        if rng.random() < 0.05:
            self.table.snapshot(self.now_ns + rng.choice([-9_000_000, 0, 5_000_000]))

    def _end(self, flight: Flight, sent_ms: float) -> None:
        rng, elapsed_ms = self._rng, self.now_ms - sent_ms + 0.1
        outcome = rng.choice(OUTCOMES)
        self._seq += 1
        report = a_report(
            flight.replica,
            seq=self._seq,
            boot=rng.choice("aaaaaaaab"),
            queued=rng.choice([0, 0, 1, 4]),
            in_service=rng.randrange(3),
            slots=2,
            service_ms=elapsed_ms * rng.choice([0.5, 0.8, 1.0, math.nan, -1.0]),
            queue_ms=rng.random(),
        )
        self.table.finished(
            flight,
            outcome=outcome,
            elapsed_ms=elapsed_ms,
            now_ns=self.now_ns,
            report=report if outcome is Outcome.OK else None,
        )


def recorded(decisions: int, *, before: int = 0, seed: int = 1) -> list[bytes]:
    """The lines of a recording that began after `before` requests."""
    stretch, entries = Stretch(seed), list[Line | Made]()
    stretch.run(before)
    tape = Tape(a_header(), stretch.table, entries.append)
    stretch.run(decisions, tape)
    tape.stop()
    return [encode(entry) for entry in entries]
