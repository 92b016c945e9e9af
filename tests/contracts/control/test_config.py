"""Config, by HTTP on a real database: inheritance, versions, roll-back, templates, and who may what."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from deployments.front.tenant_config.schema import SCHEMA
from deployments.front.tenant_config.view import TenantConfigView
from deployments.front.tenants_tail import TenantsTail
from messaging.memory import MemoryBus
from tests.support.configs import acme
from tests.support.control import ControlHub
from tests.support.eventually import eventually


async def test_a_value_is_inherited_overridden_and_given_back(control: ControlHub) -> None:
    """Default, tenant, user, and back again; each with its layer and version."""
    a = await acme(control)
    before = (await a.get()).json()
    await a.set({"risk": {"scale": 0.8}})
    await a.set_own({"risk.scale": 0.5})
    mine = (await control.client.get(a.trader_path, headers=a.trader)).json()
    await a.set_own({"risk.scale": None})
    back = (await control.client.get(a.trader_path, headers=a.trader)).json()

    assert (before["config"]["risk"]["scale"], before["origins"]["risk.scale"]["layer"]) == (1.0, "default")
    assert (mine["config"]["risk"]["scale"], mine["origins"]["risk.scale"]) == (
        0.5,
        {"layer": "user", "version": 1},
    )
    assert (back["config"]["risk"]["scale"], back["origins"]["risk.scale"]) == (
        0.8,
        {"layer": "tenant", "version": 1},
    )
    assert (back["version"], back["document"]) == (2, {})
    assert set(back["origins"]) == set(SCHEMA)


async def test_the_platforms_layers_reach_every_tenant(control: ControlHub) -> None:
    """Global under environment under tier; each written once, by the platform alone."""
    await _found(control)
    a = await acme(control)
    for layer, scale in (("global", 0.9), ("environment.test", 0.8), ("environment.other", 0.1)):
        await _put_platform(control, layer, {"risk.scale": scale})
    await _put_platform(control, "tier.pro", {"features.experiments": {"percent": 10}})

    async def seen() -> Any:
        page = (await a.get()).json()
        return page if page["origins"]["features.experiments"]["layer"] == "tier" else None

    page = await eventually(seen)
    refused = await control.client.put(
        "/platform/config/global", json={"config": {}}, headers=a.owner, params={"version": 1}
    )

    assert (page["config"]["risk"]["scale"], page["origins"]["risk.scale"]) == (
        0.8,
        {"layer": "environment", "version": 1},
    )
    assert page["config"]["features"]["experiments"] == {"percent": 10}
    assert refused.status_code == 403


@pytest.mark.parametrize(
    ("config", "field", "says"),
    [
        ({"risk.skale": 1}, "risk.skale", "no setting"),
        ({"risk": {}}, "risk", "no setting"),
        ({"risk": 5}, "risk", "no setting"),
        ({"": 1}, "", "no setting"),
        ({"a" * 5000: 1}, "config", "no setting"),
        ({"\x00\ud800": 1}, "config", "no setting"),
        ({"risk.scale": 11}, "risk.scale", "from 0 to 10"),
        ({"risk.scale": -0.1}, "risk.scale", "from 0 to 10"),
        ({"risk.scale": "1"}, "risk.scale", "number"),
        ({"risk.scale": True}, "risk.scale", "number"),
        ({"risk.scale": [1]}, "risk.scale", "number"),
        ({"risk.scale": {"x": 1}}, "risk.scale", "number"),
        ({"risk.max_signals_per_minute": 1.5}, "risk.max_signals_per_minute", "whole number"),
        ({"risk.max_signals_per_minute": 10**400}, "risk.max_signals_per_minute", "whole number"),
        ({"risk.blocked_symbols": "EURUSD"}, "risk.blocked_symbols", "list"),
        ({"risk.blocked_symbols": ["EURUSD", "EURUSD"]}, "risk.blocked_symbols", "different"),
        ({"risk.blocked_symbols": ["eurusd; drop"]}, "risk.blocked_symbols", "list"),
        ({"branding.display_name": "a\x00b"}, "branding.display_name", "printable"),
        ({"branding.display_name": "\ud800"}, "branding.display_name", "printable"),
        ({"branding.display_name": "x" * 121}, "branding.display_name", "120"),
        ({"notifications.digest": "hourly"}, "notifications.digest", "one of off, daily, weekly"),
        ({"notifications.email": "a@b\nBcc: c@d"}, "notifications.email", "printable"),
        ({"notifications.on_halt": 1}, "notifications.on_halt", "true or false"),
        ({"limits.tenant_rate": "many"}, "limits.tenant_rate", "calls over time"),
        ({"limits.tenant_rate": "0/minute"}, "limits.tenant_rate", "calls over time"),
        ({"limits.tenant_rate": "200000/hour"}, "limits.tenant_rate", "caps it at '100000/hour'"),
        ({"limits.sockets": 51}, "limits.sockets", "`tier` caps it at 50"),
        ({"limits.models": 3}, "limits.models", "caps it at 2"),
        ({"webhooks.url": "http://hooks.example.com/"}, "webhooks.url", "https"),
        ({"webhooks.url": "https://127.0.0.1/"}, "webhooks.url", "a name and no address"),
        ({"webhooks.url": "https://[::ffff:127.0.0.1]/"}, "webhooks.url", "a name"),
        ({"webhooks.url": "https://2130706433/"}, "webhooks.url", "a name"),
        ({"webhooks.url": "https://169.254.169.254/latest"}, "webhooks.url", "a name"),
        ({"webhooks.url": "https://user:pw@hooks.example.com/"}, "webhooks.url", "password"),
        ({"webhooks.url": "gopher://hooks.example.com/"}, "webhooks.url", "https"),
        ({"webhooks.url": "https://localhost/"}, "webhooks.url", "a name"),
        ({"features.stream": {"percent": 101}}, "features.stream", "percent"),
        ({"features.stream": {"percent": 5, "of": 1}}, "features.stream", "percent"),
        ({"risk.scale": 1, "risk": {"scale": 2}}, "risk.scale", "twice"),
        ({"mt5.password": 7}, "mt5.password", "expected"),
        ({"mt5.password": {"sealed": "00"}}, "mt5.password", "expected"),
        ({"mt5.password": {"secret": True, "set": True}}, "mt5.password", "not set"),
    ],
    ids=lambda value: ascii(value)[:50],
)
async def test_what_is_no_value_is_refused_by_name(
    control: ControlHub, config: dict[str, Any], field: str, says: str
) -> None:
    """422 that names the setting and what it takes; nothing is written."""
    a = await acme(control)
    answer = await a.set(config)
    after = (await a.get()).json()

    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == field
    assert says in answer.json()["detail"]
    assert after["version"] == 0


async def test_a_number_that_is_none_is_refused(control: ControlHub) -> None:
    """JSON of other people's making says NaN and Infinity."""
    a = await acme(control)
    for word in ("NaN", "Infinity", "-Infinity", "1e999"):
        body = f'{{"config": {{"risk.scale": {word}}}}}'
        headers = a.admin | {"Content-Type": "application/json"}
        answer = await control.client.patch(a.path, content=body, headers=headers)

        assert (answer.status_code, answer.json()["field"]) == (422, "risk.scale")


