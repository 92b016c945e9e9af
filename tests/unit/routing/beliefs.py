"""Tell a load table of calls, and read what it believes: the few lines that its tests share."""

from __future__ import annotations

from models.card import ModelCard
from models.forecast import LoadReport
from routing.beliefs.replica import Standing
from routing.load import LoadSnapshot, LoadTable, Outcome
from tests.support.cards import a_card
from tests.unit.routing.worlds import START_MS, a_decision, a_report

CARD = a_card(warm_ms=10.0)


def ns(later_ms: int = 0) -> int:
    """Wall time, so many milliseconds after the start."""
    return (START_MS + later_ms) * 1_000_000


def answered(
    table: LoadTable,
    replica: str,
    *,
    at_ms: int = 0,
    elapsed_ms: float = 12.0,
    outcome: Outcome = Outcome.OK,
    report: LoadReport | None = None,
    card: ModelCard = CARD,
) -> None:
    """Send one call and end it at once."""
    flight = table.sent(a_decision(replica, card, expected_ms=12.0), rows=1, now_ns=ns(at_ms))
    table.finished(flight, outcome=outcome, elapsed_ms=elapsed_ms, now_ns=ns(at_ms), report=report)


def standing(snapshot: LoadSnapshot, replica: str) -> Standing:
    """How the replica stands."""
    return snapshot.standings[snapshot.placement.index[replica]]


def calls(snapshot: LoadSnapshot, replica: str) -> float:
    """Believed calls queued or running."""
    return standing(snapshot, replica).calls


def group(snapshot: LoadSnapshot, replica: str, card: ModelCard = CARD) -> int:
    """Number of the group that the model is in on this replica, which holds it."""
    placement = snapshot.placement
    number = placement.group_of(placement.index[replica], str(card.key))
    assert number is not None
    return number


def service_ms(snapshot: LoadSnapshot, replica: str, card: ModelCard = CARD) -> float:
    """Believed service time of a small call, were no other call there."""
    placement, stands = snapshot.placement, standing(snapshot, replica)
    queue = max(1.0, (stands.calls + 1.0) / placement.metas[placement.index[replica]].slots)
    usual_ms = snapshot.service_ms[0].item(group(snapshot, replica, card))
    return usual_ms * stands.slowdown / queue


def tail(snapshot: LoadSnapshot, replica: str, *, depth: int = 0) -> float:
    """What a prediction for a small call is multiplied by to be promised."""
    return snapshot.tail[0][depth].item(group(snapshot, replica))


def learned(table: LoadTable, took_ms: dict[str, float], *, times: int = 60, at_ms: int = 0) -> None:
    """Let each replica answer so many times, in turn, with its own service time."""
    for seq in range(times):
        for replica, service in took_ms.items():
            report = a_report(replica, seq=at_ms + seq, service_ms=service)
            answered(table, replica, at_ms=at_ms, elapsed_ms=service + 2.0, report=report)
