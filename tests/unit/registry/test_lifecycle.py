"""Which events a change of the catalogue is made of, and which changes there are not."""

from __future__ import annotations

import pytest

from deployments.registry.lifecycle import Change, Under, made, promote, register, retire, rollback
from deployments.registry.registrations import Ready
from deployments.router.catalogue_fold import Entry
from models.card import ModelStatus
from models.errors import AlreadyRegistered, HubError, NotFound, NotPossible
from models.events import ModelAdded, ModelMoved, ModelRetired, Origin
from models.lifecycle import Move, Step
from tests.support.cards import a_card

UNDER = Under(epoch=3, at_ns=5, by="root")
Models = dict[str, Entry]


def models(**statuses: ModelStatus) -> Models:
    """Registered versions of `ridge`: v1, v2 and so on."""
    return {
        f"ridge@{name[1:]}": Entry(
            a_card("ridge", name[1:]).model_copy(update={"status": status}), Origin.REGISTERED, "signed"
        )
        for name, status in statuses.items()
    }


def after(change: Change, before: Models) -> dict[str, str]:
    """Status by version, once the change is made."""
    now = dict(before)
    for event in change(before, UNDER):
        match event:
            case ModelMoved():
                now[event.model] = now[event.model].to(event.to, at_ns=event.at_ns)
            case ModelRetired():
                del now[event.model]
            case ModelAdded():
                now[str(event.card.key)] = Entry(event.card, event.origin, event.signature)
    return {name.partition("@")[2]: entry.card.status.value for name, entry in now.items()}


LIVE, CANDIDATE, DEMOTED = ModelStatus.LIVE, ModelStatus.CANDIDATE, ModelStatus.DEMOTED


def test_a_new_model_is_announced_as_it_was_made_ready() -> None:
    """With its signature, under the claim of the moment."""
    card = a_card("new")

    (event,) = register(Ready(card, "signed"))({}, UNDER)

    assert isinstance(event, ModelAdded)
    assert (event.card, event.origin, event.signature) == (card, Origin.REGISTERED, "signed")
    assert (event.epoch, event.at_ns) == (3, 5)


def test_the_same_artefact_again_changes_nothing() -> None:
    """Whoever is not sure that a registration went through may repeat it."""
    assert register(Ready(a_card("ridge", "1"), "signed"))(models(v1=LIVE), UNDER) == []


def test_another_artefact_needs_another_version() -> None:
    """Signals name the version; it must not mean two things."""
    with pytest.raises(AlreadyRegistered) as caught:
        register(Ready(a_card("ridge", "1", sha256="1" * 64), "signed"))(models(v1=LIVE), UNDER)
    assert caught.value.field == "card.version"


@pytest.mark.parametrize(
    ("change", "before", "expected"),
    [
        (promote("ridge@2", "x"), models(v1=LIVE, v2=CANDIDATE), {"1": "demoted", "2": "live"}),
        (promote("ridge@1", "x"), models(v1=LIVE, v2=CANDIDATE), {"1": "live", "2": "candidate"}),
        (promote("ridge@1", "x"), models(v1=CANDIDATE), {"1": "live"}),
        (rollback("ridge", "x"), models(v1=DEMOTED, v2=LIVE), {"1": "live", "2": "demoted"}),
        (
            rollback("ridge", "x"),
            models(v1=DEMOTED, v2=DEMOTED, v10=LIVE),
            {"1": "demoted", "2": "live", "10": "demoted"},
        ),
        (
            rollback("ridge", "x"),
            models(v1=DEMOTED, v2=LIVE, v3=DEMOTED),
            {"1": "live", "2": "demoted", "3": "demoted"},
        ),
        (retire("ridge@2", "x"), models(v1=LIVE, v2=CANDIDATE), {"1": "live"}),
    ],
)
def test_steps(change: Change, before: Models, expected: dict[str, str]) -> None:
    """One version of a name is live at most, and versions are numbers."""
    assert after(change, before) == expected


def test_a_model_is_live_before_the_other_is_not() -> None:
    """A reader between the two events finds one that answers."""
    first, second = promote("ridge@2", "x")(models(v1=LIVE, v2=CANDIDATE), UNDER)

    assert isinstance(first, ModelMoved)
    assert isinstance(second, ModelMoved)
    assert [(first.model, first.to), (second.model, second.to)] == [("ridge@2", LIVE), ("ridge@1", DEMOTED)]


@pytest.mark.parametrize(
    ("change", "before", "error"),
    [
        (promote("ridge@9", "x"), models(v1=LIVE), NotFound),
        (retire("ridge@9", "x"), models(v1=LIVE), NotFound),
        (rollback("mlp", "x"), models(v1=LIVE), NotFound),
        (rollback("ridge", "x"), models(v1=LIVE, v2=CANDIDATE), NotPossible),
        (
            retire("ridge@1", "x"),
            {"ridge@1": Entry(a_card("ridge"), Origin.REPOSITORY, "")},
            NotPossible,
        ),
    ],
)
def test_what_cannot_be_is_refused(change: Change, before: Models, error: type[HubError]) -> None:
    """An unknown model, nothing to go back to, one that every node has on disk."""
    with pytest.raises(error):
        change(before, UNDER)


@pytest.mark.parametrize("step", Step)
def test_every_step_can_be_asked_for(step: Step) -> None:
    """As it travels from a gateway to the registry."""
    model = "ridge" if step is Step.ROLLBACK else "ridge@2"
    before = models(v1=DEMOTED, v2=LIVE) if step is Step.ROLLBACK else models(v1=LIVE, v2=CANDIDATE)

    assert made(Move(step=step, model=model, reason="x"))(before, UNDER)
