"""Inheritance of config against an oracle, and the rules that it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deployments.front.limits import TierLimits, load_tiers, rates_of
from deployments.front.tenant_config.documents import differences, flat, nested, public
from deployments.front.tenant_config.limits import TenantLimits
from deployments.front.tenant_config.resolution import (
    LayerValues,
    Origin,
    check_within,
    resolve,
    tier_values,
)
from deployments.front.tenant_config.schema import FEATURES, SCHEMA, Setting, setting_of
from deployments.front.tenant_config.templates import load_templates
from deployments.front.tenant_config.values import EVERYBODY, Kind, exceeds, percent
from deployments.front.tenant_config.view import is_on
from models.errors import BadValue, ConfigError
from models.principal import Tier
from models.resources import Resource
from models.tenant import TenantStatus
from models.tenant_config import OWN_LAYERS, Layer
from tests.support.known_tenants import KnownTenants
from tests.unit.front.config_reference import table, written

ROOT = Path(__file__).parents[3]
TIERS = load_tiers((ROOT / "config" / "tiers.yaml").read_text())
WRITTEN = tuple(Layer)[1:]
PLAIN = [setting for setting in SCHEMA.values() if not setting.secret]

_EMAIL = SCHEMA["notifications.email"].pattern
RATES = st.tuples(st.integers(1, 10**6), st.sampled_from(["second", "minute", "hour", "day"])).map(
    lambda one: f"{one[0]}/{one[1]}"
)
FLAGS = st.booleans() | st.floats(0, 100).map(lambda share: {"percent": share})
OF_KIND: dict[Kind, Any] = {
    Kind.BOOLEAN: lambda _: st.booleans(),
    Kind.INTEGER: lambda one: st.integers(int(one.minimum), int(one.maximum)),
    Kind.NUMBER: lambda one: st.floats(one.minimum, one.maximum),
    Kind.CHOICE: lambda one: st.sampled_from(one.choices),
    Kind.RATE: lambda _: RATES,
    Kind.FLAG: lambda _: FLAGS,
    Kind.URL: lambda _: st.sampled_from(["https://a.example.com/x", "https://b.example.org"]),
    Kind.LIST: lambda _: st.lists(st.sampled_from(["EURUSD", "NZDUSD"]), unique=True),
    Kind.TEXT: lambda one: st.sampled_from(["7", "12"]) if one.pattern != _EMAIL else st.just("a@b.co"),
}


def _documents() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={one.name: OF_KIND[one.kind](one) for one in PLAIN})


LAYERS = st.tuples(*(_documents() for _ in WRITTEN))


def _oracle(setting: Setting, documents: Sequence[Mapping[str, Any]]) -> tuple[Any, Layer, Layer | None]:
    """By looking at the layers one by one, from the narrowest up."""
    said = {layer: document.get(setting.name) for layer, document in zip(WRITTEN, documents, strict=True)}
    allowed = {
        layer: value for layer, value in said.items() if value is not None and setting.may_be_set_in(layer)
    }
    platform = [layer for layer in allowed if layer not in OWN_LAYERS]
    winner, overruled = (platform[-1] if platform else Layer.DEFAULT), None
    value = allowed.get(winner, setting.default)
    for layer in (Layer.TENANT, Layer.USER):
        if layer not in allowed:
            continue
        if setting.bounding and value is not None and _more(setting, allowed[layer], value):
            overruled = layer
        else:
            winner, value, overruled = layer, allowed[layer], None
    return value, winner, overruled


def _more(setting: Setting, one: Any, other: Any) -> bool:
    """Whether the first allows more, by brute force where that is not a plain comparison."""
    if setting.kind is Kind.RATE:
        return _lets_more_through(one, other)
    if setting.kind is Kind.FLAG:
        return percent(one) > percent(other)
    return bool(one > other)


def _lets_more_through(one: str, other: str) -> bool:
    moments = [0, *(10**power for power in range(15))]
    return any(_calls(one, moment) > _calls(other, moment) for moment in moments)


def _calls(text: str, seconds: int) -> Fraction:
    """The most calls that a bucket lets through within so many seconds, from when it is full."""
    return min(rate.amount + Fraction(rate.amount * seconds, rate.period_s) for rate in rates_of(text))


@given(LAYERS)
def test_inheritance_is_what_the_oracle_says(documents: Sequence[Mapping[str, Any]]) -> None:
    """Every setting, its value, the layer it is from, and the layer that is overruled."""
    layers = [
        LayerValues(layer, number + 1, document)
        for number, (layer, document) in enumerate(zip(WRITTEN, documents, strict=True))
    ]
    versions = {Layer.DEFAULT: 0} | {one.layer: one.version for one in layers}
    resolved = resolve(layers)

    for setting in PLAIN:
        value, winner, overruled = _oracle(setting, documents)
        assert resolved.values[setting.name] == value, setting.name
        assert resolved.origins[setting.name] == Origin(winner, versions[winner], overruled), setting.name


@given(LAYERS)
def test_what_may_be_written_is_never_overruled(documents: Sequence[Mapping[str, Any]]) -> None:
    """The check at writing and the rule at reading are the same: refused is exactly what would not hold."""
    platform = [LayerValues(layer, 1, doc) for layer, doc in zip(WRITTEN[:3], documents[:3], strict=True)]
    inherited = resolve(platform)
    tenant = {name: value for name, value in documents[3].items() if SCHEMA[name].bounding}
    after = inherited.under(LayerValues(Layer.TENANT, 1, tenant))
    overruled = {name for name, origin in after.origins.items() if origin.overrules}

    for name, value in tenant.items():
        with pytest.raises(BadValue, match=name) if name in overruled else nullcontext():
            check_within(inherited, Layer.TENANT, {name: value})


@given(RATES, RATES)
def test_a_rate_exceeds_another_exactly_if_it_ever_lets_more_through(one: str, cap: str) -> None:
    """Of single rates, held against the most calls that each lets through in any time."""
    assert exceeds(Kind.RATE, one, cap) == _lets_more_through(one, cap)


@given(RATES, RATES, RATES)
def test_several_rates_that_do_not_exceed_let_no_more_through(first: str, second: str, cap: str) -> None:
    """The rule may refuse what is hardly within, and never takes what is not."""
    both = f"{first}; {second}"
    assume(rates_of(first)[0].period_s != rates_of(second)[0].period_s)

    assert exceeds(Kind.RATE, both, cap) or not _lets_more_through(both, cap)


@given(_documents())
def test_nested_and_dotted_names_say_the_same(document: dict[str, Any]) -> None:
    """There and back."""
    assert flat(nested(document)) == document
    assert flat(document) == document


@given(_documents(), _documents())
def test_differences_lead_from_one_version_to_the_other(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Applied to the first they give the second; there are none between equals."""
    made = dict(before)
    for one in differences(before, after):
        made.pop(one.name, None)
        if one.after is not None:
            made[one.name] = one.after

    assert made == after
    assert differences(before, before) == ()


