"""Kill switches: the fold of `hub.control`, what is told ahead of it, and whom a halt covers."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from models.halt import Halt, HaltScope, halt_key
from models.signal import Kind
from signals.book import Subscriber
from signals.halts import TOLD_NS, Halts
from signals.holdings import Holdings
from signals.policy import toward
from signals.projection import project
from signals.terms import Terms
from tests.unit.signals.records import NOW_NS, prediction, skipped, subscription


def halt(scope: HaltScope, halted: str = "*") -> Halt:
    """A halt by an operator."""
    return Halt(scope=scope, id=halted, reason="runaway", by="operator", at_ns=NOW_NS)


def put(halts: Halts, one: Halt) -> None:
    """As the log has it."""
    halts.apply(one.key(), one.model_dump_json(by_alias=True).encode())


@pytest.mark.parametrize(
    ("one", "limit"),
    [
        (halt(HaltScope.ALL), "halt:all"),
        (halt(HaltScope.STRATEGY, "alpha@1"), "halt:strategy"),
        (halt(HaltScope.MODEL, "ridge@1"), "halt:model"),
        (halt(HaltScope.TENANT, "t1"), "halt:tenant"),
        (halt(HaltScope.USER, "user-1"), "halt:user"),
        (halt(HaltScope.STRATEGY, "alpha@2"), None),
        (halt(HaltScope.MODEL, "ridge@2"), None),
        (halt(HaltScope.TENANT, "t2"), None),
        (halt(HaltScope.USER, "user-2"), None),
    ],
)
def test_a_halt_covers_whom_it_names(one: Halt, limit: str | None) -> None:
    """Their signals ask for nothing and say why; nobody else's change."""
    halts = Halts()
    put(halts, one)
    who = Subscriber.of(subscription("user-1").model_copy(update={"tenant_id": "t1"}))
    case = Terms(prediction(), holdings=Holdings(), halts=halts).case(who)
    projected = project(toward(0.5, "edge"), case)

    assert projected.limits_hit == ((limit,) if limit else ())
    assert projected.action.kind is (Kind.ABSTAIN if limit else Kind.ADJUST)
    assert ("runaway" in projected.action.reason) == bool(limit)


def test_while_halts_are_unknown_nobody_is_asked_anything() -> None:
    """A kill switch that cannot be read counts as pulled."""
    case = Terms(prediction(), holdings=Holdings(), halts=None).case(Subscriber.of(subscription()))

    assert project(toward(0.5, "edge"), case).limits_hit == ("halt:unknown",)


def test_a_skipped_slot_has_no_model_to_halt() -> None:
    """And still a strategy."""
    halts = Halts()
    put(halts, halt(HaltScope.MODEL, "ridge@1"))

    assert Terms(skipped(), holdings=Holdings(), halts=halts).case(Subscriber.of(subscription())).veto is None


def test_a_tombstone_resumes() -> None:
    """And changes the version, so that what was rendered before is rendered again."""
    halts = Halts()
    put(halts, halt(HaltScope.USER, "u"))
    before = halts.version
    halts.apply(halt_key(HaltScope.USER, "u"), None)

    assert halts.of_user("t", "u") is None
    assert halts.version > before


def test_what_is_told_holds_until_the_log_speaks_or_time_is_up() -> None:
    """A resumption in the log ends it; silence of the log ends it after a while."""
    halts = Halts()
    halts.tell(halt(HaltScope.ALL), now_ns=NOW_NS)
    halts.tell(halt(HaltScope.USER, "u"), now_ns=NOW_NS)
    assert halts.of_slot("alpha@1", None)
    halts.apply(halt_key(HaltScope.ALL, "*"), None)
    assert halts.of_slot("alpha@1", None) is None
    halts.forget_told(now_ns=NOW_NS + TOLD_NS - 1)
    assert halts.of_user("t", "u")
    halts.forget_told(now_ns=NOW_NS + TOLD_NS)
    assert halts.of_user("t", "u") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"", b"{}"),
        (b'["nobody","x"]', None),
        (b'["user"]', None),
        (halt_key(HaltScope.USER, "u"), b"{}"),
        (halt_key(HaltScope.USER, "u"), halt(HaltScope.USER, "v").model_dump_json(by_alias=True).encode()),
    ],
)
def test_a_record_that_is_no_halt_is_counted_and_left_out(key: bytes, value: bytes | None) -> None:
    """It neither halts nor resumes anybody."""
    halts = Halts()
    put(halts, halt(HaltScope.USER, "u"))
    halts.apply(key, value)

    assert halts.refused == 1
    assert [one.id for one in halts.in_force] == ["u"]


@pytest.mark.parametrize(
    ("scope", "halted"), [(HaltScope.ALL, "x"), (HaltScope.USER, "*"), (HaltScope.USER, "")]
)
def test_scope_and_id_fit_each_other(scope: HaltScope, halted: str) -> None:
    """A halt of everything by mistake is no typing error away."""
    with pytest.raises(ValidationError):
        halt(scope, halted)
