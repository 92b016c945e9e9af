"""The kill switch as an operator works it: from the command line, and seen in health."""

from __future__ import annotations

import pytest

from serve_app.client import Refused
from tests.e2e.conftest import UpHub

pytestmark = pytest.mark.timeout(360)  # the first test starts the hub


def test_an_operator_halts_looks_and_resumes(hub: UpHub) -> None:
    """`hub halt`, `hub halts`, health and `hub resume` agree; a halted user sees why, but not by whom."""
    halted = hub.command("halt", "user", "e2e-halted", "--reason", "a rehearsal")
    listed = hub.command("halts")
    with hub.client("e2e-halted") as user, hub.client("e2e-other") as other:
        seen, unseen = user.call("GET", "/health")["halts"], other.call("GET", "/health")["halts"]
    resumed = hub.command("resume", "user", "e2e-halted")
    after = hub.command("halts")

    assert (halted.returncode, resumed.returncode) == (0, 0), halted.stderr + resumed.stderr
    assert "a rehearsal" in listed.stdout, listed.stderr
    assert [(one["scope"], one["reason"], one["by"]) for one in seen] == [
        ("user", "a rehearsal", "an operator")
    ]
    assert unseen == []
    assert "nothing is halted" in after.stdout


def test_a_wrong_halt_is_a_clear_refusal(hub: UpHub) -> None:
    """A typing error, a missing reason, somebody else's user: nothing is halted, and the message says why."""
    wrong = hub.command("halt", "strategy", "no-such@1", "--reason", "x")
    silent = hub.command("halt", "all")
    with hub.client("e2e-user") as user, pytest.raises(Refused) as refused:
        user.call("PUT", "/api/v1/halts/user/e2e-other", body={"reason": "x"})

    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "no such strategy" in wrong.stderr
    assert "--reason" in silent.stderr
    assert refused.value.message.startswith("403")
    assert "nothing is halted" in hub.command("halts").stdout
