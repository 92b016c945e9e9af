"""The whole hub replaced ten times while it works."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from serve_app.servers.apache_kafka import missing_reason
from serve_app.settings import ROOT
from tests.conftest import without_kafka

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1200)]


def test_ten_rolling_redeploys_cost_no_signal_and_no_answer(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    """Ledger clean, and every request of a caller who asks without pause is answered."""
    if reason := missing_reason():
        without_kafka(reason)
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, "-m", "tests.chaos.redeploys", str(tmp_path)]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1100, check=False
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    result = orjson.loads((tmp_path / "result.json").read_bytes())
    ledger, took_s = result["ledger"], result["took_s"]
    delivered = ledger["delivered"] / ledger["expected"]
    tell(
        f"| ten rolling redeploys under load | {'clean' if ledger['clean'] else 'NOT CLEAN'}:"
        f" {ledger['expected']} owed, {ledger['undelivered']} undelivered | {delivered:.1%} |"
        f" {result['silence_s']:.1f} | - | each {min(took_s):.0f} to {max(took_s):.0f} s until healthy;"
        f" requests {result['statuses']}, the slowest in {result['slowest_s']:.1f} s |"
    )

    assert ledger["clean"], "\n".join(ledger["lines"])
    assert set(result["statuses"]) == {"200"}, result["refusals"]
    assert delivered > 0.95
