"""Who owns a partition: decided by claims in the log itself, without I/O.

The invariant. Let a *claim* be a record with key `~claim`, and let a record's *epoch* be the offset of its
writer's claim in the same partition. A record at offset `o` with epoch `e` is **void** iff a claim lies
strictly between `e` and `o`. All readers fold the same log by the same rule, so they agree, record by
record, on one writer at a time; nothing that the group protocol, a pause or the network does to the writers
can make two of them valid at once. Kafka's group protocol only decides who *tries*.

Why each rule is needed:

* The claim is in the partition it fences. Two logs have no common order: a claim elsewhere voids fresh
  records in one reader and admits stale ones in another.
* The epoch is the claim's *offset*: unique and growing without any other authority, and known to the writer
  only once the claim is in the log.
* A new owner forgets all it knew and folds the log up to its own claim. Nothing valid of an older epoch can
  appear after that claim, so what it folded is final. Memory that outlives a lost lease holds sequences of
  batches that never became valid.
* One batch in flight, and state moves on its acknowledgement. A second batch behind one that failed would
  leave a hole that no later restore can see.
* An acknowledgement at another offset than the expected one means that somebody else wrote. If the records in
  between hold no claim they are void, and ours is valid. If they hold one, ours is void: stop.
* A batch of unknown outcome may still become a record. A new claim puts a line under it: it is either before
  the line, where the restore finds it, or void. The producer is rebuilt first, so that no older claim of this
  process follows the new one, and because a client that failed once may fail for ever.
* Each claim is preceded by an accepted probe of the group that began after the last bad news, and is never
  written on a timer. A thawed worker still believes in its assignment; were belief enough, it would fence the
  true owner for ever, each of the two answering the other's claim with one of its own.

`EpochFilter` is the readers' side. `Owner` is the writers' side, for one partition and one assignment:
it says what to do next (`step`) and is told what came of it. `messaging/ownership.py` does the doing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

CLAIMS_KEPT: Final = 64
"""How many of the latest claims a filter remembers. A reader in log order needs one; the others let a
checkpoint serve a reader that starts before the checkpoint's position."""


class EpochFilter:
    """Tells void records from valid ones, for a reader of one partition in log order.

    A reader that does not start at a claim first loads the claims before its start, for example those of a
    checkpoint. Claims at or after a record's offset never change the verdict on it, so loading too many does
    no harm. Verdicts on records below the oldest claim kept are not to be trusted.
    """

    def __init__(self, claims: Iterable[int] = ()) -> None:
        self._claims = sorted(set(claims))[-CLAIMS_KEPT:]

    @property
    def claims(self) -> tuple[int, ...]:
        """The latest claim offsets, oldest first."""
        return tuple(self._claims)

    def saw_claim(self, offset: int) -> None:
        """Take note of a claim; one that is already known changes nothing."""
        if offset not in self._claims:
            insort(self._claims, offset)
            del self._claims[:-CLAIMS_KEPT]

    def valid(self, *, epoch: int, offset: int) -> bool:
        """False iff a known claim lies strictly between the epoch and the offset."""
        before = bisect_left(self._claims, offset)
        return before == 0 or self._claims[before - 1] <= epoch


class Step(StrEnum):
    """What an owner has to do next."""

    WAIT = "wait"
    """The group refused the probe: do nothing until it assigns the partition again."""
    PROBE = "probe"
    """Ask the group whether this member holds the partition now."""
    CLAIM = "claim"
    """Append a claim and wait for its offset."""
    RESTORE = "restore"
    """Forget everything, then fold the log up to and including the claim."""
    PUBLISH = "publish"
    """Live, with nothing in flight: a batch may be built and appended."""
    SETTLE = "settle"
    """One batch is in flight: wait for its outcome."""
    READ_BACK = "read_back"
    """Read `gap`, which somebody else wrote, and report the claims in it."""
    REBUILD = "rebuild"
    """Rebuild the producer, so that nothing appended before can still arrive."""


