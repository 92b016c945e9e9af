"""How many outcomes the tracker folds a second, and how long it needs for all of them after a restart.

An outcome is one model's: a record of `hub.outcomes` holds those of all models that forecast the same moment,
here the four live ones, of ten markets. `folds_per_s` is from bytes to evidence (`OutcomeFold.take_all`:
decode, check the epoch, fold, note the series); `fold_alone_per_s` is of decoded ones. The peers take the
same bytes in the same turns: `json.loads` and dictionaries of plain counts, and river's running means.
Neither has bounds, fading or calibration.

The rebuild is of 1,000,000 outcomes in a process of its own, once of records made batch by batch, where only
the fold is on the clock, and once read from Apache Kafka as the tracker does.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Final, TypeVar

from benchmarks.broker import broker
from benchmarks.child import child
from benchmarks.evidence_outcomes import MODELS, encoded, outcomes
from benchmarks.evidence_peers import Counting, Plain, River
from benchmarks.evidence_worker import BATCH
from benchmarks.harness import Benchmark, Report, VoidRunError, middle
from deployments.tracker.outcome_fold import OutcomeFold
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from messaging.ports import LogRecord, Producer, Record
from messaging.topics import OUTCOMES, create_topics
from models.evidence import Outcome
from routing.evidence.fold import EvidenceFold
from routing.evidence.rules import EvidenceRules

REBUILT: Final = 1_000_000
"""Outcomes, as everywhere here: one of one model."""
ROUNDS: Final = 9
BLOCK: Final = 40_000
"""Outcomes of a block; a way takes one a round, and goes on where it was."""
_TIMEOUT_S: Final = 10.0

Taken = TypeVar("Taken")


class Alone:
    """The fold of outcomes that are decoded beforehand."""

    def __init__(self) -> None:
        self._fold = EvidenceFold(EvidenceRules())

    def take_all(self, decoded: Sequence[tuple[int, Outcome]]) -> None:
        """Fold outcomes with their offsets."""
        for offset, outcome in decoded:
            self._fold.take(offset, outcome)


def run(report: Report) -> None:
    """Blocks of all ways in turn, then the two rebuilds."""
    _rates(report)
    asyncio.run(_rebuilds(report))


def _rates(report: Report) -> None:
    ways = _ways(report)
    alone, single = Alone(), OutcomeFold(EvidenceRules())
    made, made_single = outcomes(Random(1)), outcomes(Random(2), MODELS[1:2])
    rates: dict[str, list[float]] = {name: [] for name in (*ways, "alone", "single")}
    for number in range(ROUNDS + 1):
        block, singles = _block(made, number, len(MODELS)), _block(made_single, number, 1)
        decoded = [(record.offset, Outcome.from_record(record.value or b"")) for record in block]
        gc.freeze()  # what is measured is the fold, and no walk over what is held ready for it
        taken = {name: _per_s(report, way.take_all, block) for name, way in ways.items()}
        taken["alone"] = _per_s(report, alone.take_all, decoded)
        taken["single"] = _per_s(report, single.take_all, singles)
        gc.unfreeze()
        for name, rate in taken.items():
            rates[name] += [rate] if number else []  # the first round warms up
    _add_rates(report, {name: middle(found) for name, found in rates.items()})


def _block(made: Iterator[Outcome], number: int, models: int) -> list[LogRecord]:
    """The records of a round."""
    records = BLOCK // models
    return encoded(made, number * records, records)


def _ways(report: Report) -> dict[str, Counting]:
    """Ours and the peers, one of them twice."""
    ways: dict[str, Counting] = {
        "hub": OutcomeFold(EvidenceRules()),
        "plain": Plain(),
        "plain again": Plain(),
    }
    if importlib.util.find_spec("river") is None:
        report.missing("river", "Install it with `pip install river`; its figures are absent.")
        return ways
    return ways | {"river": River()}


def _per_s(report: Report, take_all: Callable[[Sequence[Taken]], None], block: Sequence[Taken]) -> float:
    """Items a second of one block."""
    report.validity.pause()
    begun = time.perf_counter()
    take_all(block)
    return len(block) / (time.perf_counter() - begun)


def _add_rates(report: Report, rates: dict[str, float]) -> None:
    """`rates` are records a second, by way."""
    several = len(MODELS)
    hub, plain = several * rates["hub"], several * rates["plain"]
    report.add("folds_per_s", hub, f"outcomes a second from bytes to evidence, {several} models a record")
    report.add("folds_per_s_single", rates["single"], "the same with one model a record")
    report.add("fold_alone_per_s", several * rates["alone"], "the same as the first without decoding")
    report.add("plain_per_s", plain, "the same bytes, `json.loads` and dictionaries of plain counts")
    if "river" in rates:
        report.add("river_per_s", several * rates["river"], "the same bytes, river's running means")
        report.add("river_ratio", rates["hub"] / rates["river"], "x, ours over river's")
    report.add("peer_ratio", hub / plain, "x, ours over the plain one's")
    report.add("aa_ratio", rates["plain"] / rates["plain again"], "x, the plain one over itself")


async def _rebuilds(report: Report) -> None:
    _add_rebuild(report, "", await _rebuilt("generated", str(REBUILT)))
    with broker(apart=True) as (kafka, _):
        await _write(kafka)
        _add_rebuild(report, "_kafka", await _rebuilt("kafka", kafka))


async def _rebuilt(way: str, given: str) -> dict[str, Any]:
    async with child("benchmarks.evidence_worker", [way, given]) as worker:
        return {"idle_mb": worker.ready["memory_mb"], **await worker.ask("rebuild")}


def _add_rebuild(report: Report, name: str, told: dict[str, Any]) -> None:
    if told["outcomes"] != REBUILT:
        raise VoidRunError(f"{told['outcomes']:,} outcomes were folded of {REBUILT:,}")
    read = "read from Apache Kafka" if name else "made batch by batch"
    report.add(f"rebuild{name}_s", told["rebuild_s"], f"s for {REBUILT:,} outcomes, {read}")
    report.add(
        f"memory{name}_mb", told["memory_mb"], f"MB at the peak, {told['idle_mb']:.0f} before it began"
    )
    report.add(
        f"evidence{name}_ms", told["evidence_ms"], f"ms to make the evidence of {told['models']} models"
    )


async def _write(kafka: str) -> None:
    """The log that a tracker finds when it starts."""
    bus = await open_bus(KafkaConfig(bootstrap=kafka), client_id="benchmark")
    await create_topics(bus, 1, [OUTCOMES])
    producer = await bus.producer("benchmark")
    made = outcomes(Random(1))
    for first in range(0, REBUILT // len(MODELS), BATCH):
        await _append(producer, encoded(made, first, BATCH))
    await producer.close()
    await bus.close()


async def _append(producer: Producer, written: Sequence[LogRecord]) -> None:
    """In as many batches as it takes."""
    pending = [Record(record.key, record.value or b"") for record in written]
    while pending:
        batch = pending[: max(1, producer.fits(pending))]
        await producer.append(OUTCOMES.name, 0, batch, timeout_s=_TIMEOUT_S)
        pending = pending[len(batch) :]


BENCHMARK: Final = Benchmark(
    name="evidence",
    question="How many outcomes are folded a second, and how long does the rebuild of 1,000,000 take?",
    run=run,
)
