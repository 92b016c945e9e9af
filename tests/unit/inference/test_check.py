"""The gate of the registry: each way a model can be wrong is refused by its own name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from inference import check as gate
from inference.calibration import RawOutputs
from inference.check import check, load_cards
from inference.session import Session
from models.errors import CardRejected
from models.task import CONTEXT_FEATURES, INTERVAL_LEVELS
from tests.unit.inference import tiny
from tests.unit.inference.test_session import endless

Card = dict[str, Any]


def test_a_good_model_is_accepted(tmp_path: Path) -> None:
    """The card comes back."""
    model = tiny.artefact()

    card = check(tiny.write(tmp_path, model, tiny.card_of(model)))

    assert str(card.key) == "tiny@1"


def of_others(card: Card) -> None:
    """An ensemble has a recipe and no graph."""
    card["ensemble"] = {"members": "live"}


def without_level(card: Card) -> None:
    """One level is not calibrated."""
    del card["calibration"]["multipliers"]["0.98"]


def crossing_levels(card: Card) -> None:
    """A wider level has the narrower interval."""
    card["calibration"]["multipliers"]["0.95"] = 1.5


def negative_level(card: Card) -> None:
    """An interval of negative width."""
    card["calibration"]["multipliers"]["0.50"] = -1.0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda card: card.update(sha256="0" * 64), "sha256"),
        (lambda card: card.update(task="image"), "task"),
        (lambda card: card.update(unheard=1), "unheard"),
        (lambda card: card.pop("cost"), "cost"),
        (lambda card: card.update(name="other"), "name"),
        (lambda card: card.update(version="2"), "name"),
        (lambda card: card.update(warm=[]), "warm"),
        (lambda card: card.update(evidence=[]), "evidence"),
        (lambda card: card["contract"].update(context=list(CONTEXT_FEATURES[1:])), "contract.context"),
        (lambda card: card["contract"].update(window_tail=257), "contract.window_tail"),
        (of_others, "ensemble"),
        (without_level, "calibration.multipliers"),
        (crossing_levels, "calibration.multipliers"),
        (negative_level, "calibration.multipliers"),
    ],
)
def test_a_wrong_card_is_refused(tmp_path: Path, change: Callable[[Card], Any], field: str) -> None:
    """The error names the field at fault."""
    model = tiny.artefact()
    card = tiny.card_of(model)
    change(card)

    with pytest.raises(CardRejected) as caught:
        check(tiny.write(tmp_path, model, card))
    assert caught.value.field == field


@pytest.mark.parametrize("missing", ["card.yaml", "model.onnx"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    """Both files are needed."""
    model = tiny.artefact()
    directory = tiny.write(tmp_path, model, tiny.card_of(model))
    (directory / missing).unlink()

    with pytest.raises(CardRejected, match=f"{missing} is missing"):
        check(directory)


def test_a_card_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    """A syntax error is reported as such."""
    model = tiny.artefact()
    directory = tiny.write(tmp_path, model, tiny.card_of(model))
    (directory / "card.yaml").write_text("name: [")

    with pytest.raises(CardRejected, match="not YAML"):
        check(directory)


SUMS = tiny.node("ReduceSum", ["window", "axis"], "location")  # keeps the axis: [n, 1]
BATCH_MEAN = (
    tiny.node("ReduceMean", ["window"], "mean", keepdims=1),
    tiny.node("Sub", ["window", "mean"], "centred"),
    tiny.node("ReduceSum", ["centred", "axis"], "location", keepdims=0),
)
NOISE = (
    tiny.node("ReduceSum", ["window", "axis"], "sum", keepdims=0),
    tiny.node("RandomNormalLike", ["sum"], "location"),
)
ROWS_GONE = (
    tiny.node("ReduceSum", ["window", "axis"], "sums", keepdims=0),
    tiny.node("Slice", ["sums", "from", "until"], "location"),
)


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (tiny.artefact(width=128), "input.window"),
        (tiny.artefact(rows=1), "input.window"),
        (tiny.artefact(outputs=("location", "scale")), "output.logit_up"),
        (tiny.artefact((*BATCH_MEAN, *tiny.NODES[1:])), "determinism"),
        (tiny.artefact((*NOISE, *tiny.NODES[1:])), "determinism"),
        (tiny.artefact((SUMS, *tiny.NODES[1:])), "output.location"),
        (
            tiny.artefact(
                (*ROWS_GONE, *tiny.NODES[1:]),
                constants=(tiny.constant("from", np.array([0])), tiny.constant("until", np.array([5]))),
            ),
            "output.location",
        ),
        (
            tiny.artefact((*tiny.NODES[:2], tiny.node("Mul", ["nothing", "zero"], "scale"), tiny.NODES[3])),
            "dry_run",
        ),
    ],
)
def test_a_wrong_graph_is_refused(tmp_path: Path, model: bytes, field: str) -> None:
    """Contract, dry run and determinism are checked on the graph itself, not believed from the card."""
    with pytest.raises(CardRejected) as caught:
        check(tiny.write(tmp_path, model, tiny.card_of(model)))
    assert caught.value.field == field


def test_a_graph_that_asks_for_more_is_refused(tmp_path: Path) -> None:
    """An input the task does not give cannot be fed."""
    proto = onnx.load_from_string(tiny.artefact())
    proto.graph.input.append(onnx.helper.make_tensor_value_info("news", onnx.TensorProto.FLOAT, ["n", 1]))
    model = proto.SerializeToString()

    with pytest.raises(CardRejected, match="unknown inputs: news"):
        check(tiny.write(tmp_path, model, tiny.card_of(model)))


def test_a_graph_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dry run has a time limit."""
    monkeypatch.setattr(gate, "_DRY_RUN_S", 0.3)
    model = endless()

    with pytest.raises(CardRejected) as caught:
        check(tiny.write(tmp_path, model, tiny.card_of(model)))
    assert caught.value.field == "dry_run"


