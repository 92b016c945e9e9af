"""An ensemble is registered by its recipe: what is refused, and what its card says because of its members."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from deployments.registry.ensembles import composed, registration
from deployments.registry.lifecycle import Under, promote
from deployments.registry.registrations import Registrations
from deployments.router.catalogue_fold import Entry
from inference.confined.wire import Examined
from inference.signature import Signer, Verifier
from models.card import MOST_MEMBERS, Ensemble, ModelCard, ModelStatus, WarmProfile
from models.ensembles import recipe_of
from models.errors import AlreadyRegistered, CardRejected
from models.events import ModelAdded, Origin
from models.task import INTERVAL_LEVELS, DataSize
from storage.artifact_store import ArtifactStore
from tests.support.cards import a_card, an_ensemble

SIGNER = Signer("1f" * 32)
UNDER = Under(epoch=3, at_ns=5, by="root")
QUICK, SLOW = a_card("quick", warm_ms=1.0, cost=1.0), a_card("slow", warm_ms=8.0, cost=2.5)
CATALOGUE = (QUICK, SLOW, a_card("new").model_copy(update={"status": ModelStatus.CANDIDATE}))


def never_examined(card: ModelCard, artefact: bytes) -> Examined:
    """There is nothing of an ensemble to run."""
    raise AssertionError(f"{card.key} was examined")


def models(cards: Sequence[ModelCard]) -> dict[str, Entry]:
    """A catalogue of these."""
    return {str(card.key): Entry(card, Origin.REGISTERED, "signed") for card in cards}


async def registered(
    card: ModelCard, directory: Path, cards: Sequence[ModelCard] = CATALOGUE, *, artefact: bytes | None = None
) -> list[Any]:
    """The events of a registration."""
    recipe = recipe_of(card.ensemble) if card.ensemble and artefact is None else artefact or b""
    registrations = Registrations(ArtifactStore(str(directory)), SIGNER, never_examined)
    return [*(await registration(registrations, card, recipe))(models(cards), UNDER)]


@pytest.mark.parametrize("of", ["live", ("quick", "slow"), ("slow@1", "quick@1"), ("new@1", "quick")])
async def test_is_announced_as_a_candidate_with_its_recipe_kept(
    tmp_path: Path, of: tuple[str, ...] | Literal["live"]
) -> None:
    """Signed like any other model, and nothing that was claimed of it is believed."""
    claimed = an_ensemble(of=of).model_copy(update={"evidence": QUICK.evidence, "cost": 0.0})
    (event,) = await registered(claimed, tmp_path)

    assert isinstance(event, ModelAdded)
    assert (event.card.status, event.card.evidence) == (ModelStatus.CANDIDATE, ())
    assert event.card.cost > 0
    assert event.origin is Origin.REGISTERED
    assert ArtifactStore(str(tmp_path)).get(claimed.sha256) == recipe_of(Ensemble(members=of))
    Verifier(SIGNER.verify_key).check(event.card, event.signature)


async def test_the_same_recipe_again_changes_nothing_and_another_needs_a_new_version(tmp_path: Path) -> None:
    """Also when a member has gone since."""
    blend = an_ensemble(of=("quick", "slow"))
    assert await registered(blend, tmp_path, [QUICK, blend]) == []
    with pytest.raises(AlreadyRegistered):
        await registered(an_ensemble(of=("quick", "new@1")), tmp_path, [*CATALOGUE, blend])


@pytest.mark.parametrize(
    "artefact", [b"", b"{}", b'{"members": "live"}', recipe_of(Ensemble(members=("a", "b")))]
)
async def test_an_artefact_that_is_not_the_recipe_is_not_stored(tmp_path: Path, artefact: bytes) -> None:
    """The hash alone would let two artefacts mean the same ensemble."""
    card = an_ensemble().model_copy(update={"sha256": hashlib.sha256(artefact).hexdigest()})
    with pytest.raises(CardRejected) as caught:
        await registered(card, tmp_path, artefact=artefact)

    assert caught.value.field == "artefact"
    assert not ArtifactStore(str(tmp_path)).has(card.sha256)


async def test_a_hash_that_is_not_the_recipes_is_refused(tmp_path: Path) -> None:
    """As of any artefact."""
    with pytest.raises(CardRejected) as caught:
        await registered(an_ensemble().model_copy(update={"sha256": "0" * 64}), tmp_path)
    assert caught.value.field == "sha256"


def changed(card: ModelCard, **contract: Any) -> ModelCard:
    """The card with another contract."""
    return card.model_copy(update={"contract": card.contract.model_copy(update=contract)})


ELSEWHERE = changed(a_card("far"), horizon_ms=30_000)
OTHER_BAR = changed(a_card("coarse"), bar_ms=60_000)
OTHER_TASK = a_card("words").model_copy(update={"task": "words"})
EURUSD = changed(a_card("euro"), instruments=("EURUSD",))
NZDUSD = changed(a_card("kiwi"), instruments=("NZDUSD",))


@pytest.mark.parametrize(
    ("card", "cards", "field", "word"),
    [
        (an_ensemble(of=("quick", "nobody")), CATALOGUE, "ensemble.members", "nobody"),
        (an_ensemble(of=("quick", "slow@2")), CATALOGUE, "ensemble.members", "not in the catalogue"),
        (an_ensemble(of=("quick", "new")), CATALOGUE, "ensemble.members", "no live version"),
        (an_ensemble(of=("quick", "quick@1")), CATALOGUE, "ensemble.members", "the same model"),
        (an_ensemble(of=("quick", "quick")), CATALOGUE, "ensemble.members", "the same model"),
        (
            an_ensemble(of=("quick", "inner")),
            (*CATALOGUE, an_ensemble("inner")),
            "ensemble.members",
            "is an ensemble itself",
        ),
        (an_ensemble(), (), "ensemble.members", "no model is live"),
        (
            an_ensemble(),
            (an_ensemble("inner"), ELSEWHERE, CATALOGUE[2]),
            "ensemble.members",
            "no model is live",
        ),
        (an_ensemble(of=("quick", "far")), (QUICK, ELSEWHERE), "contract.horizon_ms", "30000"),
        (an_ensemble(of=("quick", "coarse")), (QUICK, OTHER_BAR), "contract.bar_ms", "60000"),
        (an_ensemble(of=("quick", "words")), (QUICK, OTHER_TASK), "task", "words"),
        (changed(an_ensemble(), context=("hour_sin",)), CATALOGUE, "contract.context", "hour_sin"),
        (an_ensemble(), (EURUSD, NZDUSD), "contract.instruments", "no instrument"),
        (a_card("plain"), CATALOGUE, "ensemble", "no recipe"),
    ],
)
def test_a_bad_recipe_is_refused_by_the_field_at_fault(
    card: ModelCard, cards: Sequence[ModelCard], field: str, word: str
) -> None:
    """With the member that it is about."""
    with pytest.raises(CardRejected, match=word) as caught:
        composed(card, cards)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "members", [(), ("quick",), "all", ("Quick", "slow"), tuple(f"m{n}" for n in range(MOST_MEMBERS + 1))]
)
def test_what_is_no_recipe_cannot_be_said(members: Any) -> None:
    """Fewer than two members, more than are asked at once, names that are none."""
    with pytest.raises(ValidationError, match="members"):
        Ensemble(members=members)


def test_the_order_of_members_makes_no_other_recipe() -> None:
    """One set of members, one hash."""
    assert recipe_of(Ensemble(members=("b", "a"))) == recipe_of(Ensemble(members=("a", "b")))
    assert recipe_of(Ensemble(members="live")) == b'{"members":"live"}'


def test_the_card_follows_from_the_members() -> None:
    """The slowest with what asking takes, the cost of all, the instruments and rows that all can do."""
    narrow = changed(SLOW, instruments=("EURUSD", "NZDUSD"), window_tail=200)
    small = changed(QUICK, instruments=("*",)).model_copy(update={"max_size": DataSize.MEDIUM})

    made = composed(an_ensemble(of=("quick", "slow")), [narrow, small])

    assert made.warm[0] == WarmProfile(rows=1, p50_ms=10.4, p99_ms=18.4, n=100)
    assert made.cost == 3.5
    assert (made.max_size, made.contract.window_tail) == (DataSize.MEDIUM, 200)
    assert made.contract.instruments == ("EURUSD", "NZDUSD")


def test_its_scale_is_the_half_width_at_090() -> None:
    """The other levels are in the members' mean proportions to it, and grow."""
    wide = SLOW.calibration.model_copy(
        update={"multipliers": {f"{level:.2f}": 3 * level**2 for level in INTERVAL_LEVELS}, "n": 40}
    )
    made = composed(
        an_ensemble(of=("quick", "slow")), [QUICK, SLOW.model_copy(update={"calibration": wide})]
    ).calibration

    assert made.multiplier(0.90) == 1.0
    for level in INTERVAL_LEVELS:
        mean = ((0.5 + level) / 1.4 + level**2 / 0.81) / 2
        assert made.multiplier(level) == pytest.approx(mean)
    assert (made.version, made.n) == ("blend-1-members", 40)


def test_is_promoted_like_any_other_model() -> None:
    """Nothing of its life is its own."""
    (event,) = promote("blend@1", "better")(
        models([*CATALOGUE, an_ensemble().model_copy(update={"status": ModelStatus.CANDIDATE})]), UNDER
    )
    assert (event.model, event.to) == ("blend@1", ModelStatus.LIVE)  # type: ignore[union-attr]
