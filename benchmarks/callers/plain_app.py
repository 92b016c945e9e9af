"""The peer by HTTP: what one writes who serves an ONNX deployment with FastAPI and nothing else.

Annotations are evaluated here, since Serve does not find those that are text.
"""

import time
from typing import Any

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve
from ray.serve import Application

from deployments.router.replies import Refusal
from models.forecast import Forecast, InferCall

app = FastAPI()


class PlainAsk(BaseModel):
    """The same tensors that our API takes."""

    window: list[list[float]]
    context: list[list[float]]


@serve.deployment(max_ongoing_requests=200, ray_actor_options={"num_cpus": 0.1})
@serve.ingress(app)
class PlainApp:
    """No token, no limit, no record, no choice: one model, by a bare handle."""

    def __init__(self, deployment: str, application: str, model: str) -> None:
        handle: Any = serve.get_deployment_handle(deployment, application)
        self._infer = handle.options(method_name="infer", _by_reference=False)
        self._model = model

    @app.post("/infer")
    async def infer(self, ask: PlainAsk) -> list[Forecast]:
        """Forecasts for the windows."""
        call = InferCall(
            call_id="",
            model=self._model,
            window=np.asarray(ask.window, np.float32),
            context=np.asarray(ask.context, np.float32),
            interval_level=0.9,
            deadline_ns=time.time_ns() + 5_000_000_000,
            traceparent="",
        )
        reply = await self._infer.remote(call)
        if isinstance(reply, Refusal):
            raise reply.error
        forecasts: list[Forecast] = reply.forecasts
        return forecasts


def build_plain_app(deployment: str, application: str, *, model: str) -> Application:
    """The peer's application, in front of a deployment that runs."""
    bound: Application = PlainApp.bind(deployment, application, model)  # type: ignore[attr-defined]
    return bound
