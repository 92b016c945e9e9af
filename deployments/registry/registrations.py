"""A model that somebody brings while the hub runs: looked at, measured, signed and stored, then announced.

Announcing is the one step that counts: before it nobody knows of the model, and what was stored by then is
named by its hash and in nobody's way. So a registry that dies at any step leaves the model there, or not.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import NamedTuple, Protocol

from inference.confined.wire import Examined
from inference.signature import Signer
from models.card import ModelCard, ModelStatus
from models.ensembles import recipe_of
from models.errors import CardRejected


class Artefacts(Protocol):
    """Where artefacts are kept by their hash; `storage.artifact_store.ArtifactStore` is one. Blocks."""

    def put(self, content: bytes) -> str: ...


class Ready(NamedTuple):
    """A model that only has to be announced."""

    card: ModelCard
    signature: str


class Registrations:
    """Makes a model ready. `examine` and the store block, and run on threads, one model at a time."""

    def __init__(
        self,
        artefacts: Artefacts,
        signer: Signer,
        examine: Callable[[ModelCard, bytes], Examined],
    ) -> None:
        self._artefacts = artefacts
        self._signer = signer
        self._examine = examine
        self._one = asyncio.Lock()

    async def ready(self, card: ModelCard, artefact: bytes) -> Ready:
        """The card as it will stand in the catalogue, a candidate with measured latencies; and its signature.

        CardRejected names what is wrong with the artefact, or with what its card says of it.
        """
        _check_hash(card, artefact)
        async with self._one:
            found = await asyncio.to_thread(self._examine, card, artefact)
        await asyncio.to_thread(self._artefacts.put, artefact)
        measured = card.model_copy(update={"warm": found.warm, "status": ModelStatus.CANDIDATE})
        return Ready(measured, self.sign(measured))

    async def keep_recipe(self, card: ModelCard, artefact: bytes) -> None:
        """Store the artefact of an ensemble, of which nothing is run. CardRejected unless it is the recipe on
        the card, byte for byte.
        """
        _check_hash(card, artefact)
        if card.ensemble is None or artefact != recipe_of(card.ensemble):
            raise CardRejected(f"the artefact of {card.key} was not the recipe on its card", field="artefact")
        await asyncio.to_thread(self._artefacts.put, artefact)

    def sign(self, card: ModelCard) -> str:
        """The hub's signature of a model as it will stand in the catalogue."""
        return self._signer.sign(card)


def _check_hash(card: ModelCard, artefact: bytes) -> None:
    actual = hashlib.sha256(artefact).hexdigest()
    if card.sha256 != actual:
        raise CardRejected(f"sha256 was {card.sha256}; that of the artefact is {actual}", field="sha256")
