"""The front door: what `serve run serve_app:app` and `serve run serve_app:build key=value` deploy.

Read on in `wiring.py` (which rooms there are and what each gets), then in the room one cares about:

    deployments/gateway      HTTP in: token -> principal -> routed client
    deployments/router       decide -> call exactly that replica -> learn
    deployments/pool         ONNX models behind a bounded queue
    deployments/registry     the one writer of the catalogue
    deployments/forecaster   ticks -> bars -> windows -> routed inference -> predictions
    deployments/fanout       predictions x subscriptions -> each user's signals
    deployments/stream       each user's signals -> WebSocket: an application of its own, `stream`
    deployments/control      tenants, people, config, quotas, audit: an application of its own, `control`

Importing this package starts nothing and reads nothing: `app`, `stream` and `control` are made when first
asked for.
"""

# No `from __future__ import annotations`: Serve parses the arguments of `build` by the class it finds in the
# signature, and would find only its name.

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from ray.serve import Application

    from serve_app.settings import HubSettings


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
    stream_replicas: int | None = None


def build(args: HubArgs) -> "Application":
    """The hub without its stream as one Serve application; ConfigError names a setting that is wrong."""
    from serve_app.wiring import build_hub  # noqa: PLC0415 - importing serve_app stays cheap

    return build_hub(_settings(args))


def build_stream(args: HubArgs) -> "Application":
    """The stream, to be deployed at `/api/v1/stream` beside the hub, from the same settings."""
    from serve_app.wiring import build_hub_stream  # noqa: PLC0415

    return build_hub_stream(_settings(args))


def build_control(args: HubArgs) -> "Application":
    """The control plane, to be deployed at `/api/v1/control` beside the hub, from the same settings."""
    from serve_app.wiring import build_hub_control  # noqa: PLC0415

    return build_hub_control(_settings(args))


def _settings(args: HubArgs) -> "HubSettings":
    from pathlib import Path  # noqa: PLC0415

    from serve_app.settings import load_settings  # noqa: PLC0415

    return load_settings(Path(args.config) if args.config else None, **_overrides(args))


def _overrides(args: HubArgs) -> dict[str, Any]:
    servers = {
        "kafka": {"bootstrap": args.kafka} if args.kafka else None,
        "nats": {"servers": [args.nats]} if args.nats else None,
        "redis": {"url": args.redis} if args.redis else None,
    }
    numbers = {"fanout_workers", "forecaster_workers", "gateway_replicas", "stream_replicas"}
    counts = args.model_dump(include=numbers)
    return {name: value for name, value in {**servers, **counts}.items() if value is not None}


def __getattr__(name: str) -> "Application":
    """`app`, `stream` and `control`, for `serve run serve_app:app`: the hub of `config/hub.yaml`."""
    if name == "app":
        return build(HubArgs())
    if name == "stream":
        return build_stream(HubArgs())
    if name == "control":
        return build_control(HubArgs())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
