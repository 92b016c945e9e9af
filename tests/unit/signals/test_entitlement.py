"""A user's entitlement wins over what the user's subscriptions say of tier and end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.principal import Tier
from models.subscription import Entitlement, RiskSettings, Subscription, entitlement_key
from signals.book import Book, Subscriber
from signals.encoding import encode
from tests.unit.signals.records import NOW_NS, TTL_NS, subscription

ENDED_NS = NOW_NS - 1
Written = tuple[bytes, bytes | None]


def put(one: Subscription | Entitlement) -> Written:
    """The record of it."""
    return one.key(), encode(one)


def ended(one: Subscription | Entitlement) -> Written:
    """Its tombstone."""
    return one.key(), None


def entitlement(
    version: int = 1,
    *,
    tier: Tier = Tier.ENTERPRISE,
    until_ns: int = NOW_NS + 2 * TTL_NS,
    user_id: str = "user-1",
    tenant_id: str = "tenant",
) -> Entitlement:
    """Of the one user, unless said otherwise."""
    return Entitlement(
        tenant_id=tenant_id, user_id=user_id, tier=tier, entitled_until_ns=until_ns, version=version
    )


def folded(*records: Written) -> Book:
    """A book of these, none of which is refused."""
    book = Book()
    for offset, (key, value) in enumerate(records):
        assert book.apply(key, value, offset)
    return book


def receiving(book: Book, *, at_ns: int = NOW_NS, symbol: str = "EURUSD") -> Sequence[Subscriber]:
    """Who receives `alpha@1`."""
    return book.subscribers("alpha@1", symbol, at_ns=at_ns)


def tiers(book: Book) -> list[Tier]:
    """By which tier signals of the slot are projected."""
    return [case.bounds.tier for one in receiving(book) for case in one.cases]


def test_it_wins_whatever_the_order() -> None:
    """Old versions, other users' and other tenants' records, before or after: the outcome is the same."""
    records = [
        put(subscription()),
        put(entitlement(1, until_ns=ENDED_NS)),
        put(entitlement(2)),
        put(entitlement(3, tenant_id="another", until_ns=ENDED_NS)),
        put(entitlement(9, user_id="user-2", until_ns=ENDED_NS)),
    ]
    for order in permutations(records):
        book = folded(*order)
        (one,) = receiving(book)
        assert (one.cases.flat.bounds.tier, one.entitled_until_ns) == (Tier.ENTERPRISE, NOW_NS + 2 * TTL_NS)


def test_an_end_and_a_renewal_reach_every_subscription_of_the_user() -> None:
    """Of both accounts and symbols, and of nobody else."""
    book = folded(
        put(subscription()),
        put(subscription(account_id="second")),
        put(subscription(symbol="NZDUSD")),
        put(subscription("user-2")),
        put(entitlement(1, until_ns=ENDED_NS)),
    )
    assert [one.user_id for one in receiving(book)] == ["user-2"]
    assert receiving(book, symbol="NZDUSD") == []

    key, value = put(entitlement(2))
    assert book.apply(key, value, book.offset + 1)

    assert [(one.user_id, one.account_id) for one in receiving(book)] == [
        ("user-1", "main"),
        ("user-1", "second"),
        ("user-2", "main"),
    ]
    assert len(receiving(book, symbol="NZDUSD")) == 1


def test_a_user_who_changes_a_setting_keeps_the_entitlement() -> None:
    """The gateway's word of tier and end, from an older token, changes neither; the setting changes."""
    book = folded(put(subscription()), put(entitlement()), put(subscription(scale=0.5)))

    (one,) = receiving(book)
    assert one.cases.flat.bounds == (Tier.ENTERPRISE, 0.5, 1.0, None)
    assert receiving(book, at_ns=NOW_NS + TTL_NS) == [one]


def test_without_it_the_subscription_counts_again() -> None:
    """A tombstone ends it, and one of a user who has none does nothing."""
    book = folded(put(subscription()), ended(entitlement()), put(entitlement()), ended(entitlement()))

    assert tiers(book) == [Tier.PRO] * 3
    assert receiving(book) == [Subscriber.of(subscription())]
    assert not receiving(book, at_ns=NOW_NS + TTL_NS)


