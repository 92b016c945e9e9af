"""`hub audit`: who did what, whether the log of it is what it was, and the end of its retention."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from models.audit import Outcome
from serve_app.commands.options import NARROW, Token, Url, User, client, home_tenant

if TYPE_CHECKING:
    from deployments.control.config import AuditConfig
    from models.audit import AuditReport
    from serve_app.settings import HubSettings
    from storage.audit_signature import HeadSigner
    from storage.postgres.config import PostgresConfig

app = typer.Typer(no_args_is_help=True, help="See who did what, and whether the log of it is what it was.")

PATH: Final = "/api/v1/control"
_RULE: Final = "hub.audit_heads"

Config = Annotated[
    Path | None,
    typer.Option(help="Ask database and broker of these settings themselves, and no hub."),
]
TenantOption = Annotated[
    str | None,
    typer.Option("--tenant", help="The tenant; default: your own, or all for the platform's operators."),
]


@app.command()
def ls(
    tenant: TenantOption = None,
    actor: Annotated[str | None, typer.Option(help="Only what this user did.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this, as `users.create`.")] = None,
    outcome: Annotated[Outcome | None, typer.Option(help="Only what was done, or denied.")] = None,
    after: Annotated[str, typer.Option(help="Begin behind this place: the one that was printed.")] = "",
    most: Annotated[int, typer.Option(min=1, max=500, help="How many at most.")] = 50,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """List entries, oldest first."""
    asked = {"actor": actor, "action": action, "outcome": outcome, "after": after or None, "most": most}
    tenant = tenant or home_tenant()
    path = f"{PATH}/tenants/{tenant}/audit" if tenant else f"{PATH}/platform/audit"
    with client(url, token, user, admin=True) as hub:
        page = hub.call("GET", path, query={name: one for name, one in asked.items() if one is not None})
    table = Table("tenant", "no.", "when (UTC)", "who", "what", "of", "outcome", **NARROW)
    for one in page["entries"]:
        when = datetime.fromtimestamp(one["at_ns"] // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(
            one["tenant_id"],
            str(one["sequence"]),
            when,
            *(one[name] for name in ("actor", "action", "object", "outcome")),
        )
    Console().print(table)
    if page["next"] is not None:
        typer.echo(f"more: --after {page['next']}")


@app.command()
def head(
    tenant: Annotated[str, typer.Argument()], url: Url = None, token: Token = None, user: User = None
) -> None:
    """Print the last entry's sequence and hash. Kept elsewhere, they show that nobody rewrote the log."""
    with client(url, token, user, admin=True) as hub:
        one = hub.call("GET", f"{PATH}/tenants/{tenant}/audit/head")
    typer.echo(f"{one['tenant_id']} {one['sequence']} {one['hash']}")


@app.command()
def sign(url: Url = None, token: Token = None, user: User = None) -> None:
    """Have all heads signed now, and print the keys that they are verified with."""
    with client(url, token, user, admin=True) as hub:
        made = hub.call("POST", f"{PATH}/platform/audit/heads")
    for one in made["heads"]:
        typer.echo(f"{one['tenant_id']} {one['sequence']} {one['hash']}")
    for key in made["public_keys"]:
        typer.echo(f"public key {key}")


@app.command()
def verify(
    tenant: TenantOption = None,
    config: Config = None,
    key: Annotated[
        list[str] | None, typer.Option(help="Public key of the hub, for --config; repeatable.")
    ] = None,
    url: Url = None,
    token: Token = None,
    user: User = None,
) -> None:
    """Check the logs: no entry altered, missing, moved, cut off, written anew or from another tenant's log.

    With --config an auditor asks database, broker and vault without the hub's help. Exit code 1 if anything
    was found.
    """
    from models.audit import AuditReport

    if config:
        report = _verified(config, tenant, key or [])
    else:
        tenant = tenant or home_tenant()
        path = f"{PATH}/tenants/{tenant}/audit/verify" if tenant else f"{PATH}/platform/audit/verify"
        with client(url, token, user, admin=True) as hub:
            report = AuditReport.model_validate(hub.call("GET", path), extra="ignore")
    _print(report)
    if not report.sound:
        raise typer.Exit(1)


