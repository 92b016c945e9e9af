"""The catalogue of metrics: the one place that names them, so that code, boards and tests agree.

Ray adds the prefix `ray_` on its Prometheus endpoint. Tenants and users are never labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Protocol

from models.base import Frozen


class MetricKind(StrEnum):
    """How a metric accumulates."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


LATENCY_MS: Final = (0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100, 200, 500, 1000, 5000)
SHARE: Final = (0.1, 0.25, 0.5, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0)
MICROSECONDS: Final = (5, 10, 15, 20, 25, 35, 50, 75, 100, 200, 500, 1000)


class MetricSpec(Frozen):
    """Name, meaning and labels of one metric; `buckets` for histograms only."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _spec(
    name: str, kind: MetricKind, text: str, *labels: str, buckets: tuple[float, ...] = ()
) -> MetricSpec:
    return MetricSpec(name=name, kind=kind, help=text, labels=labels, buckets=buckets)


_C, _G, _H = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM

METRICS: Final[Mapping[str, MetricSpec]] = {
    spec.name: spec
    for spec in (
        _spec("hub_decisions_total", _C, "Decisions by what was picked", "profile", "model", "outcome"),
        _spec("hub_decision_us", _H, "Time of one decision", "profile", buckets=MICROSECONDS),
        _spec("hub_p_meet", _H, "Promised probability to meet the deadline", "profile", buckets=SHARE),
        _spec("hub_promise_met_total", _C, "Routed calls by whether the deadline was met", "profile", "met"),
        _spec("hub_route_attempts_total", _C, "Attempts by outcome", "pool", "outcome"),
        _spec("hub_hedges_total", _C, "Second calls beside a late first one", "profile"),
        _spec("hub_shed_total", _C, "Requests that were not admitted, by reason", "priority", "reason"),
        _spec(
            "hub_admission_wait_ms",
            _H,
            "Time a request waited to be admitted",
            "priority",
            buckets=LATENCY_MS,
        ),
        _spec("hub_ejected_replicas", _G, "Replicas ejected by the error gate", "pool"),
        _spec("hub_catalogue_version", _G, "Offset of hub.models this process works with", "room"),
        _spec("hub_registrations_total", _C, "Models brought at run time, by what became of them", "outcome"),
        _spec(
            "hub_registered_models",
            _G,
            "Models of run time in a replica: held, cold or refused",
            "pool",
            "state",
        ),
        _spec("hub_shadow_forecasts_total", _C, "Forecasts asked for beside the answer", "outcome"),
        _spec("hub_outcomes_total", _C, "Forecasts that were judged", "model"),
        _spec("hub_live_coverage", _G, "Share of outcomes inside a model's intervals", "model", "level"),
        _spec("hub_live_skill", _G, "Skill of a model against the control, live", "model"),
        _spec("hub_inference_ms", _H, "Service time in a replica", "model", buckets=LATENCY_MS),
        _spec("hub_inference_queue_ms", _H, "Time a call waited in a replica", "pool", buckets=LATENCY_MS),
        _spec("hub_stage_ms", _H, "Time from the tick to a stage", "stage", buckets=LATENCY_MS),
        _spec("hub_ticks_total", _C, "Ticks by what became of them", "symbol", "outcome"),
        _spec("hub_slots_total", _C, "Due slots by outcome", "strategy", "outcome"),
        _spec("hub_signals_total", _C, "Signals acknowledged by Kafka, by kind", "strategy", "kind"),
        _spec("hub_undelivered_total", _C, "Slots recorded as undelivered, by reason", "reason"),
        _spec("hub_epoch", _G, "Epoch of an owned partition", "topic", "partition"),
        _spec("hub_owned_partitions", _G, "Partitions owned and live", "topic"),
        _spec("hub_prediction_lag", _G, "Predictions in the log that this worker has not taken", "room"),
        _spec("hub_append_total", _C, "Appends by outcome (ok, refused, unknown)", "topic", "outcome"),
        _spec("hub_user_events_total", _C, "User events by what became of them", "data_type", "outcome"),
        _spec("hub_user_data_total", _C, "User events moved to the database", "data_type", "outcome"),
        _spec("hub_user_data_behind_s", _G, "How old the oldest event not yet moved may be", "data_type"),
        _spec("hub_user_data_cache_total", _C, "Pages of user data asked of the fast store", "outcome"),
        _spec("hub_audit_heads_total", _C, "Heads of audit logs: signed, or torn and not signed", "outcome"),
        _spec(
            "hub_reports_total", _C, "Reports of usage and of denials: reported, waiting", "topic", "outcome"
        ),
        _spec("hub_denials_total", _C, "Reports of denials: written, repeated, unreadable", "outcome"),
        _spec("hub_usage_records_total", _C, "Records of usage by what became of them", "topic", "outcome"),
        _spec("hub_denied_total", _C, "Operations that a broker denied a principal", "broker", "principal"),
        _spec("hub_producer_rebuilds_total", _C, "Producer rebuilds", "room"),
        _spec("hub_stream_sockets", _G, "Open sockets of the stream"),
        _spec("hub_stream_frames_total", _C, "Frames sent to sockets: signal, skipped, beat", "kind"),
        _spec("hub_stream_closed_total", _C, "Sockets closed, by why: client, or the close code", "reason"),
        _spec("hub_stream_lag_ms", _H, "Time from the log to the frame", buckets=LATENCY_MS),
        _spec("hub_requests_total", _C, "HTTP requests by route and status", "route", "status"),
        _spec("hub_request_ms", _H, "HTTP request time", "route", buckets=LATENCY_MS),
    )
}


class Meter(Protocol):
    """Where measurements go; Ray's metrics in the hub, a dictionary in tests."""

    def count(self, name: str, labels: Mapping[str, str], by: float = 1.0) -> None: ...

    def gauge(self, name: str, labels: Mapping[str, str], value: float) -> None: ...

    def observe(self, name: str, labels: Mapping[str, str], value: float) -> None: ...


class MemoryMeter:
    """Keeps sums and last values by (name, labels); refuses names and labels the catalogue does not have."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def count(self, name: str, labels: Mapping[str, str], by: float = 1.0) -> None:
        key = self._key(name, labels)
        self.values[key] = self.values.get(key, 0.0) + by

    def gauge(self, name: str, labels: Mapping[str, str], value: float) -> None:
        self.values[self._key(name, labels)] = value

    def observe(self, name: str, labels: Mapping[str, str], value: float) -> None:
        self.values[self._key(name, labels)] = value

    @staticmethod
    def _key(name: str, labels: Mapping[str, str]) -> tuple[str, tuple[tuple[str, str], ...]]:
        if set(labels) != set(METRICS[name].labels):
            raise ValueError(f"metric {name} takes labels {METRICS[name].labels}, was given {tuple(labels)}")
        return name, tuple(sorted(labels.items()))
