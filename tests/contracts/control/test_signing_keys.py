"""Scorecard S6, the rotation half: nobody gets a false 401, and a removed key is refused at once."""

from __future__ import annotations

import asyncio
from typing import Any

import jwt
import pytest

from deployments.control.config import AuthConfig
from deployments.control.signing.key_pair import opened
from deployments.front.keys import published_keys
from models.errors import ConfigError
from storage.postgres import signing_keys
from storage.postgres.config import PostgresConfig
from storage.postgres.signing_keys import SealedKey
from storage.sealing import Sealer
from tests.support.control import ControlHub, control_hub
from tests.support.eventually import eventually
from tests.support.logins import bearer, logged_in, provision, refreshed

QUICK = AuthConfig(overlap_s=0.5)


async def keys_of(control: ControlHub) -> list[SealedKey]:
    """As they are stored."""
    async with control.services.database.platform() as connection:
        return list(await signing_keys.every(connection))


async def found(control: ControlHub) -> None:
    """The platform's own tenant, in whose audit the moves of keys are."""
    await control.assembled.founding.run()


async def test_two_that_start_at_once_make_one_key(postgres_config: PostgresConfig) -> None:
    """And both sign with it; a third finds it."""
    async with control_hub(postgres_config, seed=1) as one, control_hub(postgres_config, seed=2) as two:
        tidying = [hub.services.auth.tidying for hub in (one, two) for _ in range(10)]
        await asyncio.gather(*(each.once() for each in tidying))

        assert len(await keys_of(one)) == 1


async def test_the_private_half_is_sealed_and_bound_to_its_name(control: ControlHub) -> None:
    """Another sealing key does not open it, and neither does it open under another name."""
    await provision(control)
    await logged_in(control)
    [key] = await keys_of(control)
    sealer = Sealer.of(control.config.sealing_key.resolve())
    raw = opened(sealer, key).private_bytes_raw()

    assert raw not in key.sealed_private
    with pytest.raises(ConfigError):
        opened(Sealer([b"x" * 32]), key)
    with pytest.raises(ConfigError):
        opened(sealer, SealedKey("other", key.public_jwk, key.sealed_private, 0, 0))


async def test_a_stranger_verifies_tokens_with_the_key_set(control: ControlHub) -> None:
    """With nothing but the published document; it holds no private part."""
    await provision(control)
    pair = await logged_in(control)
    answer = await control.client.get("/.well-known/jwks.json")
    keys = published_keys(answer.json(), "EdDSA")
    kid = jwt.get_unverified_header(pair["access_token"])["kid"]
    claims = jwt.decode(
        pair["access_token"],
        keys[kid],
        algorithms=["EdDSA"],
        audience="central-hub-api",
        issuer="central-hub/accounts",
    )

    assert claims["tenant"] == "acme"
    assert {name for one in answer.json()["keys"] for name in one} == {"kty", "crv", "x", "kid", "use", "alg"}
    assert "max-age" in answer.headers["cache-control"]


async def test_rotating_under_load_refuses_nobody(postgres_config: PostgresConfig) -> None:
    """Callers ask and refresh without a pause while keys follow each other: not one 401."""
    async with control_hub(postgres_config, auth=QUICK) as control:
        await found(control)
        await provision(control)
        pairs = [await logged_in(control) for _ in range(4)]
        statuses: list[int] = []
        signed: set[str] = set()
        ends = False

        async def call(pair: dict[str, Any]) -> None:
            while not ends:
                statuses.append((await control.client.get("/me", headers=bearer(pair))).status_code)
                answer = await refreshed(control, pair["refresh_token"])
                statuses.append(answer.status_code)
                pair = answer.json()
                signed.add(jwt.get_unverified_header(pair["access_token"])["kid"])

        callers = [asyncio.create_task(call(pair)) for pair in pairs]
        for turn in range(3):
            rotated = await control.client.post("/auth/keys/rotate", headers=control.auth())
            assert rotated.status_code == 200, rotated.text
            kid = rotated.json()["kid"]
            await eventually(lambda: kid in signed, 20.0)  # noqa: B023 - awaited within the turn
            assert len(signed) == turn + 2
        ends = True
        await asyncio.gather(*callers)

    assert len(statuses) > 40
    assert set(statuses) == {200}


async def test_a_key_is_told_before_it_signs(postgres_config: PostgresConfig) -> None:
    """For the whole overlap tokens are signed by the one before, and the new one is published already."""
    async with control_hub(postgres_config, auth=AuthConfig(overlap_s=60.0)) as control:
        await found(control)
        await provision(control)
        first = await logged_in(control)
        rotated = (await control.client.post("/auth/keys/rotate", headers=control.auth())).json()
        await eventually(lambda: control.services.auth.fold.signing_key(rotated["kid"]))
        second = (await refreshed(control, first["refresh_token"])).json()
        by = [jwt.get_unverified_header(pair["access_token"])["kid"] for pair in (first, second)]
        [new, old] = await keys_of(control)

    assert by == [old.kid, old.kid]
    assert new.kid == rotated["kid"]
    assert new.signs_from_ns - new.created_ns == 60 * 10**9
    assert old.retired_ns is not None
    assert old.retired_ns >= new.signs_from_ns + 330 * 10**9


async def test_a_removed_key_is_refused_and_the_next_one_signs_at_once(control: ControlHub) -> None:
    """Tokens of a key that was stolen count no more within a second; people can log in again."""
    await found(control)
    await provision(control)
    pair = await logged_in(control)
    kid = jwt.get_unverified_header(pair["access_token"])["kid"]
    assert (await control.client.get("/me", headers=bearer(pair))).status_code == 200
    removed = await control.client.delete(f"/auth/keys/{kid}", headers=control.auth())

    async def refused() -> bool:
        return (await control.client.get("/me", headers=bearer(pair))).status_code == 401

    await eventually(refused, 1.0)
    again = (await refreshed(control, pair["refresh_token"])).json()
    assert removed.status_code == 204
    assert jwt.get_unverified_header(again["access_token"])["kid"] != kid
    assert (await control.client.get("/me", headers=bearer(again))).status_code == 200
    assert (await control.client.delete(f"/auth/keys/{kid}", headers=control.auth())).status_code == 404


async def test_a_retired_key_goes_by_the_clock(postgres_config: PostgresConfig) -> None:
    """Not before its last token has ended; then it is neither stored nor published."""
    async with control_hub(postgres_config, auth=QUICK) as control:
        await found(control)
        await provision(control)
        await logged_in(control)
        await control.client.post("/auth/keys/rotate", headers=control.auth())
        new, old = await keys_of(control)
        fold, tidying = control.services.auth.fold, control.services.auth.tidying
        await tidying.once()
        assert len(await keys_of(control)) == 2
        tidying._keys._clock = lambda: int(old.retired_ns or 0) + 1
        await tidying.once()

        assert [key.kid for key in await keys_of(control)] == [new.kid]
        await eventually(lambda: fold.signing_key(old.kid) is None)


@pytest.mark.parametrize("roles", [("operator",), ("tenant:owner",), ("tenant:trader",)])
async def test_the_platforms_admins_alone_move_keys(control: ControlHub, roles: tuple[str, ...]) -> None:
    """403 for everybody else."""
    headers = control.auth("eve", roles=roles)
    rotated = await control.client.post("/auth/keys/rotate", headers=headers)
    removed = await control.client.delete("/auth/keys/any", headers=headers)

    assert (rotated.status_code, removed.status_code) == (403, 403)
