"""The front door: what `serve run serve_app:app` and `serve run serve_app:build key=value` deploy.

Read on in `wiring.py` (which rooms there are and what each gets), then in the room one cares about:

    deployments/gateway      HTTP in: token -> principal -> routed client
    deployments/router       decide -> call exactly that replica -> learn
    deployments/pool         ONNX models behind a bounded queue
    deployments/registry     the one writer of the catalogue
    deployments/forecaster   ticks -> bars -> windows -> routed inference -> predictions
    deployments/fanout       predictions x subscriptions -> each user's signals

Importing this package starts nothing and reads nothing: `app` is made when it is first asked for.
"""

# No `from __future__ import annotations`: Serve parses the arguments of `build` by the class it finds in the
# signature, and would find only its name.

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from ray.serve import Application


class HubArgs(BaseModel):
    """Arguments of `serve run serve_app:build key=value` and of `args:` in a Serve config file.

    `config` is a settings file (default `config/hub.yaml` and `HUB_*` variables); the others win over it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: str | None = None
    kafka: str | None = None
    nats: str | None = None
    redis: str | None = None
    fanout_workers: int | None = None
    forecaster_workers: int | None = None
    gateway_replicas: int | None = None


def build(args: HubArgs) -> "Application":
    """The hub as one Serve application; ConfigError names a setting that is wrong."""
    from pathlib import Path  # noqa: PLC0415 - importing serve_app stays cheap

    from serve_app.settings import load_settings  # noqa: PLC0415
    from serve_app.wiring import build_hub  # noqa: PLC0415

    file = Path(args.config) if args.config else None
    return build_hub(load_settings(file, **_overrides(args)))


def _overrides(args: HubArgs) -> dict[str, Any]:
    servers = {
        "kafka": {"bootstrap": args.kafka} if args.kafka else None,
        "nats": {"servers": [args.nats]} if args.nats else None,
        "redis": {"url": args.redis} if args.redis else None,
    }
    counts = args.model_dump(include={"fanout_workers", "forecaster_workers", "gateway_replicas"})
    return {name: value for name, value in {**servers, **counts}.items() if value is not None}


def __getattr__(name: str) -> "Application":
    """`app`, for `serve run serve_app:app` and `serve build`: the hub of `config/hub.yaml`."""
    if name == "app":
        return build(HubArgs())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
