"""Calibrating, testing and timing an artefact: the same for our own models and for anybody's.

Nothing here looks inside a model: whatever keeps the task's contract gets a card whose figures were measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from inference import warm
from inference.calibration import RawOutputs
from inference.cards import CARD_FILE
from inference.session import MODEL_FILE, Session
from models.card import Calibration, ModelCard, ModelContract, ModelStatus
from models.errors import BadValue
from models.task import CONTEXT_FEATURES, TIME_SERIES_FORECAST, WINDOW
from training.about import About
from training.calibrate import calibrate
from training.data import Samples, samples_in
from training.evidence import Losses, evidence_of, losses_of
from training.plan import Part, Plan
from training.running import run_in_chunks
from training.source import Source


@dataclass(frozen=True, slots=True)
class CardedModel:
    """An artefact with its card."""

    artefact: bytes
    card: ModelCard

    def write(self, repository: Path) -> Path:
        """Write `<name>/<version>/{model.onnx,card.yaml}`; the directory."""
        directory = repository / self.card.name / self.card.version
        directory.mkdir(parents=True, exist_ok=True)
        (directory / MODEL_FILE).write_bytes(self.artefact)
        content = yaml.safe_dump(self.card.model_dump(mode="json"), sort_keys=False, width=110)
        (directory / CARD_FILE).write_text(content, encoding="utf-8")
        return directory


@dataclass(frozen=True, slots=True)
class Measured:
    """An artefact, calibrated on one part and scored on another."""

    about: About
    artefact: bytes
    calibration: Calibration
    losses: Losses


@dataclass(frozen=True, slots=True)
class Parts:
    """The samples of a plan's three parts."""

    train: Samples
    calibration: Samples
    test: Samples

    @classmethod
    def of(cls, samples: Samples, plan: Plan, *, stride: int, closes_ms: Sequence[int]) -> Parts:
        """Split by time, taking every `stride`-th window. BadValue names a part in which there is none, and
        how many of the bars, which close at `closes_ms`, are there.
        """
        taken = samples.where(np.arange(len(samples)) % stride == 0)
        parts = cls(taken.during(plan.train), taken.during(plan.calibration), taken.during(plan.test))
        parts._check(plan, closes_ms)
        return parts

    def _check(self, plan: Plan, closes_ms: Sequence[int]) -> None:
        if not len(self.train):
            raise _too_few("train", "has no window", plan, closes_ms)
        if not len(self.calibration):
            raise _too_few("calibration", "has no window", plan, closes_ms)
        tested = set(self.test.instrument[self.test.outcome != 0].tolist())
        if untested := [name for name in plan.instruments if name not in tested]:
            lacks = f"has no window of {' or '.join(untested)} after which the price moved"
            raise _too_few("test", lacks, plan, closes_ms)


def _too_few(name: str, lacks: str, plan: Plan, closes_ms: Sequence[int]) -> BadValue:
    part: Part = getattr(plan, name)
    there = sum(part.start_ms <= close_ms < part.end_ms for close_ms in closes_ms)
    needed = WINDOW + 1 + plan.horizon_bars
    return BadValue(
        f"the {name} part, {part}, {lacks}: with its outcome one takes {needed:,} bars in a row, "
        f"and {there:,} of the {len(closes_ms):,} bars there are close in this part. "
        "Play for longer, or choose a shorter span that is full of bars",
        field=name,
    )


class Yardstick:
    """Measures artefacts on one plan and one source of bars."""

    def __init__(self, plan: Plan, source: Source, *, stride: int = 1) -> None:
        self.plan = plan
        sessions = [list(source.sessions(symbol, plan.bar_ms)) for symbol in plan.instruments]
        samples = Samples.joined([samples_in(found, plan) for found in sessions])
        closes_ms = [bar.close_ms for found in sessions for session in found for bar in session]
        self.parts = Parts.of(samples, plan, stride=stride, closes_ms=closes_ms)
        self._provenance = {
            "train": str(plan.train),
            "calibration": str(plan.calibration),
            "test": str(plan.test),
            "embargo": str(plan.embargo),
            "every_nth_window": str(stride),
            **source.provenance(plan.instruments),
        }

    def measure(self, artefact: bytes, about: About) -> Measured:
        """Calibrate on the calibration part, score on the test part."""
        raw = outputs_of(artefact, self.parts.calibration)
        version = f"{about.name}-{about.version}-c1"
        calibration = calibrate(raw, self.parts.calibration, self.parts.train, version=version)
        losses = losses_of(outputs_of(artefact, self.parts.test), calibration, self.parts.test.outcome)
        return Measured(about, artefact, calibration, losses)

    def carded(
        self, model: Measured, naive: Measured, *, status: ModelStatus, trained: dict[str, str]
    ) -> CardedModel:
        """Time the model and write its card; skill is against `naive`."""
        card = self._card(model, status, trained)
        session = Session(model.artefact, card)
        rows = self.parts.test.window, self.parts.test.context
        evidence = tuple(
            evidence_of(
                model.losses, naive.losses, self.parts.test, instrument=instrument, part=self.plan.test
            )
            for instrument in ("*", *self.plan.instruments)
        )
        measured = {
            "warm": warm.warm_profile(session, rows, effort=warm.THOROUGH),
            "cost": warm.cost_of(session, rows),
            "evidence": evidence,
        }
        return CardedModel(model.artefact, card.model_copy(update=measured))

    def _card(self, model: Measured, status: ModelStatus, trained: dict[str, str]) -> ModelCard:
        """The card before latency and evidence are known."""
        return ModelCard(
            name=model.about.name,
            version=model.about.version,
            task=TIME_SERIES_FORECAST.name,
            family=model.about.family,
            description=model.about.description,
            status=status,
            sha256=hashlib.sha256(model.artefact).hexdigest(),
            contract=ModelContract(
                bar_ms=self.plan.bar_ms,
                horizon_ms=self.plan.horizon_ms,
                window_tail=WINDOW,
                context=CONTEXT_FEATURES,
                instruments=("*",),
            ),
            max_size=model.about.max_size,
            cost=0.0,
            warm=(),
            calibration=model.calibration,
            evidence=(),
            trained=self._provenance | trained,
        )


def outputs_of(artefact: bytes, samples: Samples) -> RawOutputs:
    """Raw outputs for all samples."""
    return RawOutputs(*run_in_chunks(artefact, TIME_SERIES_FORECAST.outputs, samples.window, samples.context))
