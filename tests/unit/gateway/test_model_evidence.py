"""`GET /api/v1/models/{name}/evidence`, and live evidence in the lists of models."""

from __future__ import annotations

from models.evidence import ModelEvidence
from models.promises import EvidencePage
from tests.support.live_evidence import bounded, observed, seen_on, stretch
from tests.unit.gateway.doubles import TestHub

BROKEN = seen_on("EURUSD", coverage={"0.90": bounded(0.85, 0.82, 0.88)})
LIVE = observed(
    instruments=(seen_on(), BROKEN), history=(stretch(0, coverage_90=0.9, coverage_95=0.94, skill=0.02),)
)


async def test_every_version_is_held_against_its_card(hub: TestHub) -> None:
    """What was promised, what was observed as it is, and the verdicts."""
    hub.router.catalogue.evidence = {"ridge@1": LIVE}
    answer = await hub.client.get("/api/v1/models/ridge/evidence", headers=hub.auth())
    first, second = answer.json()["versions"]

    assert (answer.status_code, first["version"], second["version"]) == (200, "1", "2")
    assert ModelEvidence.model_validate(first["observed"]) == LIVE
    assert first["promised"][0]["coverage"]["0.90"]["n"] == 1000
    assert (first["status"], first["calibration"], first["horizon_ms"]) == ("live", "1", 60_000)
    pooled, euro = first["comparison"]
    assert (pooled["instrument"], euro["instrument"], euro["card_instrument"]) == ("*", "EURUSD", "*")
    assert {level["verdict"] for level in pooled["levels"]} == {"kept"}
    assert [level["promised"] for level in euro["levels"] if level["verdict"] == "broken"] == [0.90]


async def test_nothing_observed_is_said_so(hub: TestHub) -> None:
    """Null, verdicts not yet known, and no cursor."""
    answer = (await hub.client.get("/api/v1/models/ridge/evidence", headers=hub.auth())).json()

    assert (answer["catalogue_version"], answer["evidence_cursor"]) == (7, -1)
    assert [version["observed"] for version in answer["versions"]] == [None, None]
    said = [level["verdict"] for level in answer["versions"][0]["comparison"][0]["levels"]]
    assert set(said) == {"not yet known"}


async def test_a_client_reads_what_the_gateway_wrote(hub: TestHub) -> None:
    """Nothing is lost on the way, and the cursor is the highest of all models."""
    hub.router.catalogue.evidence = {"ridge@1": LIVE, "naive@1": observed("naive", cursor=900)}
    answer = await hub.client.get("/api/v1/models/ridge/evidence", headers=hub.auth())
    page = EvidencePage.model_validate(answer.json())

    assert (page.evidence_cursor, page.versions[0].observed) == (900, LIVE)


async def test_evidence_of_an_unknown_model_is_not_found(hub: TestHub) -> None:
    """The same problem as its neighbours give."""
    evidence = await hub.client.get("/api/v1/models/none/evidence", headers=hub.auth())
    versions = await hub.client.get("/api/v1/models/none", headers=hub.auth())

    assert (evidence.status_code, evidence.json()["code"]) == (404, "not_found")
    assert evidence.content == versions.content


async def test_lists_hold_what_was_observed(hub: TestHub) -> None:
    """By version, where there is some; of one model only its own."""
    few = observed("naive", instruments=())
    hub.router.catalogue.evidence = {"ridge@1": LIVE, "naive@1": few}
    everything = (await hub.client.get("/api/v1/models", headers=hub.auth())).json()["observed"]
    naive = (await hub.client.get("/api/v1/models/naive", headers=hub.auth())).json()["observed"]

    assert (list(everything), naive) == (["ridge@1"], {})
    assert [item["instrument"] for item in everything["ridge@1"]] == ["*", "EURUSD"]
