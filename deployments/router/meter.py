"""The catalogue of metrics on `ray.serve.metrics`, so that Ray's dashboard and Prometheus show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ray.serve import metrics

from models.metrics import METRICS, MetricKind, MetricSpec

_KINDS: Final[Mapping[MetricKind, Any]] = {
    MetricKind.COUNTER: metrics.Counter,
    MetricKind.GAUGE: metrics.Gauge,
    MetricKind.HISTOGRAM: metrics.Histogram,
}


class RayMeter:
    """Makes each metric when it is first measured. Names and labels outside the catalogue raise.

    Safe on several threads: two threads that make the same metric at once make two views of one series.
    """

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def count(self, name: str, labels: Mapping[str, str], by: float = 1.0) -> None:
        if by:  # Ray refuses to count nothing
            self._metric(name).inc(by, tags=dict(labels))

    def gauge(self, name: str, labels: Mapping[str, str], value: float) -> None:
        self._metric(name).set(value, tags=dict(labels))

    def observe(self, name: str, labels: Mapping[str, str], value: float) -> None:
        self._metric(name).observe(value, tags=dict(labels))

    def _metric(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _make(METRICS[name])
        return self._made[name]


def _make(spec: MetricSpec) -> Any:
    buckets = {"boundaries": list(spec.buckets)} if spec.kind is MetricKind.HISTOGRAM else {}
    return _KINDS[spec.kind](spec.name, description=spec.help, tag_keys=spec.labels, **buckets)
