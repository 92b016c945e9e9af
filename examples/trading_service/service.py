"""A trading service: subscribes its users, reads their signals, and keeps what each account should hold.

From the hub's directory, beside `hub up --local` in one terminal and `hub play` in another:

    python examples/trading_service/service.py --users anna ben --file positions.sqlite

Stop it with Ctrl-C whenever you like, or kill it; start it again, or a second one on the same file. Every
signal has its one effect, or is put down as expired: `hub ledger --reads desk=positions.sqlite` checks that.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import time
from collections.abc import Sequence
from random import Random

from deployments.reader import Effect, Outcome, Service, SignalReader, SqliteEffects
from messaging.config import KafkaConfig
from messaging.connect import open_bus
from models.principal import Tier
from models.signal import Kind
from serve_app.access import local_token, principal_of
from serve_app.client import HubClient
from serve_app.runfile import RunningHub, recall

SCHEMA = """
CREATE TABLE IF NOT EXISTS positions (
  user_id TEXT, account_id TEXT, strategy TEXT, symbol TEXT, target REAL, sequence INTEGER,
  PRIMARY KEY (user_id, account_id, strategy, symbol)
);
"""


def keep(database: sqlite3.Connection, effect: Effect) -> None:
    """The service's part of an effect: one transaction with the place in the log that it came from."""
    signal = effect.signal
    wants = signal.kind.value if signal.target_fraction is None else f"hold {signal.target_fraction:+.3f}"
    print(f"{signal.user_id} #{signal.sequence} {signal.symbol} {wants}: {effect.outcome.value}", flush=True)
    if effect.outcome is Outcome.ACTED and signal.kind is not Kind.ABSTAIN:
        position = (signal.user_id, signal.account_id, signal.strategy, signal.symbol)
        target = signal.target_fraction or 0.0  # what to hold from here on, not how much to buy
        database.execute(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?, ?)", (*position, target, signal.sequence)
        )


def subscribe(hub: RunningHub, users: Sequence[str], strategy: str, symbols: Sequence[str]) -> None:
    """Ask for the signals, in each user's own name."""
    for user in users:
        principal = principal_of(user, tenant="local", tier=Tier.PRO, admin=False)
        with HubClient(hub.url, local_token(hub, principal)) as client:
            for symbol in symbols:
                client.call("PUT", f"/api/v1/subscriptions/{strategy}/{symbol}")


async def read(hub: RunningHub, users: Sequence[str], file: str) -> None:
    """Act on what comes, until cancelled; all processes of this name share the users among them."""
    bus = await open_bus(KafkaConfig.tansu(hub.kafka), client_id="desk")  # fits Apache Kafka as well
    store = SqliteEffects(file, schema=SCHEMA, write=keep)
    service = Service("reader-desk", users=frozenset(users))
    try:
        await SignalReader(bus, store, service, clock=time.time_ns, rng=Random()).run()  # noqa: S311
    finally:
        await store.close()
        await bus.close()


def main() -> None:
    """Subscribe, then read until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--users", nargs="+", default=["anna", "ben"])
    parser.add_argument("--strategy", default="patient@1")
    parser.add_argument("--symbols", nargs="+", default=["EURUSD", "NZDUSD"])
    parser.add_argument("--file", default="positions.sqlite")
    given = parser.parse_args()
    hub = recall()
    subscribe(hub, given.users, given.strategy, given.symbols)
    print(f"reading for {', '.join(given.users)}; Ctrl-C ends it", flush=True)
    try:
        asyncio.run(read(hub, given.users, given.file))
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()
