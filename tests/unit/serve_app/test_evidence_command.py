"""`hub models evidence`: what it says, what it plots, and what it refuses."""

from __future__ import annotations

import io
import math
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import httpx2
import numpy as np
import pytest
from matplotlib.lines import Line2D
from PIL import Image
from typer.testing import CliRunner, Result

from models.card import ModelCard
from models.errors import BadValue, ConfigError, HubError, NotFound, problem_of
from models.evidence import ModelEvidence
from models.promises import evidence_page, version_evidence
from serve_app.client import HubClient, Refused
from serve_app.commands import model_evidence as command
from serve_app.commands.models import app
from serve_app.evidence.charts import Chart, Line, charts_of, moment
from serve_app.evidence.png import figure_of
from serve_app.evidence.terminal import drawn
from tests.support.cards import a_card
from tests.support.live_evidence import MAY_1_MS, STRETCH_MS, bounded, observed, seen_on, stretch

HISTORY = (
    stretch(0, coverage_90=0.91, coverage_95=0.97, skill=0.02),
    stretch(1, coverage_90=0.80, coverage_95=0.94, skill=None),
    stretch(2, coverage_90=0.89, coverage_95=0.96, skill=-0.01),
)
EURO = seen_on(
    "EURUSD",
    coverage={
        "0.90": bounded(0.85, 0.82, 0.88, n=4_321),
        "0.95": bounded(0.98, 0.97, 0.99),
        "0.99": bounded(0.99, 0.9, 1),
    },
    skill=bounded(0.031, 0.011, 0.051),
)
LIVE = observed(instruments=(seen_on(), EURO), history=HISTORY)


