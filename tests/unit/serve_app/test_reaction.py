"""The reaction is measured from decision times alone, and never flatters the router."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.demo.reaction import Reaction, Slowing, Unanswered, reaction_lines, reaction_of

SECOND = 1_000_000_000
SLOWING = Slowing("slow", "light", from_ns=10 * SECOND, until_ns=20 * SECOND)
TIMES = st.lists(st.integers(0, 30 * SECOND), max_size=60)


def _every(step_s: float, from_s: float, until_s: float) -> list[int]:
    """Moments at equal steps, half a step off the round ones."""
    count = round((until_s - from_s) / step_s)
    return [int((from_s + (i + 0.5) * step_s) * SECOND) for i in range(count)]


def _unanswered(times: Iterable[int], reason: str = "timeout", detail: str = "") -> list[Unanswered]:
    return [Unanswered(at_ns=at, reason=reason, detail=detail) for at in times]


def test_shares_and_the_time_it_took_are_those_of_the_decisions() -> None:
    """Half before, all of it for 0.6 s more, then nothing, then a quarter."""
    slow = _every(0.2, 0, 10) + _every(0.1, 10, 10.6) + _every(0.4, 20, 30)
    other = _every(0.2, 0, 10) + _every(0.1, 10.6, 20) + _every(0.4 / 3, 20, 30)

    reaction = reaction_of(SLOWING, {"slow": slow, "other": other}, [])

    assert (reaction.share_before, reaction.share_during) == (0.5, 0.0)
    assert reaction.share_after == pytest.approx(0.25, abs=0.01)
    assert reaction.moved_s == pytest.approx(
        0.55
    )  # from there on, one of ten in a second went to the slow one
    assert reaction.slowed_s == 10.0


def test_share_that_only_dips_for_a_moment_has_not_moved() -> None:
    """Half a second without a pick is chance; a whole one is a reaction."""
    slow = [at for at in _every(0.2, 0, 20) if not 12 * SECOND < at < 12.5 * SECOND]

    reaction = reaction_of(SLOWING, {"slow": slow, "other": _every(0.2, 0, 20)}, [])

    assert reaction.moved_s is None
    assert "in no whole second" in "\n".join(reaction_lines(reaction))


@pytest.mark.parametrize(
    ("reason", "detail", "share"),
    [
        ("timeout", "replica slow did not answer before the deadline", 0.5),
        ("timeout", "the router did not answer", 0.5),
        ("timeout", "replica other did not answer before the deadline", 0.0),
        ("refused", "nothing_feasible: no candidate answers in time", 0.0),
    ],
)
def test_timeout_is_held_against_the_slowed_replica_unless_another_is_named(
    reason: str, detail: str, share: float
) -> None:
    """Had all its calls timed out, they would not be among the answered decisions; a refusal was no pick."""
    answered = {"slow": _every(0.2, 0, 10), "other": _every(0.2, 0, 20)}

    reaction = reaction_of(SLOWING, answered, _unanswered(_every(0.2, 10, 20), reason, detail))

    assert (reaction.share_during, reaction.moved_s is None, reaction.unanswered) == (share, share > 0, 50)


def test_slot_without_an_answer_at_another_time_does_not_count() -> None:
    """What was given up before and after has nothing to do with it."""
    answered = {"slow": _every(0.2, 0, 10), "other": _every(0.2, 0, 30)}

    elsewhere = reaction_of(SLOWING, answered, _unanswered([SECOND, 25 * SECOND]))

    assert elsewhere == reaction_of(SLOWING, answered, [])


@given(slow=TIMES, other=TIMES, unanswered=TIMES)
def test_any_run_gives_shares_and_a_moment_within_the_slowing(
    slow: list[int], other: list[int], unanswered: list[int]
) -> None:
    """Whatever was decided when: shares lie in [0, 1], or are unknown where nothing was decided."""
    reaction = reaction_of(SLOWING, {"slow": slow, "other": other}, _unanswered(unanswered))

    for share in (reaction.share_before, reaction.share_during, reaction.share_after):
        assert share is None or 0 <= share <= 1
    assert reaction.moved_s is None or 0 <= reaction.moved_s <= reaction.slowed_s - 1
    assert (reaction.share_before is None) == (not [at for at in [*slow, *other] if at < SLOWING.from_ns])


@given(slow=TIMES, other=TIMES, unanswered=TIMES)
def test_what_was_not_answered_never_makes_the_reaction_look_better(
    slow: list[int], other: list[int], unanswered: list[int]
) -> None:
    """The share while slowed only grows by it."""
    decided = {"slow": slow, "other": other}

    without, with_it = (
        reaction_of(SLOWING, decided, _unanswered(times)).share_during for times in ([], unanswered)
    )

    assert without is None or (with_it is not None and with_it >= without)


def test_words_say_every_figure() -> None:
    """Shares, time and what went without a forecast; nothing is left to the reader's arithmetic."""
    said = "\n".join(reaction_lines(Reaction("r1", "light", 6.6, 0.486, 0.031, None, 0.39, 2)))

    for words in (
        "replica r1 of pool light",
        "6.6 s",
        "48.6% before",
        "3.1% while",
        "unknown after",
        "0.39 s",
    ):
        assert words in said
    assert "without a forecast while it was slowed: 2" in said


def test_nobody_slowed_is_said() -> None:
    """An idle playback has no busiest replica."""
    assert "nobody was slowed" in reaction_lines(None)[0]
