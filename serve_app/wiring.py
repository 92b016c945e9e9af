"""Cuts each room's config out of the settings and binds the rooms into one Serve application.

The gateway is the ingress. The other rooms are bound beside it, so that one application deploys, upgrades and
ends them together; they find each other by name and talk through Kafka, never through the gateway.
"""

from __future__ import annotations

from typing import Final

from ray.serve import Application

from deployments.control.app import ROUTE as CONTROL_PATH
from deployments.control.config import ControlConfig
from deployments.control.deployment import build_control
from deployments.fanout.config import FanoutConfig, FanoutTimings
from deployments.fanout.deployment import build_fanout
from deployments.forecaster.config import ForecasterConfig
from deployments.forecaster.deployment import build_forecaster
from deployments.front.limits import load_tiers
from deployments.front.tenant_config.templates import load_templates
from deployments.gateway.config import GatewayConfig
from deployments.gateway.deployment import build_gateway
from deployments.pool.config import PoolConfig, RegisteredConfig
from deployments.pool.deployment import build_pool
from deployments.registry.config import RegistrationConfig, RegistryConfig
from deployments.registry.deployment import build_registry
from deployments.router.config import LocalConfig, RouterConfig
from deployments.stream.config import StreamConfig
from deployments.stream.deployment import ROUTE, build_stream
from deployments.tracker.config import TrackerConfig
from deployments.tracker.deployment import build_tracker
from messaging.config import KafkaConfig
from models.errors import ConfigError
from models.retention import load_retention
from models.strategy import Strategy, load_strategies
from serve_app.settings import HubSettings, PoolSettings, read_text, resolved

APP: Final = "hub"
"""Name of the Serve application with everything but the stream."""
STREAM_APP: Final = "stream"
STREAM_ROUTE: Final = ROUTE
CONTROL_APP: Final = "control"
CONTROL_ROUTE: Final = CONTROL_PATH
_UNHURRIED_MS: Final = 250


def build_hub(settings: HubSettings) -> Application:
    """The whole hub. Cheap: reads configuration files, connects to nothing, resolves no secret."""
    strategies = load_strategies(read_text(settings.strategies))
    router = router_config(settings)
    beside = (
        *(build_pool(pool_config(settings, pool)) for pool in settings.pools),
        build_registry(registry_config(settings)),
        build_forecaster(forecaster_config(settings, router, strategies)),
        build_fanout(fanout_config(settings, strategies)),
        build_tracker(tracker_config(settings)),
    )
    return build_gateway(gateway_config(settings, router, strategies), beside=beside)


def build_hub_stream(settings: HubSettings) -> Application:
    """The stream, which is an application of its own; as cheap to build."""
    return build_stream(stream_config(settings))


def build_hub_control(settings: HubSettings) -> Application:
    """The control plane, which is an application of its own; ConfigError if the settings name none."""
    return build_control(control_config(settings))


def router_config(settings: HubSettings) -> RouterConfig:
    """What gateway and forecaster need in order to route."""
    quick_ms = settings.local_model_ms
    return RouterConfig(
        pools=tuple(pool.name for pool in settings.pools),
        profiles=read_text(settings.profiles),
        experiments=read_text(settings.experiments),
        local=LocalConfig(repository=_repository(settings), max_ms=quick_ms) if quick_ms else None,
        canary_share=settings.lifecycle.canary_share,
    )


def pool_config(settings: HubSettings, pool: PoolSettings) -> PoolConfig:
    """What one pool needs."""
    return PoolConfig(
        name=pool.name,
        repository=_repository(settings),
        models=pool.models,
        replicas=pool.replicas,
        max_replicas=pool.max_replicas,
        slots=pool.slots,
        registered=_registered(settings),
    )


def _registered(settings: HubSettings) -> RegisteredConfig | None:
    given = settings.registration
    if given is None:
        return None
    return RegisteredConfig(
        kafka=settings.kafka_of("pool"),
        artefacts=given.artefacts,
        verify_key=given.verify_key,
        copies=given.copies,
        most_copies=given.most_copies,
        most_bytes=given.most_bytes,
    )


