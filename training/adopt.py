"""`python -m training.adopt model.onnx --name NAME`: a card for a model made elsewhere.

The model is calibrated, tested and timed like our own, written into the repository and taken through the gate
that the registry has.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from inference.check import check
from models.card import ModelStatus
from models.task import DataSize
from training.about import About
from training.artefact import artefact_of
from training.heads.controls import Naive
from training.inputs import fit_standard
from training.measure import Yardstick
from training.plan import PLAN_FILE, load_plan
from training.report import table
from training.source import TickFiles


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the options, measure, write, check, print."""
    options = _parser().parse_args(arguments)
    yardstick = Yardstick(load_plan(options.plan), TickFiles(options.data))
    naive = Naive()
    standard = fit_standard(yardstick.parts.train)
    control = yardstick.measure(artefact_of(naive, standard, yardstick.plan.horizon_bars), naive.about)
    about = About(
        name=options.name,
        version=options.version,
        family="adopted",
        description=options.description,
        max_size=DataSize(options.max_size),
    )
    model = yardstick.measure(options.model.read_bytes(), about)
    carded = [
        yardstick.carded(item, control, status=ModelStatus.LIVE, trained={}) for item in (control, model)
    ]
    directory = carded[1].write(options.out)
    check(directory)
    console = Console()
    console.print(table([item.card for item in carded]))
    console.print(f"written to {directory}; it passes the registry's checks")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.adopt", description=__doc__)
    parser.add_argument("model", type=Path, help="the ONNX file")
    parser.add_argument("--name", required=True, help="lower-case letters, digits and dashes")
    parser.add_argument("--version", default="1", help="digits and dots")
    parser.add_argument("--description", default="A model made elsewhere.", help="one sentence for people")
    parser.add_argument(
        "--max-size", choices=[size.value for size in DataSize], default="large", help="most rows in one call"
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="directory of <symbol>_ticks_*.csv.gz"
    )
    parser.add_argument(
        "--plan", type=Path, default=PLAN_FILE, help="calibration and test parts, bars, horizon"
    )
    parser.add_argument("--out", type=Path, default=Path("model_repository"), help="the repository")
    return parser


if __name__ == "__main__":
    main()
