"""A restart of the tracker in a process of its own, for `evidence.py`: the fold of a whole log of outcomes.

`generated` folds records that are made batch by batch; the clock stands still meanwhile. `kafka` reads them
as the tracker's worker does when it restores.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.child import commands, run, say
from benchmarks.evidence_outcomes import MODELS, encoded, outcomes
from deployments.tracker.outcome_fold import OutcomeFold
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.topics import OUTCOMES
from routing.evidence.rules import EvidenceRules

BATCH: Final = 1_000
_PARTITION: Final = 0


def generated(judged: OutcomeFold, records: int) -> float:
    """Fold so many made-up records; seconds spent in the fold."""
    made, spent_s = outcomes(Random(1)), 0.0
    for first in range(0, records, BATCH):
        batch = encoded(made, first, BATCH)
        begun = time.perf_counter()
        judged.take_all(batch)
        spent_s += time.perf_counter() - begun
    return spent_s


async def read(judged: OutcomeFold, kafka: str) -> float:
    """Fold all that is in the log; seconds from the first question to the last record."""
    bus = await open_bus(KafkaConfig(bootstrap=kafka), client_id="rebuild")
    begun = time.perf_counter()
    first, last = await bus.bounds(OUTCOMES.name, _PARTITION)
    async for batch in bus.read(OUTCOMES.name, _PARTITION, first, last):
        judged.take_all(batch)
    spent_s = time.perf_counter() - begun
    await bus.close()
    return spent_s


def told(judged: OutcomeFold, spent_s: float) -> dict[str, Any]:
    """What came of it, and how long all models' evidence takes to make."""
    begun = time.perf_counter()
    written = judged.fold.changed(len(judged.fold.models))
    return {
        "rebuild_s": spent_s,
        "outcomes": judged.fold.outcomes,
        "evidence_ms": (time.perf_counter() - begun) * 1e3,
        "models": len(written),
        "memory_mb": peak_mb(),
    }


def peak_mb() -> float:
    """The most memory that this process ever held; what its parent held before it began does not count."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) * 1024 / 1e6


async def main() -> None:
    """Rebuild when told to, until the parent closes the pipe."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence_worker", description=__doc__)
    parser.add_argument("way", choices=("generated", "kafka"))
    parser.add_argument("given", help="how many outcomes, or the broker's address")
    asked = parser.parse_args()
    say({"memory_mb": peak_mb()})
    async for _ in commands():
        judged = OutcomeFold(EvidenceRules())
        if asked.way == "generated":
            say(told(judged, generated(judged, int(asked.given) // len(MODELS))))
        else:
            say(told(judged, await read(judged, asked.given)))


if __name__ == "__main__":
    run(main())
