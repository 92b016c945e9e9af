"""What a run left in the log: its slots with their stage times and their bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from benchmarks.harness import middle
from messaging.ports import EventBus, LogRecord
from messaging.topics import PREDICTIONS, SIGNALS, Topic
from models.events import CONTROL_PREFIX

STAGES: Final = ("window", "decided", "sent", "inferred", "predicted", "projected")
"""In the order a slot passes them, all measured from the tick that closed the bar."""


@dataclass(slots=True)
class RecordedSlot:
    """One slot: wall times by stage, `projected` being that of its last partition, and every record.

    `lineage` is None if the slot got no forecast.
    """

    prediction: LogRecord
    times_ns: dict[str, int]
    lineage: dict[str, Any] | None
    signals: dict[int, list[LogRecord]] = field(default_factory=dict)

    @property
    def replica_ms(self) -> float:
        """Time inside the replica by its own account, waiting for a slot and computing; 0 without one."""
        return (self.lineage["queue_us"] + self.lineage["inference_us"]) / 1e3 if self.lineage else 0.0

    def written(self) -> dict[str, Any]:
        """The records as JSON can hold them."""
        return {
            "prediction": _pair(self.prediction),
            "signals": {
                partition: [_pair(one) for one in records] for partition, records in self.signals.items()
            },
        }


async def recorded_slots(bus: EventBus) -> list[RecordedSlot]:
    """All slots in the order of their ticks."""
    slots: dict[str, RecordedSlot] = {}
    for record in await _all(bus, PREDICTIONS):
        body = orjson.loads(record.value or b"{}")
        slots[body["slot"]["signal_id"]] = RecordedSlot(record, dict(body["stages"]), body.get("lineage"))
    for record in await _all(bus, SIGNALS):
        body = orjson.loads(record.value or b"{}")
        slot = slots[body["signal_id"]]
        slot.signals.setdefault(record.partition, []).append(record)
        slot.times_ns.update(body["stages"])
        slot.times_ns["projected"] = max(body["projected_ns"], slot.times_ns.get("projected", 0))
    return sorted(slots.values(), key=lambda slot: slot.times_ns["tick"])


def latest(slots: Sequence[RecordedSlot], seconds: float) -> list[RecordedSlot]:
    """Those whose tick is no older than that before the newest."""
    first_ns = slots[-1].times_ns["tick"] - int(seconds * 1e9)
    return [slot for slot in slots if slot.times_ns["tick"] > first_ns]


def stage_medians_ms(slots: Iterable[Mapping[str, int]]) -> dict[str, float]:
    """Per stage the median time from the tick, of the slots that have it."""
    elapsed: dict[str, list[float]] = {}
    for times_ns in slots:
        for stage in STAGES:
            if stage in times_ns:
                elapsed.setdefault(stage, []).append((times_ns[stage] - times_ns["tick"]) / 1e6)
    return {stage: middle(times) for stage, times in elapsed.items()}


async def _all(bus: EventBus, topic: Topic) -> list[LogRecord]:
    """Every record of the topic that is no control record."""
    found: list[LogRecord] = []
    for partition in range(topic.partitions):
        first, end = await bus.bounds(topic.name, partition)
        async for records in bus.read(topic.name, partition, first, end):
            found += [one for one in records if not one.key.startswith(CONTROL_PREFIX)]
    return found


def _pair(record: LogRecord) -> tuple[str, str]:
    return record.key.decode(), (record.value or b"").decode()
