"""How often a caller may call: rates by tier, counted in the fast store, or here while that is away.

Counting is one atomic step per call (`storage/gcra.py`). A tenant's rate is shared by its users; a user's
rate keeps one user from using up the tenant's. While the store is away each gateway counts by itself and
grants its share of the rate, so that all gateways together never grant more than the tier allows; the answer
says so. What the store granted is counted here, too: a store that comes and goes, or comes back empty, starts
no rate anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, Self

import limits
import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from models.base import Frozen
from models.errors import ConfigError, RateLimited, StoreUnavailable
from models.principal import Principal, Tier
from storage.ports import Bucket, FastStore, Grant, Key, Rate

_KIND: Final = "rate"
_SHARE_KIND: Final = "rate_share"


def _checked_rates(text: str) -> str:
    rates_of(text)
    return text


def rates_of(text: str) -> tuple[Rate, ...]:
    """The rates of `"100/minute; 1000/hour"`; ValueError if it says something else."""
    return tuple(Rate(item.amount, item.get_expiry()) for item in limits.parse_many(text))


RateText = Annotated[str, AfterValidator(_checked_rates)]


class TierLimits(Frozen):
    """What a tier allows: `tenant` over all users of the tenant, `user` for each, open sockets per user."""

    tenant: RateText
    user: RateText
    sockets: Annotated[int, Field(ge=0)]


class Tiers(Frozen):
    """`config/tiers.yaml`: every tier has an entry, so that none is unlimited by oversight."""

    tiers: dict[Tier, TierLimits]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [tier.value for tier in Tier if tier not in self.tiers]
        if missing:
            raise ValueError(f"tiers without an entry: {', '.join(missing)}")
        return self


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
    there, and grants one of `gateways` shares of each rate.
    """

    def __init__(self, tiers: Tiers, *, shared: FastStore, local: FastStore, gateways: int) -> None:
        self._limits = {tier: _Rates.of(allowed) for tier, allowed in tiers.tiers.items()}
        self._shared = shared
        self._local = local
        self._gateways = gateways
        self.counts_locally = False

    async def admit(self, principal: Principal) -> Admission:
        """Count a call of the principal against its tier."""
        buckets = self._limits[principal.tier].buckets(principal)
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


@dataclass(frozen=True, slots=True)
class _Rates:
    """A tier's rates, parsed once."""

    tenant: Sequence[Rate]
    user: Sequence[Rate]

    @classmethod
    def of(cls, allowed: TierLimits) -> _Rates:
        return cls(tenant=rates_of(allowed.tenant), user=rates_of(allowed.user))

    def buckets(self, principal: Principal) -> list[Bucket]:
        owners: Mapping[str, Sequence[Rate]] = {"tenant": self.tenant, f"user/{principal.user_id}": self.user}
        return [
            Bucket(Key(principal.tenant_id, _KIND, f"{principal.tier.value}/{rate.period_s}/{owner}"), rate)
            for owner, rates in owners.items()
            for rate in rates
        ]