def test_no_secret_leaves_a_document() -> None:
    """A reference becomes a mark; a setting that this release does not know is left out."""
    kept = {"mt5.password": {"sealed": "0a1b"}, "future.password": {"sealed": "2c"}, "risk.scale": 1}

    assert public(kept) == {"mt5.password": {"secret": True, "set": True}, "risk.scale": 1}


def test_what_another_release_wrote_is_left_out() -> None:
    """Unknown names, values out of bounds, settings where they do not belong: as if they were not there."""
    strange = {"future.x": 1, "risk.scale": 99, "branding.display_name": "x", "risk.max_fraction": 0.5}
    resolved = resolve([LayerValues(Layer.USER, 1, strange)])

    assert (resolved.values["risk.scale"], resolved.values["branding.display_name"]) == (1.0, None)
    assert resolved.values["risk.max_fraction"] == 0.5
    assert "future.x" not in resolved.values


@given(st.floats(0, 100), st.floats(0, 100), st.sampled_from(FEATURES), st.text(min_size=1))
def test_a_rollout_only_ever_adds_users(one: float, other: float, feature: str, user: str) -> None:
    """Who has a feature at some share has it at every larger one, in every process."""
    low, high = sorted((one, other))

    assert is_on(feature, low, user) <= is_on(feature, high, user)
    assert is_on(feature, EVERYBODY, user)
    assert not is_on(feature, 0.0, user)
    assert not is_on(feature, low, None) or low == EVERYBODY


def test_a_rollout_reaches_its_share_and_features_draw_independently() -> None:
    """10,000 users: 30 % of them within 1.5 points; of two features at 30 % about 9 % have both."""
    users = [f"u-{number}" for number in range(10_000)]
    first, second = ({user for user in users if is_on(name, 30.0, user)} for name in FEATURES[:2])

    assert abs(len(first) - 3000) < 150
    assert abs(len(first & second) - 900) < 120


def test_a_rollout_is_the_same_as_ever() -> None:
    """Pinned: another hash would give and take features from users with a release."""
    had = [number for number in range(20) if is_on("features.stream", 50.0, f"u-{number}")]

    assert had == [2, 3, 7, 9, 10, 11, 12, 14, 16, 18]


