"""How often a caller may call: rates by tier, counted in the fast store, or here while that is away.

Counting is one atomic step per call (`storage/gcra.py`). A tenant's rate is shared by its users; a user's
rate keeps one user from using up the tenant's. While the store is away each gateway counts by itself and
grants its share of the rate, so that all gateways together never grant more than the tier allows; the answer
says so. What the store granted is counted here, too: a store that comes and goes, or comes back empty, starts
no rate anew.

Counters are of a caller and a period, whatever the tier: a counter holds the share of the period that is used
up, so that an upgrade neither fills nor empties it and takes effect with the next call (`docs/quotas.md`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Final, Protocol, Self

import limits
import yaml
from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from models.base import Frozen
from models.errors import ConfigError, RateLimited, StoreUnavailable
from models.principal import Principal, Tier
from models.resources import DEFAULT_LIMITS, Limit, Resource
from models.usage import Measure
from storage.ports import Bucket, FastStore, Grant, Key, Rate

_KIND: Final = "rate"
_SHARE_KIND: Final = "rate_share"
_PARSED: Final = 4096


def _checked_rates(text: str) -> str:
    rates_of(text)
    return text


@lru_cache(maxsize=_PARSED)
def rates_of(text: str) -> tuple[Rate, ...]:
    """The rates of `"100/minute; 1000/hour"`; ValueError if it says something else, or two of one period."""
    rates = tuple(Rate(item.amount, item.get_expiry()) for item in limits.parse_many(text))
    if not all(rate.amount > 0 for rate in rates):
        raise ValueError(f"{text!r} holds a rate of nothing; the smallest is 1")
    if len({rate.period_s for rate in rates}) < len(rates):
        raise ValueError(f"{text!r} names a period twice; name the lower rate alone")
    return rates


RateText = Annotated[str, AfterValidator(_checked_rates)]


class TierLimits(Frozen):
    """What a tier allows: `tenant` over all users of the tenant, `user` for each, open sockets per user, and
    `resources` that the tenant may hold at a time; one that is not named gets `DEFAULT_LIMITS`. `monthly` is
    what is included in a month: who nears or exceeds it is told, and not cut off.
    """

    tenant: RateText
    user: RateText
    sockets: Annotated[int, Field(ge=0)]
    resources: dict[Resource, Limit] = Field(default_factory=dict, validate_default=True)
    monthly: dict[Measure, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)

    @field_validator("resources")
    @classmethod
    def _all_limited(cls, given: dict[Resource, int]) -> dict[Resource, int]:
        return {**DEFAULT_LIMITS, **given}


class LimitsView(Protocol):
    """What holds for a tenant now. Asked on every call, so it answers from memory; an answer that cannot be
    changed from the outside may be the same object again.
    """

    def of(self, tenant_id: str, tier: Tier, /) -> TierLimits:
        """The tenant's limits, if its tier is `tier`."""
        ...


class Tiers(Frozen):
    """`config/tiers.yaml`: every tier has an entry, so that none is unlimited by oversight."""

    tiers: dict[Tier, TierLimits]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [tier.value for tier in Tier if tier not in self.tiers]
        if missing:
            raise ValueError(f"tiers without an entry: {', '.join(missing)}")
        return self

    def of(self, _tenant_id: str, tier: Tier, /) -> TierLimits:
        """The tier's own line: the view of a hub whose tenants have no config."""
        return self.tiers[tier]


def load_tiers(text: str) -> Tiers:
    """The tiers of a `config/tiers.yaml`; ConfigError names the tier, field or rate that is wrong."""
    try:
        return Tiers.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ConfigError(f"tiers file is not YAML: {error}", field="tiers") from error
    except ValidationError as error:
        wrong = [(".".join(map(str, one["loc"])) or "tiers", one["msg"]) for one in error.errors()]
        told = "; ".join(f"{field}: {complaint}" for field, complaint in wrong)
        raise ConfigError(f"tiers file: {told}", field=wrong[0][0]) from error


@dataclass(frozen=True, slots=True)
class Admission:
    """The verdict on a call. `local` says that this gateway counted alone, with its share of the rate."""

    grant: Grant
    local: bool

    def headers(self) -> dict[str, str]:
        """`RateLimit-*` of the tightest rate; the policy lists all of them."""
        tightest = self.grant.tightest
        comment = ';comment="local bound, the shared counters are away"' if self.local else ""
        rates = dict.fromkeys(standing.rate for standing in self.grant.standings)
        return {
            "RateLimit-Limit": str(tightest.rate.amount),
            "RateLimit-Remaining": str(tightest.remaining),
            "RateLimit-Reset": str(math.ceil(tightest.reset_s)),
            "RateLimit-Policy": ", ".join(f"{rate.amount};w={rate.period_s}{comment}" for rate in rates),
        }

    def refusal(self) -> RateLimited | None:
        """The error to answer with, None if the call may go on."""
        if self.grant.allowed:
            return None
        tightest = self.grant.tightest
        return RateLimited(
            f"more than {tightest.rate.amount} calls in {tightest.rate.period_s} s; wait and retry",
            retry_after_s=tightest.retry_after_s,
            details={"limit": tightest.rate.amount, "window_s": tightest.rate.period_s},
        )


class RateLimiter:
    """Counts calls in `shared` and in `local`, a store of this process alone; while `shared` is away only
    there, and grants one of `gateways` shares of each rate. `limits` says what holds for a tenant: the table
    of the tiers, or a view that also knows the tenants' config.
    """

    def __init__(self, limits: LimitsView, *, shared: FastStore, local: FastStore, gateways: int) -> None:
        self._limits = limits
        self._shared = shared
        self._local = local
        self._gateways = gateways
        self.counts_locally = False

    async def admit(self, principal: Principal) -> Admission:
        """Count a call of the principal against what holds for its tenant."""
        buckets = _buckets(principal, self._limits.of(principal.tenant_id, principal.tier))
        try:
            grant = await self._shared.take(buckets)
        except StoreUnavailable:
            self.counts_locally = True
            return Admission(await self._alone(buckets), local=True)
        self.counts_locally = False
        if grant.allowed:
            counted = await self._local.take(buckets)
            grant = grant if counted.allowed else counted
        return Admission(grant, local=False)

    async def _alone(self, buckets: Sequence[Bucket]) -> Grant:
        """This gateway's share, which lies within the rate as it was counted here until now."""
        return await self._local.take([*(self._share(bucket) for bucket in buckets), *buckets])

    def _share(self, bucket: Bucket) -> Bucket:
        rate = bucket.rate
        share = Rate(max(1, rate.amount // self._gateways), rate.period_s)
        return Bucket(replace(bucket.key, kind=_SHARE_KIND), share)


def _buckets(principal: Principal, allowed: TierLimits) -> list[Bucket]:
    owners: Mapping[str, str] = {"tenant": allowed.tenant, f"user/{principal.user_id}": allowed.user}
    return [
        Bucket(Key(principal.tenant_id, _KIND, f"{rate.period_s}/{owner}"), rate)
        for owner, text in owners.items()
        for rate in rates_of(text)
    ]