async def test_a_user_stays_below_the_tenant_and_the_tenant_is_obeyed_when_it_lowers(
    control: ControlHub,
) -> None:
    """Raising is refused with the cap named; a value that is above a later cap is overruled, and says so."""
    a = await acme(control)
    await a.set({"risk.max_fraction": 0.5})
    refused = await a.set_own({"risk.max_fraction": 0.6})
    await a.set_own({"risk.max_fraction": 0.4})
    await a.set({"risk.max_fraction": 0.2})
    page = (await control.client.get(a.trader_path, headers=a.trader)).json()

    assert (refused.status_code, refused.json()["details"]) == (
        422,
        {"cap": 0.5, "layer": "tenant", "version": 1},
    )
    assert page["config"]["risk"]["max_fraction"] == 0.2
    assert page["origins"]["risk.max_fraction"] == {"layer": "tenant", "version": 2, "overrules": "user"}
    assert page["document"]["risk"]["max_fraction"] == 0.4


async def test_a_tier_that_is_lowered_overrules_what_the_tenant_has(control: ControlHub) -> None:
    """The old value stands in the layer and does not hold; other settings can still be changed."""
    a = await acme(control)
    await a.set({"limits.sockets": 40})
    await control.client.patch("/tenants/acme", json={"tier": "free"}, headers=control.auth())
    page = (await a.get()).json()
    unrelated = await a.set({"risk.scale": 0.5})

    assert page["config"]["limits"]["sockets"] == 5
    assert page["origins"]["limits.sockets"] == {"layer": "tier", "version": 0, "overrules": "tenant"}
    assert unrelated.status_code == 200


