"""What a fault did: the ledger, the figures of `docs/reliability.md`, and what an operator could see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

HEADER: Final = (
    "| fault | ledger | available | longest silence, s | recovery, s | what an operator saw |",
    "|---|---|---|---|---|---|",
)
QUIET: Final = {
    "hub_append_total": {"outcome": "ok"},
    "hub_slots_total": {"outcome": "predicted"},
    "hub_ticks_total": {"outcome": "in_order"},
}
"""Counts of what is as it should be; every other value of the same metric is a sign of trouble."""
TOLD: Final = (*QUIET, "hub_undelivered_total", "hub_producer_rebuilds_total")


@dataclass(frozen=True)
class Seen:
    """What the workers told: signs of trouble and how many, for how long one was down, what was logged."""

    signs: Mapping[str, int]
    down_s: float
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, told: Iterable[Iterable[dict[str, Any]]], logs: Iterable[str]) -> Seen:
        """`told`: per worker what it said, oldest first."""
        signs: Counter[str] = Counter()
        down_s = 0.0
        for lines in map(list, told):
            was_ready = False
            for line in lines:
                was_ready = was_ready or line["ready"]
                down_s = max(down_s, line["down_s"] if was_ready else 0.0)
            for name, labels, value in lines[-1]["metrics"] if lines else ():
                if _is_trouble(name, labels):
                    signs[_words(name, labels)] += int(value)
        return cls({name: count for name, count in sorted(signs.items()) if count}, down_s, _warnings(logs))

    def __str__(self) -> str:
        signs = ", ".join(f"{name} {count}" for name, count in self.signs.items()) or "no count of trouble"
        logged = f"; logged: {'; '.join(self.warnings)}" if self.warnings else ""
        return f"{signs}; a worker down for {self.down_s:.1f} s{logged}"


@dataclass(frozen=True)
class Outcome:
    """Of one fault. Shares lie between 0 and 1.

    `available`: due deliveries that were in the log in time, by the feeder's own schedule. `answered`: those
    of them that hold a forecast. `stale`: signals that were in the log only after they had expired.
    """

    fault: str
    ledger: Mapping[str, Any]
    available: float
    answered: float
    stale: int
    longest_silence_s: float
    recovery_s: float
    seen: Seen

    def row(self) -> str:
        """A row of the table in `docs/reliability.md`."""
        ledger = "clean" if self.ledger["clean"] else "NOT CLEAN"
        owed = f"{self.ledger['expected']} owed, {self.ledger['undelivered']} undelivered, {self.stale} stale"
        figures = f"{self.available:.1%} | {self.longest_silence_s:.1f} | {self.recovery_s:.1f}"
        return f"| {self.fault} | {ledger}: {owed} | {figures} | {self.seen} |"

    def check(self, *, available: float, recovery_s: float) -> None:
        """Assert what must hold after any fault, and the floors of this one."""
        assert self.ledger["clean"], "\n".join(self.ledger["lines"])
        assert self.ledger["expected"] > 0
        assert self.available >= available, self.row()
        assert self.recovery_s <= recovery_s, self.row()


def _is_trouble(name: str, labels: Mapping[str, str]) -> bool:
    quiet = QUIET.get(name, {})
    return name in TOLD and not (quiet and quiet.items() <= labels.items())


def _words(name: str, labels: Mapping[str, str]) -> str:
    told = [value for label, value in labels.items() if label in {"outcome", "reason"}]
    return f"{name}{{{','.join(told)}}}" if told else name


def _warnings(logs: Iterable[str]) -> tuple[str, ...]:
    """How often each kind of line was logged, the three most frequent: a line's kind is its logger."""
    kinds = Counter(" ".join(line.split()[:2]) for log in logs for line in log.splitlines() if _is_log(line))
    return tuple(f"{kind} ({count} times)" for kind, count in kinds.most_common(3))


def _is_log(line: str) -> bool:
    return line.startswith(("WARNING ", "ERROR "))
