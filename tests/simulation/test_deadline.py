"""One deadline of 50 ms over every hop, each of which is made slower than that in turn.

What a hop begins after the deadline is work for nobody; what it gives up must be given up by those behind it,
too; and once it is quick again, so is everything.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache

import pytest

from deployments.router.execution.worker import InferenceWorker
from tests.simulation.deadline_chain import BAR_S, DEADLINE_MS, Chain
from tests.simulation.judge import Verdict, judge
from tests.simulation.slow_replicas import USUAL_S, Course, Hop, Span
from tests.support.virtual_loop import later, run_virtual

SLOW_S = dict.fromkeys(Hop, 1.2 * DEADLINE_MS / 1000.0) | {Hop.READER: 2.6 * DEADLINE_MS / 1e3}
"""A service that takes longer than its deadline for one signal begins the next one late."""
SPELL_S, RECOVERY_S, AFTER_S = 2.0, 2.0, 2.0
BEFORE = "before"


@dataclass
class Story:
    """What happened before, while each hop was slow, and from some seconds after that on."""

    slow: dict[str, Span]
    after: dict[str, Span]
    course: Course
    verdict: Verdict


async def told() -> Story:
    """Every hop in turn is slow for two seconds, and then not."""
    chain = Chain(bars=int((AFTER_S + len(Hop) * (SPELL_S + RECOVERY_S + AFTER_S + 1)) / BAR_S))
    await chain.open()
    slow, after = {}, {BEFORE: await chain.live(AFTER_S)}
    for hop in Hop:
        chain.slow(hop, SLOW_S[hop])
        slow[str(hop)] = await chain.live(SPELL_S)
        chain.slow(hop, USUAL_S[hop])
        await chain.live(RECOVERY_S)
        after[str(hop)] = await chain.live(AFTER_S)
    await later(20.0)
    await chain.close()
    return Story(slow, after, chain.course, judge(chain.evidence()))


@cache
def story() -> Story:
    """The same for all who ask."""
    logging.disable(logging.WARNING)  # every slow hop is somebody's warning
    try:
        return run_virtual(told())
    finally:
        logging.disable(logging.NOTSET)


def test_nothing_begins_after_the_deadline() -> None:
    """No call leaves, no model runs and no service acts; what was on its way is given up where it is."""
    assert story().course.late == []


def test_hardly_any_inference_is_wasted() -> None:
    """One in a hundred begins for somebody who is gone, or is overtaken by the deadline: what it takes to
    find out that a model or the way back is slow, and that it is no longer.
    """
    course = story().course

    assert course.runs > 1000
    assert course.for_nobody + course.in_vain <= 0.01 * course.runs


@pytest.mark.parametrize("hop", Hop)
def test_a_slow_hop_stops_what_is_behind_it(hop: Hop) -> None:
    """Whoever has a slow hop before it is not asked, or answers in time to no purpose, but never late."""
    during = story().slow[str(hop)]

    assert during.effects["acted"] == 0
    if hop in {Hop.CALLER, Hop.REQUEST}:
        assert during.runs == 0
    if hop in {Hop.CALLER, Hop.REQUEST, Hop.MODEL, Hop.REPLY}:
        assert during.answers["ok"] == 0


@pytest.mark.parametrize("hop", [BEFORE, *map(str, Hop)])
def test_what_was_slow_is_forgotten(hop: str) -> None:
    """A few seconds later answers and signals are in time again, as if nothing had been."""
    after = story().after[hop]

    assert after.answers["ok"] >= 0.95 * after.answers.total() > 0
    assert after.effects["acted"] >= 0.95 * after.effects.total() > 0


def test_every_due_slot_is_delivered_once_or_said_not_to_be() -> None:
    """Whatever was slow."""
    verdict = story().verdict

    assert verdict.complaints == []
    assert verdict.undelivered > 0
    assert verdict.delivered + verdict.undelivered == verdict.owed


def test_a_replica_that_does_not_look_at_the_deadline_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain sees what it is there to see."""
    monkeypatch.setattr(InferenceWorker, "_late", lambda *_: None)

    async def run() -> Course:
        chain = Chain(bars=30)
        await chain.open()
        chain.slow(Hop.REQUEST, SLOW_S[Hop.REQUEST])
        await chain.live(SPELL_S)
        await chain.close()
        return chain.course

    assert any(late.startswith("ran") for late in run_virtual(run()).late)