def test_one_bad_model_does_not_hide_the_others(tmp_path: Path) -> None:
    """A repository gives what is good, and says why the rest is not."""
    model = tiny.artefact()
    tiny.write(tmp_path, model, tiny.card_of(model))
    (tmp_path / "bad" / "1").mkdir(parents=True)
    (tmp_path / "bad" / "1" / "card.yaml").write_text("{}")

    repository = load_cards(tmp_path)

    assert [card.name for card in repository.cards] == ["tiny"]
    assert list(repository.rejected) == ["bad/1"]


def test_the_shipped_models_pass() -> None:
    """Every model in the repository passes the gate and answers all levels; naive is there as the control."""
    repository = load_cards(Path(__file__).parents[3] / "model_repository")

    assert repository.rejected == {}
    by_name = {card.name: card for card in repository.cards}
    assert {"naive", "reversal", "ridge", "logit", "mlp", "lightgbm", "gru-reservoir"} <= set(by_name)
    assert {(card.contract.bar_ms, card.contract.horizon_ms) for card in repository.cards} == {
        (10_000, 60_000)
    }
    for card in repository.cards:
        for item in card.evidence:
            assert set(item.coverage) == {f"{level:.2f}" for level in INTERVAL_LEVELS}
            assert all(share.lower <= share.value <= share.upper for share in item.coverage.values())


def test_an_answer_that_depends_on_the_thread_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica calls a session from several threads; the same call must come to the same there."""
    raw = Session.raw

    def unsteady(self: Session, *arguments: Any, **options: Any) -> RawOutputs:
        found = raw(self, *arguments, **options)
        moved = threading.current_thread() is not threading.main_thread()
        return replace(found, location=found.location + np.float32(moved))

    monkeypatch.setattr(Session, "raw", unsteady)
    model = tiny.artefact()

    with pytest.raises(CardRejected) as caught:
        check(tiny.write(tmp_path, model, tiny.card_of(model)))
    assert caught.value.field == "determinism"