async def test_versions_are_kept_compared_and_taken_back(control: ControlHub) -> None:
    """History with author and comment, a diff of any two, and a roll-back that is itself a version."""
    a = await acme(control)
    await a.set({"risk.scale": 0.8, "notifications.digest": "daily"})
    await a.set({"risk.scale": 0.6, "notifications.digest": None, "branding.display_name": "Acme"})
    diff = (await a.get("/versions/1/diff/2")).json()["differences"]
    rolled = await control.client.post(
        f"{a.path}/rollback", json={"to": 1, "comment": "too small"}, headers=a.admin
    )
    history = (await a.get("/versions")).json()
    first_page = (await a.get("/versions?most=2")).json()
    rest = (await a.get(f"/versions?before={first_page['next']}")).json()

    assert diff == [
        {"name": "branding.display_name", "before": None, "after": "Acme"},
        {"name": "notifications.digest", "before": "daily", "after": None},
        {"name": "risk.scale", "before": 0.8, "after": 0.6},
    ]
    assert rolled.json()["document"] == (await a.get("/versions/1")).json()["document"]
    assert [(one["version"], one["author"], one["comment"]) for one in history["versions"]] == [
        (3, "someone", "too small"),
        (2, "someone", ""),
        (1, "someone", ""),
    ]
    assert [one["version"] for one in first_page["versions"] + rest["versions"]] == [3, 2, 1]
    assert (await a.get("/versions/9")).status_code == 404
    assert (await a.get("/versions/0")).json()["document"] == {}


async def test_a_rollback_to_what_is_not_allowed_any_more_is_refused(control: ControlHub) -> None:
    """The cap is named, and the layer stays as it is."""
    a = await acme(control)
    await a.set({"limits.sockets": 40})
    await a.set({"limits.sockets": 4})
    await control.client.patch("/tenants/acme", json={"tier": "free"}, headers=control.auth())
    refused = await control.client.post(f"{a.path}/rollback", json={"to": 1}, headers=a.admin)

    assert (refused.status_code, refused.json()["field"]) == (422, "limits.sockets")
    assert (await a.get()).json()["version"] == 2


async def test_of_many_writers_exactly_one_wins_each_version(control: ControlHub) -> None:
    """Twenty who have read the same version: one writes, nineteen are told of a conflict; and so again."""
    a = await acme(control)
    for version in range(3):
        answers = await asyncio.gather(
            *(
                a.set({"risk.scale": 0.1 + number / 100 + version / 7}, version=version)
                for number in range(20)
            )
        )

        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
    assert (await a.get()).json()["version"] == 3


async def test_writers_who_expect_no_version_all_get_theirs(control: ControlHub) -> None:
    """Ten at once, each another setting: ten versions, and nobody's change is lost."""
    a = await acme(control)
    names = [name for name, setting in SCHEMA.items() if setting.kind == "flag"] + ["risk.scale"]
    values: dict[str, Any] = {name: 0.5 if name == "risk.scale" else False for name in names}
    answers = await asyncio.gather(*(a.set({name: value}) for name, value in values.items()))
    page = (await a.get()).json()

    assert {answer.status_code for answer in answers} == {200}
    assert page["version"] == len(names)
    assert page["document"] == {
        "features": dict.fromkeys((name.removeprefix("features.") for name in names[:-1]), False),
        "risk": {"scale": 0.5},
    }


async def test_what_changes_nothing_is_no_version(control: ControlHub) -> None:
    """A template applied twice, and what was read written back, leave one version."""
    a = await acme(control)
    for _ in range(2):
        applied = await control.client.post(
            f"{a.path}/apply-template", json={"template": "conservative"}, headers=a.admin
        )
        assert applied.status_code == 200, applied.text
    page = (await a.get()).json()
    put = await control.client.put(
        a.path, json={"config": page["document"]}, headers=a.admin, params={"version": 1}
    )

    assert (page["version"], put.json()["version"]) == (1, 1)
    assert page["config"]["risk"]["max_fraction"] == 0.1


async def test_a_put_replaces_the_whole_layer(control: ControlHub) -> None:
    """What is not in it is inherited again; without the version it replaces it is refused."""
    a = await acme(control)
    await a.set({"risk.scale": 0.8, "risk.max_exposure": 2})
    body = {"config": {"risk.scale": 0.7}}
    blind = await control.client.put(a.path, json=body, headers=a.admin)
    put = await control.client.put(a.path, json=body, headers=a.admin, params={"version": 1})

    assert (blind.status_code, blind.json()["field"]) == (422, "version")
    assert put.json()["document"] == {"risk": {"scale": 0.7}}


