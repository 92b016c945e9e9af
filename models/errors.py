"""Every error the hub raises on purpose, and the one table that maps them to HTTP.

HubError
+-- InputError                    the caller's data is wrong; never retry as it is
|   +-- UnknownTask | UnknownProfile | UnknownSymbol | UnknownStrategy
|   +-- BadShape | BadValue | TooLarge
|   +-- Malformed                 the body is not what its content type says
+-- AccessError
|   +-- Unauthenticated | Forbidden | NotFound | MethodNotAllowed | RateLimited
|   +-- LoginRefused              an Unauthenticated: who says so cannot log in like this
|   +-- TenantSuspended           a Forbidden: nobody of the tenant gets in
|   +-- Conflict                  it exists already, or is not what the caller thinks it is
|   +-- QuotaExceeded             the tenant has used up what its tier allows
+-- RoutingError                  no answer that keeps the promise
|   +-- NoModelMatches            a requirement removed every model: the error names it and the best available
|   +-- NothingFeasible           models match, none can answer before the deadline
|   +-- DeadlineExpired           the deadline passed before or during the work
|   +-- Shed                      not admitted: more was asked than can be answered in time
|   +-- NoWindow                  the symbol is known, but its bars do not fill a window yet
+-- ReplicaError                  one replica did not answer; the router may decide again
|   +-- TicketRefused | ReplicaBusy | ReplicaLost | InferenceFailed
+-- MessagingError
|   +-- AppendRefused             definite: nothing was written
|   |   +-- AppendNotSent         and the broker has not even seen it
|   |       +-- QueueFull         too much of the tenant's is waiting
|   |   +-- AppendDenied          the broker does not let this principal write there
|   +-- AppendUnknown             the record may or may not be in the log
|   +-- TopicMismatch | StaleWriter | OwnershipLost
|   +-- BrokerUnavailable         no answer in time, or none that helps
|   |   +-- AccessDenied          the broker does not let this principal ask that
+-- StoreUnavailable              what may be lost is away for now; nobody waited for it
+-- DatabaseAway                  what must not be lost cannot be reached
+-- AlreadyRecording              one recording at a time
+-- CardRejected                  a model artefact or its card failed a check
|   +-- AlreadyRegistered         that version is another artefact
|   +-- NotPossible               the model's status does not allow it
+-- RegistryAway                  nobody owns the catalogue at the moment
+-- ConfinementUnavailable        this machine cannot confine what looks at a stranger's artefact
+-- ConfigError                   configuration or a secret is missing or wrong

An error carries `code` (stable, machine-readable), `retryable` and, where waiting helps, `retry_after_s`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from models.base import Frozen

if TYPE_CHECKING:
    from models.decision import Decision


class HubError(Exception):
    """Base of all deliberate errors. `field` names the offending input, `details` holds structured facts.

    `decision` is what had been decided last for the request that failed, set by the process that decided and
    known there alone.
    """

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    decision: Decision | None = None

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        retry_after_s: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s
        self.details = dict(details or {})

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive pickling between Ray processes with the keyword-only facts intact."""
        facts = {"field": self.field, "retry_after_s": self.retry_after_s, "details": self.details}
        return _rebuild, (type(self), self.message, facts)


def _rebuild(kind: type[HubError], message: str, facts: dict[str, Any]) -> HubError:
    return kind(message, **facts)


class InputError(HubError):
    """The caller's data is wrong; sending it again changes nothing."""

    code = "invalid_input"
    http_status = 422


class BadValue(InputError):
    """A field holds a value outside its range."""

    code = "bad_value"


class BadShape(InputError):
    """A tensor has the wrong shape."""

    code = "bad_shape"


class TooLarge(InputError):
    """The request is larger than its data size or the body limit allows."""

    code = "too_large"
    http_status = 413


class Malformed(InputError):
    """The body is not what its content type says, for example no JSON."""

    code = "malformed"
    http_status = 400


class UnknownTask(InputError):
    """No task of that name."""

    code = "unknown_task"


class UnknownProfile(InputError):
    """No routing strategy of that name."""

    code = "unknown_profile"


class UnknownSymbol(InputError):
    """The hub holds no market data for that symbol."""

    code = "unknown_symbol"


class UnknownStrategy(InputError):
    """No trading strategy of that name."""

    code = "unknown_strategy"


class AccessError(HubError):
    """Who is calling may not do this."""

    code = "access"
    http_status = 403


class Unauthenticated(AccessError):
    """No token, or one that does not verify; the body never says why."""

    code = "unauthenticated"
    http_status = 401


class LoginRefused(Unauthenticated):
    """Tenant, login and password do not belong together; the body never says which of them is wrong."""

    code = "login_refused"


class Forbidden(AccessError):
    """The token verifies, but lacks the role."""

    code = "forbidden"


class TenantSuspended(Forbidden):
    """The token is good, but its tenant is suspended; the platform's people can say why."""

    code = "tenant_suspended"


class NotFound(AccessError):
    """Absent, or somebody else's: the answer is the same."""

    code = "not_found"
    http_status = 404


class MethodNotAllowed(AccessError):
    """The path exists, but not with this method."""

    code = "method_not_allowed"
    http_status = 405


class Conflict(AccessError):
    """What was asked does not fit what is there: it exists already, or has changed since it was read."""

    code = "conflict"
    http_status = 409


