"""Writes central-hub.json, the Grafana board: `python -m ops.grafana.board`.

Edit `panels.py` and run this; a test compares the file with what is generated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ops.grafana.panels import ROWS, Panel, Row

FILE: Final = Path(__file__).with_name("central-hub.json")
_COLUMNS: Final = 24
_STAT_HEIGHT: Final = 4
_GRAPH_HEIGHT: Final = 8
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def board() -> dict[str, Any]:
    """The board as Grafana's dashboard JSON (schema 39, Grafana 10 and later)."""
    return {
        "uid": "central-hub",
        "title": "Central Hub",
        "tags": ["central-hub"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [_datasource_variable(), _application_variable()]},
        "panels": [{"id": number, **panel} for number, panel in enumerate(_panels(), start=1)],
    }


def _panels() -> Iterator[dict[str, Any]]:
    top = 0
    for row in ROWS:
        yield {"type": "row", "title": row.title, "collapsed": False, "gridPos": _place(0, top, _COLUMNS, 1)}
        top += 1
        placed = [{**_drawn(panel), "gridPos": place} for panel, place in _laid_out(row, top)]
        yield from placed
        top = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in placed)


def _laid_out(row: Row, top: int) -> Iterator[tuple[Panel, dict[str, int]]]:
    """Panels left to right, then down: four numbers or two graphs side by side, or three if that fills."""
    side_by_side = 4 if row.panels[0].now else 3 if len(row.panels) % 3 == 0 else 2
    height = _STAT_HEIGHT if row.panels[0].now else _GRAPH_HEIGHT
    width = _COLUMNS // side_by_side
    for index, panel in enumerate(row.panels):
        line, column = divmod(index, side_by_side)
        yield panel, _place(column * width, top + line * height, width, height)


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _drawn(panel: Panel) -> dict[str, Any]:
    return {
        "type": "stat" if panel.now else "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": _DATASOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": query.expr, "legendFormat": query.legend}
            for index, query in enumerate(panel.queries)
        ],
    }


def _datasource_variable() -> dict[str, Any]:
    return {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus"}


def _application_variable() -> dict[str, Any]:
    return {
        "type": "query",
        "name": "application",
        "label": "Serve application",
        "datasource": _DATASOURCE,
        "query": {"query": 'label_values({__name__=~"ray_hub_.+"}, application)', "refId": "A"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def rendered() -> str:
    """The file's text."""
    return json.dumps(board(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(rendered())
