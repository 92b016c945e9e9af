"""Recorded decisions are made again, bit for bit; what is planted is found; and what another profile does."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable
from random import Random
from statistics import fmean
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ConfigError, Malformed, UnknownProfile
from models.forecast import LoadReport
from routing.beliefs.changes import Finished
from routing.beliefs.outcome import Outcome
from routing.load import LoadTable
from routing.recordings.recording import Choice, Decided, Line, Made, decode, encode
from routing.recordings.replay import Replay, apply, difference
from routing.recordings.tape import Tape
from routing.trials.comparison import Comparison, batch_means_error
from tests.unit.routing.taped import Stretch, a_header, recorded
from tests.unit.routing.worlds import PROFILES_YAML

Plant = Callable[[Decided], Decided]


def differences(lines: list[bytes], **options: Any) -> list[str]:
    """Everything in which the decisions made again differ."""
    return [found for again in Replay(lines, **options).decisions() if (found := difference(again))]


@pytest.mark.timeout(300)
def test_ten_thousand_decisions_are_made_again_bit_for_bit() -> None:
    """Every field of each: with several models, failures, refusals, and a start in the middle of things."""
    lines = recorded(10_000, before=500)
    kinds = Counter(text.rpartition(b'"kind":"')[2].partition(b'"')[0].decode() for text in lines)
    outcomes: Counter[str] = Counter()
    for again in Replay(lines).decisions():
        assert difference(again) is None
        outcomes[again.choice.refused] += 1

    assert outcomes.total() == kinds["decided"] == 10_000
    assert outcomes[""] > 5_000
    assert outcomes["nothing_feasible"] > 100
    assert min(kinds[name] for name in ("replicas", "unreachable", "catalogue")) >= 2
    assert min(kinds[name] for name in ("sent", "finished")) > 3_000


def test_the_stored_choice_is_no_input() -> None:
    """With every choice taken out of the recording, the same decisions come out."""
    lines = recorded(300)
    emptied = [
        encode(dataclasses.replace(line, choice=Choice(None))) if isinstance(line, Decided) else encode(line)
        for line in decode(lines)
    ]

    whole = [again.choice for again in Replay(lines).decisions()]
    assert [again.choice for again in Replay(emptied).decisions()] == whole
    assert sum(choice.decision is not None for choice in whole) > 100


@pytest.mark.parametrize(
    ("plant", "named"),
    [
        (lambda at: with_asked(at, seed=at.asked.seed ^ 1), "seed: recorded"),
        (lambda at: with_decision(at, replica="elsewhere"), "replica: recorded 'elsewhere', now"),
        (
            lambda at: with_promise(at, math.nextafter(promised(at), math.inf)),
            "promise.expected_ms: recorded",
        ),
        (
            lambda at: dataclasses.replace(at, choice=Choice(None, refused="shed")),
            "outcome: recorded shed, now",
        ),
        (lambda at: with_choice(at, explanation="0" * 32), "the explanation differs"),
    ],
)
def test_what_is_planted_is_found(plant: Plant, named: str) -> None:
    """A seed, a choice, one bit of a promise, a refusal, an explanation: one difference each."""
    lines = list(decode(recorded(200)))
    place = next(
        i for i, line in enumerate(lines) if i > 100 and isinstance(line, Decided) and line.choice.decision
    )
    line = lines[place]
    assert isinstance(line, Decided)
    lines[place] = plant(line)

    (found,) = differences([encode(line) for line in lines])
    assert found.startswith(named)


def test_a_lost_change_is_noticed() -> None:
    """Without one of the calls that ended, beliefs and so decisions are others."""
    lines = recorded(400)
    ends = [i for i, text in enumerate(lines) if b'"kind":"finished"' in text and b'"outcome":"ok"' in text]
    del lines[ends[5]]

    assert differences(lines)


def test_other_threads_may_change_the_table_meanwhile() -> None:
    """Decisions name the number of changes they were made after, so the order of lines does not matter."""
    stretch, entries = Stretch(3), list[Line | Made]()
    tape = Tape(a_header(), stretch.table, entries.append)
    rival = Stretch(4, table=stretch.table)
    other = Thread(target=rival.run, args=(600,))
    other.start()
    stretch.run(600, tape)
    other.join()
    tape.stop()

    assert differences([encode(entry) for entry in entries]) == []


@settings(max_examples=8)
@given(st.randoms(use_true_random=False))
def test_neighbouring_lines_may_have_changed_places(rng: Random) -> None:
    """Within the window, lines of decisions come in any order behind their changes."""
    lines: list[bytes] = []
    for start in range(0, len(SHORT), 25):
        late = [text for text in SHORT[start : start + 25] if b'"kind":"decided"' in text]
        rng.shuffle(late)
        lines += [text for text in SHORT[start : start + 25] if text not in late]
        lines += late

    assert sorted(c.asked.after for c in decided(lines)) == [c.asked.after for c in decided(SHORT)]
    assert differences(lines) == []


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.1 + 0.2, -0.0]),
)
def test_numbers_survive_exactly(number: float, odd: float) -> None:
    """Whatever a report said is read back as the same float."""
    report = LoadReport("r", "b", 1, 0, 0, 2, odd, number, 1)
    sent = Finished(7, "r", "m@1", 0, 0, number, 5.0, Outcome.OK, number, 3, report)
    (_, back) = decode([encode(a_header()), encode(sent)])

    assert repr(back) == repr(sent)


def test_the_table_takes_each_kind_of_change() -> None:
    """A table taken through the changes of another exports the same beliefs."""
    stretch, entries = Stretch(5), list[Line | Made]()
    tape = Tape(a_header(), stretch.table, entries.append)
    stretch.run(300, tape)
    _, base, *rest = [line for line in decode(map(encode, entries)) if not isinstance(line, Decided)]
    table = LoadTable()
    table.restore(base.table, now_ns=0)  # type: ignore[union-attr]  # the second line is the base
    for change in rest:
        if hasattr(change, "now_ns"):
            apply(table, change)  # type: ignore[arg-type]  # cards have no moment

    assert table.export() == stretch.table.export()


def test_a_recording_that_was_cut_off_is_valid_up_to_there() -> None:
    """Of a last line that is not whole nothing is taken."""
    whole = b"".join(recorded(100))
    cut = whole[: len(whole) * 2 // 3].splitlines(keepends=True)

    assert differences(cut) == []
    assert 20 < len(list(Replay(cut).decisions())) < 100


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        ([], "line 1: this is no recording"),
        ([b"owner,amount\n", b"x,1\n"], "line 1: this is no recording"),
        ([b'{"kind":"end","reason":"x"}\n'], "line 1: this is no recording"),
        ([b"{}\n", b"{}\n"], "line 1: this is no recording"),
    ],
)
def test_a_foreign_file_is_refused(lines: list[bytes], place: str) -> None:
    """By its first line."""
    with pytest.raises(Malformed, match=place):
        Replay(lines)


def test_a_broken_line_is_named() -> None:
    """With its number and, where there is one, its field."""
    broken = [*SHORT[:40], b"\x00\x01garbage\n", *SHORT[40:]]
    wrong = [*SHORT[:40], b'{"kind":"unreachable","replica":3,"now_ns":1}\n', *SHORT[40:]]
    newer = [SHORT[0].replace(b'"version":4', b'"version":5'), *SHORT[1:]]

    with pytest.raises(Malformed, match="line 41: the line: Invalid JSON"):
        list(Replay(broken).decisions())
    with pytest.raises(Malformed, match=r"line 41: unreachable\.replica: "):
        list(Replay(wrong).decisions())
    with pytest.raises(Malformed, match="line 1: the recording has version 5"):
        Replay(newer)


def test_a_decision_on_cards_that_are_missing_is_refused() -> None:
    """A recording that does not fit together says what is missing."""
    without = [text for text in SHORT if b'"kind":"catalogue"' not in text]

    with pytest.raises(Malformed, match="names catalogue 0, which is not there"):
        list(Replay(without).decisions())


def test_another_profile_shows_its_effect() -> None:
    """Cost falls, and the paired effect is the difference of the means with an error that is no larger."""
    comparison = Comparison()
    for again in Replay(recorded(1_000), profile="cost_optimized").decisions():
        comparison.add(again)
    cost = comparison.effects()["cost"]

    assert comparison.requests == 1_000
    assert 100 < comparison.changed <= 1_000
    assert sum(comparison.picks_after.values()) == sum(comparison.picks_before.values()) == 1_000
    assert cost.difference == pytest.approx(cost.after - cost.before)
    assert cost.difference + 3 * cost.standard_error < 0


def test_the_recorded_profile_changes_nothing() -> None:
    """Profiles of a file that is the same: no request moves and every effect is zero."""
    comparison = Comparison()
    for again in Replay(SHORT, profiles=PROFILES_YAML.read_text()).decisions():
        comparison.add(again)

    assert comparison.changed == 0
    assert {(effect.difference, effect.standard_error) for effect in comparison.effects().values()} == {
        (0, 0)
    }


def test_profiles_that_are_wrong_are_refused() -> None:
    """An unknown profile is named once, and not counted as that many refusals; a bad file by its field."""
    with pytest.raises(UnknownProfile, match="known are performance_optimized"):
        Replay(SHORT, profile="fastest")
    with pytest.raises(ConfigError, match="profiles"):
        Replay(SHORT, profiles="plugins: []")


def test_the_error_of_correlated_means_is_not_too_small() -> None:
    """For runs of equal values, which the error of independent ones would take for so many observations."""
    rng = Random(1)
    misses = 0
    for _ in range(300):
        values = [level for level in (rng.gauss(0, 1) for _ in range(100)) for _ in range(20)]
        misses += abs(fmean(values)) > 1.96 * batch_means_error(values)

    assert misses / 300 < 0.12
    assert batch_means_error([1.0]) == math.inf


SHORT = recorded(150)


def decided(lines: list[bytes]) -> list[Decided]:
    """The decisions in the order in which they are read."""
    return [line for line in decode(lines) if isinstance(line, Decided)]


def promised(at: Decided) -> float:
    """The expected completion that was promised."""
    return float((at.choice.decision or {})["promise"]["expected_ms"])


def with_asked(at: Decided, **changes: Any) -> Decided:
    """The same with another question."""
    return dataclasses.replace(at, asked=dataclasses.replace(at.asked, **changes))


def with_choice(at: Decided, **changes: Any) -> Decided:
    """The same with another answer."""
    return dataclasses.replace(at, choice=dataclasses.replace(at.choice, **changes))


def with_decision(at: Decided, **changes: Any) -> Decided:
    """The same with other fields of its decision."""
    return with_choice(at, decision={**(at.choice.decision or {}), **changes})


def with_promise(at: Decided, expected_ms: float) -> Decided:
    """The same with another promise."""
    promise = (at.choice.decision or {})["promise"]
    return with_decision(at, promise={**promise, "expected_ms": expected_ms})
