"""Artefacts from strangers, looked at by the real confined process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from inference.confined.examine import examine
from inference.confined.limits import Limits
from models.card import ModelCard
from models.errors import CardRejected, ConfinementUnavailable
from serve_app.settings import ROOT
from tests.support.hostile import CORPUS, endless
from tests.unit.inference.tiny import artefact, card_of


def carded(model: bytes) -> ModelCard:
    """A card for these bytes."""
    return ModelCard.model_validate(card_of(model))


def test_a_good_one_is_measured() -> None:
    """What it is made of, and how long it takes."""
    model = artefact()

    found = examine(carded(model), model)

    assert found.opset == {"ai.onnx": 15}
    assert set(found.operators) == {"ReduceSum", "Mul", "Add"}
    assert (found.nodes, [profile.rows for profile in found.warm]) == (4, [1, 8, 64, 256])
    assert all(0 < profile.p50_ms <= profile.p99_ms for profile in found.warm)


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_one_is_refused_by_the_name_of_what_is_wrong(name: str, tmp_path: Path) -> None:
    """And a file that it names is neither read, nor made, nor run."""
    made, field = CORPUS[name]
    canary = tmp_path / "canary"
    model = made(canary)

    with pytest.raises(CardRejected) as caught:
        examine(carded(model), model)

    assert caught.value.field == field, caught.value.message
    assert not canary.exists()


def test_elsewhere_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without these means says so, before anything is started."""
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    model = artefact()

    with pytest.raises(ConfinementUnavailable, match="Darwin"):
        examine(carded(model), model)


def test_one_that_is_too_large_is_not_even_looked_at() -> None:
    """The error says how much is taken."""
    model = artefact()

    with pytest.raises(CardRejected, match="at most 100 are taken"):
        examine(carded(model), model, Limits(file_bytes=100))


def test_looking_at_one_takes_its_share_of_a_processor_and_no_more() -> None:
    """However long it would like to work: it is stopped in time, having used a quarter of that."""
    model = endless(Path())
    before = os.times()

    with pytest.raises(CardRejected, match="longer than 4 s"):
        examine(carded(model), model, Limits(share=0.25, wall_s=4))

    after = os.times()
    used_s = after.children_user + after.children_system - before.children_user - before.children_system
    assert used_s < 0.25 * 4 + 0.5


def test_the_process_can_do_nothing_but_calculate(tmp_path: Path) -> None:
    """Every way out is tried from inside."""
    secret = tmp_path / "secret"
    secret.write_text("canary")
    found = subprocess.run(
        [sys.executable, "-m", "tests.support.jailed", str(secret), str(os.getpid())],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=True,
    )

    tried = orjson.loads(found.stdout)
    assert tried.pop("idle") == "yes"
    assert tried.pop("calculate") == "ok"
    assert tried.pop("thread") == "ok"
    assert set(tried) == {"read", "write", "socket", "connect", "run", "fork", "signal", "memory", "list"}
    assert set(tried.values()) <= {"PermissionError", "MemoryError"}
    assert secret.read_text() == "canary"