async def test_who_may_what(control: ControlHub) -> None:
    """Traders read the tenant's layer and write their own; nobody reaches another tenant, or learns of it."""
    a, rival = await acme(control), await acme(control, "rival")
    client = control.client
    body = {"config": {"risk.scale": 0.5}}

    assert (await client.patch(a.path, json=body, headers=a.trader)).status_code == 403
    assert (await client.patch(rival.trader_path, json=body, headers=a.admin)).status_code == 404
    assert (await client.patch(a.trader_path, json=body, headers=a.admin)).status_code == 200
    assert (await client.get(a.path, headers=a.trader)).status_code == 200
    elsewhere = a.trader_path.replace(a.trader_id, rival.trader_id)
    answers = {
        "foreign tenant": await client.get(rival.path, headers=a.owner),
        "absent tenant": await client.get("/tenants/nobody/config", headers=a.owner),
        "platform, absent": await client.get("/tenants/nobody/config", headers=control.auth()),
        "another tenant's user": await client.get(elsewhere, headers=a.owner),
        "nobody": await client.get(a.trader_path.replace(a.trader_id, "u-0"), headers=a.owner),
    }
    assert {answer.status_code for answer in answers.values()} == {404}
    assert len({answer.content for answer in answers.values()}) == 1


async def test_a_change_is_seen_in_another_process(control: ControlHub) -> None:
    """A second copy of `hub.tenants` resolves the new value; a user's own layer likewise."""
    a = await acme(control)
    tail = TenantsTail(
        MemoryBus(control.log, "gateway"), clock=control.services.clock, rng=control.services.rng
    )
    task = asyncio.create_task(tail.run())
    view = TenantConfigView(tail.fold, tiers=control.config.tiers, environment="test")
    try:
        await a.set({"risk.scale": 0.8, "mt5.password": "canary-4711"})
        await a.set_own({"risk.scale": 0.3})
        await eventually(lambda: (seen := view.of("acme", a.trader_id)) and seen["risk.scale"] == 0.3)
        found = view.of("acme", a.trader_id)
    finally:
        task.cancel()

    assert found is not None
    assert found["mt5.password"] == {"secret": True, "set": True}
    assert found.told()["versions"] == {"global": 0, "environment": 0, "tier": 0, "tenant": 1, "user": 1}


async def test_the_config_of_a_deleted_user_goes_with_it(control: ControlHub) -> None:
    """And a version of somebody who is there cannot be deleted, not even by the application itself."""
    a = await acme(control)
    await a.set_own({"risk.scale": 0.3, "mt5.password": "canary-4711"})
    await a.set({"risk.scale": 0.8})
    await control.client.delete(f"/tenants/acme/users/{a.trader_id}", headers=a.owner)

    async with control.services.database.tenant("acme") as connection:
        rows = await connection.exec_driver_sql("SELECT layer FROM config_versions")
        layers = [row[0] for row in rows]
        await connection.exec_driver_sql("DELETE FROM config_versions")
        left = (await connection.exec_driver_sql("SELECT count(*) FROM config_versions")).scalar()
        secrets = (await connection.exec_driver_sql("SELECT count(*) FROM tenant_secrets")).scalar()
    assert (layers, left, secrets) == (["tenant"], 1, 0)


async def test_the_schema_and_the_templates_can_be_read(control: ControlHub) -> None:
    """Everything that this page says of a setting, and what each template sets."""
    a = await acme(control)
    schema = (await control.client.get("/config-schema", headers=a.trader)).json()["settings"]
    templates = (await control.client.get("/config-templates", headers=a.trader)).json()["templates"]
    unknown = await control.client.post(
        f"{a.path}/apply-template", json={"template": "reckless"}, headers=a.admin
    )

    assert {one["name"] for one in schema} == set(SCHEMA)
    assert set(templates) == {"conservative", "standard", "aggressive"}
    assert (unknown.status_code, unknown.json()["field"]) == (422, "template")


async def _found(control: ControlHub) -> None:
    """Make the platform's own tenant, as a hub does when it starts."""
    await control.assembled.founding.run()


async def _put_platform(control: ControlHub, layer: str, config: dict[str, Any]) -> None:
    answer = await control.client.put(
        f"/platform/config/{layer}", json={"config": config}, headers=control.auth(), params={"version": 0}
    )
    assert answer.status_code == 200, answer.text