@dataclass
class Hub:
    """Answers like a hub with these cards and this evidence."""

    cards: tuple[ModelCard, ...] = (a_card(), a_card(version="2"))
    live: ModelEvidence | None = LIVE
    asked: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def call(self, method: str, path: str) -> Any:
        """The page."""
        self.asked = f"{method} {path}"
        evidence = {} if self.live is None else {"ridge@1": self.live}
        return evidence_page(self.cards, evidence, catalogue_version=9).model_dump(mode="json")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub that every command of a test talks to."""
    hub = Hub()
    monkeypatch.setattr(command, "client", lambda *_: hub)
    monkeypatch.setenv("COLUMNS", "110")
    return hub


def said(*arguments: str) -> Result:
    """What the command says."""
    return CliRunner().invoke(app, ["evidence", "ridge", *arguments])


def refused(kind: type[HubError], *arguments: str) -> str:
    """The words that it is refused with."""
    error = said(*arguments).exception
    assert isinstance(error, kind), error
    return error.message


def rows(output: str) -> list[str]:
    """The lines, with one space where there are several."""
    return [" ".join(line.split()) for line in output.splitlines()]


def test_promised_is_held_against_observed(hub: Hub) -> None:
    """By instrument and level, with bounds, n and a verdict; then skill and direction."""
    output = said("--instrument", "EURUSD").output

    assert hub.asked == "GET /api/v1/models/ridge/evidence"
    found = rows(output)
    assert "0.90 0.900 0.850 0.820 to 0.880 4,321 broken" in found
    assert "0.95 0.950 0.980 0.970 to 0.990 5,000 too wide" in found
    assert "0.98 0.980 0.980 0.978 to 0.982 5,000 kept" in found
    assert "0.99 0.990 0.990 0.900 to 1.000 5,000 not yet known" in found
    assert "EURUSD skill +0.050 +0.040 to +0.060 +0.031 +0.011 to +0.051 5,000" in found
    assert not [row for row in found if row.startswith("all ")]


def test_a_version_is_summed_up(hub: Hub) -> None:
    """Status, calibration, period, speed and failures."""
    output = said().output

    assert "ridge@1 is live, calibration test-1" in output
    assert "5,000 outcomes, 4,000 of them answers, 2014-05-01 00:00 to 2014-05-02 00:00 UTC" in output
    assert "median 0.22 ms, 99 % within 0.81 ms; 3 of the last 200 requests gave no forecast" in output
    assert "catalogue version 9, outcomes up to offset 812" in output


def test_what_skill_is_measured_against_is_said(hub: Hub) -> None:
    """By its name, and with the setting that names it; a number alone says nothing."""
    output = " ".join(said().output.split())

    assert "skill is against the control: naive, unless judging.control names another model" in output


def test_where_nothing_is_observed_it_says_when_to_expect_it(hub: Hub) -> None:
    """Of the second version nothing is known: no plot, and a horizon of one minute."""
    parts = said().output.split("ridge@2 is")
    first, second = parts

    assert "observed: nothing yet" not in first
    assert "observed: nothing yet" in second
    assert "an outcome is known 1 min of market time after its forecast, the first bounds after" in second
    assert ("coverage, all instruments" in first, "coverage, all instruments" in second) == (True, False)


def test_too_few_outcomes_are_counted_and_not_judged(hub: Hub) -> None:
    """Outcomes without bounds yet."""
    hub.live = observed(instruments=())
    output = said().output.split("ridge@2 is")[0]

    assert "5,000 outcomes" in output
    assert "the first bounds after" in output
    levels = [row for row in rows(output) if re.match(r"(\w+ )?0\.\d\d 0\.", row)]
    assert len(levels) >= 8
    assert all(row.endswith("not yet known") for row in levels)


def test_drift_and_what_the_card_lacks_are_told(hub: Hub) -> None:
    """A level off its promise lately; a card without evidence."""
    hub.live = LIVE.model_copy(update={"drift": 0.021})
    hub.cards = (a_card().model_copy(update={"evidence": ()}),)
    output = said().output

    assert "off its promise by 0.021 at least" in output
    assert "promised: nothing was measured before" in output


@pytest.mark.parametrize("columns", ["110", "200", "80"])
def test_it_is_at_most_110_columns_wide(hub: Hub, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """Tables and plots, in a wide terminal, too; plots fit a narrow one."""
    monkeypatch.setenv("COLUMNS", columns)
    lines = [line for line in said().output.splitlines() if not line.startswith("catalogue")]

    plots = [line for line in lines if "┤" in line and not line.startswith("├")]
    assert max(map(len, lines)) <= 110
    assert not [line for line in lines if "…" in line]
    assert {len(line) for line in plots} == {min(110, int(columns))}


def test_an_instrument_nobody_measured_is_refused_with_those_that_are(hub: Hub) -> None:
    """`all` is the pooled one."""
    assert "GBPUSD; on EURUSD, all" in refused(BadValue, "--instrument", "GBPUSD")
    found = rows(said("--instrument", "all").output)
    assert [row for row in found if row.startswith("all 0.50 ")]
    assert not [row for row in found if row.startswith("EURUSD ")]


def test_what_is_plotted_is_the_history() -> None:
    """Each stretch at its middle; what was promised across; what is unknown stays so."""
    coverage, skill = charts_of(version_evidence(a_card(), LIVE))

    assert coverage.at_ms == tuple(MAY_1_MS + int((n + 0.5) * STRETCH_MS) for n in range(3))
    assert coverage.lines == (Line("0.90", (0.91, 0.80, 0.89)), Line("0.95", (0.97, 0.94, 0.96)))
    assert coverage.marks == {"promised 0.90": 0.90, "promised 0.95": 0.95}
    assert skill.lines == (Line("skill", (0.02, None, -0.01)),)
    assert skill.marks == {"naive": 0.0, "on the card +0.050": 0.05}
    low, high = coverage.limits
    assert low < 0.80
    assert high > 0.97


def test_without_a_control_no_skill_is_plotted() -> None:
    """As with the naive model itself; without a history nothing is."""
    alone = observed(history=(stretch(0, coverage_90=0.9, coverage_95=0.95),))

    assert [chart.title for chart in charts_of(version_evidence(a_card(), alone))] == [
        "ridge@1: coverage, all instruments"
    ]
    assert charts_of(version_evidence(a_card(), observed())) == []
    assert charts_of(version_evidence(a_card(), None)) == []


def test_the_terminal_shows_where_a_line_goes() -> None:
    """A rising line is low on the left and high on the right, between its ticks."""
    rising = Chart("rises", (MAY_1_MS, MAY_1_MS + 60_000), (Line("a", (0.1, 0.9)),), {"half": 0.5})
    lines = drawn(rising, 60).plain.splitlines()
    ink = [(row, line.index(found)) for row, line in enumerate(lines) for found in _braille(line)]

    (top, right), (bottom, left) = min(ink), max(ink)
    assert top < bottom
    assert left < right
    half = next(row for row, line in enumerate(lines) if line.startswith("0.500"))
    assert top < half < bottom
    assert "┈" in lines[half]
    assert moment(MAY_1_MS) in lines[-1]
    assert {len(line) for line in lines} == {60}


@pytest.mark.parametrize("values", [(0.8,), (None,)])
def test_one_stretch_is_a_plot_too(values: tuple[float | None, ...]) -> None:
    """A single point, or none that is known."""
    lines = drawn(Chart("one", (MAY_1_MS,), (Line("a", values),), {"promised": 0.9}), 40).plain.splitlines()

    assert any(line.startswith("0.900") for line in lines)
    assert any(_braille(line) for line in lines) == (values == (0.8,))


def test_a_png_shows_the_same(hub: Hub, tmp_path: Path) -> None:
    """It decodes, one row of plots for coverage and one for skill."""
    file = tmp_path / "ridge.png"
    done = said("--png", str(file))

    assert done.exit_code == 0, done.output
    assert "is written" in done.output
    image = Image.open(io.BytesIO(file.read_bytes()), formats=["PNG"])
    assert image.size == (1_000, 700)
    assert len(set(image.convert("L").tobytes())) > 10
    assert [left.name for left in tmp_path.iterdir()] == ["ridge.png"]


def test_a_figure_holds_the_history() -> None:
    """The numbers of every line, NaN where nothing is known, and the promises across."""
    coverage, skill = figure_of(charts_of(version_evidence(a_card(), LIVE))).axes
    of_90, of_95, promised_90, promised_95 = coverage.get_lines()
    of_skill, naive, on_card = skill.get_lines()

    assert of_90.get_xdata(orig=True)[0] == datetime(2014, 5, 1, 0, 7, 30, tzinfo=UTC)  # type: ignore[index]
    assert (heights(of_90), heights(of_95)) == ([0.91, 0.80, 0.89], [0.97, 0.94, 0.96])
    assert [set(heights(line)) for line in (promised_90, promised_95)] == [{0.90}, {0.95}]
    assert [set(heights(line)) for line in (naive, on_card)] == [{0.0}, {0.05}]
    assert heights(of_skill) == pytest.approx([0.02, math.nan, -0.01], nan_ok=True)
    assert coverage.get_title() == "ridge@1: coverage, all instruments"


def heights(line: Line2D) -> list[float]:
    """What a line shows, from left to right."""
    return [float(value) for value in np.asarray(line.get_ydata(), dtype=float)]


def test_a_png_of_another_kind_is_refused_before_anything_is_asked(hub: Hub, tmp_path: Path) -> None:
    """A name that does not end in .png, a directory that is not there."""
    assert "x.svg should end in .png" in refused(BadValue, "--png", str(tmp_path / "x.svg"))
    nowhere = tmp_path / "none" / "x.png"
    assert f"{nowhere} cannot be written" in refused(ConfigError, "--png", str(nowhere))
    assert hub.asked == ""


def test_without_matplotlib_the_extra_is_named(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else of the command needs it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    assert "install the `plot` extra" in refused(ConfigError, "--png", str(tmp_path / "x.png"))
    assert said().exit_code == 0


def test_an_unknown_model_is_refused_in_the_words_of_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And no file is written."""
    problem = problem_of(NotFound("the catalogue has no such model")).model_dump(mode="json")
    away = httpx2.Response(404, json=problem, headers={"content-type": "application/problem+json"})
    transport = httpx2.MockTransport(lambda _: away)
    monkeypatch.setattr(command, "client", lambda *_: HubClient("http://hub", "t", transport=transport))

    message = refused(Refused, "--png", str(tmp_path / "x.png"))
    assert message == "404 not_found: the catalogue has no such model"
    assert list(tmp_path.iterdir()) == []


