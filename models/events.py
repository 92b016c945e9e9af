"""Control records: claims, beats, undelivered slots, checkpoints and catalogue events.

Their keys start with `~`, which no user id can.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from models.base import Frozen
from models.card import ModelCard, ModelStatus

CLAIM_KEY: Final = b"~claim"
BEAT_KEY: Final = b"~beat"
UNDELIVERED_KEY: Final = b"~undelivered"
CHECKPOINT_KEY: Final = b"~checkpoint"
MARK_PREFIX: Final = b"~mark:"
CONTROL_PREFIX: Final = b"~"

MARK_EVERY: Final = 32
MARKS_KEPT: Final = 64


class Claim(Frozen):
    """Makes its writer the owner of the partition it is in; the epoch is the offset it lands at."""

    schema_: Literal["hub.claim/1"] = Field("hub.claim/1", alias="schema")
    owner: str
    nonce: str
    claimed_ns: int


class Beat(Frozen):
    """Says that a partition's owner lives, and how far it is. Consumes no user's sequence."""

    schema_: Literal["hub.beat/1"] = Field("hub.beat/1", alias="schema")
    epoch: int
    cursor: dict[str, int]
    now_ns: int


class UndeliveredReason(StrEnum):
    """Why a due slot reached nobody of a partition in time."""

    NO_OWNER = "no_owner"
    EXPIRED = "expired"
    PUBLISH_FAILED = "publish_failed"


class Undelivered(Frozen):
    """One per (slot, partition): not delivered to the subscriptions as of `subscription_offset`."""

    schema_: Literal["hub.undelivered/1"] = Field("hub.undelivered/1", alias="schema")
    epoch: int
    signal_id: str
    strategy: str
    symbol: str
    horizon_ms: int
    bar_close_ms: int
    source_partition: int
    source_offset: int
    reason: UndeliveredReason
    subscription_offset: int
    count: int
    now_ns: int


class SeriesMark(Frozen):
    """The last bar close seen of a series."""

    strategy: str
    symbol: str
    horizon_ms: int
    bar_close_ms: int


class Checkpoint(Frozen):
    """The fold of a `user.signals` partition up to `position`, so that a restore need not read it all.

    `claims` are the recent claim offsets, oldest first, which a reader starting at `position` must know;
    `cursor` is the next offset to take per `hub.predictions` partition. `held` is what each account was last
    asked to hold, by symbol and account; `acted` when the limited subscriptions last asked for something.
    """

    schema_: Literal["hub.checkpoint/1"] = Field("hub.checkpoint/1", alias="schema")
    epoch: int
    position: int
    claims: tuple[int, ...]
    cursor: dict[str, int]
    sequences: dict[str, int]
    series: tuple[SeriesMark, ...]
    held: dict[str, dict[str, float]] = Field(default_factory=dict)
    acted: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    written_ns: int


class SequenceMark(Frozen):
    """Where a user's signal with this sequence lies in its partition, so that a backfill can start there.

    Written to `user.signal_state` once in `MARK_EVERY` signals of a user; its key is one of `MARKS_KEPT` per
    user, taken in turn, so compaction keeps that many.
    """

    schema_: Literal["hub.mark/1"] = Field("hub.mark/1", alias="schema")
    user_id: str
    sequence: int
    offset: int


def mark_key(user_id: str, sequence: int) -> bytes:
    """The compaction key of a mark."""
    return MARK_PREFIX + f"{user_id}:{sequence // MARK_EVERY % MARKS_KEPT}".encode()


class Origin(StrEnum):
    """Where a model comes from: the repository on every node, or a registration at run time, whose artefact
    is fetched by its hash.
    """

    REPOSITORY = "repository"
    REGISTERED = "registered"


class ModelAdded(Frozen):
    """A checked model entered the catalogue; `signature` is the hub's own on one that was registered."""

    schema_: Literal["hub.model-added/1"] = Field("hub.model-added/1", alias="schema")
    kind: Literal["added"] = "added"
    epoch: int
    card: ModelCard
    at_ns: int
    origin: Origin = Origin.REPOSITORY
    signature: str = ""


class ModelMoved(Frozen):
    """A model got another status, by whom and why; by policy also on which numbers."""

    schema_: Literal["hub.model-moved/1"] = Field("hub.model-moved/1", alias="schema")
    kind: Literal["moved"] = "moved"
    epoch: int
    model: str
    to: ModelStatus
    reason: str
    by: str
    at_ns: int
    numbers: dict[str, float] = Field(default_factory=dict)


class ModelRetired(Frozen):
    """A model answers nothing from here on; its lineage stays explainable."""

    schema_: Literal["hub.model-retired/1"] = Field("hub.model-retired/1", alias="schema")
    kind: Literal["retired"] = "retired"
    epoch: int
    model: str
    reason: str
    at_ns: int
    by: str = ""
    numbers: dict[str, float] = Field(default_factory=dict)


CatalogueEvent = Annotated[ModelAdded | ModelMoved | ModelRetired, Field(discriminator="kind")]
