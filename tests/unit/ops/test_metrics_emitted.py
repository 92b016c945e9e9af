"""The catalogue of metrics and the code agree: everything in it is measured, and nothing beside it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from models.metrics import METRICS, MetricKind
from tests.unit.ops.ray_checks import ROOT

METHODS = {"count": MetricKind.COUNTER, "gauge": MetricKind.GAUGE, "observe": MetricKind.HISTOGRAM}


@dataclass(frozen=True, slots=True)
class Measurement:
    """A call of a meter: which metric, as which kind, with which labels if they are written in place."""

    where: str
    name: str
    kind: MetricKind
    labels: frozenset[str] | None


def _measurements(file: Path) -> Iterator[Measurement]:
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Call(
                func=ast.Attribute(attr=method), args=[ast.Constant(value=str(name)), labels, *_]
            ) if method in METHODS and name.startswith("hub_"):
                where = f"{file.relative_to(ROOT)}:{node.lineno}"
                yield Measurement(where, name, METHODS[method], _labels(labels))


def _labels(node: ast.expr) -> frozenset[str] | None:
    if not isinstance(node, ast.Dict):
        return None
    return frozenset(str(key.value) for key in node.keys if isinstance(key, ast.Constant))


MEASURED = [
    found
    for room in ("deployments", "messaging")
    for file in sorted((ROOT / room).rglob("*.py"))
    for found in _measurements(file)
]


def test_every_metric_is_measured_somewhere() -> None:
    """The board has no panel that stays empty for want of a measurement."""
    assert {found.name for found in MEASURED} >= set(METRICS)


@pytest.mark.parametrize("found", MEASURED, ids=lambda found: f"{found.where}-{found.name}")
def test_only_the_catalogue_is_measured(found: Measurement) -> None:
    """Each measurement names a metric of the catalogue, as the kind it is, with its labels."""
    spec = METRICS[found.name]
    assert found.kind is spec.kind
    assert found.labels is None or found.labels == set(spec.labels)


def test_no_metric_is_named_outside_a_measurement() -> None:
    """A name that this test cannot see being measured would escape it."""
    seen = {(found.where.rpartition(":")[0], found.name) for found in MEASURED}
    for room in ("deployments", "messaging"):
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and node.value in METRICS:
                    assert (str(file.relative_to(ROOT)), node.value) in seen
