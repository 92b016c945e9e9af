"""The error gate: which replicas are out of the choice for a while, and when they must be used all the same.

Not optional: the better latency routing is, the more a replica that fails fast attracts. Four rules:
* *eject*: a replica whose error average passes the threshold is out for a time that doubles with each
  repetition; one that cannot be reached is out at once;
* *half-open*: after that time one call at a time probes it, and until one succeeds no other follows; a probe
  that fails ejects again;
* *minimum hosts*: where a request has fewer replicas to go to, none of them is out for errors;
* *panic*: where more than the allowed share of them is out, those out for errors are used again, because
  crushing the rest helps nobody; those out of reach are used again only when nothing else is left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field

from models.base import Frozen
from models.bounds import Gain

ERRORS: Final = "errors"
UNREACHABLE: Final = "unreachable"

Milliseconds = Annotated[int, Field(gt=0)]


class GateConfig(Frozen):
    """`gain` weighs the newest outcome in the error average; from its start at 0, four failures pass 0.5. A
    probe that does not come back is waited for `probe_ms`.
    """

    threshold: Gain = 0.5
    gain: Gain = 0.2
    minimum_hosts: Annotated[int, Field(ge=0)] = 2
    ejected_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    base_ms: Milliseconds = 1000
    longest_ms: Milliseconds = 30_000
    unreachable_ms: Milliseconds = 6000
    probe_ms: Milliseconds = 2000


@dataclass(frozen=True, slots=True)
class Ejection:
    """A replica is out until `until_ns` because of ERRORS, or because it is UNREACHABLE; while a probe is on
    its way, at most for as long as that is waited for.
    """

    cause: str
    until_ns: int


class ErrorGate:
    """The outcomes of one replica. Written under the load table's lock only."""

    def __init__(self, config: GateConfig) -> None:
        self._config = config
        self._errors = 0.0
        self._times = 0
        self._probing = False
        self.ejection: Ejection | None = None

    def sent(self, now_ns: int) -> bool:
        """Take a call that leaves for the replica; True if it is the probe after an ejection, which keeps all
        others out until it comes back.
        """
        if self.ejection is None or self._out(now_ns):
            return False
        self._probing = True
        self.ejection = Ejection(self.ejection.cause, now_ns + self._config.probe_ms * 1_000_000)
        return True

    def succeeded(self) -> bool:
        """Take a success; True if it ended an ejection: as the probe, or one for being unreachable, which the
        replica plainly is not.
        """
        self._errors *= 1.0 - self._config.gain
        if self._errors < self._config.threshold / 2:
            self._times = 0
        if self.ejection is None or not (self._probing or self.ejection.cause == UNREACHABLE):
            return False
        self._probing = False
        self.ejection = None
        return True

    def failed(self, now_ns: int) -> bool:
        """Take a failure; True if the replica is ejected for it. Failures of one already out add no time,
        unless they are the probe's.
        """
        self._errors += (1.0 - self._errors) * self._config.gain
        if not self._probing and (self._errors <= self._config.threshold or self._out(now_ns)):
            return False
        self._probing = False
        out_ms = min(self._config.base_ms << min(self._times, 16), self._config.longest_ms)
        self._times += 1
        self.ejection = Ejection(ERRORS, now_ns + out_ms * 1_000_000)
        return True

    def unreachable(self, now_ns: int) -> None:
        """Out at once; counted from now each time it is found out of reach."""
        self._probing = False
        self.ejection = Ejection(UNREACHABLE, now_ns + self._config.unreachable_ms * 1_000_000)

    def undecided(self, now_ns: int) -> bool:
        """Take a call that ended without a verdict; True if it was the probe, so that the next may try."""
        if self.ejection is None or not self._probing:
            return False
        self._probing = False
        self.ejection = Ejection(self.ejection.cause, now_ns)
        return True

    def export(self) -> dict[str, Any]:
        """The state as JSON can hold it."""
        ejection = [self.ejection.cause, self.ejection.until_ns] if self.ejection else None
        return {
            "errors": self._errors,
            "times": self._times,
            "probing": self._probing,
            "ejection": ejection,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._errors, self._times = state["errors"], state["times"]
        self._probing = state["probing"]
        self.ejection = Ejection(*state["ejection"]) if state["ejection"] else None

    def _out(self, now_ns: int) -> bool:
        return self.ejection is not None and now_ns < self.ejection.until_ns


@dataclass(frozen=True, slots=True)
class Barred:
    """What the gate keeps out of one choice, with the cause; whether it had to give way (`panic`); and until
    when (wall nanoseconds) that holds if nothing else happens.
    """

    replicas: Mapping[int, Ejection]
    panic: bool
    until_ns: float


def barred(
    hosts: Collection[int], ejections: Mapping[int, Ejection], config: GateConfig, now_ns: int
) -> Barred:
    """Apply the rules to the replicas that one request could go to."""
    active = {host: ejections[host] for host in hosts if host in ejections}
    active = {host: ejection for host, ejection in active.items() if now_ns < ejection.until_ns}
    failing = {host for host, ejection in active.items() if ejection.cause == ERRORS}
    unreachable = active.keys() - failing
    spared: set[int] = set()
    if len(hosts) < config.minimum_hosts or len(active) > config.ejected_share * len(hosts):
        spared |= failing
    if len(unreachable) == len(hosts):
        spared |= unreachable
    kept = {host: ejection for host, ejection in active.items() if host not in spared}
    until_ns = min((ejection.until_ns for ejection in active.values()), default=float("inf"))
    return Barred(kept, bool(spared), until_ns)
