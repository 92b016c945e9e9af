"""Two tenants as strangers use them: log in, subscribe, hit a limit, upgrade, rotate a key, read the log."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest

from serve_app.client import HubClient, Refused
from tests.e2e.conftest import UpHub
from tests.support.eventually import eventually

pytestmark = pytest.mark.timeout(360)  # the first test starts the hub, which has START_TIMEOUT_S

PASSWORD = "correct horse battery"
STRATEGY = "/api/v1/subscriptions/swift@1/EURUSD"
CONTROL = "/api/v1/control"


@dataclass(frozen=True)
class Person:
    """Somebody with a terminal of their own, who has logged in there."""

    hub: UpHub
    tenant: str
    login: str

    def run(self, *arguments: str) -> str:
        """What `hub ...` prints; the test fails with its complaint if it refuses."""
        done = self.hub.command(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments: str) -> str:
        """The complaint of a command that must not work."""
        done = self.hub.command(*arguments)
        assert done.returncode == 2, done.stdout
        return done.stderr

    @contextmanager
    def calling(self) -> Iterator[HubClient]:
        """Calls by HTTP, with a token that the password got."""
        body = {"tenant": self.tenant, "login": self.login, "password": PASSWORD}
        with HubClient(self.hub.address.url, None) as nobody:
            token = nobody.call("POST", f"{CONTROL}/auth/login", body=body)["access_token"]
        with HubClient(self.hub.address.url, token) as client:
            yield client


@pytest.fixture(scope="module")
def people(hub: UpHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Person]:
    """The owners and traders of a free and a pro tenant, and the platform's admin."""
    secret = tmp_path_factory.mktemp("secrets") / "password"
    secret.write_text(PASSWORD)
    found: dict[str, Person] = {}
    for tenant, tier in (("harbour", "free"), ("summit", "pro")):
        made = (
            "tenants",
            "create",
            tenant,
            "--owner",
            "olga",
            "--tier",
            tier,
            "--password-file",
            str(secret),
        )
        assert hub.command(*made).returncode == 0
        added = ("users", "add", "tom", "--tenant", tenant, "--password-file", str(secret))
        assert hub.command(*added).returncode == 0
        for login in ("olga", "tom"):
            found[f"{login}@{tenant}"] = _logged_in(hub, tenant, login, secret)
    return found


def _logged_in(hub: UpHub, tenant: str, login: str, secret: Path) -> Person:
    """In a state directory of their own, so that nobody acts in another's name."""
    here = Path(hub.environment["XDG_STATE_HOME"])
    state = here.with_name(f"{here.name}-{login}-{tenant}")
    shutil.copytree(here / "central-hub", state / "central-hub")
    environment = {**hub.environment, "XDG_STATE_HOME": str(state)}
    person = Person(replace(hub, environment=environment), tenant, login)
    person.run("login", login, "--tenant", tenant, "--password-file", str(secret))
    return person


def test_a_trader_subscribes_and_sees_nothing_of_the_other_tenant(people: dict[str, Person]) -> None:
    """Own subscriptions, own config; the other tenant is as absent as none."""
    tom, rival = people["tom@harbour"], people["tom@summit"]
    with tom.calling() as client, rival.calling() as other:
        client.call("PUT", STRATEGY)
        own = client.call("GET", "/api/v1/subscriptions")["subscriptions"]
        theirs = other.call("GET", "/api/v1/subscriptions")["subscriptions"]
        config = client.call("GET", "/config/harbour")
        with pytest.raises(Refused, match="404"):
            client.call("GET", "/config/summit")

    assert ([one["symbol"] for one in own], theirs) == (["EURUSD"], [])
    assert (config["tier"], config["config"]["limits"]["user_rate"]) == ("free", "100/minute")
    assert "404" in tom.refused("tenants", "show", "summit")


async def test_a_limit_is_told_and_an_upgrade_lifts_it(hub: UpHub, people: dict[str, Person]) -> None:
    """The free tier's hundred calls a minute, the answer that says so, and the next tier within seconds."""
    with people["tom@harbour"].calling() as client:
        refusals = [_refusal(client) for _ in range(110)]
        assert any(one.startswith("429 rate_limited: more than 100 calls in 60 s") for one in refusals)

        assert hub.command("tenants", "tier", "harbour", "pro").returncode == 0
        await eventually(lambda: _tier(client) == "pro")


