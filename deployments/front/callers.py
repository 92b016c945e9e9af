"""Who is calling, from whatever the caller brings: a token of one of several issuers, or an API key."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from deployments.front.api_keys import PREFIX, ApiKeys
from deployments.front.catching_up import CatchingUp
from deployments.front.compact import parts_of
from deployments.front.denials import DenialLog
from deployments.front.standing import CallerStanding
from deployments.front.tenants_fold import TenantsFold
from deployments.front.tokens import AnyTokens, TokenVerifier, unauthenticated
from deployments.front.verified import Known
from models.errors import ConfigError
from models.principal import Principal

_LOG: Final = logging.getLogger(__name__)


class CallerVerifier:
    """Several issuers side by side. What a token says of its issuer, unverified, selects who checks it, and
    nothing else. Without `api_keys` none are taken; without `standing` a token counts until it ends; without
    `catching_up` whoever was made just now is refused until the copy has read it.
    """

    def __init__(
        self,
        issuers: Sequence[TokenVerifier],
        *,
        api_keys: ApiKeys | None = None,
        standing: CallerStanding | None = None,
        catching_up: CatchingUp | None = None,
    ) -> None:
        self._by_issuer = {issuer.issuer: issuer for issuer in issuers}
        if not issuers or len(self._by_issuer) != len(issuers):
            names = ", ".join(issuer.issuer for issuer in issuers) or "none"
            raise ConfigError(f"issuers of tokens were {names}; name one or more, each once", field="issuers")
        self._api_keys = api_keys
        self._standing = standing
        self._catching_up = catching_up

    async def verify(self, bearer: str) -> Principal:
        """The principal, as it stands now; Unauthenticated, or TenantSuspended."""
        return (await self.known(bearer)).principal

    async def known(self, bearer: str) -> Known:
        """The principal and the end of what it brought; errors as `verify`."""
        if self._catching_up:
            return await self._catching_up.known(lambda: self._now(bearer))
        return await self._now(bearer)

    async def _now(self, bearer: str) -> Known:
        known = await self._credential(bearer)
        return self._standing.of(known) if self._standing else known

    async def _credential(self, bearer: str) -> Known:
        if self._api_keys and bearer.startswith(PREFIX):
            return self._api_keys.find(bearer)
        return await self._issuer_of(bearer).known(bearer)

    def _issuer_of(self, bearer: str) -> TokenVerifier:
        if len(self._by_issuer) == 1:
            return next(iter(self._by_issuer.values()))
        for issuer in self._by_issuer.values():
            if issuer.has_seen(bearer):
                return issuer
        try:
            claimed = parts_of(bearer)[1].get("iss")
        except (ValueError, RecursionError) as error:
            _LOG.info("token refused: %s", type(error).__name__)
            raise unauthenticated() from None
        if not isinstance(claimed, str) or claimed not in self._by_issuer:
            raise unauthenticated()
        return self._by_issuer[claimed]


def callers_of(
    tokens: Sequence[AnyTokens],
    fold: TenantsFold | None,
    *,
    clock: Callable[[], int] = time.time_ns,
    lenient: bool = False,
    denials: DenialLog | None = None,
    catching_up: CatchingUp | None = None,
) -> CallerVerifier:
    """All that these configurations accept. With the copy of `hub.tenants` API keys, too, and all of it
    only as long as tenant, user and session stand; without one just the tokens. `lenient` and `denials` as
    in `CallerStanding`, `catching_up` as in `CallerVerifier`. ConfigError for a weak secret, or two issuers
    of one name.
    """
    issuers = [TokenVerifier(config, fold=fold) for config in tokens]
    if fold is None:
        return CallerVerifier(issuers)
    standing = CallerStanding(fold, lenient=lenient, denials=denials)
    keys = ApiKeys(fold, clock)
    return CallerVerifier(issuers, api_keys=keys, standing=standing, catching_up=catching_up)
