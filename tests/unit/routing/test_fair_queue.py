"""The order of those that wait: deadlines, tenants in turn, and who is given up."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from routing.protection.fair_queue import FORMER_KEPT, FairQueue, Place

TENANTS = ("a", "b", "c")
ARRIVALS = st.lists(st.tuples(st.sampled_from(TENANTS), st.integers(0, 30)), max_size=40)


def filled(arrivals: list[tuple[str, int]], lead: int) -> FairQueue:
    """A queue of requests given as tenant and deadline."""
    queue = FairQueue(lead=lead)
    for number, (tenant, deadline) in enumerate(arrivals):
        queue.add(tenant, (deadline, number))
    return queue


def drained(queue: FairQueue) -> list[tuple[str, Place]]:
    """All turns in their order."""
    turns = []
    while len(queue):
        turns.append(queue.first())
        queue.take(*turns[-1])
    return turns


@given(ARRIVALS)
def test_with_lead_enough_the_order_is_that_of_the_deadlines(arrivals: list[tuple[str, int]]) -> None:
    """Earliest deadline first, first come first served among equal ones."""
    expected = sorted((deadline, number) for number, (_, deadline) in enumerate(arrivals))

    assert [place for _, place in drained(filled(arrivals, lead=99))] == expected


@given(ARRIVALS, st.integers(0, 5))
def test_no_tenant_gets_further_ahead_than_the_lead(arrivals: list[tuple[str, int]], lead: int) -> None:
    """While a tenant waits, no other has had more than `lead` + 1 turns more; its own go by deadline."""
    waiting = Counter(tenant for tenant, _ in arrivals)
    turns: Counter[str] = Counter()
    latest: dict[str, Place] = {}
    for tenant, place in drained(filled(arrivals, lead)):
        assert place >= latest.get(tenant, place)
        latest[tenant] = place
        turns[tenant] += 1
        assert all(turns[tenant] - turns[other] <= lead + 1 for other in waiting if waiting[other])
        waiting[tenant] -= 1

    assert not +waiting


def test_a_thousand_requests_do_not_starve_one() -> None:
    """However early the deadlines of a flood are, somebody else's request is soon next."""
    queue = filled([("flood", 1)] * 1000 + [("modest", 1000)], lead=4)

    assert [tenant for tenant, _ in drained(queue)].index("modest") == 5


def test_coming_one_by_one_gains_no_turns() -> None:
    """A tenant that sends its next request when the last one had its turn is not ahead of one that waits."""
    queue = FairQueue(lead=2)
    queue.add("waits", (1000, 0))
    for number in range(1, 4):
        queue.add("sly", (1, number))
        assert queue.first()[0] == "sly"
        queue.take("sly", (1, number))
    queue.add("sly", (1, 9))

    assert queue.first()[0] == "waits"


def test_not_having_waited_saves_up_nothing() -> None:
    """Who comes late starts level with those who wait, not with the turns they had before."""
    queue = filled([("early", 5)] * 20, lead=0)
    for _ in range(10):
        queue.take(*queue.first())
    for number in range(100, 120):
        queue.add("late", (1, number))

    turns = Counter(tenant for tenant, _ in drained(queue)[:11])
    assert abs(turns["early"] - turns["late"]) <= 1


@given(ARRIVALS.filter(len))
def test_given_up_is_the_latest_of_whoever_has_most(arrivals: list[tuple[str, int]]) -> None:
    """A full queue costs those who filled it."""
    tenant, place = filled(arrivals, lead=0).last()
    waiting = Counter(name for name, _ in arrivals)

    assert waiting[tenant] == max(waiting.values())
    assert place[0] == max(deadline for name, deadline in arrivals if name == tenant)


@given(ARRIVALS, st.sampled_from(TENANTS), st.integers(0, 30))
def test_ahead_is_exact_where_deadlines_alone_decide(
    arrivals: list[tuple[str, int]], tenant: str, deadline: int
) -> None:
    """With lead enough, those ahead are those whose deadlines are earlier."""
    expected = sum(other < deadline for _, other in arrivals)

    assert filled(arrivals, lead=99).ahead(tenant, deadline) == expected


def test_ahead_of_a_modest_tenant_is_no_flood() -> None:
    """Of each other tenant only its lead counts."""
    assert filled([("flood", 1)] * 1000, lead=4).ahead("modest", 1000) == 5


def test_memory_of_former_tenants_is_bounded() -> None:
    """Ever new tenants beside one that waits on leave no trace for ever."""
    queue = FairQueue(lead=4)
    queue.add("waits", (10**9, 0))
    for number in range(1, 3 * FORMER_KEPT):
        queue.add(f"t{number}", (1, number))
        queue.take(f"t{number}", (1, number))

    assert len(queue._turns) <= FORMER_KEPT + 2
