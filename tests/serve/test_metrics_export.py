"""Ray's exporter spells the catalogue of metrics as the Grafana board reads it."""

from __future__ import annotations

import asyncio
import re
import urllib.request

import pytest
import ray
from ray import serve

from deployments.router.meter import RayMeter
from models.metrics import METRICS, MetricKind
from tests.support.eventually import eventually
from tests.unit.ops.promql import ADDED_BY_RAY, EXPORTED

SAMPLE = re.compile(r"^(ray_hub_\w+)\{(.*)\} ", re.MULTILINE)
LABEL = re.compile(r'(\w+)="')


class Emitter:
    """Measures every metric of the catalogue once, inside a replica."""

    def emit(self) -> None:
        meter = RayMeter()
        for spec in METRICS.values():
            labels = dict.fromkeys(spec.labels, "some")
            match spec.kind:
                case MetricKind.COUNTER:
                    meter.count(spec.name, labels)
                case MetricKind.GAUGE:
                    meter.gauge(spec.name, labels, 1.0)
                case MetricKind.HISTOGRAM:
                    meter.observe(spec.name, labels, 1.0)


@pytest.mark.serve
@pytest.mark.slow
async def test_exported_names_and_labels_are_those_of_the_board(ray_runtime: None) -> None:
    """Every series that the board's check knows is exported under that name, with its labels and Ray's."""
    emitter = serve.deployment(ray_actor_options={"num_cpus": 0})(Emitter)
    handle = serve.run(emitter.bind(), name="emitter", route_prefix=None)
    await handle.emit.remote()
    try:
        exported = await eventually(_all_exported, timeout_s=60)
    finally:
        serve.delete("emitter")
    for name, spec in EXPORTED.items():
        expected = {*spec.labels, *ADDED_BY_RAY, *({"le"} if name.endswith("_bucket") else ())}
        assert expected <= exported[name], name


async def _all_exported() -> dict[str, set[str]]:
    """Labels by series of the hub; asserts that none is missing yet."""
    text = await asyncio.to_thread(_scrape)
    found = {name: set(LABEL.findall(labels)) for name, labels in SAMPLE.findall(text) if "Emitter" in labels}
    assert set(found) == set(EXPORTED)
    return found


def _scrape() -> str:
    port = ray.nodes()[0]["MetricsExportPort"]  # type: ignore[no-untyped-call]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read(), "utf-8")
