"""The signal path on two Ray nodes: one dies, the other takes over, and every signal is accounted for."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import orjson
import pytest

from messaging.topics import PREDICTIONS, SIGNALS

pytestmark = [pytest.mark.serve, pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `two_nodes` found."""
    directory = tmp_path_factory.mktemp("two-nodes")
    command = [sys.executable, "-m", "tests.serve.two_nodes", str(directory)]
    subprocess.run(command, check=True, timeout=400)
    found: dict[str, Any] = orjson.loads((directory / "result.json").read_bytes())
    return found


def test_the_ledger_is_clean_although_a_node_died(result: dict[str, Any]) -> None:
    """Everything owed was delivered or recorded as undelivered, to the right users, in order, once."""
    ledger = result["ledger"]
    assert ledger["clean"], ledger["lines"]
    assert ledger["delivered"] + ledger["undelivered"] == ledger["expected"] > 0


def test_the_node_that_is_left_owns_everything(result: dict[str, Any]) -> None:
    """Two replicas shared the partitions of users and of symbols; after the loss one has them all."""
    for room, topic in (("Fanout", SIGNALS), ("Forecaster", PREDICTIONS)):
        everything = list(range(topic.partitions))
        first, second = result["before"][room]
        assert first, f"{room}: one node owned nothing"
        assert second, f"{room}: one node owned nothing"
        assert sorted(first + second) == everything
        assert result["after"][room] == [everything]


def test_signals_go_on_after_the_loss(result: dict[str, Any]) -> None:
    """The rest of the playback reaches the users."""
    assert result["ledger"]["signals"] > result["signals_then"]
