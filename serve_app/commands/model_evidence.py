"""`hub models evidence`: what a model promised, held against what was observed of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from serve_app.commands.options import Token, Url, User, client

if TYPE_CHECKING:
    from models.promises import Comparison, EvidencePage, VersionEvidence

_WIDEST: Final = 110


def evidence(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    instrument: Annotated[
        str | None, typer.Option(metavar="SYMBOL", help="This instrument alone; `all` is the pooled one.")
    ] = None,
    png: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the plots there, too.")] = None,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Hold what a model promised against what was observed of it, with coverage and skill over time.

    Bounds are right at every moment at once: look as often as you like.
    """
    from models.promises import EvidencePage
    from serve_app.evidence import png as file
    from serve_app.evidence.charts import charts_of

    if png:
        file.check(png)
    with client(url, token, user) as hub:
        answer = hub.call("GET", f"/api/v1/models/{name}/evidence")
    page = EvidencePage.model_validate(answer, extra="ignore")
    console = Console()
    for version in page.versions:
        _print(console, version, _of_instrument(page, version, instrument))
    _origin(console, page)
    if png:
        file.write(png, [chart for version in page.versions for chart in charts_of(version)])
        console.print(f"{png} is written", markup=False, highlight=False, soft_wrap=True)


def _print(console: Console, version: VersionEvidence, compared: list[Comparison]) -> None:
    from routing.evidence.rules import EvidenceRules
    from serve_app.evidence import tables, terminal
    from serve_app.evidence.charts import charts_of

    rules = EvidenceRules()
    first_bounds_ms = rules.first_clusters * rules.cluster_horizons * version.horizon_ms
    console.print(tables.summary(version, first_bounds_ms=first_bounds_ms), markup=False, highlight=False)
    if compared:
        console.print(tables.coverage(compared))
        console.print(tables.measures(version, compared))
    for chart in charts_of(version):
        console.print(terminal.drawn(chart, min(console.width, _WIDEST)))
        console.print(terminal.caption(chart), style="dim", highlight=False)
    console.print()


def _of_instrument(page: EvidencePage, version: VersionEvidence, instrument: str | None) -> list[Comparison]:
    """All, or the one that was asked for; BadValue names those that there are in any version."""
    from models.errors import BadValue
    from serve_app.evidence.tables import instrument_name

    if instrument is None:
        return list(version.comparison)
    known = {instrument_name(item.instrument) for each in page.versions for item in each.comparison}
    if instrument not in known:
        raise BadValue(
            f"nothing is known on {instrument}; on {', '.join(sorted(known))}", field="--instrument"
        )
    return [item for item in version.comparison if instrument_name(item.instrument) == instrument]


def _origin(console: Console, page: EvidencePage) -> None:
    folded = "no outcomes yet"
    if page.evidence_cursor >= 0:
        folded = f"outcomes up to offset {page.evidence_cursor:,}"
    console.print(
        f"catalogue version {page.catalogue_version}, {folded}; kept: the level lies within the bounds; "
        "broken: fewer outcomes inside than promised, for certain; too wide: more, for certain; "
        "skill is against the control: naive, unless judging.control names another model",
        style="dim",
        highlight=False,
    )