def registry_config(settings: HubSettings) -> RegistryConfig:
    """What the registry needs."""
    given = settings.registration
    return RegistryConfig(
        repository=_repository(settings),
        kafka=settings.kafka_of("registry"),
        registration=RegistrationConfig(artefacts=given.artefacts, signing_key=given.signing_key)
        if given
        else None,
        lifecycle=settings.lifecycle,
        control=settings.judging.control,
    )


def forecaster_config(
    settings: HubSettings, router: RouterConfig, strategies: tuple[Strategy, ...]
) -> ForecasterConfig:
    """What the forecaster needs."""
    return ForecasterConfig(
        kafka=settings.kafka_of("forecaster"),
        nats=settings.nats_of("forecaster"),
        router=router,
        strategies=strategies,
        workers=settings.forecaster_workers,
    )


def fanout_config(settings: HubSettings, strategies: tuple[Strategy, ...]) -> FanoutConfig:
    """What the fan-out needs."""
    return FanoutConfig(
        kafka=settings.kafka_of("fanout"),
        nats=settings.nats_of("fanout"),
        strategies=strategies,
        timings=FanoutTimings(clock_error_ns=int(settings.clock_error_ms * 1e6)),
        workers=settings.fanout_workers,
    )


def tracker_config(settings: HubSettings) -> TrackerConfig:
    """What the tracker needs."""
    return TrackerConfig(kafka=settings.kafka_of("tracker"), judging=settings.judging)


def gateway_config(
    settings: HubSettings, router: RouterConfig, strategies: tuple[Strategy, ...]
) -> GatewayConfig:
    """What the gateway needs."""
    return GatewayConfig(
        router=router,
        kafka=settings.kafka_of("gateway"),
        nats=settings.nats_of("gateway"),
        redis=settings.redis,
        tokens=settings.tokens,
        tiers=load_tiers(read_text(settings.tiers)),
        tenancy=settings.tenancy,
        strategies=strategies,
        clock_error_ns=int(settings.clock_error_ms * 1e6),
        replicas=settings.gateway_replicas,
        public_docs=settings.profile == "local",
    )


def stream_config(settings: HubSettings) -> StreamConfig:
    """What the stream needs."""
    return StreamConfig(
        kafka=settings.kafka_of("stream"),
        redis=settings.redis,
        tokens=settings.tokens,
        tiers=load_tiers(read_text(settings.tiers)),
        tenancy=settings.tenancy,
        replicas=settings.stream_replicas,
    )


def control_config(settings: HubSettings) -> ControlConfig:
    """What the control plane needs."""
    if settings.control is None or settings.postgres is None:
        raise ConfigError("the settings name no control plane: `control` and `postgres`", field="control")
    return ControlConfig(
        postgres=settings.postgres.model_copy(update={"owner": None}),
        kafka=_unhurried(settings.kafka_of("control")),
        nats=settings.nats_of("control"),
        redis=settings.redis,
        tokens=settings.tokens,
        tiers=load_tiers(read_text(settings.tiers)),
        sealing_key=settings.control.sealing_key,
        first_admin=settings.control.first_admin,
        audit=settings.control.audit,
        auth=settings.control.auth,
        issuers=settings.issuers,
        retention=load_retention(read_text(settings.control.retention)),
        templates=load_templates(read_text(settings.control.templates)),
        environment=settings.control.environment,
        replicas=settings.control.replicas,
        public_docs=settings.profile == "local",
    )


def _unhurried(kafka: KafkaConfig) -> KafkaConfig:
    """The control plane moves records of a dozen topics that nobody waits for: it asks less often."""
    return kafka.model_copy(update={"fetch_max_wait_ms": max(kafka.fetch_max_wait_ms, _UNHURRIED_MS)})


def _repository(settings: HubSettings) -> str:
    return str(resolved(settings.repository))
