"""The demo's main path: check, start, seed, play, settle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.live import Live
from rich.status import Status

from deployments.front.subscriptions import SubscriptionWriter
from messaging.connect import open_bus, open_feed
from models.task import WINDOW
from serve_app.demo.antagonist import antagonise
from serve_app.demo.auditor import Auditor
from serve_app.demo.judged import judged_lines
from serve_app.demo.newcomer import Newcomer, comes, newcomer_lines, without_it
from serve_app.demo.reaction import Slowing, reaction_lines, reaction_of
from serve_app.demo.report import report_of
from serve_app.demo.scene import DemoOptions, Scene
from serve_app.demo.table import View, render
from serve_app.demo.tenants import DemoUser, found_tenants, tenant_lines
from serve_app.launch import Launched, broker_traits, local_settings, running_hub, topics_ready
from serve_app.local_stack import LocalStack
from serve_app.playback import Progress, history, play, seed_history
from serve_app.settings import HubSettings, load_settings

_REFRESH_S = 0.25
_DAY_NS = 86_400 * 1_000_000_000


def run_demo(options: DemoOptions, console: Console) -> int:
    """Run the whole demo; the exit code is 0 only if the ledger is clean."""
    began_ns = time.time_ns()
    scene = Scene.of(options)
    for notice in scene.notices(options):
        console.print(f"[yellow]{notice}[/]")
    with console.status("") as status, _stack(options, status) as stack:
        settings = _settings(options, scene, stack)
        status.update("preparing topics and history")
        topics_ready(settings, create=True)
        asyncio.run(_seed(settings, scene))
        with running_hub(settings, stack=stack, dashboard=options.keep, progress=_teller(status)) as launched:
            status.update("making tenants, users and their subscriptions")
            users = found_tenants(settings, launched.hub.url, options.users)
            asyncio.run(_subscribe(settings, scene, users))
            status.stop()
            ledger = asyncio.run(_Show(options, scene, launched, console).run(stack.run_dir))
            ledger["tenants"] = tenant_lines(launched.hub.url, users)
            code = _conclude(options, ledger, began_ns, console)
            if options.keep:
                _stay(launched, console)
    return code


def _settings(options: DemoOptions, scene: Scene, stack: LocalStack) -> HubSettings:
    strategies = stack.run_dir / "strategies.yaml"
    strategies.write_text(scene.strategies_yaml())
    overrides: dict[str, Any] = {"strategies": str(strategies), "fanout_workers": options.fanout_workers}
    if options.antagonist:
        overrides["local_model_ms"] = 0.0  # nobody can slow a replica that is not asked
    else:
        overrides |= without_it(stack.run_dir, load_settings().pools)
    return local_settings(stack, options.broker, **overrides)


def _stack(options: DemoOptions, status: Status) -> LocalStack:
    return LocalStack(broker=options.broker, tenants=True, progress=_teller(status))


async def _seed(settings: HubSettings, scene: Scene) -> None:
    feed = await open_feed(settings.nats, name="hub-demo")
    try:
        await seed_history(feed, history(scene.files, scene.plan), keep=WINDOW + 1)
    finally:
        await feed.close()


async def _subscribe(settings: HubSettings, scene: Scene, users: Sequence[DemoUser]) -> None:
    """All at once and past the gateway, so that a thousand users need not wait for a thousand requests."""
    bus = await open_bus(settings.kafka, client_id="hub-demo")
    try:
        until_ns = time.time_ns() + _DAY_NS
        await SubscriptionWriter(bus).put_many(scene.subscriptions(users, entitled_until_ns=until_ns))
    finally:
        await bus.close()


@dataclass(slots=True)
class _Show:
    """Playback, live table and independent reader, side by side."""

    options: DemoOptions
    scene: Scene
    launched: Launched
    console: Console

    async def run(self, run_dir: Path) -> dict[str, Any]:
        plan, progress = self.scene.plan, Progress()
        view = View(plan.start_ms, plan.end_ms, self.scene.slots_due)
        auditor = await Auditor.start(
            self._audit_arguments(run_dir), lambda live: view.take(live, time.monotonic())
        )
        feed = await open_feed(self.launched.settings.nats, name="hub-playback")
        watching = asyncio.create_task(self._watch(view, progress))
        slowing = asyncio.create_task(self._slow(view))
        coming = asyncio.create_task(self._come(view))
        try:
            session = f"demo-{time.time_ns():x}"
            await play(feed, self.scene.files, plan, session=session, clock=time.time_ns, progress=progress)
            ledger = await auditor.finish()
            acknowledged = await asyncio.to_thread(_acknowledged, self.launched)
            figures = {"ticks": progress.ticks, "tick_to_ack_ms": acknowledged}
            newcomer = coming.result() if coming.done() else None
            judged = await asyncio.to_thread(judged_lines)
            told = {"slowing": await slowing, "newcomer": newcomer, "judged": judged}
            return {**ledger, **figures, **told}
        finally:
            for task in (slowing, coming, watching):
                task.cancel()
            await asyncio.gather(slowing, coming, watching, return_exceptions=True)
            await auditor.kill()
            await feed.close()

    async def _slow(self, view: View) -> Slowing | None:
        if not self.options.antagonist:
            return None
        pools = [pool.name for pool in self.launched.settings.pools]
        return await antagonise(view, pools, self.scene.plan.seconds)

    async def _come(self, view: View) -> Newcomer | None:
        return None if self.options.antagonist else await comes(view, self.scene.plan.seconds)

    async def _watch(self, view: View, progress: Progress) -> None:
        with Live(render(view), console=self.console, refresh_per_second=4, transient=False) as live:
            while True:
                view.ticks, view.now_ms = progress.ticks, progress.now_ms
                view.acknowledged_ms = await asyncio.to_thread(_acknowledged, self.launched)
                live.update(render(view))
                await asyncio.sleep(_REFRESH_S)

    def _audit_arguments(self, run_dir: Path) -> list[str]:
        arguments = ["--kafka", self.launched.settings.kafka.bootstrap]
        arguments += ["--strategies", str(run_dir / "strategies.yaml")]
        for text in self.options.ticks:
            arguments += ["--ticks", text]
        arguments += ["--seconds", str(self.options.seconds), "--speed", str(self.options.speed)]
        wait = broker_traits(self.options.broker)["fetch_max_wait_ms"]
        return [*arguments, "--fetch-max-wait-ms", str(wait)]


def _acknowledged(launched: Launched) -> dict[str, float]:
    """Tick to acknowledgement by Kafka, from the worst fan-out worker."""
    times = [status["tick_to_ack_ms"] for status in launched.hub.owners("Fanout")]
    known = [item for item in times if item]
    return {name: max(item[name] for item in known) for name in ("p50", "p99")} if known else {}


def _conclude(options: DemoOptions, ledger: dict[str, Any], began_ns: int, console: Console) -> int:
    slowing = ledger["slowing"]
    reaction = reaction_of(slowing, ledger["decided_ns"], ledger["unanswered"]) if slowing else None
    if not console.is_terminal:
        console.line()  # where there is no terminal, the live table does not end its last line
    style = None if ledger["clean"] else "red"
    _tell(console, "what an independent reader found", ledger["lines"], style)
    if options.antagonist:
        _tell(console, "how the router reacted", reaction_lines(reaction))
    else:
        lines = newcomer_lines(ledger["newcomer"], ledger["picks"])
        _tell(console, "a model that came while the hub ran", lines)
    _tell(console, "how good the models were", ledger["judged"])
    _tell(console, "what a trader of each tenant sees", ledger["tenants"])
    _tell(console, "one signal, explained", ledger["example"])
    report = report_of(ledger, began_ns)
    if options.antagonist:
        report["antagonist"] = asdict(reaction) if reaction else None
    if options.report:
        options.report.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
        console.print(f"report written to {options.report}")
    return 0 if ledger["clean"] else 1


def _tell(console: Console, title: str, lines: Sequence[str], style: str | None = None) -> None:
    console.rule(title)
    for line in lines:
        console.print(line, highlight=False, style=style)


def _stay(launched: Launched, console: Console) -> None:
    console.print(f"the hub stays at {launched.hub.url}; Ctrl-C ends it")
    while True:
        time.sleep(1)


def _teller(status: Status) -> Callable[[str], None]:
    return status.update
