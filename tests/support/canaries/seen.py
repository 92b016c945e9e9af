"""What came back to the tenants' people, and whatever of it was somebody else's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx2

from tests.support.canaries.resident import MODELS, Resident

_SAME = 1e-3
"""A forecast made in a batch differs from one made alone by rounding: far less than this share of what lies
between two tenants' forecasts."""


class Seen:
    """Answers and frames, looked through as they come."""

    def __init__(self, residents: Sequence[Resident]) -> None:
        self.canaries = re.compile("|".join(word for one in residents for word in (one.canary, one.digits)))
        self.statuses = Counter[str]()
        self.own = Counter[str]()
        self.foreign: list[tuple[str, str]] = []
        self._alone: dict[str, dict[str, float]] = {model: {} for model in MODELS}

    def forecast_alone(self, who: Resident, model: str, answer: httpx2.Response) -> None:
        """Keep what the model says of the tenant's own features while nobody else asks."""
        assert answer.is_success, answer.text
        mine, others = _middle(answer), self._alone[model].values()
        assert mine not in others, f"{model} cannot tell the tenants' features apart"
        self._alone[model][who.tenant_id] = mine

    def take(self, who: Resident, path: str, answer: httpx2.Response) -> None:
        """Look through one answer, headers and all; a forecast must be that of the caller's features."""
        self.statuses[str(answer.status_code)] += 1
        self._look(who, path, answer.text + str(answer.headers))
        if path.endswith("/infer") and answer.is_success:
            self._look_at_forecast(who, answer)

    def take_frame(self, who: Resident, frame: dict[str, Any]) -> None:
        """Look through a frame of the stream."""
        self._look(who, "/stream", str(frame))
        if "type" not in frame and (frame["tenant_id"], frame["user_id"]) != (who.tenant_id, who.user_id):
            self.foreign.append(("/stream", frame["user_id"]))

    def _look(self, who: Resident, path: str, text: str) -> None:
        found = set(self.canaries.findall(text))
        if who.canary in found:
            self.own[_kind(path)] += 1
        self.foreign += [(path, canary) for canary in found - {who.canary, who.digits}]

    def _look_at_forecast(self, who: Resident, answer: httpx2.Response) -> None:
        alone = self._alone.get(answer.json()["choice"]["model"])
        if alone is None:
            return
        middle = _middle(answer)
        others = min(abs(middle - one) for tenant, one in alone.items() if tenant != who.tenant_id)
        if abs(middle - alone[who.tenant_id]) <= _SAME * others:
            self.own["forecast"] += 1
        else:
            self.foreign.append(("/infer", f"{middle}"))


def _middle(answer: httpx2.Response) -> float:
    return float(answer.json()["forecasts"][0]["q50"])


def _kind(path: str) -> str:
    return next((kind for kind in ("signals", "stream") if kind in path), "answer")
