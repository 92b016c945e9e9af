"""What a request pays for knowing who is calling, and how many leases are granted a second.

`verify_us`: one check of a token of the hub, as the gateway makes it with every request: which issuer,
whether this very token was verified a moment ago by a key that still counts, and what has become of tenant,
user and session since, out of the local copy of 10,000 tenants. 1,000 callers send their tokens at random.
`first_us` is the same of a token that is seen for the first time, `api_key_us` of an API key. The peer is
PyJWT's plain decode of the same tokens with the key at hand: signature, expiry, audience and issuer, and no
question about what has become of anybody. It takes turns with itself, for the spread.

The leases are those of `allocations`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, Final

import jwt

from benchmarks import allocations
from benchmarks.harness import Benchmark, Report, middle, spread
from deployments.front.callers import CallerVerifier, callers_of
from deployments.front.tenants_fold import TenantsFold
from deployments.front.tokens import HubTokens, IssuedTokens
from models.principal import Tier
from tests.unit.front.accounts import Accounts
from tests.unit.gateway.doubles import principal

TENANTS: Final = 10_000
CALLERS: Final = 1_000
ROUNDS: Final = 9
CALLS: Final = 4_000
FEW: Final = 500
_ELSEWHERE: Final = IssuedTokens(issuer="https://issuer.example", jwks_url="https://issuer.example/jwks")


def run(report: Report) -> None:
    """Checks of tokens first, on a machine that does nothing else; then leases."""
    asyncio.run(_verify(report))
    allocations.run(report)


async def _verify(report: Report) -> None:
    accounts = Accounts()
    for number in range(TENANTS):
        accounts.tenant(f"tenant-{number}", tier=Tier.FREE)
    tokens = [_token(accounts, number) for number in range(CALLERS)]
    key = accounts.api_key(tenant_id="tenant-1")
    verifier = _verifier(accounts.fold)
    public = accounts.keys["k1"].public_key()
    for token in tokens:
        await verifier.verify(token)

    def plain(token: str) -> Any:
        options: Any = {"require": ["exp", "iss", "aud", "sub"]}
        return jwt.decode(
            token, public, ["EdDSA"], options, audience=HubTokens().audience, issuer=HubTokens().issuer
        )

    async def fresh(token: str) -> object:
        return await _verifier(accounts.fold).verify(token)

    mine: list[float] = []
    peers: list[list[float]] = [[], []]
    keys: list[float] = []
    first: list[float] = []
    for _ in range(ROUNDS):
        peers[0].append(_plain_us(plain, tokens[:FEW]))
        mine.append(await _us(verifier.verify, tokens, CALLS))
        peers[1].append(_plain_us(plain, tokens[:FEW]))
        keys.append(await _us(verifier.verify, [key], CALLS))
        first.append(await _us(fresh, tokens, FEW))
        report.validity.pause()
    _figures(report, mine, peers, keys=keys, first=first)


def _figures(
    report: Report,
    mine: Sequence[float],
    peers: Sequence[Sequence[float]],
    *,
    keys: Sequence[float],
    first: Sequence[float],
) -> None:
    peer = middle([*peers[0], *peers[1]])
    report.add("verify_us", middle(mine), f"us, a check per request, {CALLERS} callers of {TENANTS} tenants")
    report.add("first_us", middle(first), "us, the same of a token that was never seen")
    report.add("api_key_us", middle(keys), "us, the same of an API key")
    report.add("pyjwt_us", peer, "us, PyJWT's plain decode, which asks nothing about the caller")
    report.add("verify_aa_spread", spread(*peers), "share, PyJWT against itself")
    report.add("verify_ratio", middle(mine) / peer, "x, ours over PyJWT's")


def _verifier(fold: TenantsFold) -> CallerVerifier:
    """The hub's own issuer beside another one, as a gateway has them."""
    return callers_of((_ELSEWHERE, HubTokens()), fold)


def _token(accounts: Accounts, number: int) -> str:
    who = principal(f"user-{number}", f"tenant-{number}", now_ns=time.time_ns())
    return accounts.token(who.model_copy(update={"session_id": f"{number:032x}"}))


async def _us(check: Callable[[str], Awaitable[object]], bearers: Sequence[str], calls: int) -> float:
    """Each call with a copy of the text, as it comes out of a request: no hash of it is known yet."""
    draws = Random(1).choices(bearers, k=calls)
    texts = [text.encode().decode() for text in draws]
    begun = time.perf_counter()
    for text in texts:
        await check(text)
    return (time.perf_counter() - begun) / calls * 1e6


def _plain_us(check: Callable[[str], Any], bearers: Sequence[str]) -> float:
    begun = time.perf_counter()
    for text in bearers:
        check(text)
    return (time.perf_counter() - begun) / len(bearers) * 1e6


BENCHMARK: Final = Benchmark(
    "access",
    "What does a request pay for knowing who is calling, and how many leases are granted a second?",
    run,
)
