"""What models promised, held against what was observed of them: the page behind `hub models evidence`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from models.base import Frozen
from models.card import POOLED, Bounded, Evidence, ModelCard, ModelName, ModelStatus, ModelVersion
from models.evidence import LiveEvidence, ModelEvidence
from models.task import INTERVAL_LEVELS

_KNOWN_WITHIN: Final = 1.5
"""A promise is known to be kept once misses are surely not this many times as frequent as promised."""


class Verdict(StrEnum):
    """`kept`: the level lies within the bounds, and these are narrow enough to say so. `broken`: outcomes are
    inside less often than promised, for certain; `too wide`: more often, so the interval says less than it
    could. `not yet known`: nothing observed, or too little to tell.
    """

    KEPT = "kept"
    BROKEN = "broken"
    TOO_WIDE = "too wide"
    NOT_YET_KNOWN = "not yet known"


class LevelKept(Frozen):
    """The share of outcomes that an interval promised to hold, and what it held: `card` on held-out data,
    `observed` live. None where it was not measured.
    """

    promised: float
    card: Bounded | None
    observed: Bounded | None
    verdict: Verdict


class Comparison(Frozen):
    """One instrument (`*`: pooled), every level. `card_instrument` is whose evidence on the card it is held
    against: the pooled one where the card has none of the instrument, None where it has neither.
    """

    instrument: str
    card_instrument: str | None
    levels: tuple[LevelKept, ...]


class VersionEvidence(Frozen):
    """One version. `promised` is the evidence on its card; `observed` is None before its first outcome.

    `calibration` is the version that its intervals are made with: the latest recalibration, else the card's.
    """

    name: ModelName
    version: ModelVersion
    status: ModelStatus
    horizon_ms: int
    calibration: str
    promised: tuple[Evidence, ...]
    observed: ModelEvidence | None
    comparison: tuple[Comparison, ...]

    def promised_on(self, instrument: str | None) -> Evidence | None:
        """The card's evidence of exactly this instrument."""
        return next((item for item in self.promised if item.instrument == instrument), None)

    def observed_on(self, instrument: str) -> LiveEvidence | None:
        """What was observed on exactly this instrument."""
        return self.observed.on(instrument) if self.observed else None


class EvidencePage(Frozen):
    """Every version of one model. `evidence_cursor` is the offset of `hub.outcomes` that the evidence of all
    models was folded up to, -1 where there is none; `catalogue_version` one of `hub.models`.
    """

    catalogue_version: int
    evidence_cursor: int
    versions: tuple[VersionEvidence, ...]


def evidence_page(
    cards: Sequence[ModelCard], evidence: Mapping[str, ModelEvidence], *, catalogue_version: int
) -> EvidencePage:
    """The page of these cards; `evidence` is that of all models, by `name@version`."""
    return EvidencePage(
        catalogue_version=catalogue_version,
        evidence_cursor=max((item.cursor for item in evidence.values()), default=-1),
        versions=tuple(version_evidence(card, evidence.get(str(card.key))) for card in cards),
    )


def version_evidence(card: ModelCard, observed: ModelEvidence | None) -> VersionEvidence:
    """One version's card held against what was observed of it."""
    recalibrated = observed.calibration if observed else None
    return VersionEvidence(
        name=card.name,
        version=card.version,
        status=card.status,
        horizon_ms=card.contract.horizon_ms,
        calibration=(recalibrated or card.calibration).version,
        promised=card.evidence,
        observed=observed,
        comparison=tuple(_compared(card, observed, name) for name in _instruments(card, observed)),
    )


def verdict(level: float, observed: Bounded | None) -> Verdict:
    """What the bounds on an observed share say of the level that was promised."""
    if observed is None:
        return Verdict.NOT_YET_KNOWN
    if observed.upper < level:
        return Verdict.BROKEN
    if observed.lower > level:
        return Verdict.TOO_WIDE
    known = 1 - observed.lower < _KNOWN_WITHIN * (1 - level)
    return Verdict.KEPT if known else Verdict.NOT_YET_KNOWN


def _instruments(card: ModelCard, observed: ModelEvidence | None) -> list[str]:
    """All that anything was measured on, the pooled first; pooled alone where nothing was."""
    live = observed.instruments if observed else ()
    measured = {item.instrument for item in card.evidence} | {item.instrument for item in live}
    return [POOLED, *sorted(measured - {POOLED})]


def _compared(card: ModelCard, observed: ModelEvidence | None, instrument: str) -> Comparison:
    by_name = {item.instrument: item for item in card.evidence}
    promised = by_name.get(instrument) or by_name.get(POOLED)
    live = observed.on(instrument) if observed else None
    return Comparison(
        instrument=instrument,
        card_instrument=promised.instrument if promised else None,
        levels=tuple(_level(level, promised, live) for level in INTERVAL_LEVELS),
    )


def _level(level: float, promised: Evidence | None, live: LiveEvidence | None) -> LevelKept:
    key = f"{level:.2f}"
    observed = live.coverage.get(key) if live else None
    return LevelKept(
        promised=level,
        card=promised.coverage.get(key) if promised else None,
        observed=observed,
        verdict=verdict(level, observed),
    )
