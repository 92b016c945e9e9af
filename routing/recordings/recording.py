"""A recording: what a gateway was asked, what it knew and what it decided, one JSON value a line.

    header       format, gateway, profiles and load configuration
    base         the load table's beliefs when recording began
    catalogue    the model cards, again whenever they changed
    replicas, sent, finished, unreachable, looked     every change of the load table
    decided      one request with its randomness, and apart from it what was chosen or refused
    end          why the recording stopped

A recording that was cut off is a valid one up to its last whole line. Numbers survive exactly: JSON holds the
shortest decimal that reads back as the same float, and what is not finite as a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from heapq import heappush, heappushpop
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from models.card import ModelCard
from models.decision import Decision
from models.errors import Malformed
from models.evidence import ModelEvidence
from models.request import Requirements
from routing.beliefs.changes import Change, Finished, Looked, ReplicasUpdated, Sent, Unreachable
from routing.catalogue import Catalogue
from routing.load import LoadConfig

FORMAT: Final = "central-hub-recording"
VERSION: Final = 4
WINDOW: Final = 1024
"""How many lines a decision may stand behind the change it was made before: threads write as they come."""
_EXPLANATION: Final = {"filters", "shortlist"}


@dataclass(frozen=True, slots=True)
class Header:
    """What the recording is of. `profiles` is the YAML that the gateway decided with."""

    gateway: str
    began_ns: int
    profiles: str
    load: LoadConfig
    format: Literal["central-hub-recording"] = FORMAT
    version: int = VERSION
    kind: Literal["header"] = "header"


@dataclass(frozen=True, slots=True)
class Base:
    """What `LoadTable.export` said when recording began."""

    table: dict[str, Any]
    kind: Literal["base"] = "base"


@dataclass(frozen=True, slots=True)
class Cards:
    """A catalogue; decisions refer to it by `number`. Without the models that are in quarantine."""

    number: int
    version: int
    entitlements: dict[str, list[str]] | None
    cards: list[ModelCard]
    evidence: list[ModelEvidence]
    kind: Literal["catalogue"] = "catalogue"

    @classmethod
    def of(cls, catalogue: Catalogue, number: int) -> Cards:
        allowed = catalogue.entitlements
        return cls(
            number,
            catalogue.version,
            None if allowed is None else {tier: sorted(models) for tier, models in allowed.items()},
            list(catalogue.cards),
            [item.model_copy(update={"history": ()}) for item in catalogue.evidence.values()],
        )

    def catalogue(self) -> Catalogue:
        allowed = self.entitlements
        return Catalogue.of(
            self.cards,
            version=self.version,
            evidence={item.model: item for item in self.evidence},
            entitlements=None if allowed is None else {tier: frozenset(m) for tier, m in allowed.items()},
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the engine got it: after how many of the recording's changes, on which catalogue, and the
    randomness it drew (both empty where nothing was chosen).
    """

    after: int
    catalogue: int
    now_ns: int
    attempt: int
    exclude: list[str]
    wanted: Requirements
    seed: int = 0
    decision_id: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What came of it: the decision with its explanation as a hash, or the code of a refusal."""

    decision: dict[str, Any] | None
    explanation: str = ""
    refused: str = ""

    @classmethod
    def of(cls, decision: Decision) -> Choice:
        explanation = decision.model_dump_json(include=_EXPLANATION).encode()
        chosen = decision.model_dump(mode="json", exclude=_EXPLANATION)
        return cls(chosen, blake2b(explanation, digest_size=16).hexdigest())


@dataclass(frozen=True, slots=True)
class Decided:
    """One request and what came of it, apart: replay decides on `asked` alone."""

    asked: Asked
    choice: Choice
    kind: Literal["decided"] = "decided"


@dataclass(frozen=True, slots=True)
class Made:
    """A decision not rendered yet: rendering takes longer than deciding, and can wait."""

    asked: Asked
    decision: Decision

    def line(self) -> Decided:
        return Decided(self.asked, Choice.of(self.decision))


@dataclass(frozen=True, slots=True)
class End:
    """Why nothing follows."""

    reason: str
    kind: Literal["end"] = "end"


Line = Header | Base | Cards | ReplicasUpdated | Sent | Finished | Unreachable | Looked | Decided | End
_LINE: Final[TypeAdapter[Line]] = TypeAdapter(
    Annotated[Line, Field(discriminator="kind")],
    config=ConfigDict(ser_json_inf_nan="strings"),
)


def encode(entry: Line | Made) -> bytes:
    """The entry as a line with its line feed."""
    line = entry.line() if isinstance(entry, Made) else entry
    return _LINE.dump_json(line, by_alias=True) + b"\n"


def decode(lines: Iterable[bytes]) -> Iterator[Line]:
    """The lines, each with the decisions before a change ahead of it; Malformed names the line that is wrong.

    A last line without a line feed was cut off and is passed over.
    """
    numbered = enumerate(lines, start=1)
    yield _header(next(numbered, (1, b""))[1])
    yield from _in_order((number, _parsed(text, number)) for number, text in numbered if text.endswith(b"\n"))


def _header(text: bytes) -> Header:
    try:
        line = _LINE.validate_json(text)
    except ValidationError:
        line = None
    if not isinstance(line, Header):
        raise Malformed("line 1: this is no recording of `hub record`", field="line 1")
    if line.version != VERSION:
        raise Malformed(
            f"line 1: the recording has version {line.version}; this hub reads {VERSION}", field="line 1"
        )
    return line


def _parsed(text: bytes, number: int) -> Line:
    try:
        return _LINE.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the line"
        raise Malformed(f"line {number}: {place}: {first['msg']}", field=f"line {number}") from error


def _in_order(lines: Iterable[tuple[int, Line]]) -> Iterator[Line]:
    """Lines by the number of changes before them. Written by several threads, they are nearly so already."""
    waiting: list[tuple[int, int, int, Line]] = []
    changes = 0
    for number, line in lines:
        if isinstance(line, Base | Cards):
            yield line
            continue
        changes += isinstance(line, Change)
        place = line.asked.after if isinstance(line, Decided) else changes
        entry = (place, not isinstance(line, Change), number, line)
        if len(waiting) < WINDOW:
            heappush(waiting, entry)
        else:
            yield heappushpop(waiting, entry)[3]
    yield from (line for *_, line in sorted(waiting, key=lambda entry: entry[:3]))
