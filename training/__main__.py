"""`python -m training`: ticks in, `model_repository/` out, with a table of what was measured.

With `--since` some models are trained anew on what came since, as a newer version: three fifths of the time
to learn from, a fifth to calibrate, a fifth to test. With `--register` the hub that runs here gets them, too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from models.errors import HubError
from training.heads.base import Head
from training.measure import CardedModel, Yardstick
from training.plan import PLAN_FILE, Plan, load_plan
from training.recorded import RecordedBars
from training.renew import bring, chosen, next_version
from training.report import markdown, table
from training.source import Source, TickFiles
from training.train import families, train_all

_QUICK_STRIDE: Final = 8


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the options, train, write, print."""
    options, console = _parser().parse_args(arguments), Console()
    try:
        _anew(options, console) if options.since else _all(options, console)
    except HubError as error:
        sys.exit(f"{error.code}: {error.message}")


def _all(options: argparse.Namespace, console: Console) -> None:
    """The whole repository, by the plan."""
    plan = load_plan(options.plan)
    carded = _trained(
        options, TickFiles(options.data), plan, families(options.seed), version="1", console=console
    )
    _written(carded, options.out, console)
    report = markdown([model.card for model in carded], plan)
    (options.out / "README.md").write_text(report, encoding="utf-8")


def _anew(options: argparse.Namespace, console: Console) -> None:
    """Some models, on what came since."""
    plan = load_plan(options.plan)
    source = _source(options, plan)
    plan = plan.between(options.since, source.until(plan.instruments, plan.bar_ms))
    heads = chosen(families(options.seed), options.only)
    version = options.model_version or next_version(options.out, options.only)
    carded = _trained(options, source, plan, heads, version=version, console=console)
    asked = [model for model in carded if model.card.name in options.only]
    _written(asked, options.out, console)
    if options.register:
        bring(asked, options.out)


def _source(options: argparse.Namespace, plan: Plan) -> Source:
    """Tick files, or what the hub that runs here has recorded."""
    if options.from_hub is None:
        return TickFiles(options.data)
    from serve_app.runfile import recall  # noqa: PLC0415 - tick files need no hub

    return RecordedBars.read(options.from_hub or recall().kafka, plan.instruments)


def _trained(
    options: argparse.Namespace,
    source: Source,
    plan: Plan,
    heads: Sequence[Head],
    *,
    version: str,
    console: Console,
) -> list[CardedModel]:
    columns = (TextColumn("{task.description:<36}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("reading bars", total=1 + 2 * len(heads))

        def on_step(description: str) -> None:
            progress.update(task, description=description, advance=1)

        yardstick = Yardstick(plan, source, stride=_QUICK_STRIDE if options.quick else 1)
        return train_all(heads, yardstick, seed=options.seed, on_step=on_step, version=version)


def _written(models: Sequence[CardedModel], repository: Path, console: Console) -> None:
    for model in models:
        model.write(repository)
    console.print(table([model.card for model in models]))
    console.print(f"{len(models)} models written to {repository}")


def _moment(text: str) -> datetime:
    """UTC, unless another zone is named."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="directory of <symbol>_ticks_*.csv.gz"
    )
    parser.add_argument("--out", type=Path, default=Path("model_repository"), help="where models are written")
    parser.add_argument("--plan", type=Path, default=PLAN_FILE, help="what is learned from which market time")
    parser.add_argument("--seed", type=int, default=20140501, help="the same seed gives the same models")
    parser.add_argument("--quick", action="store_true", help="every 8th window only, to see that it works")
    anew = parser.add_argument_group("a newer version of some models")
    anew.add_argument("--since", type=_moment, help="market time to learn from, for example 2014-05-05 (UTC)")
    anew.add_argument(
        "--from-hub",
        nargs="?",
        const="",
        metavar="KAFKA",
        help="learn from the bars that a hub has recorded, by default the one that runs here",
    )
    anew.add_argument("--only", nargs="+", default=["ridge"], metavar="NAME", help="which; default: ridge")
    anew.add_argument("--model-version", help="of the new ones; default: one more than the highest in --out")
    anew.add_argument("--register", action="store_true", help="add them to the hub that runs here")
    return parser


if __name__ == "__main__":
    main()
