"""When a hub can be found: not before everything is there that the other commands take for granted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from models.secret import SecretRef
from serve_app import launch
from serve_app.local_stack import LocalStack
from serve_app.runfile import run_file
from serve_app.settings import ControlSettings, HubSettings, load_settings

STACK = cast("LocalStack", object())


def silent(_: str) -> None:
    """Nobody watches."""


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HubSettings:
    """Those of a hub with tenants, whose state is kept in the test's own directory."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HUB_TOKEN_SECRET", "token-secret-" * 4)
    monkeypatch.setattr(launch, "LocalHub", _Hub)
    return load_settings().model_copy(
        update={"control": ControlSettings.model_construct(sealing_key=SecretRef(env="NONE"))}
    )


def test_the_local_tenant_is_there_before_the_hub_is_found(
    monkeypatch: pytest.MonkeyPatch, settings: HubSettings
) -> None:
    """A command that found the hub sooner would be told that its token is worth nothing."""
    seen = dict[str, bool]()
    monkeypatch.setattr(launch, "make_local_tenant", lambda *_: seen.update(found=run_file().is_file()))

    with launch.running_hub(settings, stack=STACK, dashboard=False, progress=silent):
        seen["running"] = run_file().is_file()

    assert seen == {"found": False, "running": True}
    assert not run_file().exists()


def test_without_a_tenant_there_is_no_hub(monkeypatch: pytest.MonkeyPatch, settings: HubSettings) -> None:
    """Nothing is left to be found of one that could not make it."""
    monkeypatch.setattr(launch, "make_local_tenant", _fail)

    with (
        pytest.raises(OSError, match="no database"),
        launch.running_hub(settings, stack=STACK, dashboard=False, progress=silent),
    ):
        pytest.fail("it was started")

    assert not run_file().exists()


def _fail(*_: Any) -> None:
    raise OSError("no database")


class _Hub:
    url = "http://127.0.0.1:1"

    def __init__(
        self, settings: HubSettings, *, dashboard: bool, progress: Callable[[str], None]
    ) -> None: ...

    def start(self) -> None: ...

    def wait_for_owners(self) -> None: ...

    def stop(self) -> None: ...