class OutOfTurn(RuntimeError):
    """An event was reported that the current step cannot have: a defect in the driver, never a fault."""


class Owner:
    """The owner's side of one partition, from the moment the group assigned it until it is assigned away.

    Events are reported by the methods; each is legal in the steps its docstring names and raises OutOfTurn in
    any other. Whoever drives this discards it when the partition leaves the assignment.
    """

    def __init__(self) -> None:
        self._step = Step.PROBE
        self._epoch = -1
        self._expected = -1
        self._in_flight = 0
        self._gap = (-1, -1)
        self._assigned_again = False

    @property
    def step(self) -> Step:
        return self._step

    @property
    def epoch(self) -> int:
        """Offset of the claim that was last acknowledged; -1 before the first."""
        return self._epoch

    @property
    def expected(self) -> int:
        """Offset at which the next batch must land if nobody else wrote."""
        return self._expected

    @property
    def gap(self) -> tuple[int, int]:
        """Offsets [start, stop) that somebody else wrote, to be read back."""
        return self._gap

    @property
    def live(self) -> bool:
        """Restored, and not known to have lost the partition."""
        return self._step in {Step.PUBLISH, Step.SETTLE, Step.READ_BACK}

    def assigned(self) -> None:
        """Any step: the group assigned the partition again. An owner that is not waiting goes on as it was.

        During a probe it is remembered: a refusal may then speak of the generation before this assignment.
        """
        if self._step is Step.WAIT:
            self._step = Step.PROBE
        elif self._step is Step.PROBE:
            self._assigned_again = True

    def confirmed(self, *, held: bool) -> None:
        """PROBE: the group answered."""
        self._turn(Step.PROBE)
        again, self._assigned_again = self._assigned_again, False
        if held:
            self._step = Step.CLAIM
        elif not again:
            self._step = Step.WAIT

    def claimed(self, offset: int) -> None:
        """CLAIM: the claim was acknowledged at this offset."""
        self._turn(Step.CLAIM)
        if offset < 0:
            raise OutOfTurn(
                f"a claim was acknowledged at offset {offset}; the producer must run with acks=all"
            )
        self._epoch, self._expected = offset, offset + 1
        self._step = Step.RESTORE

    def restored(self, position: int) -> None:
        """RESTORE: memory holds the fold of the log before `position`, which must lie past the claim."""
        self._turn(Step.RESTORE)
        if position <= self._epoch:
            raise OutOfTurn(f"restored up to {position}, which does not reach the claim at {self._epoch}")
        self._step = Step.PUBLISH

    def appending(self, count: int) -> None:
        """PUBLISH: a batch of so many records leaves. There is never a second one in flight."""
        self._turn(Step.PUBLISH)
        self._in_flight = count
        self._step = Step.SETTLE

    def acked(self, base: int) -> None:
        """SETTLE: the batch is in the log from this offset on.

        Before the expected offset it can only be if the broker lost acknowledged records: start over.
        """
        self._turn(Step.SETTLE)
        if base < self._expected:
            self._step = Step.PROBE
            return
        self._gap = (self._expected, base)
        self._step = Step.PUBLISH if base == self._expected else Step.READ_BACK
        self._expected = base + self._in_flight

    def read_back(self, claims: Iterable[int]) -> None:
        """READ_BACK: the gap was read and held these claims. Any of them makes our batch void."""
        self._turn(Step.READ_BACK)
        self._step = Step.PROBE if tuple(claims) else Step.PUBLISH

    def failed(self) -> None:
        """CLAIM or SETTLE: the outcome is unknown, or it was refused and the producer may be wedged."""
        self._turn(Step.CLAIM, Step.SETTLE)
        self._step = Step.REBUILD

    def rebuilt(self) -> None:
        """REBUILD: nothing appended before can arrive any more."""
        self._turn(Step.REBUILD)
        self._step = Step.PROBE

    def _turn(self, *allowed: Step) -> None:
        if self._step not in allowed:
            raise OutOfTurn(f"the owner is at {self._step}, expected {' or '.join(allowed)}")
