"""What the demo tells at its end of how good its models were: outcomes of its own forecasts."""

from __future__ import annotations

from collections.abc import Sequence

from models.card import POOLED
from models.errors import HubError
from models.evidence import ModelEvidence
from models.principal import Tier
from models.promises import EvidencePage
from serve_app.access import local_token, principal_of
from serve_app.client import HubClient
from serve_app.local_tenants import LOCAL_TENANT
from serve_app.runfile import recall


def judged_lines() -> list[str]:
    """A line per model that has outcomes; or why there is none. Blocks."""
    address = recall()
    principal = principal_of("operator", tenant=LOCAL_TENANT, tier=Tier.ENTERPRISE)
    try:
        with HubClient(address.url, local_token(address, principal)) as hub:
            found = _observed(hub)
    except HubError as error:
        return [f"the hub did not say how its forecasts did: {error.message}"]
    if not found:
        return ["no horizon has passed yet: play for longer"]
    head = "every forecast, of an answer or beside one, held against the market once its horizon had passed:"
    return [head, *map(_line, found), "more: hub models evidence NAME, in a hub that stays (--keep)"]


def _observed(hub: HubClient) -> Sequence[ModelEvidence]:
    names = sorted({card["name"] for card in hub.call("GET", "/api/v1/models")["models"]})
    answers = [hub.call("GET", f"/api/v1/models/{name}/evidence") for name in names]
    pages = [EvidencePage.model_validate(answer, extra="ignore") for answer in answers]
    return [version.observed for page in pages for version in page.versions if version.observed]


def _line(seen: ModelEvidence) -> str:
    pooled = seen.on(POOLED)
    made = f"{seen.model}: {seen.outcomes:,} outcomes, {seen.answered:,} of them of answers"
    if pooled is None:
        return f"{made}; too few to bound anything{_so_far(seen)}"
    covered = pooled.coverage["0.95"]
    text = (
        f"{made}; 95 % intervals held {covered.value:.1%} (surely {covered.lower:.1%} to {covered.upper:.1%})"
    )
    if pooled.skill is None:
        return f"{text}; the measure of skill"
    return f"{text}; skill {pooled.skill.value:+.3f} (surely above {pooled.skill.lower:+.3f})"


def _so_far(seen: ModelEvidence) -> str:
    """The raw share of its history, in which nothing has faded; the latest outcomes are not in it yet."""
    n = sum(stretch.n for stretch in seen.history)
    if not n:
        return ""
    inside = sum(round(stretch.n * stretch.coverage["0.95"]) for stretch in seen.history)
    return f"; so far 95 % intervals held {inside / n:.1%} of the first {n:,}"
