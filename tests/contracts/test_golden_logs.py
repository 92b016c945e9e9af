"""Every release reads what those before it wrote, and is read by them beside it: `tests/golden/README.md`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from messaging.topics import TOPICS
from tests.golden.grown import grown
from tests.golden.logs import LAST, RELEASES, golden_logs
from tests.golden.readers import results


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_todays_readers_make_of_it_what_its_own_did(release: Path) -> None:
    """Verdict by verdict: the rules of reading are a contract, too."""
    assert results(golden_logs(release)) == json.loads((release / "results.json").read_text())


def test_the_logs_hold_something_of_every_topic() -> None:
    """Else a change of that topic would go unnoticed."""
    found = {record.topic for record in golden_logs(LAST)}
    assert {topic.name for topic in TOPICS} - found == set()


def test_the_recorded_run_had_trouble() -> None:
    """Claims that made records void, slots that reached nobody, and a halt."""
    recorded = json.loads((LAST / "results.json").read_text())
    assert {"accepted", "control", "void", "repeated"} <= set(recorded["user.signals"]["verdicts"])
    assert recorded["hub.control"]["in_force"] == ["user:alice"]
    assert any(record.key == b"~undelivered" for record in golden_logs(LAST))
    assert recorded["ledger"]["wrong"] == {}


def test_a_later_release_is_read_beside_this_one() -> None:
    """Rolling upgrade: with a field more in every object of every record, nothing is read otherwise."""
    later = [replace(one, value=grown(one)) for one in golden_logs(LAST)]
    assert sum(one.value != other.value for one, other in zip(later, golden_logs(LAST), strict=True)) > 500
    assert results(later) == json.loads((LAST / "results.json").read_text())
