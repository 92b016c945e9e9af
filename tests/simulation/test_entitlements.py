"""Entitlements that end and come back while everything fails: the shipped fan-out, judged by the raw logs.

`HUB_ENTITLEMENT_SEEDS=2000` for more histories; `simulate(seed, entitling=True)` is one of them.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable

import pytest

from signals.book import Book, Subscriber
from tests.simulation.world import simulate

SEEDS = int(os.environ.get("HUB_ENTITLEMENT_SEEDS", "60"))
FIND_WITHIN = 20
MANY_FROM = 100
"""Histories from this seed on are short, those before it long."""


@pytest.mark.timeout(60 + 2 * SEEDS)
def test_signals_reach_a_user_within_the_entitlement_and_not_outside_it() -> None:
    """Beyond a second of grace, whoever owns the partition and whatever it was restored from."""
    logging.disable(logging.WARNING)  # every fault is somebody's warning
    try:
        complaints = [
            f"seed {seed}: {complaint}"
            for seed in (*range(5), *range(MANY_FROM, MANY_FROM + SEEDS))
            for complaint in simulate(seed, entitling=True).verdict.complaints
        ]
    finally:
        logging.disable(logging.NOTSET)

    assert complaints == []


def test_the_same_seed_lives_the_same_history() -> None:
    """Step by step and record by record; another one when nobody's entitlement changes."""
    first, second = simulate(3, entitling=True), simulate(3, entitling=True)

    assert first.trace == second.trace
    assert first.logs == second.logs
    assert first.logs != simulate(3).logs


def test_entitlements_matter_in_these_histories() -> None:
    """Fewer signals are owed than without them, and most still are."""
    with_them, without = Counter[str](), Counter[str]()
    for seed in range(MANY_FROM, MANY_FROM + 5):
        with_them.update(simulate(seed, entitling=True).verdict.counts())
        without.update(simulate(seed).verdict.counts())

    assert without["owed"] // 4 < with_them["owed"] < 0.9 * without["owed"]


def not_read(patch: pytest.MonkeyPatch) -> None:
    """A fan-out of an earlier release: the record says nothing to it."""
    patch.setattr(Book, "_entitle", lambda *_: None)


def not_for_those_who_are_there(patch: pytest.MonkeyPatch) -> None:
    """Only subscriptions that come after it are judged by it."""
    patch.setattr(Book, "_renew", lambda *_: None)


def not_for_those_who_come(patch: pytest.MonkeyPatch) -> None:
    """A subscription that is written after it counts by itself."""
    renew = Book._renew
    entitled = Subscriber.entitled

    def renewed(self: Book, *rest: object) -> None:
        patch.setattr(Subscriber, "entitled", entitled)
        renew(self, *rest)  # type: ignore[arg-type]
        patch.setattr(Subscriber, "entitled", lambda one, _: one)

    patch.setattr(Subscriber, "entitled", lambda one, _: one)
    patch.setattr(Book, "_renew", renewed)


def never_given_back(patch: pytest.MonkeyPatch) -> None:
    """What was said first of a user stays."""
    entitle = Book._entitle

    def first_word(self: Book, user_id: str, entitlement: object) -> None:
        if not self._entitled.get(user_id):
            entitle(self, user_id, entitlement)  # type: ignore[arg-type]

    patch.setattr(Book, "_entitle", first_word)


def the_last_word_wins(patch: pytest.MonkeyPatch) -> None:
    """Versions are not looked at, so that a late word of a dead control plane counts."""
    entitle = Book._entitle

    def last(self: Book, user_id: str, entitlement: object) -> None:
        self._entitled.pop(user_id, None)
        entitle(self, user_id, entitlement)  # type: ignore[arg-type]

    patch.setattr(Book, "_entitle", last)


@pytest.mark.parametrize(
    "plant",
    [not_read, not_for_those_who_are_there, not_for_those_who_come, never_given_back, the_last_word_wins],
    ids=lambda plant: plant.__name__,
)
def test_a_planted_bug_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the rule some history within a few seeds breaks the promise."""
    plant(monkeypatch)

    assert any(not simulate(MANY_FROM + seed, entitling=True).verdict.clean for seed in range(FIND_WITHIN))
