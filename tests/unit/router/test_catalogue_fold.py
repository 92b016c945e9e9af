"""Folding `hub.models`: the rules that the registry and all readers share."""

from __future__ import annotations

from deployments.router.catalogue_fold import CatalogueFold
from messaging.ports import LogRecord
from models.card import ModelStatus
from models.events import CLAIM_KEY, CatalogueEvent, ModelAdded, ModelMoved, ModelRetired
from tests.support.cards import a_card


def added(name: str, *, epoch: int, cost: float = 1.0) -> tuple[bytes, bytes]:
    """Key and value of an event that adds version 1 of a model."""
    return _event(f"{name}@1", ModelAdded(epoch=epoch, card=a_card(name, cost=cost), at_ns=1))


def retired(name: str, *, epoch: int) -> tuple[bytes, bytes]:
    """Key and value of an event that retires it."""
    return _event(f"{name}@1", ModelRetired(epoch=epoch, model=f"{name}@1", reason="test", at_ns=1))


def claim() -> tuple[bytes, bytes]:
    """A claim; readers look at its key and offset only."""
    return CLAIM_KEY, b"{}"


def folded(*records: tuple[bytes, bytes]) -> CatalogueFold:
    """The fold of a log with these records at offsets 0, 1, ..."""
    fold = CatalogueFold()
    fold.take_all(
        LogRecord(topic="hub.models", partition=0, offset=offset, timestamp_ms=0, key=key, value=value)
        for offset, (key, value) in enumerate(records)
    )
    return fold


def names(fold: CatalogueFold) -> list[str]:
    """The models in the catalogue."""
    return [card.name for card in fold.cards]


def _event(key: str, event: CatalogueEvent) -> tuple[bytes, bytes]:
    return key.encode(), event.model_dump_json(by_alias=True).encode()


def test_an_empty_log_is_an_empty_catalogue() -> None:
    """Before any event there is nothing, at version -1."""
    fold = folded()

    assert (names(fold), fold.version) == ([], -1)


def test_models_come_and_go() -> None:
    """What was added and not retired is in; the version is the offset of the last event that counted."""
    fold = folded(claim(), added("ridge", epoch=0), added("naive", epoch=0), retired("ridge", epoch=0))

    assert (names(fold), fold.version) == (["naive"], 3)


def test_a_second_card_of_a_model_replaces_the_first() -> None:
    """The last valid card of a model version is the one that counts."""
    fold = folded(claim(), added("ridge", epoch=0, cost=1.0), added("ridge", epoch=0, cost=2.0))

    assert [card.cost for card in fold.cards] == [2.0]


def test_a_fenced_writer_does_not_count() -> None:
    """An event of an older epoch behind a newer claim is void for every reader."""
    fold = folded(claim(), added("ridge", epoch=0), claim(), retired("ridge", epoch=0))

    assert (names(fold), fold.version, fold.skipped) == (["ridge"], 1, 1)


def test_an_old_event_before_the_next_claim_counts() -> None:
    """The claim voids only what comes after it."""
    fold = folded(claim(), added("ridge", epoch=0), claim(), added("naive", epoch=2))

    assert names(fold) == ["naive", "ridge"]


def test_a_log_that_goes_back_changes_nothing() -> None:
    """A record taken twice, or from before, neither lowers the version nor brings a card back."""
    records = [
        LogRecord(topic="hub.models", partition=0, offset=offset, timestamp_ms=0, key=key, value=value)
        for offset, (key, value) in enumerate(
            [claim(), added("ridge", epoch=0), retired("ridge", epoch=0), added("mlp", epoch=0)]
        )
    ]
    fold = CatalogueFold()
    fold.take_all(records)

    changed = fold.take_all(records[:3])

    assert not changed
    assert (names(fold), fold.version, fold.skipped) == (["mlp"], 3, 3)


def test_what_cannot_be_read_is_skipped() -> None:
    """One bad record neither stops a reader nor changes its version."""
    fold = folded(claim(), added("ridge", epoch=0), (b"x@1", b"not json"), (b"y@1", b'{"kind": "unknown"}'))

    assert (names(fold), fold.version, fold.skipped) == (["ridge"], 1, 2)


def test_a_status_is_given_and_kept() -> None:
    """By version; that of a model that is not there changes nothing."""
    fold = folded(
        claim(),
        added("ridge", epoch=0),
        moved("ridge@1", ModelStatus.DEMOTED),
        moved("nobody@1", ModelStatus.LIVE),
    )

    assert [(card.name, card.status) for card in fold.cards] == [("ridge", ModelStatus.DEMOTED)]
    assert fold.entries["ridge@1"].moved


def moved(model: str, to: ModelStatus) -> tuple[bytes, bytes]:
    """Key and value of an event that gives it a status."""
    return _event(model, ModelMoved(epoch=0, model=model, to=to, reason="test", by="root", at_ns=1))
