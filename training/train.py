"""The order of work: heads are fitted, written as graphs, measured against the control, and carded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from models.card import ModelStatus
from training.artefact import artefact_of
from training.evidence import beats
from training.heads.base import Head
from training.heads.controls import Naive, Reversal
from training.heads.linear import LogitHead, RidgeHead
from training.heads.mlp import MlpHead
from training.heads.reservoir import ReservoirHead
from training.heads.trees import TreesHead
from training.inputs import fit_standard, training_set
from training.measure import CardedModel, Measured, Yardstick

OnStep = Callable[[str], None]


def families(seed: int) -> Sequence[Head]:
    """All families of models; the naive control first."""
    return (
        Naive(),
        Reversal(),
        RidgeHead(),
        LogitHead(),
        MlpHead(seed),
        TreesHead(seed),
        ReservoirHead(seed),
    )


def train_all(
    heads: Sequence[Head], yardstick: Yardstick, *, seed: int, on_step: OnStep, version: str = "1"
) -> list[CardedModel]:
    """Fit, measure and time every head; the first is the naive control. Steps are reported as they begin."""
    measured = _fitted(heads, yardstick, on_step, version)
    naive, best_light = measured[0], _best([m for m, head in zip(measured, heads, strict=True) if head.light])
    carded: list[CardedModel] = []
    for head, model in zip(heads, measured, strict=True):
        on_step(f"timing {model.about.name}")
        earned = head.light or beats(model.losses, best_light.losses, yardstick.parts.test)
        status = ModelStatus.LIVE if earned else ModelStatus.LOAD_ONLY
        carded.append(yardstick.carded(model, naive, status=status, trained={"seed": str(seed)}))
    return carded


def _fitted(heads: Sequence[Head], yardstick: Yardstick, on_step: OnStep, version: str) -> list[Measured]:
    standard = fit_standard(yardstick.parts.train)
    horizon_bars = yardstick.plan.horizon_bars
    learned = training_set(yardstick.parts.train, standard, horizon_bars)
    measured: list[Measured] = []
    for head in heads:
        on_step(f"fitting and testing {head.about.name}")
        head.fit(learned)
        about = replace(head.about, version=version)
        measured.append(yardstick.measure(artefact_of(head, standard, horizon_bars), about))
    return measured


def _best(models: Sequence[Measured]) -> Measured:
    return min(models, key=lambda model: float(model.losses.interval.mean()))
