"""The way to the registry, for those who add and move models. No request is answered through it."""

from __future__ import annotations

from typing import Any, Protocol

from ray import serve
from ray.serve.exceptions import RayServeException

from deployments.router.pools import ServeResponse
from models.card import ModelCard
from models.errors import RegistryAway, ReplicaError
from models.lifecycle import Move, NewModel

_REGISTRY = "Registry"


class ModelDesk(Protocol):
    """Changes the catalogue; `by` is who asked."""

    async def register(self, model: NewModel, *, by: str) -> ModelCard:
        """The card as it stands in the catalogue. CardRejected names what is wrong."""
        ...

    async def move(self, move: Move, *, by: str) -> int:
        """The version of the catalogue that has it."""
        ...


class ServeModelDesk:
    """The registry that is deployed beside this gateway."""

    async def register(self, model: NewModel, *, by: str) -> ModelCard:
        card: ModelCard = await self._ask("register", model.card, model.artefact, by=by)
        return card

    async def move(self, move: Move, *, by: str) -> int:
        version: int = await self._ask("move", move, by=by)
        return version

    @staticmethod
    async def _ask(method: str, *arguments: Any, by: str) -> Any:
        try:
            handle = serve.get_deployment_handle(_REGISTRY, serve.get_replica_context().app_name)
            return await ServeResponse[Any](getattr(handle, method).remote(*arguments, by=by)).reply()
        except (ReplicaError, RayServeException) as error:
            raise RegistryAway("the registry did not answer; see in the catalogue what came of it") from error
