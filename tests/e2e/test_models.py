"""Models that come, answer, move and go while the hub runs: by command line and HTTP, under load."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.client import HubClient, Refused
from tests.e2e.conftest import UpHub
from tests.support.eventually import eventually
from tests.support.hub_run import REQUEST, asked

pytestmark = pytest.mark.timeout(360)  # the first test starts the hub

NAME = "reversal"


def a_version(directory: Path, version: str, **changes: Any) -> Path:
    """A newer version of a model of the repository, in a directory of its own."""
    new = directory / version
    shutil.copytree(Path("model_repository") / NAME / "1", new)
    card = yaml.safe_load((new / "card.yaml").read_text())
    (new / "card.yaml").write_text(yaml.safe_dump(card | {"version": version} | changes))
    return new


def answered_by(client: HubClient, model: str) -> str:
    """Which version answers who names this."""
    answer = client.call("POST", "/api/v1/infer", body=REQUEST | {"model": model})
    return f"{answer['lineage']['model']}@{answer['lineage']['version']}"


def status(client: HubClient) -> dict[str, str]:
    """Every version of the model and its status."""
    found = client.call("GET", f"/api/v1/models/{NAME}")
    return {card["version"]: card["status"] for card in found["models"]}


async def test_a_model_comes_answers_is_promoted_rolled_back_and_retired(hub: UpHub, tmp_path: Path) -> None:
    """And none of those who ask meanwhile is refused."""
    async with asked(hub) as load:
        added = hub.command("models", "add", str(a_version(tmp_path, "2")))
        with hub.client("modeller", admin=True) as client:
            by_name = answered_by(client, NAME), answered_by(client, f"{NAME}@2")
            promoted = hub.command("models", "promote", f"{NAME}@2", "--reason", "it is better")
            await eventually(lambda: status(client) == {"1": "demoted", "2": "live"})
            after = answered_by(client, NAME)
            back = hub.command("models", "rollback", NAME, "--reason", "it is not")
            await eventually(lambda: status(client) == {"1": "live", "2": "demoted"})
            gone = hub.command("models", "retire", f"{NAME}@2", "--reason", "enough")
            await eventually(lambda: status(client) == {"1": "live"})
            with pytest.raises(Refused):
                answered_by(client, f"{NAME}@2")

    assert [one.returncode for one in (added, promoted, back, gone)] == [0] * 4, added.stderr + gone.stderr
    assert "is a candidate" in added.stdout
    assert by_name == (f"{NAME}@1", f"{NAME}@2")
    assert after == f"{NAME}@2"
    assert [one.refusal for one in load.answers if one.refusal] == []


def test_what_is_wrong_is_refused_by_name_and_leaves_nothing(hub: UpHub, tmp_path: Path) -> None:
    """A changed file, another one under a known version, a user who is no admin, a file that is no model."""
    good = a_version(tmp_path, "3")
    changed = a_version(tmp_path, "4")
    artefact = changed / "model.onnx"
    artefact.write_bytes(artefact.read_bytes()[:-1] + b"x")
    noise = a_version(tmp_path, "5")
    (noise / "model.onnx").write_bytes(b"not a model at all")
    card = yaml.safe_load((noise / "card.yaml").read_text())
    card.pop("sha256")
    (noise / "card.yaml").write_text(yaml.safe_dump(card))

    first, again = (hub.command("models", "add", str(good)) for _ in range(2))
    other = a_version(tmp_path / "other", "3")
    shutil.copy(Path("model_repository/naive/1/model.onnx"), other / "model.onnx")
    card = yaml.safe_load((other / "card.yaml").read_text())
    card.pop("sha256")
    (other / "card.yaml").write_text(yaml.safe_dump(card))
    refused = {
        "sha256": hub.command("models", "add", str(changed)),
        "artefact": hub.command("models", "add", str(noise)),
        "already_registered": hub.command("models", "add", str(other)),
        "403": hub.command("models", "add", str(good), "--token", hub.token("e2e-nobody")),
        "model.onnx is missing": hub.command("models", "add", str(tmp_path)),
        "--card": hub.command("models", "add", str(good / "model.onnx")),
    }

    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    for word, one in refused.items():
        assert (one.returncode, word in one.stderr) == (2, True), (word, one.stderr)
    with hub.client("modeller") as client:
        assert set(status(client)) == {"1", "3"}


def test_a_model_without_evidence_is_unmeasured_and_never_chosen_for_its_accuracy(
    hub: UpHub, tmp_path: Path
) -> None:
    """It answers whoever names it; a request for measured accuracy passes it by."""
    new = a_version(tmp_path, "6", evidence=[])
    body = {
        "card": yaml.safe_load((new / "card.yaml").read_text()),
        "artefact": base64.b64encode((new / "model.onnx").read_bytes()).decode(),
    }
    with hub.client("modeller", admin=True) as client:
        client.call("POST", "/api/v1/models", body=body)
        listed = hub.command("models", "show", NAME)
        demanding = REQUEST | {"model": f"{NAME}@6", "min_accuracy": 0.5}
        with pytest.raises(Refused) as refused:
            client.call("POST", "/api/v1/infer", body=demanding)

    assert "unmeasured" in listed.stdout
    assert "no_model_matches" in refused.value.message
