"""PromQL over the catalogue of metrics: the one place that knows how Ray's exporter spells a series.

Ray prefixes `ray_`, leaves counters as they are named, gives histograms `_bucket`, `_sum` and `_count`, and
adds the labels `application`, `deployment` and `replica` to what a Serve replica measures. What the catalogue
does not have raises here, while the board is generated, instead of staying an empty panel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from models.metrics import METRICS, MetricKind

PREFIX: Final = "ray_"
RAY_LABELS: Final = ("application", "deployment", "replica")
_APPLICATIONS: Final = 'application=~"$application"'
_WINDOW: Final = "$__rate_interval"


def rate(name: str, *by: str, where: str = "") -> str:
    """Increments a second of a counter, summed over everything but `by`."""
    return f"sum{_by(name, by)} (rate({_series(name, MetricKind.COUNTER, where=where)}[{_WINDOW}]))"


def total(name: str, *by: str, window: str) -> str:
    """Increments of a counter within the window, such as `1h`.

    `increase` would miss what a new process counts before its first scrape, and a few may be all. Ray
    labels series by process, so they never reset, and one that was not there before began at zero.
    """
    series = _series(name, MetricKind.COUNTER)
    newest = f"max_over_time({series}[{window}])"
    return f"sum{_by(name, by)} (({newest} - {series} offset {window}) or {newest})"


def gauge(name: str, how: Literal["min", "max", "sum"], *by: str) -> str:
    """A gauge's value, put together over everything but `by`."""
    return f"{how}{_by(name, by)} ({_series(name, MetricKind.GAUGE)})"


def quantile(name: str, share: float, *by: str, where: str = "") -> str:
    """A quantile of a histogram, by interpolation between its bucket bounds."""
    buckets = _series(name, MetricKind.HISTOGRAM, suffix="_bucket", where=where)
    return f"histogram_quantile({share}, sum{_by(name, by, 'le')} (rate({buckets}[{_WINDOW}])))"


def mean(name: str, *by: str) -> str:
    """The mean of a histogram's observations."""
    parts = (_series(name, MetricKind.HISTOGRAM, suffix=suffix) for suffix in ("_sum", "_count"))
    return " / ".join(f"sum{_by(name, by)} (rate({part}[{_WINDOW}]))" for part in parts)


def _series(name: str, kind: MetricKind, *, suffix: str = "", where: str = "") -> str:
    spec = METRICS[name]
    if spec.kind is not kind:
        raise ValueError(f"{name} is a {spec.kind.value}; this query is for a {kind.value}")
    label = where.partition("=")[0].rstrip("!~")
    if where and label not in spec.labels:
        raise ValueError(f"{name} has no label {label!r}, only {spec.labels}")
    return f"{PREFIX}{name}{suffix}{{{', '.join(filter(None, (_APPLICATIONS, where)))}}}"


def _by(name: str, labels: Sequence[str], *extra: str) -> str:
    known = {*METRICS[name].labels, *RAY_LABELS}
    if unknown := set(labels) - known:
        raise ValueError(f"{name} has no label {sorted(unknown)}, only {sorted(known)}")
    grouped = (*extra, *labels)
    return f" by ({', '.join(grouped)})" if grouped else ""
