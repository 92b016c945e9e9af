"""From ticks to a repository that passes the registry's gate; your own model by the documented way."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from inference import warm
from inference.check import check, load_cards
from models.card import ModelStatus
from serve_app.commands import models as commands
from tests.unit.training.synthetic import PLAN
from training import __main__ as training
from training import adopt
from training.heads.base import Head
from training.heads.controls import Naive, Reversal
from training.heads.linear import RidgeHead
from training.heads.mlp import MlpHead
from training.measure import Yardstick
from training.report import markdown
from training.train import train_all

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _short_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency figures are of no interest here."""
    monkeypatch.setattr(warm, "THOROUGH", warm.QUICK)
    monkeypatch.setattr(warm, "_ROWS", (1, 64))


def test_training_writes_models_that_pass_the_gate(yardstick: Yardstick, tmp_path: Path) -> None:
    """Cards, artefacts and the report of a small run; the control comes first, ballast is marked."""
    heads: list[Head] = [Naive(), Reversal(), RidgeHead(), MlpHead(1)]
    steps: list[str] = []

    carded = train_all(heads, yardstick, seed=1, on_step=steps.append)
    for model in carded:
        model.write(tmp_path)
    report = markdown([model.card for model in carded], PLAN)

    repository = load_cards(tmp_path)
    assert repository.rejected == {}
    assert sorted(card.name for card in repository.cards) == ["mlp", "naive", "reversal", "ridge"]
    assert all(model.card in repository.cards for model in carded)
    assert len(steps) == 2 * len(heads)
    naive = carded[0].card.evidence_for("*")
    assert (naive.skill.value, naive.skill.upper, naive.direction_accuracy.value) == (0, 0, 0.5)
    assert all(model.card.status is ModelStatus.LIVE for model in carded[:3])
    assert report.index("| naive |") < report.index("| ridge |")


def test_your_own_model_by_the_documented_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of docs/your-own-model.md give a model that the registry accepts."""
    make, adopt_it = (shlex.split(line) for line in _commands(ROOT / "docs" / "your-own-model.md"))
    assert (make[0], adopt_it[:3]) == ("python", ["python", "-m", "training.adopt"])
    monkeypatch.chdir(ROOT)
    made = tmp_path / make[-1]

    subprocess.run([sys.executable, make[1], str(made)], check=True, timeout=60)
    adopt.main([str(made), *adopt_it[4:], "--out", str(tmp_path)])

    card = check(tmp_path / "my-model" / "1")
    assert card.status is ModelStatus.LIVE
    assert [item.instrument for item in card.evidence] == ["*", "EURUSD", "NZDUSD"]
    assert 0.8 < card.evidence_for("*").coverage["0.95"].value < 1


def _commands(document: Path) -> list[str]:
    blocks = document.read_text(encoding="utf-8").split("```sh\n")[1:]
    return [block.split("```")[0].strip() for block in blocks]


def test_a_newer_version_by_the_documented_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each time the next version, of what was asked for alone, learned and tested on what came since; the hub
    gets it if that is asked for.
    """
    brought: list[Path] = []
    monkeypatch.setattr(commands, "add", brought.append)
    monkeypatch.chdir(ROOT)
    options = "--data examples/data --plan examples/your_own_model/plan.yaml"
    arguments = [*options.split(), "--out", str(tmp_path), "--since", "2014-05-02T12:10"]

    training.main(arguments)
    training.main([*arguments, "--only", "ridge", "reversal", "--register"])

    found = {str(path.relative_to(tmp_path).parent) for path in tmp_path.glob("*/*/card.yaml")}
    assert found == {"ridge/1", "ridge/2", "reversal/2"}
    card = check(tmp_path / "ridge" / "2")
    assert card.trained["train"].startswith("2014-05-02 12:10")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in brought) == ["reversal/2", "ridge/2"]
    assert "1 models written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--since", "2014-05-02T15:00"], "too short"),
        (
            ["--since", "2014-05-01T00:00"],
            "^bad_value: the train part, 2014-05-01 00:00 to .*, has no window: .*",
        ),
        (["--since", "2014-05-02T12:10", "--only", "oracle"], "there is no model oracle"),
    ],
)
def test_what_cannot_be_trained_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], word: str
) -> None:
    """In one line, and nothing is written."""
    monkeypatch.chdir(ROOT)
    plan = "--data examples/data --plan examples/your_own_model/plan.yaml"
    with pytest.raises(SystemExit, match=word) as ended:
        training.main([*plan.split(), "--out", str(tmp_path), *options])

    assert "\n" not in str(ended.value)
    assert list(tmp_path.iterdir()) == []
