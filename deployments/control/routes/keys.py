"""API keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from deployments.control.access import acting
from deployments.control.acting import Acting
from deployments.control.auth.api_keys import ApiKeyIssued, NewApiKey
from deployments.control.pages import After, Most, following
from deployments.control.services import Control
from models.access import Permission
from models.base import Frozen
from models.credentials import ApiKey

router = APIRouter(prefix="/tenants/{tenant_id}/keys", tags=["keys"])

On = Annotated[Acting, Depends(acting(Permission.KEYS_OWN))]
KeyId = Annotated[str, Path(min_length=1, max_length=64, description="The key's id")]
Grace = Annotated[int, Query(ge=0, le=7 * 86_400, description="Seconds for which the old key stays good")]


class ApiKeyPage(Frozen):
    """Keys by id; `next` is where the next page begins."""

    keys: Sequence[ApiKey]
    next: str | None = None


@router.get("")
async def api_keys(on: On, control: Control, after: After = "", most: Most = 100) -> ApiKeyPage:
    """Keys that are good: one's own, and with `keys:all` everybody's. Their secrets are not shown again."""
    page = await control.auth.api_keys.page(on, after=after, most=most)
    return ApiKeyPage(keys=page, next=following([one.key_id for one in page], most))


@router.post("", status_code=201)
async def create_api_key(new: NewApiKey, on: On, control: Control) -> ApiKeyIssued:
    """A new key: `token` is shown this once, and is sent as `Authorization: Bearer <token>`."""
    return await control.auth.api_keys.issue(on, new)


@router.post("/{key_id}/rotate", status_code=201)
async def rotate_api_key(key_id: KeyId, on: On, control: Control, grace_s: Grace = 3600) -> ApiKeyIssued:
    """Another key in place of this one, which stays good for the grace."""
    return await control.auth.api_keys.rotate(on, key_id, grace_s=grace_s)


@router.delete("/{key_id}", status_code=204)
async def revoke_api_key(key_id: KeyId, on: On, control: Control) -> Response:
    """End a key; it is refused everywhere within a second."""
    await control.auth.api_keys.revoke(on, key_id)
    return Response(status_code=204)
