"""What a worker measures: noted on the hot path for next to nothing, handed to the meter now and then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from models.events import UndeliveredReason
from models.metrics import Meter

_LATEST_NS: Final = 60 * 10**9


class Tally:
    """Counts since the last flush and since the start, and the latest minute's times from tick to
    acknowledgement: per slot, until the last of the worker's partitions had it.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._signals: Counter[tuple[str, str]] = Counter()
        self._undelivered: Counter[str] = Counter()
        self._stages: list[tuple[str, float]] = []
        self._acked: dict[str, tuple[int, float]] = {}
        self.totals: Counter[str] = Counter()

    def published(self, strategy: str, kinds: Mapping[str, int]) -> None:
        """So many signals of each kind are valid in the log."""
        for kind, count in kinds.items():
            self._signals[strategy, kind] += count
            self.totals["signals"] += count

    def undelivered(self, reason: UndeliveredReason) -> None:
        self._undelivered[reason.value] += 1
        self.totals[f"undelivered_{reason.value}"] += 1

    def stages(self, signal_id: str, stages: Mapping[str, int], *, projected_ns: int, acked_ns: int) -> None:
        """One partition's batch of a slot that a tick made due."""
        if (tick_ns := stages.get("tick")) is None:
            return
        elapsed_ms = (acked_ns - tick_ns) / 1e6
        self._stages += [("projected", (projected_ns - tick_ns) / 1e6), ("delivered", elapsed_ms)]
        self._acked.pop(signal_id, None)
        self._acked[signal_id] = acked_ns, elapsed_ms
        self._forget(before_ns=acked_ns - _LATEST_NS)

    def tick_to_ack_ms(self) -> dict[str, float]:
        """p50 and p99 of the slots of the latest minute; empty before the first."""
        times = sorted(elapsed_ms for _, elapsed_ms in self._acked.values())
        return {"p50": _quantile(times, 0.50), "p99": _quantile(times, 0.99)} if times else {}

    def flush(self, *, lag: int) -> None:
        """Hand everything to the meter."""
        for (strategy, kind), count in self._signals.items():
            self._meter.count("hub_signals_total", {"strategy": strategy, "kind": kind}, count)
        for reason, count in self._undelivered.items():
            self._meter.count("hub_undelivered_total", {"reason": reason}, count)
        for stage, elapsed_ms in self._stages:
            self._meter.observe("hub_stage_ms", {"stage": stage}, elapsed_ms)
        self._meter.gauge("hub_prediction_lag", {"room": "fanout"}, lag)
        self._signals.clear()
        self._undelivered.clear()
        self._stages.clear()

    def _forget(self, *, before_ns: int) -> None:
        """Slots lie in the order of their last acknowledgement."""
        while (oldest := next(iter(self._acked))) and self._acked[oldest][0] < before_ns:
            del self._acked[oldest]


def _quantile(times: Sequence[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))]
