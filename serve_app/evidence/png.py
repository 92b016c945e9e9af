"""Charts as a PNG file. matplotlib draws them, which comes with the extra `plot`."""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from models.errors import BadValue, ConfigError
from serve_app.evidence.charts import Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CHART_INCHES: Final = (10.0, 3.5)
_DPI: Final = 100
_FIELD: Final = "--png"


def check(path: Path) -> None:
    """Refuse what cannot come out well, before any work is done for it."""
    if path.suffix != ".png":
        raise BadValue(f"{path} should end in .png", field=_FIELD)
    if not path.parent.is_dir():
        raise ConfigError(f"{path} cannot be written: {path.parent} is no directory", field=_FIELD)
    try:
        importlib.import_module("matplotlib")
    except ImportError as error:
        raise ConfigError(
            "a PNG needs matplotlib: install the `plot` extra of central-hub, or `make env-dev`",
            field=_FIELD,
        ) from error


def write(path: Path, charts: Sequence[Chart]) -> None:
    """Write the charts below each other. A file that was there is replaced whole, or stays as it was."""
    if not charts:
        raise BadValue(f"{path} is not written: nothing was observed yet", field=_FIELD)
    drawn = io.BytesIO()
    figure_of(charts).savefig(drawn, format="png")
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(drawn.getvalue())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error.strerror}", field=_FIELD) from error


def figure_of(charts: Sequence[Chart]) -> Figure:
    """The figure, one row per chart. Made without pyplot, so no window system is ever asked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra
    from matplotlib.figure import Figure  # noqa: PLC0415

    width, height = _CHART_INCHES
    figure = Figure(figsize=(width, height * len(charts)), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(charts), 1, squeeze=False)
    for chart, axes in zip(charts, rows[:, 0], strict=True):
        _draw(chart, axes)
    return figure


def _draw(chart: Chart, axes: Axes) -> None:
    times = [datetime.fromtimestamp(at / 1000, UTC) for at in chart.at_ms]
    for number, line in enumerate(chart.lines):
        values = [float("nan") if value is None else value for value in line.values]
        axes.plot(times, values, marker="o", markersize=3, color=f"C{number}", label=line.label)  # type: ignore[arg-type]
    for number, (label, value) in enumerate(chart.marks.items()):
        axes.axhline(value, linestyle="--", color=f"C{number}", label=label)
    axes.set(title=chart.title, xlabel="market time, UTC", ylim=chart.limits)
    axes.legend(loc="best", fontsize="small")
    axes.grid(visible=True, alpha=0.3)
