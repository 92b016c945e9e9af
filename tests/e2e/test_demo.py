"""`hub demo`, the newcomer's first command: clean with ticks it has never seen, and gone after Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from serve_app.demo.scene import EXAMPLE_TICKS
from tests.support.eventually import eventually
from tests.support.processes import descendants

DEMO = (sys.executable, "-m", "serve_app.cli", "demo")
REPORT = {
    *("ticks", "slots_due", "predictions", "expected", "delivered", "abstained", "undelivered", "lost"),
    *("duplicated", "duplicated_raw", "reordered", "expired", "misdelivered", "wrong_partition"),
    *("tick_to_ack_ms", "picks", "first_signal_s"),
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home for the run file that no other hub uses."""
    return {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "RAY_AUTH_MODE": "disabled"}


def clean_demo(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """What a demo with exit code 0 prints."""
    run = subprocess.run(
        [*DEMO, *arguments], env=environment, capture_output=True, text=True, timeout=380, check=False
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run.stdout


@pytest.mark.timeout(400)
def test_demo_is_clean_on_a_symbol_it_has_never_seen(environment: dict[str, str], tmp_path: Path) -> None:
    """Exit code 0, a complete report whose sum is right, at least two models picked, among them one that came
    while the hub ran.
    """
    report = tmp_path / "report.json"
    unseen = EXAMPLE_TICKS[0].replace("EURUSD=", "GBPUSD=")
    arguments = ["--ticks", unseen, "--seconds", "18", "--users", "6", "--fanout-workers", "2"]

    said = clean_demo([*arguments, "--report", str(report)], environment)

    assert "LEDGER CLEAN" in said
    assert "a model that came while the hub ran" in said
    assert re.search(r"naive@1: [\d,]+ outcomes", said), said[-3000:]
    found = json.loads(report.read_text())
    assert set(found) == REPORT
    assert found["delivered"] + found["undelivered"] + found["lost"] == found["expected"] > 0
    assert found["delivered"] > 0
    assert len(found["picks"]) >= 2
    assert sum(found["picks"].get("ridge", {}).values()) > 0, said[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_picks_leave_a_replica_that_is_slowed(environment: dict[str, str], tmp_path: Path) -> None:
    """Its share falls below a quarter while it stands still most of the time, and nobody's signal suffers.

    A share is of some six calls a second, so twelve seconds of them are looked at.
    """
    report = tmp_path / "report.json"
    arguments = ["--antagonist", "--seconds", "36", "--users", "3"]

    said = clean_demo([*arguments, "--report", str(report)], environment)

    assert "how the router reacted" in said
    reaction = json.loads(report.read_text())["antagonist"]
    assert reaction["moved_s"] is not None, json.dumps(reaction)
    assert (reaction["share_during"] or 0.0) < reaction["share_before"] / 2, json.dumps(reaction)


@pytest.mark.timeout(200)
@pytest.mark.parametrize(("asked", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_it_ends_everything_that_it_started(
    environment: dict[str, str], asked: signal.Signals, code: int
) -> None:
    """In the middle of the start: servers and Ray are there, and after Ctrl-C or SIGTERM nothing is left."""
    demo = _started(environment)
    await eventually(lambda: len(descendants(demo.pid)) > 8, timeout_s=90)
    started = descendants(demo.pid)

    demo.send_signal(asked)

    assert demo.wait(timeout=90) == code
    await eventually(lambda: not [pid for pid in started if _alive(pid)], timeout_s=30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ticks", "EURUSD"], "SYMBOL=FILE"),
        (["--ticks", "EURUSD=missing.csv.gz"], "missing.csv.gz does not exist"),
        (["--users", "0"], "--users was 0"),
        (["--antagonist", "--seconds", "8"], "--antagonist needs 12 s of playback; this one lasts 8 s"),
    ],
)
def test_wrong_option_is_refused_before_anything_starts(
    environment: dict[str, str], arguments: list[str], message: str
) -> None:
    """One line that names the option, exit code 2."""
    run = subprocess.run(
        [*DEMO, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert run.returncode == 2
    assert message in run.stderr.replace("\n", " ")


def _started(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*DEMO], env=environment, stdout=subprocess.DEVNULL, start_new_session=True)


def _alive(pid: int) -> bool:
    """Whether the process exists and is more than a corpse."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
