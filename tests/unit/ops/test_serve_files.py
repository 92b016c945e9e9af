"""ops/serve.yaml and the KubeRay file: Serve reads what was written in them, and it builds the hub."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray.serve import Application

from messaging.principals import ROOMS
from serve_app import HubArgs, build, build_stream
from serve_app.settings import HubSettings, load_settings
from serve_app.wiring import APP, CONTROL_APP, CONTROL_ROUTE, STREAM_APP, STREAM_ROUTE
from tests.unit.ops.ray_checks import ROOT, checked_serve

INSTALLED = Path("/srv/central-hub")
"""Where cluster.yaml and the image put this repository."""


def _serve_yaml() -> dict[str, Any]:
    written: dict[str, Any] = yaml.safe_load((ROOT / "ops" / "serve.yaml").read_text())
    return written


def _kuberay() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "ops" / "kuberay" / "rayservice.yaml").read_text()))


def _kuberay_serve() -> dict[str, Any]:
    written: dict[str, Any] = yaml.safe_load(_kuberay()[0]["spec"]["serveConfigV2"])
    return written


def _settings(written: dict[str, Any]) -> HubSettings:
    """The settings that all applications of a Serve file are built from."""
    files = {HubArgs.model_validate(one["args"]).config for one in written["applications"]}
    (file,) = files
    assert file is not None
    return load_settings(ROOT / Path(file).relative_to(INSTALLED))


BOTH = pytest.mark.parametrize("written", [_serve_yaml(), _kuberay_serve()], ids=["serve", "kuberay"])


@BOTH
def test_serve_takes_all_of_it(written: dict[str, Any]) -> None:
    """The schema accepts the file and ignores nothing in it; it deploys this package's builders."""
    applications = checked_serve(written).applications
    assert [(one.name, one.route_prefix, one.import_path) for one in applications] == [
        (APP, "/", "serve_app:build"),
        (STREAM_APP, STREAM_ROUTE, "serve_app:build_stream"),
        (CONTROL_APP, CONTROL_ROUTE, "serve_app:build_control"),
    ]


@BOTH
def test_it_names_settings_that_load(written: dict[str, Any]) -> None:
    """The arguments are the builder's, and the settings they name are complete and for production."""
    settings = _settings(written)
    assert settings.profile == "production"
    assert settings.replication == 3


@BOTH
def test_everything_is_encrypted_and_no_secret_is_written(written: dict[str, Any]) -> None:
    """Kafka, NATS and Redis are reached by TLS with credentials that the settings only point to."""
    settings = _settings(written)
    assert settings.kafka.security == "SASL_SSL"
    assert all(server.startswith("tls://") for server in settings.nats.servers)
    assert settings.redis.tls
    secrets = [settings.kafka.password, settings.nats.password, settings.redis.password]
    secrets += [room.kafka for room in settings.principals.values()]
    assert all(secret and secret.file and secret.file.startswith("/etc/") for secret in secrets)
    assert settings.tokens.kind == "rs256"


@BOTH
def test_every_room_logs_in_as_itself(written: dict[str, Any]) -> None:
    """With its own password on every broker it has business with; none has the operator's."""
    settings = _settings(written)
    for room, access in ROOMS.items():
        kafka, nats = settings.kafka_of(room), settings.nats_of(room)
        assert kafka.username == access.principal
        assert access.market is None or nats.user == access.principal
        assert kafka.password not in {settings.kafka.password, nats.password}


def test_the_hub_is_built_without_a_secret() -> None:
    """Building reads configuration alone: no server is asked, and no secret's file has to be there."""
    args = HubArgs(config=str(ROOT / "config" / "production.yaml"))
    assert isinstance(build(args), Application)
    assert isinstance(build_stream(args), Application)


def test_both_files_deploy_the_same() -> None:
    """What runs on machines of one's own runs on Kubernetes."""
    assert _kuberay_serve() == _serve_yaml()


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"http_options": {"hst": "127.0.0.1"}}, "http_options.hst"),
        ({"proxy_locaton": "Disabled"}, "proxy_locaton"),
        (
            {"applications": [{"import_path": "serve_app:build", "route_prefx": "/"}]},
            r"applications\[0\].route_prefx",
        ),
        (
            {
                "applications": [
                    {
                        "import_path": "serve_app:build",
                        "deployments": [{"name": "Gateway", "max_ongoing_request": 9}],
                    }
                ]
            },
            r"applications\[0\].deployments\[0\].max_ongoing_request",
        ),
    ],
)
def test_a_misspelt_key_is_found(change: dict[str, Any], path: str) -> None:
    """Ray takes each of these without a word; the check names it."""
    with pytest.raises(ValueError, match=f"Ray ignores {path}"):
        checked_serve({**_serve_yaml(), **change})


def test_serve_sees_the_class_of_the_arguments() -> None:
    """Serve parses `key=value` and `args:` only if the annotation is the class itself, not its name."""
    for builder in (build, build_stream):
        (parameter,) = inspect.signature(builder).parameters.values()
        assert parameter.annotation is HubArgs


def test_a_misspelt_argument_is_refused() -> None:
    """The builder takes no argument it does not know."""
    with pytest.raises(ValidationError, match="fanout_worker"):
        HubArgs.model_validate({"fanout_worker": 2})


def test_kubernetes_keeps_the_cluster_to_itself() -> None:
    """Tokens are on, the head serves nothing, and secrets are mounted for the hub's user."""
    service, policy = _kuberay()
    cluster = service["spec"]["rayClusterConfig"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert service["spec"]["excludeHeadPodFromServeSvc"]
    assert policy["kind"] == "NetworkPolicy"
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert container["volumeMounts"] == [
            {"name": "secrets", "mountPath": "/etc/central-hub", "readOnly": True}
        ]
        assert group["template"]["spec"]["securityContext"]["runAsNonRoot"]


def test_kubernetes_serves_on_the_port_of_the_file() -> None:
    """The container port named `serve`, by which KubeRay finds the proxies, is the one Serve listens on."""
    (service, _), port = _kuberay(), _kuberay_serve()["http_options"]["port"]
    cluster = service["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert {"name": "serve", "containerPort": port} in container["ports"]


def test_kubernetes_environment_sets_what_the_settings_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each HUB_ variable of the pods is a setting and arrives in it."""
    cluster = _kuberay()[0]["spec"]["rayClusterConfig"]
    (container,) = cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    settings = _settings(_kuberay_serve())
    assert settings.kafka.bootstrap == "kafka.kafka.svc:9093"
    assert settings.nats.servers == ("tls://nats.nats.svc:4222",)
    assert settings.redis.url == "rediss://redis.redis.svc:6379/0"
    assert settings.kafka.security == "SASL_SSL"