class QuotaExceeded(AccessError):
    """The tenant has used up what it may have at a time; `details` name the resource and the limit."""

    code = "quota_exceeded"
    http_status = 429
    retryable = True


class RateLimited(AccessError):
    """The tier's limit is reached; wait `retry_after_s`."""

    code = "rate_limited"
    http_status = 429
    retryable = True


class RoutingError(HubError):
    """No answer that keeps the promise."""

    code = "routing"
    http_status = 503


class NoModelMatches(RoutingError):
    """A requirement removed every model; `details` name it and the best value on offer."""

    code = "no_model_matches"
    http_status = 422


class NothingFeasible(RoutingError):
    """Models match, but none can answer before the deadline."""

    code = "nothing_feasible"
    retryable = True


class DeadlineExpired(RoutingError):
    """The deadline passed before or during the work."""

    code = "deadline_expired"
    http_status = 504


class Shed(RoutingError):
    """Not admitted, because more is asked than can be answered in time; `details` say the reason."""

    code = "shed"
    retryable = True


class NoWindow(RoutingError):
    """The hub knows the symbol, but holds too few bars of it yet."""

    code = "no_window"
    retryable = True


class ReplicaError(HubError):
    """One replica did not answer; the router may decide again."""

    code = "replica"
    http_status = 503
    retryable = True


class TicketRefused(ReplicaError):
    """The replica a ticket names is gone, full or rejecting."""

    code = "ticket_refused"


class ReplicaBusy(ReplicaError):
    """The replica's own queue is full."""

    code = "replica_busy"


class ReplicaLost(ReplicaError):
    """The replica died or became unreachable with the call in flight."""

    code = "replica_lost"


class InferenceFailed(ReplicaError):
    """The model raised on valid input."""

    code = "inference_failed"


class MessagingError(HubError):
    """A broker did not do what was asked."""

    code = "messaging"
    http_status = 503
    retryable = True


class AppendRefused(MessagingError):
    """Definite: nothing of the batch is or will be in the log."""

    code = "append_refused"


class AppendNotSent(AppendRefused):
    """Nothing left this process, so its producer is as good as before."""

    code = "append_not_sent"


class QueueFull(AppendNotSent):
    """As much of the tenant's is waiting as may; wait `retry_after_s`."""

    code = "queue_full"


class AppendDenied(AppendRefused):
    """The broker does not let this principal write there; only other permissions help."""

    code = "access_denied"
    retryable = False


class AppendUnknown(MessagingError):
    """The batch may be in the log, now or later; only reading the log tells."""

    code = "append_unknown"


class TopicMismatch(MessagingError):
    """A topic is missing or differs from the contract; nothing is repaired silently."""

    code = "topic_mismatch"
    retryable = False


class BrokerUnavailable(MessagingError):
    """The broker did not answer in time."""

    code = "broker_unavailable"


class AccessDenied(BrokerUnavailable):
    """The broker does not let this principal do that; only other permissions help."""

    code = "access_denied"
    retryable = False


class StaleWriter(MessagingError):
    """Somebody newer wrote in our place."""

    code = "stale_writer"
    retryable = False


class OwnershipLost(MessagingError):
    """A foreign claim is in the log: this worker no longer owns the partition."""

    code = "ownership_lost"
    retryable = False


class StoreUnavailable(HubError):
    """The fast store did not answer in time; what it keeps may be lost."""

    code = "store_unavailable"
    http_status = 503
    retryable = True


class DatabaseAway(HubError):
    """PostgreSQL cannot be reached. Nothing happened, unless it went away at the very commit."""

    code = "database_away"
    http_status = 503
    retryable = True


class AlreadyRecording(HubError):
    """This gateway records for somebody else; wait `retry_after_s`."""

    code = "already_recording"
    http_status = 409
    retryable = True


class CardRejected(HubError):
    """A model artefact or its card failed a check."""

    code = "card_rejected"
    http_status = 422


class AlreadyRegistered(CardRejected):
    """The version is taken by another artefact."""

    code = "already_registered"
    http_status = 409


class NotPossible(CardRejected):
    """The model's status does not allow what was asked."""

    code = "not_possible"
    http_status = 409


class RegistryAway(HubError):
    """Nobody owns the catalogue now. What was asked did not happen, or the catalogue shows it."""

    code = "registry_away"
    http_status = 503
    retryable = True


class ConfinementUnavailable(HubError):
    """This machine cannot confine a process, so nobody's artefact is looked at here."""

    code = "confinement_unavailable"
    http_status = 501


class ConfigError(HubError):
    """Configuration or a secret is missing or wrong."""

    code = "config"


class Problem(Frozen):
    """RFC 9457 body of every HTTP error. `code` is stable; `detail` is for people.

    `decision_id` is there if the request had a decision when it failed: `hub explain` shows it.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    retry_after_s: float | None = None
    field: str | None = None
    decision_id: str | None = None
    details: dict[str, Any] = Field(default_factory=dict)


def problem_of(error: HubError) -> Problem:
    """The problem body of an error; the class attributes above are the table."""
    return Problem(
        type=f"urn:central-hub:error:{error.code}",
        title=error.code.replace("_", " "),
        status=error.http_status,
        detail=error.message,
        code=error.code,
        retryable=error.retryable,
        retry_after_s=error.retry_after_s,
        field=error.field,
        decision_id=error.decision.decision_id if error.decision else None,
        details=error.details,
    )
