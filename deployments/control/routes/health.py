"""How what runs beside the routes stands, for those who run the hub."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from deployments.control.access import holding
from deployments.control.services import Control
from deployments.control.user_data.mover import TopicStanding
from models.access import Permission
from models.base import Frozen
from models.principal import Principal

router = APIRouter(tags=["health"])


class ControlHealth(Frozen):
    """One replica of the control plane."""

    user_data: tuple[TopicStanding, ...]


@router.get("/health")
async def control_health(
    _: Annotated[Principal, Depends(holding(Permission.HUB_READ))], control: Control
) -> ControlHealth:
    """How far user data is behind the log, topic by topic."""
    return ControlHealth(user_data=tuple(control.mover.standings()))