def test_a_key_is_rotated_and_revoked(people: dict[str, Person]) -> None:
    """Both work while programs change over; the revoked one does not."""
    olga = people["olga@summit"]
    first = _key(olga.run("keys", "create", "bot", "--scope", "infer", "--scope", "models:read"))
    second = _key(olga.run("keys", "rotate", _key_id(first)))
    for key in (first, second):
        with HubClient(olga.hub.address.url, key) as bot:
            assert bot.call("GET", "/api/v1/models")["models"]
            with pytest.raises(Refused, match="403"):
                bot.call("GET", "/api/v1/signals", query={"since_seq": 0})
    olga.run("keys", "revoke", _key_id(second))
    with HubClient(olga.hub.address.url, second) as bot, pytest.raises(Refused, match="401"):
        bot.call("GET", "/api/v1/models")


def test_a_key_counts_as_soon_as_it_was_made(people: dict[str, Person]) -> None:
    """A program that uses it at once is never refused, though the gateway has yet to read of it."""
    olga = people["olga@summit"]
    made = {"name": "at-once", "scopes": ["models:read"]}
    with olga.calling() as client:
        for _ in range(20):
            issued = client.call("POST", f"{CONTROL}/tenants/summit/keys", body=made)
            with HubClient(olga.hub.address.url, issued["token"]) as bot:
                assert bot.call("GET", "/api/v1/models")["models"]
            client.call("DELETE", f"{CONTROL}/tenants/summit/keys/{issued['key']['key_id']}")


async def test_a_suspended_tenant_is_shut_out_and_let_in_again(hub: UpHub, people: dict[str, Person]) -> None:
    """By a word to the gateway that holds its token; the session survives."""
    with people["tom@summit"].calling() as client:
        assert hub.command("tenants", "suspend", "summit", "--reason", "a drill").returncode == 0
        await eventually(lambda: _refusal(client).startswith("403 tenant_suspended"), timeout_s=2.0)
        assert hub.command("tenants", "resume", "summit").returncode == 0
        await eventually(lambda: not _refusal(client), timeout_s=2.0)


def test_the_audit_tells_it_and_is_whole(people: dict[str, Person]) -> None:
    """Every change stands in the owner's log, what was denied too, and the chain holds."""
    listed = people["olga@summit"].run("audit", "ls", "--most", "500")
    verified = people["olga@summit"].run("audit", "verify")

    for action in ("tenants.create", "users.create", "keys.create", "tenants.suspend", "tenants.resume"):
        assert action in listed, listed
    assert verified.startswith("sound: "), verified
    assert people["tom@summit"].refused("audit", "ls").startswith("refused: 403")


async def test_what_gateway_and_stream_denied_is_in_the_audit(people: dict[str, Person]) -> None:
    """A key that may not, a foreign tenant, the suspension: by the log, to who may read it."""
    tom, olga = people["tom@summit"], people["olga@summit"]
    with tom.calling() as client, pytest.raises(Refused, match="404"):
        client.call("GET", "/config/harbour")

    async def told() -> bool:
        listed = olga.run("audit", "ls", "--outcome", "denied", "--most", "500")
        wanted = ("access.signals:own", "GET /config/harbour", "access.tenant_suspended", "access.audit:read")
        return all(one in listed for one in wanted)

    await eventually(told)
    assert olga.run("audit", "verify").startswith("sound: ")


def test_a_tenant_is_exported_before_it_is_deleted(
    hub: UpHub, people: dict[str, Person], tmp_path: Path
) -> None:
    """The file names its people; afterwards nobody of it comes in."""
    file = tmp_path / "harbour.jsonl"
    people["olga@harbour"].run("tenants", "export", "harbour", str(file))
    lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    people["olga@harbour"].run("tenants", "delete", "harbour", "--confirm", "harbour")
    again: subprocess.CompletedProcess[str] = hub.command("tenants", "create", "harbour", "--owner", "eve")

    assert {line["login"] for line in lines if line["what"] == "users"} == {"olga", "tom"}
    with pytest.raises(Refused, match="401"), people["tom@harbour"].calling():
        pass
    assert "409 conflict" in again.stderr


def _tier(client: HubClient) -> str:
    try:
        tier: str = client.call("GET", "/config/harbour")["tier"]
    except Refused as refused:
        return refused.message
    return tier


def _refusal(client: HubClient) -> str:
    try:
        client.call("GET", "/api/v1/models")
    except Refused as refused:
        return refused.message
    return ""


def _key(printed: str) -> str:
    return next(word for word in printed.split() if word.startswith("hubk_"))


def _key_id(key: str) -> str:
    _, key_id, _ = key.split("_", 2)
    return key_id
