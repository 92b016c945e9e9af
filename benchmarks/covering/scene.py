"""Real market data as the hub meets it: prices at closes, and what every live model forecasts there.

Bars and windows are the running system's own (`training/data.py`). Forecasts come from the artefacts of
`model_repository` through the shipped session, as replicas make them: at their cards' calibration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from inference.cards import CARD_FILE, read_card
from inference.session import Session
from models.card import ModelCard, ModelStatus
from models.errors import BadValue
from models.forecast import Forecast
from models.market import Bar
from models.task import WINDOW, DataSize
from training.data import Samples, bars_of, read_ticks, samples_of, tick_files
from training.plan import Plan

REPOSITORY: Final = Path(__file__).parents[2] / "model_repository"
_LEARNED_FROM: Final = ("train", "calibration")
_ROWS: Final = DataSize.MEDIUM.max_rows
_LEVEL: Final = 0.95


class Step(NamedTuple):
    """The close of a bar: its price, and every model's forecast where there is a window and a horizon."""

    close_ms: int
    symbol: str
    mid: float
    forecasts: Mapping[str, Forecast]


@dataclass(frozen=True)
class Scene:
    """All steps by time, and the cards of the models by `name@version`."""

    steps: Sequence[Step]
    cards: Mapping[str, ModelCard]
    bar_ms: int
    horizon_ms: int

    def cut(self, first: int, last: int) -> Scene:
        """The same with the steps in [first, last) only."""
        return Scene(self.steps[first:last], self.cards, self.bar_ms, self.horizon_ms)


def load_scene(data: Path, plan: Plan) -> Scene:
    """Everything in `data` that no live model was trained or calibrated on; FileNotFoundError names the
    tick files that are missing.
    """
    cards = {str(card.key): card for card in live_cards()}
    sessions = {model: _session(card) for model, card in cards.items()}
    from_ms = max(map(seen_until_ms, cards.values())) + int(plan.embargo.total_seconds() * 1000)
    steps = [
        step
        for symbol in plan.instruments
        for bars in bars_of(read_ticks(tick_files(data, symbol), symbol), symbol, plan.bar_ms)
        for step in steps_of(bars, sessions, plan.horizon_bars)
        if step.close_ms >= from_ms
    ]
    steps.sort(key=lambda step: (step.close_ms, step.symbol))
    return Scene(steps, cards, plan.bar_ms, plan.horizon_ms)


def live_cards() -> list[ModelCard]:
    """The cards of the repository's live models."""
    cards = [read_card(file.parent) for file in sorted(REPOSITORY.glob(f"*/*/{CARD_FILE}"))]
    return [card for card in cards if card.status is ModelStatus.LIVE]


def seen_until_ms(card: ModelCard) -> int:
    """The end of the last part that the model was trained or calibrated on; BadValue for a silent card."""
    if not card.trained.keys() >= set(_LEARNED_FROM):
        raise BadValue(f"the card of {card.key} does not say what it was trained on", field="trained")
    ends = (card.trained[part].partition(" to ")[2].removesuffix(" UTC") for part in _LEARNED_FROM)
    return max(int(datetime.fromisoformat(end).replace(tzinfo=UTC).timestamp() * 1000) for end in ends)


def _session(card: ModelCard) -> Session:
    return Session.load(REPOSITORY / card.name / card.version, card)


def steps_of(bars: Sequence[Bar], sessions: Mapping[str, Session], horizon_bars: int) -> list[Step]:
    """The steps of a market session; one that is too short for a window has prices only."""
    made: dict[int, dict[str, Forecast]] = {}
    if len(bars) > WINDOW + horizon_bars:
        samples = samples_of(bars, horizon_bars)
        rows = {model: _forecasts(session, samples) for model, session in sessions.items()}
        for row, close_ms in enumerate(samples.close_ms.tolist()):
            made[close_ms] = {model: forecasts[row] for model, forecasts in rows.items()}
    return [Step(bar.close_ms, bar.symbol, bar.close, made.get(bar.close_ms, {})) for bar in bars]


def _forecasts(session: Session, samples: Samples) -> list[Forecast]:
    """One per row, at the card's calibration."""
    chunks = [slice(start, start + _ROWS) for start in range(0, len(samples), _ROWS)]
    called = (session.run(samples.window[rows], samples.context[rows], level=_LEVEL) for rows in chunks)
    return [forecast for forecasts in called for forecast in forecasts]
