"""`python -m training`: ticks in, `model_repository/` out, with a table of what was measured."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from training.measure import Yardstick
from training.plan import PLAN_FILE, load_plan
from training.report import markdown, table
from training.train import families, train_all

_QUICK_STRIDE: Final = 8


def main() -> None:
    """Parse the options, train, write, print."""
    options = _parser().parse_args()
    plan, heads, console = load_plan(options.plan), families(options.seed), Console()
    columns = (TextColumn("{task.description:<36}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("reading ticks", total=1 + 2 * len(heads))

        def on_step(description: str) -> None:
            progress.update(task, description=description, advance=1)

        yardstick = Yardstick(plan, options.data, stride=_QUICK_STRIDE if options.quick else 1)
        carded = train_all(heads, yardstick, seed=options.seed, on_step=on_step)
    for model in carded:
        model.write(options.out)
    cards = [model.card for model in carded]
    (options.out / "README.md").write_text(markdown(cards, plan), encoding="utf-8")
    console.print(table(cards))
    console.print(f"{len(cards)} models written to {options.out}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="directory of <symbol>_ticks_*.csv.gz"
    )
    parser.add_argument("--out", type=Path, default=Path("model_repository"), help="where models are written")
    parser.add_argument("--plan", type=Path, default=PLAN_FILE, help="what is learned from which market time")
    parser.add_argument("--seed", type=int, default=20140501, help="the same seed gives the same models")
    parser.add_argument("--quick", action="store_true", help="every 8th window only, to see that it works")
    return parser


if __name__ == "__main__":
    main()