@app.command()
def purge(
    config: Annotated[Path, typer.Option(help="Settings with the owner's login and the signing key.")],
    hold: Annotated[
        list[datetime] | None,
        typer.Option(formats=["%Y-%m-%d"], help="Keep all until this day, for an authority; repeatable."),
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else it is only said what would go.")] = False,
) -> None:
    """Delete what config/retention.yaml lets go, behind a signed cut: the rest goes on being verifiable."""
    import asyncio
    from datetime import UTC

    from models.retention import load_retention
    from serve_app.audit_trail import purge_logs, purgeable
    from serve_app.settings import load_settings, read_text

    settings = load_settings(config)
    now = datetime.now(UTC)
    rule = load_retention(read_text("config/retention.yaml")).rule_for(_RULE)
    day = purgeable(rule, now.date(), [one.date() for one in hold or []])
    if not yes:
        typer.echo(f"entries up to {day} may go, by {rule.rule if rule else ''}; say --yes to delete them")
        return
    signer = _signer(settings)
    postgres = _postgres(settings)
    gone = asyncio.run(purge_logs(postgres, signer, before=day, actor="hub audit purge", now=now))
    for name, count in gone.items():
        typer.echo(f"{name}: {count:,} entries deleted")


def _verified(config: Path, tenant: str | None, keys: list[str]) -> AuditReport:
    import asyncio

    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from serve_app.audit_trail import public_keys, signed_heads, verify_logs
    from serve_app.settings import load_settings
    from storage.audit_signature import HeadVerifier
    from storage.postgres.audit_check import Vouchers

    settings = load_settings(config)
    audit = _audit(settings)

    async def run() -> AuditReport:
        found = await signed_heads(settings.kafka, audit)
        heads = [one for one in found if tenant in {None, one.tenant_id}]
        total = sum({one.tenant_id: one.sequence for one in heads}.values()) or None
        vouchers = Vouchers(HeadVerifier(public_keys(audit, keys)), heads)
        columns = (
            TextColumn("checking"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("checking", total=total)
            return await verify_logs(
                _postgres(settings),
                [tenant] if tenant else [],
                vouchers,
                advance=lambda read: progress.advance(bar, read),
            )

    return asyncio.run(run())


def _print(report: AuditReport) -> None:
    console = Console()
    for one in report.findings:
        said = f"{one.tenant_id} {one.sequence} {one.fault}: {one.says}"
        console.print(said, style="red", markup=False, highlight=False, soft_wrap=True)
    if report.faults > len(report.findings):
        console.print(f"and {report.faults - len(report.findings):,} more", style="red")
    verdict = "sound" if report.sound else f"{report.faults:,} faults"
    console.print(
        f"{verdict}: {report.entries:,} entries of {report.tenants:,} tenants, {report.signed:,} signed "
        f"places; {report.unsigned:,} entries are newer than the last of them",
        highlight=False,
        soft_wrap=True,
    )


def _audit(settings: HubSettings) -> AuditConfig:
    from deployments.control.config import AuditConfig as Unset

    return settings.control.audit if settings.control else Unset()


def _postgres(settings: HubSettings) -> PostgresConfig:
    from models.errors import ConfigError

    if settings.postgres is None:
        raise ConfigError("the settings name no postgres: the audit logs are there", field="postgres")
    return settings.postgres


def _signer(settings: HubSettings) -> HeadSigner:
    from models.errors import ConfigError
    from storage.audit_signature import HeadSigner as Signer

    audit = _audit(settings)
    if audit.key is None:
        raise ConfigError("control.audit.key is missing: a cut must be signed", field="control.audit.key")
    return Signer.of(audit.key.resolve())
