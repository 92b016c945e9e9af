"""Writes down what a load table takes and what is decided on it, entry by entry, so that it can be replayed.

Two threads write: whoever changes the table, under its lock, and whoever decides. An entry of a decision says
after how many changes its snapshot was taken, so the order in which they arrive does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from random import Random
from typing import Protocol

from models.decision import Decision
from models.errors import HubError
from models.request import Requirements
from routing.beliefs.changes import Change
from routing.catalogue import Catalogue
from routing.load import LoadSnapshot, LoadTable
from routing.recordings.recording import Asked, Base, Cards, Choice, Decided, Header, Line, Made

Write = Callable[[Line | Made], None]
"""Must be safe on any thread, quick, and must not raise."""


class Decide(Protocol):
    """`Engine.decide`."""

    def __call__(
        self,
        wanted: Requirements,
        catalogue: Catalogue,
        load: LoadSnapshot,
        *,
        now_ns: int,
        rng: Random,
        exclude: Collection[str],
        attempt: int,
    ) -> Decision: ...


class Tape:
    """Begins with the header and the table's beliefs. One table has one tape at a time; `stop` ends it."""

    def __init__(self, header: Header, table: LoadTable, write: Write) -> None:
        self._table = table
        self._write = write
        self._changes = 0
        self._catalogues: dict[int, tuple[int, Catalogue]] = {}
        write(header)
        write(Base(table.journal(self._heard)))

    def stop(self) -> None:
        """Hear no more changes."""
        self._table.journal(None)

    def decide(
        self,
        decide: Decide,
        wanted: Requirements,
        catalogue: Catalogue,
        *,
        now_ns: int,
        rng: Random,
        exclude: Collection[str],
        attempt: int,
    ) -> Decision:
        """Decide, on a snapshot whose place among the changes is known, and write down what was asked and
        what came of it.
        """
        load, after = self._snapshot(now_ns)
        asked = Asked(after, self._number_of(catalogue), now_ns, attempt, sorted(exclude), wanted)
        try:
            made = decide(wanted, catalogue, load, now_ns=now_ns, rng=rng, exclude=exclude, attempt=attempt)
        except HubError as refusal:
            self._write(Decided(asked, Choice(None, refused=refusal.code)))
            raise
        self._write(Made(replace(asked, seed=made.seed, decision_id=made.decision_id), made))
        return made

    def _heard(self, change: Change) -> None:
        self._changes += 1
        self._write(change)

    def _snapshot(self, now_ns: int) -> tuple[LoadSnapshot, int]:
        """A snapshot, and how many changes it holds: as many as before and after it, if these are equal."""
        self._table.snapshot(now_ns)  # may be heard itself, as a look
        while True:
            before = self._changes
            load = self._table.snapshot(now_ns)
            if self._changes == before:
                return load, before

    def _number_of(self, catalogue: Catalogue) -> int:
        """The catalogue's number in the recording, where it is written when it is first decided on."""
        known = self._catalogues.get(id(catalogue))
        if known is None:
            known = len(self._catalogues), catalogue  # kept, so that no other gets its id
            self._catalogues[id(catalogue)] = known
            self._write(Cards.of(catalogue, known[0]))
        return known[0]