def test_limits_and_identity_stay_as_they_were() -> None:
    """Only the cases and the end are made anew."""
    limited = subscription().model_copy(update={"risk": RiskSettings(max_signals_per_minute=3)})
    (before,), (after,) = (
        receiving(folded(put(limited))),
        receiving(folded(put(limited), put(entitlement()))),
    )

    assert after.limits == before.limits
    assert (after.identity, after.delivery_seed) == (before.identity, before.delivery_seed)
    assert after.cases.long.bounds == before.cases.long.bounds._replace(tier=Tier.ENTERPRISE)


def test_the_same_again_costs_no_subscriber() -> None:
    """What is written once more ten seconds later leaves the objects of the hot path where they are."""
    book = folded(put(subscription()), put(entitlement()))
    (before,) = receiving(book)
    for offset, one in enumerate((entitlement(), entitlement(2)), start=2):
        book.apply(*put(one), offset)

    assert receiving(book)[0] is before


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (entitlement_key("user-1"), b"{}"),
        (entitlement_key("user-1"), b"[]"),
        (entitlement_key("user-1"), encode(entitlement(user_id="user-2"))),
        (entitlement_key("user-1"), encode(entitlement()).replace(b"entitlement/1", b"entitlement/2")),
        (entitlement_key("user-1"), encode(entitlement()).replace(b"enterprise", b"gold")),
        (entitlement_key("user-1"), encode(subscription())),
        (subscription().key(), encode(entitlement())),
        (b'["user-1","~something"]', encode(entitlement())),
        (b'["user-1"]', None),
        (b'[["user-1"],"~entitlement"]', None),
        (b'{"user-1":"~entitlement"}', None),
    ],
)
def test_what_is_none_is_refused_and_changes_nothing(key: bytes, value: bytes | None) -> None:
    """Broken, forged, of a later schema, or under another key."""
    book = folded(put(subscription()), put(entitlement()))

    assert not book.apply(key, value, 7)
    assert (book.refused, book.offset, tiers(book)) == (1, 7, [Tier.ENTERPRISE] * 3)


USERS, TENANTS = ("user-1", "user-2"), ("tenant", "another")
ENDS = (ENDED_NS, NOW_NS + TTL_NS)


@st.composite
def histories(draw: st.DrawFn) -> list[Subscription | Entitlement | bytes]:
    """Records in any order; a bare key is a tombstone."""
    some: list[Subscription | Entitlement | bytes] = []
    for _ in range(draw(st.integers(1, 14))):
        user, tenant = draw(st.sampled_from(USERS)), draw(st.sampled_from(TENANTS))
        tier, until_ns = draw(st.sampled_from(Tier)), draw(st.sampled_from(ENDS))
        made: Subscription | Entitlement
        if draw(st.booleans()):
            version = draw(st.integers(1, 3))
            made = entitlement(version, tier=tier, until_ns=until_ns, user_id=user, tenant_id=tenant)
        else:
            values = {"tenant_id": tenant, "tier": tier}
            made = subscription(user, entitled_until_ns=until_ns).model_copy(update=values)
        some.append(made.key() if draw(st.integers(0, 4)) == 0 else made)
    return some


@given(histories())
def test_it_is_the_shortest_reading_of_the_rule(history: list[Subscription | Entitlement | bytes]) -> None:
    """Held against a walk over the whole history for each user; and so is the fold of every prefix of it."""
    book = Book()
    for offset, one in enumerate(history):
        key, value = (one, None) if isinstance(one, bytes) else put(one)
        assert book.apply(key, value, offset)
        found = {who.user_id: who for who in receiving(book)}
        for user in USERS:
            expected = _expected(history[: offset + 1], user)
            who = found.get(user)
            assert expected == (who and (who.cases.flat.bounds.tier, who.entitled_until_ns))


def _expected(history: Sequence[Subscription | Entitlement | bytes], user: str) -> tuple[Tier, int] | None:
    keys = [one if isinstance(one, bytes) else one.key() for one in history]
    own = [one for one, key in zip(history, keys, strict=True) if key == subscription(user).key()]
    if not own or not isinstance(own[-1], Subscription):
        return None
    known = [one for one, key in zip(history, keys, strict=True) if key == entitlement_key(user)]
    since = max((at for at, one in enumerate(known) if isinstance(one, bytes)), default=-1)
    fitting = [
        one
        for one in known[since + 1 :]
        if isinstance(one, Entitlement) and one.tenant_id == own[-1].tenant_id
    ]
    wins = max(reversed(fitting), key=lambda one: one.version) if fitting else own[-1]
    return (wins.tier, wins.entitled_until_ns) if wins.entitled_until_ns > NOW_NS else None
