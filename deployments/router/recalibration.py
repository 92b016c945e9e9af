"""Answers at the calibration in force: the replica applies its card's, the evidence since is known here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from models.answer import Answer
from routing.catalogue import Catalogue
from routing.evidence.recalibration import in_force, levels_of, recalibrated


def at_calibration_in_force(answer: Answer, catalogue: Catalogue, instruments: Sequence[str]) -> Answer:
    """The answer with every row's intervals at the rolling calibration of its instrument, if there is one.

    As it came if the model has left the catalogue, or was calibrated anew under the same version.
    """
    model = str(answer.decision.chosen)
    card = catalogue.card(model)
    if card is None or card.calibration.version != answer.lineage.calibration:
        return answer
    live = catalogue.evidence.get(model)
    recalibration = live.calibration if live else None
    now = in_force(card.calibration, recalibration, instruments, rows=len(answer.forecasts))
    if recalibration is None:
        return replace(answer, in_force=now)
    own = levels_of(card.calibration)
    rows = zip(answer.forecasts, now.rows, strict=True)
    return replace(
        answer,
        forecasts=[recalibrated(forecast, own, multipliers) for forecast, multipliers in rows],
        lineage=answer.lineage.model_copy(update={"calibration": now.version}),
        in_force=now,
    )
