"""A chart as text."""

from __future__ import annotations

from typing import Final

import plotext
from rich.text import Text

from serve_app.evidence.charts import Chart, Line, moment

_HEIGHT: Final = 14
_MARKERS: Final = ("braille", "hd")
_LOOKS: Final = ("in dots", "in blocks")
_TIMES: Final = 3


def drawn(chart: Chart, width: int) -> Text:
    """The chart, `width` columns wide: lines in dots and in blocks; dotted across what was promised."""
    plotext.terminal.limit(False, False)  # a pipe has no size, and the console knows better
    figure = plotext.figure
    figure.clear()
    figure.theme("simple")
    figure.plot_size(width, _HEIGHT)
    figure.title(chart.title)
    for mark in chart.marks.values():
        figure.line(mark, style="dotted", pixel="gray")
    for line, marker in zip(chart.lines, _MARKERS, strict=False):
        _draw(chart, line, marker)
    _scale(chart)
    return Text.from_ansi(figure.build().string().rstrip("\n"))


def caption(chart: Chart) -> str:
    """Which line is which."""
    lines = (f"{line.label} {look}" for line, look in zip(chart.lines, _LOOKS, strict=False))
    return f"{', '.join(lines)}; across: {', '.join(chart.marks)}"


def _draw(chart: Chart, line: Line, marker: str) -> None:
    known = [(at, value) for at, value in zip(chart.at_ms, line.values, strict=True) if value is not None]
    if known:
        times, values = zip(*known, strict=True)
        plotext.figure.draw(plotext.figure.signal(times, values, marker=marker).lines())


def _scale(chart: Chart) -> None:
    low, high = chart.limits
    values = sorted({*chart.marks.values(), low, high})
    plotext.figure.ruler("y").lim(low, high).ticks(values, [f"{value:.3f}" for value in values])
    first, last = chart.at_ms[0], chart.at_ms[-1]
    times = [first + (last - first) * step // (_TIMES - 1) for step in range(_TIMES)]
    plotext.figure.ruler("x").ticks(times, [moment(at) for at in times])
