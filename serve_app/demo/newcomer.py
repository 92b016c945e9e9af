"""The newcomer of `hub demo`: the most skilful model is missing at first, comes while ticks are played, and
earns its picks like any other.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.errors import HubError
from models.principal import Tier
from serve_app.access import local_token, principal_of
from serve_app.client import HubClient
from serve_app.demo.table import View
from serve_app.local_tenants import LOCAL_TENANT
from serve_app.model_upload import upload_of
from serve_app.runfile import recall
from serve_app.settings import ROOT, PoolSettings

NAME: Final = "ridge"
MODEL: Final = f"{NAME}@1"
_DIRECTORY: Final = ROOT / "model_repository" / NAME / "1"


@dataclass(frozen=True, slots=True)
class Newcomer:
    """How long it took from the upload until the model was live, or why it never was."""

    took_s: float
    trouble: str = ""


def without_it(directory: Path, pools: Sequence[PoolSettings]) -> dict[str, Any]:
    """Settings for a hub that does not have the newcomer: a copy of the repository, and pools that do not ask
    for it.
    """
    copy = directory / "repository"
    shutil.copytree(_DIRECTORY.parents[1], copy, ignore=shutil.ignore_patterns(NAME))
    return {"repository": str(copy), "pools": [_without(pool).model_dump() for pool in pools]}


async def comes(view: View, seconds: float) -> Newcomer:
    """After a third of the playback: register and promote the model, as `hub models` does."""
    await asyncio.sleep(seconds / 3)
    view.newcomer = f"{MODEL} is being added while everything runs"
    began = time.monotonic()
    try:
        await asyncio.to_thread(_add)
    except HubError as error:
        view.newcomer = f"{MODEL} could not be added: {error.message}"
        return Newcomer(time.monotonic() - began, error.message)
    took_s = time.monotonic() - began
    view.newcomer = f"{MODEL} was added in {took_s:.1f} s: watch it earn picks"
    return Newcomer(took_s)


def newcomer_lines(newcomer: Newcomer | None, picks: dict[str, dict[str, int]]) -> list[str]:
    """What became of it, as people read it; `picks` are those of the whole run."""
    if newcomer is None:
        return [f"playback ended before {MODEL} was there"]
    if newcomer.trouble:
        return [f"{MODEL} could not be added: {newcomer.trouble}"]
    earned = sum(picks.get(NAME, {}).values())
    every = sum(sum(replicas.values()) for replicas in picks.values())
    return [
        (
            f"{MODEL}, the most skilful of the bundled models, was missing at first. After a third of the "
            "playback it was uploaded, looked at in a process that can do nothing else, measured, signed, "
            f"announced and promoted: {newcomer.took_s:.1f} s."
        ),
        f"picks it has earned since, of {every:,} in the whole run: {earned:,}",
    ]


def _without(pool: PoolSettings) -> PoolSettings:
    if pool.models == "*":
        return pool
    return pool.model_copy(update={"models": tuple(name for name in pool.models if name != NAME)})


def _add() -> None:
    principal = principal_of("operator", tenant=LOCAL_TENANT, tier=Tier.ENTERPRISE, admin=True)
    address = recall()
    with HubClient(address.url, local_token(address, principal)) as hub:
        hub.call("POST", "/api/v1/models", body=upload_of(_DIRECTORY))
        path = f"/api/v1/models/{MODEL.replace('@', '/')}/promote"
        hub.call("POST", path, body={"reason": "the demo"})
