"""What the confined process is told and what it says; its word is checked like anybody else's."""

from __future__ import annotations

from inference.confined.limits import Limits
from models.base import Frozen
from models.card import ModelCard, WarmProfile


class Request(Frozen):
    """What to look at, and within which limits; the artefact follows it."""

    card: ModelCard
    limits: Limits


class Examined(Frozen):
    """What was found out about an artefact that may be used; `cpu_s` is what that took."""

    opset: dict[str, int]
    operators: tuple[str, ...]
    nodes: int
    warm: tuple[WarmProfile, ...]
    cpu_s: float


class Refused(Frozen):
    """Why an artefact may not be used, by the field at fault; `code` is that of the error."""

    code: str
    field: str | None
    message: str


class Verdict(Frozen):
    """One of the two."""

    examined: Examined | None = None
    refused: Refused | None = None
