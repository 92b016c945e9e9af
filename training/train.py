"""The order of work: samples, heads, artefacts, calibration, evidence, latency, cards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import yaml

from inference.cards import CARD_FILE
from inference.session import MODEL_FILE, Session
from models.card import Calibration, ModelCard, ModelContract, ModelStatus
from models.task import CONTEXT_FEATURES, TIME_SERIES_FORECAST, WINDOW
from training.artefact import artefact_of, outputs_of
from training.calibrate import calibrate
from training.data import Samples, digest_of, load_samples, tick_files
from training.evidence import Losses, beats, evidence_of, losses_of
from training.heads.base import Head
from training.heads.controls import Naive, Reversal
from training.heads.linear import LogitHead, RidgeHead
from training.heads.mlp import MlpHead
from training.heads.reservoir import ReservoirHead
from training.heads.trees import TreesHead
from training.inputs import fit_standard, training_set
from training.latency import cost_of, warm_profile
from training.plan import Plan

VERSION: Final = "1"
_QUICK_STRIDE: Final = 8

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TrainedModel:
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
class _Fitted:
    head: Head
    artefact: bytes
    calibration: Calibration
    losses: Losses


@dataclass(frozen=True, slots=True)
class _Parts:
    train: Samples
    calibration: Samples
    test: Samples


class TrainingRun:
    """One training of all families, from one plan, one data directory and one seed."""

    def __init__(self, plan: Plan, *, data: Path, seed: int, quick: bool) -> None:
        self.plan = plan
        self._data = data
        self._seed = seed
        self._stride = _QUICK_STRIDE if quick else 1
        self._heads = heads(seed)

    @property
    def steps(self) -> int:
        """How often `execute` reports."""
        return len(self.plan.instruments) + 2 * len(self._heads)

    def execute(self, on_step: OnStep) -> list[TrainedModel]:
        """Train everything; the naive control comes first."""
        parts = self._load(on_step)
        standard = fit_standard(parts.train)
        learned = training_set(parts.train, standard, self.plan.horizon_bars)
        fitted: list[_Fitted] = []
        for head in self._heads:
            on_step(f"fitting and testing {head.about.name}")
            head.fit(learned)
            artefact = artefact_of(head, standard, self.plan.horizon_bars)
            fitted.append(self._measure(head, artefact, parts))
        best_light = min((item for item in fitted if item.head.about.light), key=_mean_interval_score)
        trained: list[TrainedModel] = []
        for item in fitted:
            on_step(f"timing {item.head.about.name}")
            trained.append(self._trained(item, fitted[0], best_light, parts))
        return trained

    def _load(self, on_step: OnStep) -> _Parts:
        loaded: list[Samples] = []
        for symbol in self.plan.instruments:
            on_step(f"reading the ticks of {symbol}")
            loaded.append(load_samples(self._data, symbol, self.plan))
        everything = Samples.joined(loaded)
        everything = everything.where(np.arange(len(everything)) % self._stride == 0)
        return _Parts(
            train=everything.during(self.plan.train),
            calibration=everything.during(self.plan.calibration),
            test=everything.during(self.plan.test),
        )

    def _measure(self, head: Head, artefact: bytes, parts: _Parts) -> _Fitted:
        raw = outputs_of(artefact, parts.calibration)
        version = f"{head.about.name}-{VERSION}-c1"
        calibration = calibrate(raw, parts.calibration, parts.train, version=version)
        losses = losses_of(outputs_of(artefact, parts.test), calibration, parts.test.outcome)
        return _Fitted(head, artefact, calibration, losses)

    def _trained(self, item: _Fitted, naive: _Fitted, best_light: _Fitted, parts: _Parts) -> TrainedModel:
        earned = item.head.about.light or beats(item.losses, best_light.losses, parts.test)
        card = self._card(item, ModelStatus.LIVE if earned else ModelStatus.LOAD_ONLY)
        profile = warm_profile(Session(item.artefact, card), parts.test)
        evidence = tuple(
            evidence_of(item.losses, naive.losses, parts.test, instrument=instrument, part=self.plan.test)
            for instrument in ("*", *self.plan.instruments)
        )
        measured = {"warm": profile, "cost": cost_of(profile), "evidence": evidence}
        return TrainedModel(item.artefact, card.model_copy(update=measured))

    def _card(self, item: _Fitted, status: ModelStatus) -> ModelCard:
        """The card before its latency and its evidence are known."""
        about, plan = item.head.about, self.plan
        return ModelCard(
            name=about.name,
            version=VERSION,
            task=TIME_SERIES_FORECAST.name,
            family=about.family,
            description=about.description,
            status=status,
            sha256=hashlib.sha256(item.artefact).hexdigest(),
            contract=ModelContract(
                bar_ms=plan.bar_ms,
                horizon_ms=plan.horizon_ms,
                window_tail=WINDOW,
                context=CONTEXT_FEATURES,
                instruments=plan.instruments,
            ),
            max_size=about.max_size,
            cost=0.0,
            warm=(),
            calibration=item.calibration,
            evidence=(),
            trained=self._provenance(),
        )

    def _provenance(self) -> dict[str, str]:
        files = [file for symbol in self.plan.instruments for file in tick_files(self._data, symbol)]
        return {
            "train": str(self.plan.train),
            "calibration": str(self.plan.calibration),
            "test": str(self.plan.test),
            "embargo": str(self.plan.embargo),
            "every_nth_window": str(self._stride),
            "seed": str(self._seed),
            "data": ", ".join(file.name for file in files),
            "data_sha256": digest_of(files),
        }


def heads(seed: int) -> Sequence[Head]:
    """All families; the naive control first."""
    return (
        Naive(),
        Reversal(),
        RidgeHead(),
        LogitHead(),
        MlpHead(seed),
        TreesHead(seed),
        ReservoirHead(seed),
    )


def _mean_interval_score(item: _Fitted) -> float:
    return float(item.losses.interval.mean())
