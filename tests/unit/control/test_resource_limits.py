"""What a tenant may hold follows its tier, status and config as this process knows them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deployments.control.quotas.resource_limits import ResourceLimits
from deployments.front.limits import Tiers, load_tiers
from deployments.front.tenant_config.limits import TenantLimits
from deployments.front.tenant_config.view import TenantConfigView
from deployments.front.tenants_fold import TenantsFold
from messaging.ports import LogRecord
from messaging.topics import TENANTS
from models.errors import ConfigError, NotFound
from models.principal import Tier
from models.resources import DEFAULT_LIMITS, UNITS, Resource
from models.tenant import Kind, Tenant, TenantRecord, TenantStatus, tenants_key

ROOT = Path(__file__).resolve().parents[3]
MODELS = Resource.MODELS
LINE = "{tenant: 10/hour, user: 10/minute, sockets: 1}"


def tiers(pro: str = "{models: 7}") -> Tiers:
    """Pro names models, the others nothing."""
    named = LINE.replace("}", f", resources: {pro}}}")
    return load_tiers(f"tiers: {{free: {LINE}, pro: {named}, enterprise: {LINE}, service: {LINE}}}")


class Scene:
    """A copy of `hub.tenants` that hears of changes, and a database with one tenant more."""

    def __init__(self) -> None:
        self.fold, self.offset = TenantsFold(), 0
        table = tiers()
        view = TenantConfigView(self.fold, tiers=table, environment="test")
        self.limits = ResourceLimits(TenantLimits(view), self.fold, self.find)

    def hear(self, tier: Tier, status: TenantStatus = TenantStatus.ACTIVE, **config: int) -> None:
        """A new record of `acme`; `config` are its limits."""
        self.offset += 1
        record = TenantRecord(
            tenant_id="acme",
            tier=tier,
            status=status,
            entitled_until_ns=0,
            version=self.offset,
            config={f"limits.{name}": value for name, value in config.items()},
            config_version=self.offset,
        )
        value = record.model_dump_json(by_alias=True).encode()
        self.fold.take_all(
            [LogRecord(TENANTS.name, 0, self.offset, 0, tenants_key(Kind.TENANT, "acme"), value)]
        )

    async def find(self, tenant_id: str) -> Tenant:
        """`fresh` is in the database and not in the copy yet."""
        if tenant_id != "fresh":
            raise NotFound("there is nothing of that name for you")
        return Tenant(
            tenant_id=tenant_id,
            name="Fresh",
            tier=Tier.PRO,
            status=TenantStatus.ACTIVE,
            entitled_until_ns=0,
            created_ns=time.time_ns(),
            changed_ns=0,
            version=1,
        )


async def test_the_tier_of_this_moment_counts() -> None:
    """Upgraded and downgraded without anything being started anew; what is not named gets the default."""
    scene, seen = Scene(), []
    for tier in (Tier.FREE, Tier.PRO, Tier.FREE):
        scene.hear(tier)
        seen.append((await scene.limits("acme"))[MODELS])

    assert seen == [DEFAULT_LIMITS[MODELS], 7, DEFAULT_LIMITS[MODELS]]
    assert set(await scene.limits("acme")) == set(Resource)


async def test_a_tenants_config_lowers_and_never_raises() -> None:
    """3 of 7 count; 9 of 7 do not; and what fitted the old tier does not outlive the downgrade."""
    scene, seen = Scene(), []
    for tier, own in ((Tier.PRO, 3), (Tier.PRO, 9), (Tier.FREE, 5)):
        scene.hear(tier, models=own)
        seen.append((await scene.limits("acme"))[MODELS])

    assert seen == [3, 7, DEFAULT_LIMITS[MODELS]]


async def test_a_suspended_tenant_may_hold_nothing_and_a_deleted_one_is_not_there() -> None:
    """Zero of everything; the answer of what does not exist."""
    scene = Scene()
    scene.hear(Tier.PRO, TenantStatus.SUSPENDED)
    assert set((await scene.limits("acme")).values()) == {0}
    scene.hear(Tier.PRO, TenantStatus.DELETED)
    with pytest.raises(NotFound):
        await scene.limits("acme")


async def test_a_tenant_that_is_too_new_for_the_copy_is_asked_of_the_database() -> None:
    """Provisioned a moment ago, it may allocate already; one that nobody knows may not."""
    scene = Scene()
    assert (await scene.limits("fresh"))[MODELS] == 7
    with pytest.raises(NotFound):
        await scene.limits("nobody")


@pytest.mark.parametrize(
    "wrong", ["{gpus: 1}", "{models: -1}", "{models: 1.5}", "{models: true}", "{models: 1000000000001}", "[]"]
)
def test_a_wrong_table_of_resources_is_refused_at_load(wrong: str) -> None:
    """Unknown, negative, not whole, another type, too large: the error names the tier and the field."""
    with pytest.raises(ConfigError, match=r"tiers\.pro\.resources"):
        tiers(wrong)


def test_the_docs_say_what_the_shipped_table_allows() -> None:
    """`docs/quotas.md` against `config/tiers.yaml`; what is not named anywhere is as in the tier free."""
    shipped = load_tiers((ROOT / "config" / "tiers.yaml").read_text())
    assert shipped.tiers[Tier.FREE].resources == DEFAULT_LIMITS
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in (ROOT / "docs" / "quotas.md").read_text().splitlines()
    ]
    told = {row[0]: row[1:] for row in rows if row[0] in set(Resource)}
    for resource in Resource:
        allowed = [f"{shipped.tiers[tier].resources[resource]:,}" for tier in Tier]
        assert told[resource] == [UNITS[resource], *allowed]