def test_a_lookup_follows_every_record_at_once() -> None:
    """Tenant, user, tier and the platform's layers: each change is in the next answer."""
    log = KnownTenants(TIERS)
    view = log.view
    assert view.of("acme") is None
    log.tenant()
    assert view.of("acme")["risk.scale"] == 1.0  # type: ignore[index]
    log.layer("environment.elsewhere", {"risk.scale": 0.1})
    log.layer("global", {"risk.scale": 0.9})
    assert view.of("acme")["risk.scale"] == 0.9  # type: ignore[index]
    log.layer("environment.test", {"risk.scale": 0.8})
    log.layer("tier.pro", {"risk.scale": 0.7})
    assert view.of("acme")["risk.scale"] == 0.7  # type: ignore[index]
    log.tenant(config={"risk.scale": 0.6}, config_version=3)
    log.user("acme", "u", {"risk.scale": 0.5}, version=2)
    mine, others = view.of("acme", "u"), view.of("acme", "v")
    assert mine is not None
    assert others is not None
    assert (mine["risk.scale"], others["risk.scale"]) == (0.5, 0.6)
    assert mine.versions == {"global": 1, "environment": 1, "tier": 1, "tenant": 3, "user": 2}
    log.tenant(tier=Tier.FREE, config={"risk.scale": 0.6}, config_version=3)
    assert view.of("acme")["limits.sockets"] == 5  # type: ignore[index]
    log.tenant(status=TenantStatus.DELETED)
    assert view.of("acme") is None


def test_an_answer_never_changes_afterwards() -> None:
    """What was looked up stays as it was, whatever comes next; nobody's answer is another's."""
    log = KnownTenants(TIERS)
    view = log.view
    log.tenant("acme", config={"risk.blocked_symbols": ["EURUSD"]}, config_version=1)
    log.tenant("rival")
    first, rival = view.of("acme"), view.of("rival")
    assert first is not None
    assert rival is not None
    told = first.told()
    told["config"]["risk"]["scale"] = 7
    log.tenant("acme", config={}, config_version=2)

    assert first["risk.blocked_symbols"] == ["EURUSD"]
    assert (rival["risk.blocked_symbols"], rival["risk.scale"]) == ([], 1.0)
    assert view.of("acme")["risk.scale"] == 1.0  # type: ignore[index]


def test_limits_are_the_tiers_as_far_as_the_tenant_does_not_lower_them() -> None:
    """Of the tier that is asked for; above it they are overruled; an unknown tenant has the tier's."""
    log = KnownTenants(TIERS)
    limits = TenantLimits(log.view)
    lower = {"limits.tenant_rate": "10/minute", "limits.sockets": 40, "limits.models": 1}
    log.tenant(config=lower, config_version=1)
    pro, free = limits.of("acme", Tier.PRO), limits.of("acme", Tier.FREE)

    assert (pro.tenant, pro.user, pro.sockets) == ("10/minute", TIERS.tiers[Tier.PRO].user, 40)
    assert (free.tenant, free.sockets) == ("10/minute", TIERS.tiers[Tier.FREE].sockets)
    assert pro.resources[Resource.MODELS] == 1
    assert limits.of("nobody", Tier.PRO) == TIERS.tiers[Tier.PRO]
    assert limits.of("acme", Tier.PRO) is pro


def test_the_schema_agrees_with_itself() -> None:
    """Every default is a value of its setting; every bounding setting has an order; each has its words."""
    for name, setting in SCHEMA.items():
        assert name == setting.name
        assert setting.default is None or setting.accepts(setting.default), name
        assert not setting.bounding or setting.kind in {Kind.RATE, Kind.FLAG, Kind.INTEGER, Kind.NUMBER}
        assert setting.expects
        assert setting.about.endswith(".")
    assert set(tier_values(TIERS.tiers[Tier.PRO]).values) == {
        name for name in SCHEMA if name.startswith("limits.")
    }


def test_the_tiers_own_limits_are_values_of_their_settings() -> None:
    """Else they would be left out, and the tier would be without a limit."""
    for tier in TIERS.tiers.values():
        for name, value in tier_values(tier).values.items():
            assert setting_of(name).accepts(value), name
    assert isinstance(TIERS.tiers[Tier.PRO], TierLimits)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("templates: {x: {about: a, config: {risk.skale: 1}}}", "no setting"),
        ("templates: {x: {about: a, config: {risk.scale: 11}}}", "from 0 to 10"),
        ("templates: {x: {about: a, config: {mt5.password: hunter2}}}", "no template has one"),
        ("templates: {X Y: {about: a, config: {}}}", "templates"),
        ("templates: {x: {config: {}}}", "about"),
        ("templates: [", "not YAML"),
    ],
)
def test_a_template_that_nobody_could_apply_is_refused_when_it_is_read(text: str, says: str) -> None:
    """With the template's name and what is wrong, and no secret's value."""
    with pytest.raises(ConfigError) as refused:
        load_templates(text)

    assert says in refused.value.message
    assert "hunter2" not in refused.value.message


def test_the_templates_that_are_shipped_can_be_applied_in_every_tier() -> None:
    """None of them asks for more than any tier of the shipped table allows."""
    shipped = load_templates((ROOT / "config" / "tenant_templates.yaml").read_text()).templates
    for tier in TIERS.tiers.values():
        inherited = resolve([tier_values(tier)])
        for template in shipped.values():
            check_within(inherited, Layer.TENANT, template.config)


def test_the_page_lists_every_setting() -> None:
    """As the schema has it; `python -m tests.unit.front.config_reference` writes it anew."""
    assert written() == table()
