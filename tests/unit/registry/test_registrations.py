"""A model is made ready: examined, stored, signed; and what is wrong leaves nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deployments.registry.registrations import Registrations
from inference.confined.wire import Examined
from inference.signature import Signer, Verifier
from models.card import ModelCard, ModelStatus, WarmProfile
from models.errors import CardRejected, ConfigError
from storage.artifact_store import ArtifactStore
from tests.support.cards import a_card

ARTEFACT = b"an onnx file"
SHA256 = hashlib.sha256(ARTEFACT).hexdigest()
SIGNER = Signer("1f" * 32)
MEASURED = WarmProfile(rows=1, p50_ms=0.25, p99_ms=0.5, n=9)


def examined(card: ModelCard, artefact: bytes) -> Examined:
    """What a confined process finds in any artefact but one."""
    if artefact == b"hostile":
        raise CardRejected("it is hostile", field="artefact")
    return Examined(opset={}, operators=(), nodes=1, warm=(MEASURED,), cpu_s=0.1)


async def test_a_model_is_measured_stored_and_signed(tmp_path: Path) -> None:
    """Its own word for latency and status counts for nothing; its signature holds for whoever loads it."""
    store = ArtifactStore(str(tmp_path))
    ready = await Registrations(store, SIGNER, examined).ready(a_card("new", sha256=SHA256), ARTEFACT)

    assert ready.card.warm == (MEASURED,)
    assert ready.card.status is ModelStatus.CANDIDATE
    assert store.get(SHA256) == ARTEFACT
    Verifier(SIGNER.verify_key).check(ready.card, ready.signature)


@pytest.mark.parametrize(("artefact", "field"), [(b"changed", "sha256"), (b"hostile", "artefact")])
async def test_what_is_wrong_is_not_stored(tmp_path: Path, artefact: bytes, field: str) -> None:
    """Neither a file that its card does not name, nor one that was looked at and refused."""
    card = a_card("new", sha256=hashlib.sha256(b"hostile").hexdigest())
    with pytest.raises(CardRejected) as caught:
        await Registrations(ArtifactStore(str(tmp_path)), SIGNER, examined).ready(card, artefact)

    assert caught.value.field == field
    assert not ArtifactStore(str(tmp_path)).has(card.sha256)


@pytest.mark.parametrize(
    "other",
    [
        a_card("new", "2", sha256=SHA256),
        a_card("other", "1", sha256=SHA256),
        a_card("new", "1", sha256="0" * 64),
    ],
)
def test_a_signature_is_good_for_one_model_and_one_artefact(other: ModelCard) -> None:
    """Not for a newer version, another name, another file."""
    signature = SIGNER.sign(a_card("new", "1", sha256=SHA256))
    for wrong in (signature, "", "%%%", SIGNER.sign(other)[:-4] + "AAA="):
        with pytest.raises(CardRejected) as caught:
            Verifier(SIGNER.verify_key).check(other, wrong)
        assert caught.value.field == "signature"


def test_another_hubs_signature_is_none() -> None:
    """Whoever has no key of this hub signs nothing."""
    card = a_card("new", sha256=SHA256)
    with pytest.raises(CardRejected):
        Verifier(SIGNER.verify_key).check(card, Signer("2e" * 32).sign(card))


@pytest.mark.parametrize("key", ["", "1f" * 31, "no hex at all", "1f" * 33])
def test_a_key_that_is_none_is_refused_at_the_start(key: str) -> None:
    """The message says how to make one."""
    with pytest.raises(ConfigError, match="openssl rand"):
        Signer(key)
