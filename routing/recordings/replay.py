"""Decides recorded requests again: on the recorded load, catalogue and randomness, never on what was chosen.

With the recorded profiles the same decisions come out, bit for bit. With another profile one sees what would
have been chosen at each of those moments. The load stays as it was recorded: that is the first-order effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from models.card import ModelKey
from models.decision import Decision, Promise
from models.errors import HubError, Malformed
from routing.beliefs.changes import Change, Finished, Looked, ReplicasUpdated, Sent, Unreachable
from routing.catalogue import Catalogue
from routing.engine import SEED_BITS, Engine
from routing.load import Flight, LoadTable
from routing.profiles import load_profiles
from routing.recordings.recording import Asked, Base, Cards, Choice, Decided, Header, Line, decode

ID_BITS: Final = 128


@dataclass(frozen=True, slots=True)
class Redecided:
    """A recorded request with what came of it, and what comes of it now."""

    recorded: Decided
    choice: Choice
    catalogue: Catalogue


class Replay:
    """Goes through a recording. `profile` takes the place of every request's own, `profiles` (YAML) of the
    recorded ones.
    """

    def __init__(
        self, lines: Iterable[bytes], *, profile: str | None = None, profiles: str | None = None
    ) -> None:
        self._lines = decode(lines)
        self.header = _header(self._lines)
        self._profile = profile
        known = load_profiles(profiles or self.header.profiles)
        if profile is not None:
            known.named(profile)
        self._engine = Engine(known)
        self._table = LoadTable(self.header.load)
        self._catalogues: dict[int, Catalogue] = {}

    def decisions(self) -> Iterator[Redecided]:
        """Every recorded request, decided again. Malformed for a recording that does not fit together."""
        for line in self._lines:
            if isinstance(line, Decided):
                yield self._redecided(line)
            else:
                self._take(line)

    def _take(self, line: Line) -> None:
        if isinstance(line, Change):
            apply(self._table, line)
        elif isinstance(line, Cards):
            self._catalogues[line.number] = line.catalogue()
        elif isinstance(line, Base):
            self._table.restore(line.table, now_ns=self.header.began_ns)

    def _redecided(self, recorded: Decided) -> Redecided:
        asked = recorded.asked
        try:
            catalogue = self._catalogues[asked.catalogue]
        except KeyError:
            raise Malformed(f"a decision names catalogue {asked.catalogue}, which is not there") from None
        try:
            choice = Choice.of(self._decide(asked, catalogue))
        except HubError as refusal:
            choice = Choice(None, refused=refusal.code)
        return Redecided(recorded, choice, catalogue)

    def _decide(self, asked: Asked, catalogue: Catalogue) -> Decision:
        wanted = asked.wanted
        if self._profile is not None:
            wanted = wanted.model_copy(update={"profile": self._profile})
        return self._engine.decide(
            wanted,
            catalogue,
            self._table.snapshot(asked.now_ns),
            now_ns=asked.now_ns,
            rng=_Drawn(asked),
            exclude=frozenset(asked.exclude),
            attempt=asked.attempt,
        )


class _Drawn(Random):
    """Draws once more what the engine drew for a request; for one that was refused, something fixed."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked.now_ns)
        self._kept = {SEED_BITS: asked.seed, ID_BITS: int(asked.decision_id, 16)} if asked.decision_id else {}

    def getrandbits(self, k: int, /) -> int:
        return self._kept[k] if self._kept else super().getrandbits(k)


def _header(lines: Iterator[Line]) -> Header:
    header = next(lines)
    assert isinstance(header, Header)  # noqa: S101 - what `decode` begins with
    return header


def apply(table: LoadTable, change: Change) -> None:
    """Make a table take a recorded change."""
    match change:
        case ReplicasUpdated():
            table.replicas_updated(change.pool, change.replicas, now_ns=change.now_ns)
        case Sent():
            table.sent(_as_decided(change), rows=change.rows, now_ns=change.now_ns)
        case Finished():
            _finish(table, change)
        case Unreachable():
            table.unreachable(change.replica, now_ns=change.now_ns)
        case Looked():
            table.snapshot(change.now_ns)


def _finish(table: LoadTable, change: Finished) -> None:
    table.finished(
        Flight(
            number=change.flight,
            replica=change.replica,
            model=change.model,
            size=change.size,
            depth=change.depth,
            expected_ms=change.expected_ms,
            budget_ms=change.budget_ms,
        ),
        outcome=change.outcome,
        elapsed_ms=change.elapsed_ms,
        now_ns=change.now_ns,
        report=change.report,
    )


def _as_decided(sent: Sent) -> Decision:
    """As much of the decision as a load table reads."""
    name, _, version = sent.model.partition("@")
    promised: dict[str, Any] = {"expected_ms": sent.expected_ms, "quantile_ms": sent.quantile_ms}
    return Decision.computed(
        {
            "chosen": ModelKey(name=name, version=version),
            "replica": sent.replica,
            "budget_ms": sent.budget_ms,
            "promise": Promise.computed(promised),
        }
    )


def difference(again: Redecided) -> str | None:
    """The first field in which a decision made again differs from the recorded one, with both values."""
    recorded, now = again.recorded.choice, again.choice
    if now == recorded:
        return None
    if now.refused != recorded.refused:
        return f"outcome: recorded {recorded.refused or 'a choice'}, now {now.refused or 'a choice'}"
    return _field_that_differs(recorded.decision or {}, now.decision or {}) or "the explanation differs"


def _field_that_differs(recorded: dict[str, Any], now: dict[str, Any], path: str = "") -> str | None:
    for name in {**recorded, **now}:
        before, after = recorded.get(name), now.get(name)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            return _field_that_differs(before, after, f"{path}{name}.")
        return f"{path}{name}: recorded {before!r}, now {after!r}"
    return None
