"""What a client may ask: the typed form and the founding words, both parsed to one `Ask`."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from models.base import Frozen
from models.card import NAMED_MODEL
from models.errors import BadValue
from models.task import DataSize

_FOUNDING: Final = {
    "model_type": "task",
    "latency_requirement": "max_latency_ms",
    "accuracy_requirement": "min_accuracy",
}
_LATENCY: Final = re.compile(r"^\s*<=?\s*(\d+(?:\.\d+)?)\s*(ms|s)\s*$")
_ACCURACY: Final = re.compile(r"^\s*>=?\s*(\d+(?:\.\d+)?)\s*%\s*$")


class Priority(StrEnum):
    """What goes first where not everything can: `critical` before `bulk`."""

    CRITICAL = "critical"
    BULK = "bulk"


class Ask(Frozen):
    """A request for a task. Founding words (`model_type`, `latency_requirement: "< 100ms"`,
    `accuracy_requirement: "> 95%"`) are accepted beside the typed form, never mixed for one field.

    `min_accuracy` is measured interval coverage as a share (0.95), not direction accuracy. `model` names one
    to answer: by `name`, or by `name@version`, which also reaches versions that are not live.
    """

    task: str
    data_size: DataSize = DataSize.SMALL
    max_latency_ms: Annotated[float, Field(gt=0, le=60_000)] = 1000.0
    min_accuracy: Annotated[float, Field(gt=0, lt=1)] | None = None
    routing_strategy: str = "balanced"
    symbol: str | None = None
    bar_ms: Annotated[int, Field(gt=0)] | None = None
    horizon_ms: Annotated[int, Field(gt=0)] | None = None
    model: Annotated[str, Field(pattern=NAMED_MODEL)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_founding_words(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        words = dict(data)
        for founding, typed in _FOUNDING.items():
            if founding in words:
                if typed in words:
                    raise BadValue(f"{founding} and {typed} say the same thing; send one", field=founding)
                words[typed] = _typed(founding, words.pop(founding))
        return words


class Inputs(Frozen):
    """Tensors by value, row-major: `window` [n][256] log returns, `context` [n][k] features."""

    window: list[list[float]]
    context: list[list[float]]


class InferAsk(Ask):
    """An ask with its inputs, or with a `symbol` for which the hub holds bars."""

    inputs: Inputs | None = None


def _typed(word: str, value: Any) -> Any:
    if word == "latency_requirement":
        return parse_latency_ms(value)
    return parse_accuracy(value) if word == "accuracy_requirement" else value


def parse_latency_ms(text: Any) -> float:
    """Milliseconds of `"< 100ms"` or `"<= 2 s"`."""
    match = _LATENCY.match(text) if isinstance(text, str) else None
    if not match:
        raise BadValue(
            f'latency_requirement was {text!r:.40}; expected for example "< 100ms"',
            field="latency_requirement",
        )
    return float(match[1]) * (1000.0 if match[2] == "s" else 1.0)


def parse_accuracy(text: Any) -> float:
    """Share of `"> 95%"`."""
    match = _ACCURACY.match(text) if isinstance(text, str) else None
    if not match or not 0 < float(match[1]) < 100:
        raise BadValue(
            f'accuracy_requirement was {text!r:.40}; expected for example "> 95%"',
            field="accuracy_requirement",
        )
    return float(match[1]) / 100.0


class Requirements(Frozen):
    """What must hold for an answer: an `Ask` plus identity, rows and the absolute deadline.

    All `instruments` (empty: any) must be served, and the accuracy must hold for each of them; there is one
    for all rows, or one for each. With `canary` models on trial may answer, and no others. Under overload
    `priority` says what goes first, and tenants get equal turns; the hub's own calls are critical.
    """

    task: str
    rows: int
    data_size: DataSize
    deadline_ns: int
    min_accuracy: float | None = None
    profile: str = "balanced"
    instruments: tuple[str, ...] = ()
    bar_ms: int | None = None
    horizon_ms: int | None = None
    model: str | None = None
    canary: bool = False
    tier: str = "service"
    tenant: str = ""
    priority: Priority = Priority.CRITICAL

    @classmethod
    def of(cls, ask: Ask, *, rows: int | None, tier: str, now_ns: int, tenant: str = "") -> Requirements:
        """Requirements of an ask that arrived now; without inputs the size's maximum stands for the rows."""
        limit = ask.data_size.max_rows
        if rows is not None and rows > limit:
            raise BadValue(
                f"inputs hold {rows} windows, but data_size {ask.data_size.value} allows {limit}",
                field="data_size",
            )
        return cls(
            task=ask.task,
            rows=rows or limit,
            data_size=ask.data_size,
            deadline_ns=now_ns + int(ask.max_latency_ms * 1e6),
            min_accuracy=ask.min_accuracy,
            profile=ask.routing_strategy,
            instruments=(ask.symbol,) if ask.symbol else (),
            bar_ms=ask.bar_ms,
            horizon_ms=ask.horizon_ms,
            model=ask.model,
            tier=tier,
            tenant=tenant,
            priority=Priority.CRITICAL if tier == "service" else Priority.BULK,
        )
