"""Enough PromQL to judge a board: which series an expression reads, by which labels, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from models.metrics import METRICS, MetricKind

SUFFIXES: Final = {
    MetricKind.COUNTER: ("",),
    MetricKind.GAUGE: ("",),
    MetricKind.HISTOGRAM: ("_bucket", "_sum", "_count"),
}
EXPORTED: Final = {
    f"ray_{spec.name}{suffix}": spec for spec in METRICS.values() for suffix in SUFFIXES[spec.kind]
}
"""Every series of the catalogue as Prometheus sees it; a test of the serve tier proves the spelling."""
ADDED_BY_RAY: Final = {"application", "deployment", "replica"}

_AGGREGATIONS: Final = {"sum", "min", "max"}
_FUNCTIONS: Final = {"rate", "max_over_time", "min_over_time", "changes", "histogram_quantile", "vector"}
_WORDS: Final = _AGGREGATIONS | _FUNCTIONS | {"or", "by", "offset"}
_SELECTOR: Final = re.compile(r"([a-z_]+)\{([^}]*)\}(\[(?:\d+[smh]|\$__rate_interval)\])?")
_MATCHER: Final = re.compile(r'([a-z_]+)(?:=|!=|=~|!~)"([^"]*)"')
_GROUPING: Final = re.compile(r"\bby \(([^)]*)\)")
_OFFSET: Final = re.compile(r"\boffset \d+[smh]")
_REST: Final = re.compile(r"[a-z_]+|\d+(?:\.\d+)?|[()/,<>-]|\s")


class NotPromQL(Exception):
    """The expression holds something that is none of the few forms the hub's expressions use."""


@dataclass(frozen=True, slots=True)
class Selector:
    """A series with the labels that choose among its streams; `ranged` if it names a window."""

    series: str
    labels: frozenset[str]
    ranged: bool


def selectors(expr: str) -> list[Selector]:
    """What the expression reads."""
    return [
        Selector(found[1], frozenset(dict(_MATCHER.findall(found[2]))), bool(found[3]))
        for found in _SELECTOR.finditer(expr)
    ]


def groupings(expr: str) -> set[str]:
    """The labels that the expression keeps."""
    return {label.strip() for found in _GROUPING.findall(expr) for label in found.split(",")}


def check(expr: str) -> None:
    """Raise NotPromQL for unbalanced brackets, an unknown word, an unknown series or a label it lacks."""
    if not selectors(expr):
        raise NotPromQL(f"{expr} reads no series")
    for complaint in (*_strangers(expr), *_misread(expr)):
        raise NotPromQL(f"{expr}: {complaint}")


def _strangers(expr: str) -> Iterator[str]:
    bare = _OFFSET.sub(" ", _GROUPING.sub(" ", _SELECTOR.sub(" ", expr)))
    if left_over := _REST.sub("", bare):
        yield f"cannot read {left_over!r}"
    if unknown := set(re.findall(r"[a-z_]+", bare)) - _WORDS:
        yield f"unknown words {sorted(unknown)}"
    depth = 0
    for bracket in re.findall(r"[()]", expr):
        depth += 1 if bracket == "(" else -1
        if depth < 0:
            break
    if depth:
        yield "brackets do not match"


def _misread(expr: str) -> Iterator[str]:
    kept = groupings(expr)
    for read in selectors(expr):
        spec = EXPORTED.get(read.series)
        if spec is None:
            yield f"{read.series} is not exported"
            continue
        buckets = {"le"} if read.series.endswith("_bucket") else set()
        if unknown := (read.labels | kept) - {*spec.labels, *ADDED_BY_RAY, *buckets}:
            yield f"{read.series} has no label {sorted(unknown)}"
        if spec.kind is MetricKind.HISTOGRAM and not read.ranged:
            yield f"{read.series} accumulates and is read without a window"
        if spec.kind is MetricKind.GAUGE and f"rate({read.series}" in expr:
            yield f"{read.series} is a gauge and is read as a rate"
