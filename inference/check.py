"""What the registry asks of a model before it may answer: card, hash, contract, dry run, determinism.

Each failure is a `CardRejected` that names what was wrong. The dry run has a time limit, so a graph that
never ends is refused and not waited for. Memory is not limited here: an artefact from a stranger is looked at
by `inference/confined`, in a process of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures.thread import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.random import default_rng
from numpy.typing import NDArray

from inference.calibration import RawOutputs
from inference.cards import CARD_FILE, read_card
from inference.session import Session, read_artefact
from models.card import ModelCard
from models.errors import CardRejected, HubError
from models.task import INTERVAL_LEVELS, TASKS, TaskContract

_BATCHES: Final = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64)
_TOLERANCE: Final = 1e-4
"""Largest difference between batch sizes, in units of the row's scale (of 1 for the logit).

Products of different sizes add in different orders; what moves a forecast by more than this is no rounding.
"""
_AT_ONCE: Final = 2
"""Runs beside each other, as in a replica, which calls a session from several threads."""
_DRY_RUN_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Repository:
    """Models that passed every check, and why each other directory was refused."""

    cards: tuple[ModelCard, ...]
    rejected: dict[str, CardRejected]


def load_cards(repository: Path) -> Repository:
    """Check every `<name>/<version>` of a repository; one bad model does not hide the others."""
    cards: list[ModelCard] = []
    rejected: dict[str, CardRejected] = {}
    for directory in sorted(path.parent for path in repository.glob(f"*/*/{CARD_FILE}")):
        try:
            cards.append(check(directory))
        except CardRejected as error:
            rejected[str(directory.relative_to(repository))] = error
    return Repository(tuple(cards), rejected)


def check(directory: Path) -> ModelCard:
    """The card of a model that holds what it says; CardRejected names the first thing that does not."""
    card = read_card(directory)
    _check_measured(card)
    try_out(card, read_artefact(directory))
    return card


def try_out(card: ModelCard, artefact: bytes) -> Session:
    """The session of an artefact that does what its card says; CardRejected names what it does not.

    This runs the graph: bytes from a stranger are tried out in a confined process.
    """
    if card.ensemble is not None:
        raise CardRejected(f"{card.key} is an ensemble, which has a recipe and no graph", field="ensemble")
    task = _task_of(card)
    _check_levels(card)
    session = Session(artefact, card)
    _check_signature(session, task)
    _dry_run(session, task)
    return session


def _task_of(card: ModelCard) -> TaskContract:
    task = TASKS.get(card.task)
    if task is None:
        raise CardRejected(f"task of {card.key} was {card.task!r}; known: {', '.join(TASKS)}", field="task")
    contract = card.contract
    if contract.context != task.context:
        raise CardRejected(
            f"contract.context of {card.key} was {list(contract.context)}; "
            f"{task.name} has {list(task.context)}",
            field="contract.context",
        )
    if contract.window_tail > task.window:
        raise CardRejected(
            f"contract.window_tail of {card.key} was {contract.window_tail}; a window holds {task.window}",
            field="contract.window_tail",
        )
    return task


def _check_measured(card: ModelCard) -> None:
    if not card.warm:
        raise CardRejected(f"{card.key} has no warm profile: its latency is unknown", field="warm")
    if all(item.instrument != "*" for item in card.evidence):
        raise CardRejected(f"{card.key} has no pooled evidence (instrument '*')", field="evidence")


def _check_levels(card: ModelCard) -> None:
    multipliers = card.calibration.multipliers
    missing = [f"{level:.2f}" for level in INTERVAL_LEVELS if f"{level:.2f}" not in multipliers]
    if missing:
        raise CardRejected(
            f"calibration of {card.key} has no multiplier for level {', '.join(missing)}",
            field="calibration.multipliers",
        )
    by_level = [0.0, *(multipliers[key] for key in sorted(multipliers, key=float))]
    if any(wider <= narrower for narrower, wider in pairwise(by_level)):
        raise CardRejected(
            f"calibration multipliers of {card.key} must be positive and grow with the level; they were "
            f"{by_level[1:]}",
            field="calibration.multipliers",
        )


def _check_signature(session: Session, task: TaskContract) -> None:
    inputs, outputs = session.signature()
    shapes = {"window": [task.window], "context": [len(task.context)]}
    for name, tail in shapes.items():
        _expect(f"input.{name}", inputs.pop(name, None), tail, session.card)
    for name in task.outputs:
        _expect(f"output.{name}", outputs.get(name), [], session.card)
    if inputs:
        raise CardRejected(f"{session.card.key} asks for unknown inputs: {', '.join(inputs)}", field="input")


def _expect(field: str, found: tuple[str, list[Any]] | None, tail: list[int], card: ModelCard) -> None:
    """The tensor must be float32 with a free first dimension (a name) and then exactly `tail`."""
    expected = f"tensor(float) {['n', *tail]}"
    if found is None:
        raise CardRejected(f"{card.key} has no {field}; expected {expected}", field=field)
    kind, shape = found
    if (
        kind != "tensor(float)"
        or len(shape) != 1 + len(tail)
        or isinstance(shape[0], int)
        or shape[1:] != tail
    ):
        raise CardRejected(f"{field} of {card.key} was {kind} {shape}; expected {expected}", field=field)


def _dry_run(session: Session, task: TaskContract) -> None:
    """Run typical windows alone and in batches: the answer to a row must not depend on its company."""
    window, context = typical_rows(max(_BATCHES), task)
    with _time_limit(_DRY_RUN_S) as options:

        def run(rows: int) -> RawOutputs:
            return session.raw(window[:rows], context[:rows], options=options)

        try:
            whole = run(len(window))
            with ThreadPoolExecutor(_AT_ONCE) as threads:
                at_once = list(threads.map(run, [len(window)] * _AT_ONCE))
            parts = {rows: run(rows) for rows in _BATCHES}
        except HubError as error:
            raise CardRejected(f"dry run of {session.card.key}: {error}", field="dry_run") from error
    for again in at_once:
        _check_repeatable(session.card, whole, again)
    for rows, part in parts.items():
        _check_independent(session.card, rows, part, whole)


def _check_repeatable(card: ModelCard, first: RawOutputs, again: RawOutputs) -> None:
    pairs = ((first.location, again.location), (first.scale, again.scale), (first.logit_up, again.logit_up))
    if any((a != b).any() for a, b in pairs):
        raise CardRejected(
            f"{card.key} answers the same call differently when repeated, or beside another",
            field="determinism",
        )


def _check_independent(card: ModelCard, rows: int, part: RawOutputs, whole: RawOutputs) -> None:
    if part.location.shape != (rows,):
        raise CardRejected(
            f"{card.key} returned location {list(part.location.shape)} for {rows} rows",
            field="output.location",
        )
    scale = whole.scale[:rows]
    differences = (
        (part.location - whole.location[:rows]) / scale,
        (part.scale - scale) / scale,
        part.logit_up - whole.logit_up[:rows],
    )
    worst = max(float(np.abs(difference).max()) for difference in differences)
    if worst > _TOLERANCE:
        raise CardRejected(
            f"{card.key} answers the same window differently in a batch of {rows}: "
            f"by {worst:.1e} of its scale",
            field="determinism",
        )


def typical_rows(rows: int, task: TaskContract) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Windows and context of the size a market gives: returns of half a basis point."""
    rng = default_rng(0)
    window = rng.normal(0, 5e-5, (rows, task.window)).astype(np.float32)
    positive = {"spread_rel": 8e-5, "vol_short": 5e-5, "vol_long": 5e-5, "vol_ratio": 1.0}
    columns = [
        positive[name] * rng.uniform(0.8, 1.25, rows) if name in positive else rng.normal(0, 0.5, rows)
        for name in task.context
    ]
    return window, np.stack(columns, axis=1).astype(np.float32)


@contextmanager
def _time_limit(seconds: float) -> Iterator[ort.RunOptions]:
    options = ort.RunOptions()

    def stop() -> None:
        options.terminate = True

    timer = threading.Timer(seconds, stop)
    timer.start()
    try:
        yield options
    finally:
        timer.cancel()
