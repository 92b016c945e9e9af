"""Owners of one partition under every order of events that Hypothesis can find, judged by the log alone.

The model is a partition, two workers and a group that may lie. A worker publishes the numbers 0, 1, 2, ...
in batches; whatever happens, the valid records must be 0, 1, 2, ... without a gap, a repeat or a swap.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from messaging.claims import EpochFilter, Owner, Step

WORKERS = st.sampled_from("ab")
STEPS = st.integers(1, 9)


@dataclass(frozen=True)
class Entry:
    """A record: a claim, or one number under an epoch."""

    epoch: int
    number: int | None

    @property
    def is_claim(self) -> bool:
        return self.number is None


@dataclass
class Worker:
    """A worker's owner, what it has on the wire, and the next number by its own memory."""

    owner: Owner | None = None
    answer: bool | None = None
    probed: bool = False
    batch: list[Entry] | None = None
    base: int | None = None
    limbo: list[list[Entry]] = field(default_factory=list)
    following: int = 0


class ClaimsMachine(RuleBasedStateMachine):
    """Every rule is one thing the world or a driver may do next."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Entry] = []
        self.holders: set[str] = set()
        self.workers = {name: Worker() for name in "ab"}

    # The group: it assigns, it may name two at once, and bad news travels late.

    @rule(name=WORKERS, alone=st.booleans())
    def assign(self, name: str, alone: bool) -> None:  # noqa: FBT001 (Hypothesis passes by keyword)
        self.holders = {name} if alone else self.holders | {name}
        worker = self.workers[name]
        if worker.owner is None:
            worker.owner = Owner()
        else:
            worker.owner.assigned()

    @rule(name=WORKERS)
    def hear_of_revocation(self, name: str) -> None:
        worker = self.workers[name]
        if name not in self.holders:
            worker.limbo += [worker.batch] if worker.batch and worker.base is None else []
            self.workers[name] = Worker(limbo=worker.limbo)

    # The wire: an append may stay unanswered, and may land long after that.

    @rule(name=WORKERS)
    def time_out(self, name: str) -> None:
        worker = self.workers[name]
        if worker.owner and worker.batch and not self.at(name, Step.READ_BACK):
            worker.limbo += [worker.batch] if worker.base is None else []
            worker.batch = worker.base = None
            worker.owner.failed()

    @rule(name=WORKERS)
    def land_late(self, name: str) -> None:
        if self.workers[name].limbo:
            self.log += self.workers[name].limbo.pop(0)

    # The driver: it does what the owner says, a few steps at a time.

    @rule(name=WORKERS, steps=STEPS, count=st.integers(1, 3))
    def advance(self, name: str, steps: int, count: int) -> None:
        for _ in range(steps):
            worker = self.workers[name]
            if worker.owner:
                self.do(worker, worker.owner, name=name, count=count)

    def do(self, worker: Worker, owner: Owner, *, name: str, count: int) -> None:
        if worker.batch:
            self.move_batch(worker, owner)
        elif owner.step is Step.PROBE:
            self.probe(worker, owner, held=name in self.holders)
        elif owner.step is Step.CLAIM:
            assert worker.probed, "a claim without an accepted probe"
            worker.probed = False
            worker.batch = [Entry(-1, None)]
        elif owner.step is Step.RESTORE:
            worker.following = len(self.valid_numbers(owner.epoch + 1))
            owner.restored(owner.epoch + 1)
        elif owner.step is Step.PUBLISH:
            owner.appending(count)
            worker.batch = [Entry(owner.epoch, worker.following + i) for i in range(count)]
        elif owner.step is Step.REBUILD:
            owner.rebuilt()

    def probe(self, worker: Worker, owner: Owner, *, held: bool) -> None:
        """Ask now, hear the answer in a later step."""
        if worker.answer is None:
            worker.answer = held
        else:
            worker.probed = worker.answer
            owner.confirmed(held=worker.answer)
            worker.answer = None

    def move_batch(self, worker: Worker, owner: Owner) -> None:
        """A batch lands, then is acknowledged, then judged if it landed elsewhere than expected."""
        assert worker.batch
        if worker.base is None:
            worker.base = len(self.log)
            self.log += worker.batch
            return
        if owner.step is Step.CLAIM:
            owner.claimed(worker.base)
        elif owner.step is Step.READ_BACK:
            owner.read_back(offset for offset in range(*owner.gap) if self.log[offset].is_claim)
        else:
            owner.acked(worker.base)
        self.settle(worker, owner)

    def settle(self, worker: Worker, owner: Owner) -> None:
        """State moves once the batch is known to be valid, and not before."""
        if owner.step is Step.READ_BACK:
            return
        if owner.step is Step.PUBLISH and worker.batch:
            worker.following += len(worker.batch)
        worker.batch = worker.base = None

    # What must always hold.

    @invariant()
    def valid_records_are_the_numbers_in_order(self) -> None:
        numbers = self.valid_numbers(len(self.log))
        assert numbers == list(range(len(numbers)))

    @invariant()
    def a_settled_owner_knows_the_log_up_to_its_position(self) -> None:
        for worker in self.workers.values():
            if worker.owner and worker.owner.step is Step.PUBLISH:
                assert worker.following == len(self.valid_numbers(worker.owner.expected))

    @invariant()
    def the_filter_agrees_with_the_definition_for_every_reader_that_knows_an_earlier_claim(self) -> None:
        claims = self.claims()
        for start in claims[-2:]:
            reader = EpochFilter([claim for claim in claims if claim <= start])
            for offset in range(start, len(self.log)):
                if self.log[offset].is_claim:
                    reader.saw_claim(offset)
                else:
                    epoch = self.log[offset].epoch
                    assert reader.valid(epoch=epoch, offset=offset) == self.is_valid(offset)

    @rule(name=WORKERS)
    def a_lone_member_without_faults_publishes(self, name: str) -> None:
        self.assign(name=name, alone=True)
        landed = len(self.valid_numbers(len(self.log)))
        self.advance(name=name, steps=4 * len(Step), count=1)
        assert len(self.valid_numbers(len(self.log))) > landed

        claims = self.claims()
        self.advance(name=name, steps=9, count=1)
        assert self.claims() == claims

    def at(self, name: str, step: Step) -> bool:
        owner = self.workers[name].owner
        return owner is not None and owner.step is step

    def claims(self) -> list[int]:
        return [offset for offset, entry in enumerate(self.log) if entry.is_claim]

    def is_valid(self, offset: int) -> bool:
        """The definition, word by word."""
        return not any(entry.is_claim for entry in self.log[self.log[offset].epoch + 1 : offset])

    def valid_numbers(self, stop: int) -> list[Any]:
        return [self.log[o].number for o in range(stop) if not self.log[o].is_claim and self.is_valid(o)]


TestClaims = ClaimsMachine.TestCase
TestClaims.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
