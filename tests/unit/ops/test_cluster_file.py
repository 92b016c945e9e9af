"""cluster.yaml: accepted by Ray, installs the hub, and shows nothing to the network that it should not."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.unit.ops.ray_checks import ROOT, checked_cluster, start_options

TEXT = (ROOT / "cluster.yaml").read_text()


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    """The file as `ray up` completes it."""
    return checked_cluster(TEXT)


def _starts(cluster: dict[str, Any], kind: str) -> list[str]:
    return [line for line in cluster[f"{kind}_start_ray_commands"] if "ray start" in line]


def test_ray_accepts_it_with_every_machine(cluster: dict[str, Any]) -> None:
    """Ray's own validator takes the file, and all listed workers belong to the cluster."""
    (machines,) = cluster["available_node_types"].values()
    assert machines["min_workers"] == machines["max_workers"] == len(cluster["provider"]["worker_ips"])


def test_a_misspelt_key_is_refused() -> None:
    """The check above can fail."""
    with pytest.raises(Exception, match="setup_comands"):
        checked_cluster(TEXT.replace("setup_commands:", "setup_comands:"))


@pytest.mark.parametrize("kind", ["head", "worker"])
def test_every_node_starts_ray_with_tokens(cluster: dict[str, Any], kind: str) -> None:
    """Ray's parser knows every option, metrics have a fixed port, and no node starts unauthenticated."""
    (command,) = _starts(cluster, kind)
    options = start_options(command)
    assert options["metrics_export_port"] == 8080
    assert options["disable_usage_stats"]
    assert "RAY_AUTH_MODE=token" in command
    assert "~/.ray/auth_token" in cluster["file_mounts"]
    assert "chmod 600 ~/.ray/auth_token" in cluster["initialization_commands"]


def test_the_dashboard_stays_on_loopback(cluster: dict[str, Any]) -> None:
    """Whoever reaches the dashboard runs code on the cluster."""
    (command,) = _starts(cluster, "head")
    assert start_options(command)["dashboard_host"] == "127.0.0.1"
    assert "0.0.0.0" not in TEXT


def test_ray_parser_refuses_an_unknown_option(cluster: dict[str, Any]) -> None:
    """The checks of start commands can fail."""
    (command,) = _starts(cluster, "head")
    with pytest.raises(Exception, match="dashbord-host"):
        start_options(command.replace("--dashboard-host", "--dashbord-host"))


def test_what_is_installed_is_there(cluster: dict[str, Any]) -> None:
    """The hub's tree goes to every node, and each lock that the setup names is in it, installed by hash."""
    assert cluster["file_mounts"]["/srv/central-hub"] == "."
    setup = "\n".join(cluster["head_setup_commands"])
    locks = re.findall(r"--requirement (\S+)", setup)
    assert locks
    assert setup.count("--require-hashes") == len(locks)
    assert all((ROOT / lock).is_file() for lock in locks)
    assert "--editable ." in setup


def test_no_secret_is_written_down() -> None:
    """The file names where secrets are; none is in it."""
    assert not re.search(r"(?i)(password|token|secret)\s*[:=]\s*['\"]?[\w-]{6,}", _without_comments(TEXT))
    assert "redis_password" not in yaml.safe_load(TEXT)


def _without_comments(text: str) -> str:
    return "\n".join(line.partition("#")[0] for line in text.splitlines())
