"""What a demo plays: ticks, plan, strategies and users, all checked before anything is started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from models.errors import BadValue
from models.strategy import Strategy, load_strategies
from models.subscription import RiskSettings, Subscription
from serve_app.demo.tenants import DemoUser
from serve_app.local_stack import Broker
from serve_app.playback import Plan
from serve_app.settings import ROOT, load_settings, read_text
from serve_app.ticks import TickFile, load_ticks, tick_option
from signals.due import due_closes

EXAMPLE_TICKS: Final = tuple(
    f"{symbol}={ROOT}/examples/data/{symbol.lower()}_ticks_20140502.csv.gz" for symbol in ("EURUSD", "NZDUSD")
)
_SCALES: Final = (0.5, 1.0, 2.0)
_ANTAGONIST_S: Final = 12.0
"""A third of it must be long enough for the router to notice and for a share to be measured."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What `hub demo` was asked for."""

    seconds: float = 30.0
    users: int = 100
    ticks: Sequence[str] = EXAMPLE_TICKS
    speed: float = 60.0
    fanout_workers: int = 1
    broker: Broker = "tansu"
    report: Path | None = None
    keep: bool = False
    antagonist: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that is known before the first process starts."""

    files: dict[str, TickFile]
    strategies: tuple[Strategy, ...]
    plan: Plan

    @classmethod
    def of(cls, options: DemoOptions) -> Scene:
        """Load and check. Strategies are played on the symbols of the tick files, whichever those are."""
        _check(options)
        files = load_ticks(tick_option(text) for text in options.ticks)
        configured = load_strategies(read_text(load_settings().strategies))
        strategies = tuple(one.model_copy(update={"symbols": tuple(sorted(files))}) for one in configured)
        plan = Plan.of(
            {symbol: file.span for symbol, file in files.items()},
            bar_sizes={one.bar_ms for one in strategies},
            seconds=options.seconds,
            speed=options.speed,
        )
        if options.antagonist and plan.seconds < _ANTAGONIST_S:
            raise BadValue(
                f"--antagonist needs {_ANTAGONIST_S:.0f} s of playback; this one lasts {plan.seconds:.0f} s",
                field="seconds",
            )
        return cls(files, strategies, plan)

    @property
    def slots_due(self) -> int:
        """How many slots the strategies owe."""
        return sum(
            len(due_closes(self.plan.start_ms, self.plan.end_ms, one.bar_ms)) * len(one.symbols)
            for one in self.strategies
        )

    def strategies_yaml(self) -> str:
        """The strategies as they are played, in the form of `config/strategies.yaml`."""
        return yaml.safe_dump({"strategies": [one.model_dump(mode="json") for one in self.strategies]})

    def subscriptions(self, users: Sequence[DemoUser], *, entitled_until_ns: int) -> Iterator[Subscription]:
        """Each user follows one strategy on every symbol; risk settings vary from user to user."""
        for number, user in enumerate(users):
            strategy = self.strategies[number % len(self.strategies)]
            for symbol in strategy.symbols:
                yield Subscription(
                    user_id=user.user_id,
                    tenant_id=user.tenant_id,
                    account_id="default",
                    strategy=strategy.ref,
                    symbol=symbol,
                    tier=user.tier,
                    entitled_until_ns=entitled_until_ns,
                    risk=RiskSettings(scale=_SCALES[number % len(_SCALES)]),
                )

    def notices(self, options: DemoOptions) -> list[str]:
        """What the user should know before it starts."""
        told = []
        if self.plan.seconds < options.seconds - 1e-6:
            told.append(
                f"the tick files last {self.plan.seconds:.0f} s at this speed; playing them as far as they go"
            )
        if options.antagonist:
            told.append(
                "--antagonist: in this run the forecaster holds no models itself, so that every forecast is "
                "asked of a replica that can be slowed"
            )
        return told


def _check(options: DemoOptions) -> None:
    bounds = {"seconds": options.seconds, "speed": options.speed, "users": options.users}
    for name, value in (*bounds.items(), ("fanout-workers", options.fanout_workers)):
        if not value > 0:
            raise BadValue(f"--{name} was {value}; expected a number above 0", field=name)
