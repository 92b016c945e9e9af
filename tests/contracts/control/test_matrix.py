"""Scorecard S2: every operation x every role x own, foreign and absent tenant and object.

The user in the path is not the caller: what people may do with themselves is tested beside each route.
"""

from __future__ import annotations

from itertools import product

import httpx2
import pytest

from deployments.control.app import create_app
from models.access import ROLES, Permission, Role
from tests.contracts.control.matrix import NEEDS, OPEN
from tests.support.control import ControlHub, new_tenant

_TENANT_ROLES = tuple(role for role in Role if not role.of_platform)
_CHANGES_ALL = frozenset({"POST /auth/keys/rotate", "POST /platform/audit/heads"})
"""Done for real they cost time; that they are refused is tried with all others."""


def _operations(control: ControlHub) -> set[str]:
    paths = create_app(control.services).openapi()["paths"]
    return {f"{method.upper()} {path}" for path, described in paths.items() for method in described}


async def test_every_operation_has_an_entry(control: ControlHub) -> None:
    """A new route without one fails here, and so does an entry of a route that is gone."""
    assert _operations(control) == OPEN | NEEDS.keys()


async def test_each_role_gets_what_the_matrix_says_in_its_own_tenant(control: ControlHub) -> None:
    """Refused with 403 where the role lacks the permission; never for want of it where it has one."""
    await _made(control)
    for operation, role in product(sorted(NEEDS), _TENANT_ROLES):
        answer = await _asked(control, operation, role, home="acme", tenant="acme")
        lacking = "none of your roles has" in answer.text

        assert lacking == (not NEEDS[operation] & ROLES[role]), (operation, role, answer.text)
        assert answer.status_code == 403 if lacking else answer.status_code != 401, (operation, role)


async def test_no_tenant_role_reaches_another_tenant(control: ControlHub) -> None:
    """A foreign tenant gets 404 whatever the role and the operation, in the same words as an absent one."""
    await _made(control)
    named = [operation for operation in sorted(NEEDS) if "{tenant_id}" in operation]
    for operation, role in product(named, _TENANT_ROLES):
        foreign = await _asked(control, operation, role, home="acme", tenant="bolt")
        absent = await _asked(control, operation, role, home="acme", tenant="nobody")

        assert foreign.status_code == absent.status_code == 404, (operation, role, foreign.text)
        assert foreign.content == absent.content, (operation, role)


@pytest.mark.parametrize("role", [Role.ADMIN, Role.OPERATOR])
async def test_the_platforms_roles_reach_every_tenant_as_far_as_they_go(
    control: ControlHub, role: Role
) -> None:
    """The admin does everything, the operator what the matrix says, in any tenant."""
    await _made(control)
    for operation in sorted(NEEDS.keys() - _CHANGES_ALL):
        answer = await _asked(control, operation, role, home="platform", tenant="acme")
        allowed = bool(NEEDS[operation] & ROLES[role])

        assert answer.status_code not in ({401, 403} if role is Role.ADMIN else {401}), (
            operation,
            answer.text,
        )
        assert allowed or answer.status_code in {403, 404}, (operation, answer.text)


async def test_objects_of_another_tenant_are_as_absent_as_none(control: ControlHub) -> None:
    """The other tenant's user, by one's own path: 404 and the same body as for a made-up id."""
    await _made(control)
    others = await control.client.get("/tenants/bolt/users", headers=control.auth())
    foreign_id = others.json()["users"][0]["user_id"]
    for operation in sorted(one for one in NEEDS if "{user_id}" in one and not one.startswith("P")):
        foreign = await _asked(control, operation, Role.TENANT_OWNER, home="acme", object_id=foreign_id)
        absent = await _asked(control, operation, Role.TENANT_OWNER, home="acme", object_id="u-nobody")

        assert foreign.status_code == absent.status_code, operation
        assert foreign.status_code in {404, 422}, (operation, foreign.text)
        assert foreign.text.replace(foreign_id, "u-nobody") == absent.text, operation


def test_every_permission_is_somebodys() -> None:
    """Each is in a role beside the admin's, or is of the platform alone; none is held by nobody."""
    given = {one for role, held in ROLES.items() if role is not Role.ADMIN for one in held}
    alone = {
        Permission.MODELS_WRITE,
        Permission.TENANTS_CREATE,
        Permission.TENANT_TIER,
        Permission.CONFIG_PLATFORM,
    }

    assert set(Permission) - given == alone


async def _made(control: ControlHub) -> None:
    for tenant_id in ("acme", "bolt"):
        made = await control.client.post("/tenants", json=new_tenant(tenant_id), headers=control.auth())
        assert made.status_code == 201, made.text


async def _asked(
    control: ControlHub,
    operation: str,
    role: Role,
    *,
    home: str,
    tenant: str = "acme",
    object_id: str = "x1",
) -> httpx2.Response:
    """The operation with a body that no route takes, so that who may change things changes nothing."""
    method, path = operation.split()
    parts = [
        tenant if part == "{tenant_id}" else object_id if part.startswith("{") else part
        for part in path.split("/")
    ]
    headers = control.auth("somebody", tenant=home, roles=(role.value,))
    body = None if method in {"GET", "DELETE"} else {"no such field": 1}
    return await control.client.request(method, "/".join(parts), headers=headers, json=body)
