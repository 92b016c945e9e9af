"""What is written down of every change and every refusal, and what vouches for it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from models.base import Frozen


class Outcome(StrEnum):
    """Whether what was asked was done."""

    DONE = "done"
    DENIED = "denied"


class AuditEntry(Frozen):
    """Who (`actor`, a user id) did or was denied what (`action`, as `users.create`) to which object.

    `details` hold what changed, never a secret.
    """

    actor: str
    action: str
    object: str
    outcome: Outcome = Outcome.DONE
    at_ns: int
    details: dict[str, Any] = Field(default_factory=dict)


class AuditRecord(AuditEntry):
    """An entry as it stands in its tenant's log. `hash`, in hex, covers it and all that was before."""

    tenant_id: str
    sequence: int
    hash: str


class Denial(Frozen):
    """What a user was denied (`action`, `object`), how often, and when first; `user_id` is empty for several
    users together.
    """

    user_id: Annotated[str, Field(max_length=256)]
    action: Annotated[str, Field(min_length=1, max_length=128)]
    object: Annotated[str, Field(max_length=512)]
    at_ns: Annotated[int, Field(ge=0, lt=2**63)]
    times: Annotated[int, Field(gt=0, lt=2**53)]


class DenialReport(Frozen):
    """What a process of the data plane denied people of a tenant; value of `hub.denials`.

    `source` is one start of one process, and `sequence` grows by one with each of its reports on any tenant:
    a report that comes again is the same report.
    """

    schema_: Literal["hub.denials/1"] = Field("hub.denials/1", alias="schema")
    source: Annotated[str, Field(pattern=r"^[^\x00]{1,128}$")]
    sequence: Annotated[int, Field(gt=0, lt=2**53)]
    tenant_id: Annotated[str, Field(pattern=r"^[^\x00]{1,256}$")]
    denials: Annotated[tuple[Denial, ...], Field(min_length=1, max_length=500)]


class HeadKind(StrEnum):
    """`head`: so far the log had come. `cut`: up to here it may be gone, by the rule of retention."""

    HEAD = "head"
    CUT = "cut"


class SignedHead(Frozen):
    """The hub's word that a tenant's log had this hash at this sequence; value of `hub.audit_heads`.

    `signature` is Ed25519, in hex, by the key whose id is `kid` (`storage/audit_signature.py`).
    """

    schema_: Literal["hub.audit-head/1"] = Field("hub.audit-head/1", alias="schema")
    kind: HeadKind = HeadKind.HEAD
    tenant_id: str
    sequence: int
    hash: str
    at_ns: int
    kid: str
    signature: str


class Fault(StrEnum):
    """What is wrong with a log.

    `altered`: an entry is not what its hash says, or is not the one that was here. `missing`: entries that
    were here are not. `truncated`: the log ends before what was signed. `rewritten`: another history than
    what was signed. `forked`: two histories were signed. `head`: the row that the next entry follows is not
    the last entry. `forged`: a signature that is not the hub's.
    """

    ALTERED = "altered"
    MISSING = "missing"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"
    FORKED = "forked"
    HEAD = "head"
    FORGED = "forged"


class Finding(Frozen):
    """One thing that is wrong, where, and in words."""

    tenant_id: str
    sequence: int
    fault: Fault
    says: str


class AuditReport(Frozen):
    """What a check of logs came to. `signed` counts the signed heads that were held against them; nothing
    vouches for the entries after the last of these, `unsigned`, but the chain itself.
    """

    tenants: int
    entries: int
    signed: int
    unsigned: int
    faults: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        return self.faults == 0
