"""The Grafana board: generated, complete, and of expressions that read what the hub exports."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from models.metrics import METRICS
from ops.grafana.board import FILE, board, rendered
from ops.grafana.queries import gauge, rate
from tests.unit.ops.promql import EXPORTED, NotPromQL, check, groupings, selectors
from tests.unit.ops.ray_checks import ROOT

OPERATIONS = ROOT / "docs" / "operations.md"


def _targets() -> list[tuple[str, dict[str, str]]]:
    return [(panel["title"], target) for panel in board()["panels"] for target in panel.get("targets", ())]


def test_committed_board_is_the_generated_one() -> None:
    """Nobody edited the JSON by hand, or changed the panels without generating it."""
    assert FILE.read_text() == rendered(), "run `python -m ops.grafana.board`"


@pytest.mark.parametrize(("title", "target"), _targets())
def test_expression_reads_what_is_exported(title: str, target: dict[str, str]) -> None:
    """Each expression names series and labels of the catalogue, and its legend only labels it keeps."""
    check(target["expr"])
    assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= groupings(target["expr"]), title


@pytest.mark.parametrize("expr", re.findall(r"```promql\n(.+?)\n```", OPERATIONS.read_text(), re.DOTALL))
def test_alarms_in_the_documentation_read_what_is_exported(expr: str) -> None:
    """Who copies an alarm from the documentation gets one that can ring."""
    check(expr)


def test_every_metric_has_a_panel() -> None:
    """What the hub measures can be seen."""
    read = {EXPORTED[one.series].name for _, target in _targets() for one in selectors(target["expr"])}
    assert read == set(METRICS)


@pytest.mark.parametrize(
    ("expr", "complaint"),
    [
        ("sum (rate(ray_hub_signal_total{}[1m]))", "not exported"),
        ("sum (rate(hub_signals_total{}[1m]))", "not exported"),
        ("sum (rate(ray_hub_decision_us{}[1m]))", "not exported"),
        ('sum (rate(ray_hub_signals_total{topic="x"}[1m]))', "no label"),
        ("sum by (reason) (rate(ray_hub_signals_total{}[1m]))", "no label"),
        ("sum by (le) (rate(ray_hub_signals_total{}[1m]))", "no label"),
        ("sum (rate(ray_hub_signals_total{}[1m])", "brackets"),
        ("sum )rate(ray_hub_signals_total{}[1m])(", "brackets"),
        ("summ (rate(ray_hub_signals_total{}[1m]))", "unknown words"),
        ("sum (rate(ray_hub_epoch{}[1m]))", "gauge"),
        ("sum (ray_hub_decision_us_bucket{})", "without a window"),
        ("sum (ray_hub_epoch{}) ? 1", "cannot read"),
        ("vector(0)", "reads no series"),
    ],
)
def test_wrong_expressions_are_found(expr: str, complaint: str) -> None:
    """The check above can fail."""
    with pytest.raises(NotPromQL, match=complaint):
        check(expr)


def test_wrong_queries_are_refused_when_the_board_is_generated() -> None:
    """A kind, a label or a name that the catalogue does not have stops the generator."""
    with pytest.raises(ValueError, match="is a gauge"):
        rate("hub_epoch")
    with pytest.raises(ValueError, match="no label"):
        gauge("hub_epoch", "max", "symbol")
    with pytest.raises(ValueError, match="no label"):
        rate("hub_signals_total", where='topic="x"')
    with pytest.raises(KeyError):
        rate("hub_nothing_total")


def test_panels_do_not_overlap() -> None:
    """Every panel has a place of its own inside the 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in board()["panels"]:
        cells = _cells(panel["gridPos"])
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_board_names_no_host_and_no_tenant() -> None:
    """The board works with anybody's Prometheus, and shows nobody's users."""
    data: dict[str, Any] = json.loads(FILE.read_text())
    assert {panel["datasource"]["uid"] for panel in data["panels"] if "targets" in panel} == {"${datasource}"}
    assert not re.search(r"https?://|tenant|user_id", FILE.read_text())


def _cells(place: dict[str, int]) -> set[tuple[int, int]]:
    return {
        (x, y)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    }
