"""Live numbers of a run: picks, signals per user and time by stage, for the table of `hub demo`."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson

from signals.ledger import Delivery, SlotKey

STAGES: Final = ("window", "decided", "sent", "inferred", "predicted", "projected", "read")
"""In the order a slot passes them; all are measured from the tick that closed the bar."""
_UNANSWERED: Final = frozenset({"refused", "timeout"})


@dataclass(slots=True)
class Tally:
    """Counts what the reader sees. Stage times are taken once per slot and partition, not per user.

    `decided_ns`: per replica, when each of its slots was decided; `unanswered`: slots that were asked for in
    vain, when that was given up, and why.
    """

    predictions: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    signals: int = 0
    users: Counter[str] = field(default_factory=Counter)
    picks: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    decided_ns: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    unanswered: list[dict[str, Any]] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    stages_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    first_signal_ns: int | None = None
    example: dict[str, Any] | None = None
    _seen: set[tuple[SlotKey, int]] = field(default_factory=set)

    def prediction(self, body: dict[str, Any]) -> None:
        """Count the winning record of a slot."""
        self.predictions += 1
        if body["kind"] == "skipped":
            self.skipped[f"{body['slot']['strategy']} {body['reason']}"] += 1
            if body["reason"] in _UNANSWERED:
                why = {name: body[name] for name in ("reason", "detail")}
                self.unanswered.append({"at_ns": body["generated_ns"], **why})
            return
        lineage = body["lineage"]
        self.picks[lineage["model"]][lineage["replica"]] += 1
        if decided_ns := body["stages"].get("decided"):
            self.decided_ns[lineage["replica"]].append(decided_ns)
        decision = body.get("decision") or {}
        self.reasons[lineage["model"]] = f"{decision.get('profile', '')}: {decision.get('reason', '')}"

    def signal(self, delivery: Delivery, value: bytes) -> None:
        """Count a signal that a user acted on."""
        self.signals += 1
        self.users[delivery.user_id] += 1
        if self.first_signal_ns is None:
            self.first_signal_ns = delivery.acted_ns
        place = (delivery.slot, delivery.partition)
        if place not in self._seen:
            self._seen.add(place)
            self._look(orjson.loads(value), delivery.acted_ns)

    def _look(self, body: dict[str, Any], acted_ns: int | None) -> None:
        """Time the stages, and keep the last signal that says something as the example."""
        if self.example is None or body["kind"] != "abstain":
            self.example = body
        stages = body["stages"]
        if "tick" not in stages:
            return
        times = {**stages, "projected": body["projected_ns"], "read": acted_ns}
        for stage in STAGES:
            if stage in times:
                self.stages_ms[stage].append((times[stage] - stages["tick"]) / 1e6)

    def summary(self) -> dict[str, Any]:
        """What the live table shows, as plain JSON."""
        return {
            "predictions": self.predictions,
            "skipped": dict(self.skipped),
            "signals": self.signals,
            "users": len(self.users),
            "top_users": self.users.most_common(3),
            "picks": {model: dict(replicas) for model, replicas in self.picks.items()},
            "reasons": self.reasons,
            "stages_ms": {
                stage: quantiles(self.stages_ms[stage]) for stage in STAGES if stage in self.stages_ms
            },
            "first_signal_ns": self.first_signal_ns,
        }


def quantiles(samples: list[float]) -> dict[str, float]:
    """Median and 99th percentile, milliseconds."""
    p50, p99 = np.percentile(samples, [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}