def test_words_of_a_card_are_no_markup(hub: Hub) -> None:
    """A calibration's version and an instrument are shown letter by letter."""
    evidence = (a_card().evidence[0].model_copy(update={"instrument": "[/x]"}),)
    calibration = a_card().calibration.model_copy(update={"version": "[red]1"})
    hub.cards = (a_card().model_copy(update={"evidence": evidence, "calibration": calibration}),)
    output = said().output

    assert "calibration [red]1" in output
    assert [row for row in rows(output) if row.startswith("[/x] 0.50 ")]


def test_a_file_that_cannot_be_replaced_stays(hub: Hub, tmp_path: Path) -> None:
    """The path is named, and no part of the new one is left."""
    taken = tmp_path / "x.png"
    taken.mkdir()

    assert f"{taken} cannot be written: " in refused(ConfigError, "--png", str(taken))
    assert list(tmp_path.iterdir()) == [taken]


def test_a_full_disk_leaves_the_old_file(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there before is whole, and no part of the new one is left."""
    file = tmp_path / "x.png"
    file.write_bytes(b"old")
    whole = Path.write_bytes

    def half(path: Path, data: bytes) -> int:
        whole(path, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)

    assert f"{file} cannot be written: No space left" in refused(ConfigError, "--png", str(file))
    assert [(left.name, left.read_bytes()) for left in tmp_path.iterdir()] == [("x.png", b"old")]


def test_a_png_of_nothing_is_refused(hub: Hub, tmp_path: Path) -> None:
    """After what there is to say was said."""
    hub.live = None
    file = tmp_path / "x.png"
    done = said("--png", str(file))

    assert isinstance(done.exception, BadValue)
    assert f"{file} is not written: nothing was observed yet" in done.exception.message
    assert "observed: nothing yet" in done.output
    assert not file.exists()


def _braille(line: str) -> str:
    """The dots of a line of text."""
    return "".join(letter for letter in line if "\u2801" <= letter <= "\u28ff")
