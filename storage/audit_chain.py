r"""The hash chain of a tenant's audit log: how an entry is written, and whether a log is what it was.

    content = JSON array [tenant, at_ns, actor, action, object, outcome, details], UTF-8, no spaces
    hash(n) = SHA-256("central-hub audit entry 1\n" + hash(n-1) + n as 8 bytes, big-endian + content)
    hash(0) = SHA-256("central-hub audit log 1\n" + tenant)

`details` is a string in the array: the JSON of the details, names sorted, kept as it was hashed. Strings are
escaped as RFC 8785 has it, so Python's own `json` gives the same bytes. The database makes the hash when it
gives the sequence (`storage/postgres/audit.py`); here it is made a second time, to check.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson

from models.audit import AuditEntry, Fault, Finding, SignedHead
from models.base import Frozen

ENTRY_DOMAIN: Final = b"central-hub audit entry 1\n"
LOG_DOMAIN: Final = b"central-hub audit log 1\n"
MOST_DETAILS: Final = 16_384
"""Bytes of details that are kept; of larger ones their size and hash are."""
MOST_TEXT: Final = 512
"""Characters of actor, action and object."""
MOST_LISTED: Final = 1_000
_LENGTH: Final = 8

Row = Sequence[Any]
"""sequence, at_ns, actor, action, object, outcome, details, hash."""


class Anchor(NamedTuple):
    """A place in a log: a sequence and the hash there."""

    sequence: int
    hash: bytes


class Written(NamedTuple):
    """An entry as it is kept: texts that any database takes, and what is hashed."""

    actor: str
    action: str
    object: str
    details: str
    content: bytes


def origin(tenant_id: str) -> Anchor:
    """What the first entry of a tenant follows."""
    return Anchor(0, sha256(LOG_DOMAIN + tenant_id.encode()).digest())


def written(tenant_id: str, entry: AuditEntry) -> Written:
    """The entry as it is kept. Callers name objects freely, so what no database takes is replaced."""
    actor, action, what = (_plain(text) for text in (entry.actor, entry.action, entry.object))
    details = _details(entry.details)
    content = orjson.dumps([tenant_id, entry.at_ns, actor, action, what, entry.outcome.value, details])
    return Written(actor, action, what, details, content)


def link(previous: bytes, sequence: int, content: bytes) -> bytes:
    """The hash of an entry that follows `previous`."""
    return sha256(b"".join((ENTRY_DOMAIN, previous, sequence.to_bytes(_LENGTH), content))).digest()


class ChainCheck:
    """Reads one tenant's log from `start`, in order, and finds what is wrong with it.

    `signed` are heads of this tenant whose signatures are good. Take rows, then `end` with what the row of
    heads says. `last` is how far it has read.
    """

    def __init__(self, tenant_id: str, start: Anchor, signed: Iterable[SignedHead] = ()) -> None:
        self._tenant_id = tenant_id
        self.last = start.sequence
        self._hash: bytes | None = start.hash
        self._signed = _by_sequence(signed)
        self._vouched = 0
        self._broken = False
        self.entries = 0
        self.faults = 0
        self.findings: list[Finding] = []
        self._forks()
        self._hold(start.sequence, start.hash)

    @property
    def signed(self) -> int:
        """How many places of the log a signature vouches for."""
        return len(self._signed)

    @property
    def unsigned(self) -> int:
        """How many entries come after the last of them."""
        return max(0, self.last - self._vouched)

    def take(self, rows: Sequence[Row]) -> None:
        """The next entries."""
        tenant, signed, dumps = self._tenant_id, self._signed, orjson.dumps
        last, previous = self.last, self._hash
        for sequence, at_ns, actor, action, what, outcome, details, stored in rows:
            if sequence != last + 1:
                self._out_of_step(last, sequence)
                previous = None
            content = dumps([tenant, at_ns, actor, action, what, outcome, details])
            if previous is not None and link(previous, sequence, content) != stored:
                self._altered(sequence)
            last, previous = sequence, stored
            if sequence in signed:
                self._hold(sequence, stored)
        self.entries += len(rows)
        self.last, self._hash = last, previous

    def end(self, head: Anchor | None) -> None:
        """There are no more entries; `head` is what the next one would follow."""
        beyond = [sequence for sequence in self._signed if sequence > self.last]
        if beyond:
            says = f"the log ends at {self.last}, and {max(beyond)} was signed"
            self._found(Fault.TRUNCATED, self.last + 1, says)
        if head and head != (self.last, self._hash):
            says = f"the next entry would follow {head.sequence}, the last one is {self.last}"
            self._found(Fault.HEAD, self.last, says)
        if head is None and self.entries:
            self._found(Fault.HEAD, self.last, "there are entries and no head")

    def _hold(self, sequence: int, found: bytes) -> None:
        """Hold the hash at a place against what was signed there."""
        for head in self._signed.get(sequence, ())[:1]:
            if head.hash == found.hex():
                self._vouched = sequence
            elif not self._broken:
                self._broken = True
                says = f"another history than the one signed at {sequence}; {self._vouched} was still right"
                self._found(Fault.REWRITTEN, sequence, says)

    def _forks(self) -> None:
        for sequence, heads in self._signed.items():
            if len({head.hash for head in heads}) > 1:
                self._found(Fault.FORKED, sequence, f"two histories were signed at {sequence}")

    def _out_of_step(self, last: int, sequence: int) -> None:
        if sequence > last:
            self._found(Fault.MISSING, last + 1, f"entries {last + 1} to {sequence - 1} are missing")
        else:
            self._found(Fault.FORKED, sequence, f"entry {sequence} is there more than once")

    def _altered(self, sequence: int) -> None:
        says = f"entry {sequence} is not what was written here after {sequence - 1}"
        self._found(Fault.ALTERED, sequence, says)

    def _found(self, fault: Fault, sequence: int, says: str) -> None:
        self.faults += 1
        if len(self.findings) < MOST_LISTED:
            self.findings.append(
                Finding(tenant_id=self._tenant_id, sequence=sequence, fault=fault, says=says)
            )


def _by_sequence(signed: Iterable[SignedHead]) -> dict[int, list[SignedHead]]:
    found: dict[int, list[SignedHead]] = {}
    for head in signed:
        found.setdefault(head.sequence, []).append(head)
    return found


def _plain(text: str) -> str:
    kept = text.encode("utf-8", "replace").decode()
    return kept.replace("\x00", "\N{REPLACEMENT CHARACTER}")[:MOST_TEXT]


def _details(details: Mapping[str, Any]) -> str:
    try:
        made = orjson.dumps(details, default=_known, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError:  # half a character, or an integer beyond 64 bits: callers can send these
        text = json.dumps(details, default=_known, sort_keys=True, ensure_ascii=False, allow_nan=False)
        made = text.encode("utf-8", "replace")
    if len(made) > MOST_DETAILS:
        made = orjson.dumps({"bytes": len(made), "sha256": sha256(made).hexdigest()})
    return made.decode()


def _known(value: object) -> Any:
    """What orjson does not write by itself."""
    if isinstance(value, Frozen):
        return value.model_dump(mode="json")
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"details of an audit entry hold a {type(value).__name__}; give plain values")
