"""Usage by HTTP."""

from __future__ import annotations

import csv
import io

import pytest

from deployments.control.usage.desk import csv_of
from messaging.topics import USAGE
from models.usage import Measure, UsageReport, UsageRow
from storage.postgres import usage
from tests.support.control import ControlHub
from tests.support.usage import TODAY, line

MONTH = "2026-11"


def _admin(control: ControlHub) -> dict[str, str]:
    """Ann, who administers acme."""
    return control.auth("ann", tenant="acme", roles=("tenant:admin",))


async def _used(control: ControlHub) -> None:
    """Two users of acme in November, one of bolt, and acme in December."""
    december = TODAY.replace(month=12)
    lines = (
        line(3),
        line(4, user="=HYPERLINK(1)", feature="routing"),
        line(5, measure=Measure.SIGNALS, feature="signals"),
        line(100, day=december),
        line(7, tenant="bolt", tier="free"),
    )
    async with control.services.database.platform() as connection:
        await usage.add(connection, {one.key: one.amount for one in lines})


async def test_a_tenants_admin_sees_the_use_of_its_own_month(control: ControlHub) -> None:
    """By measure, user, day or feature; nothing of other tenants and months."""
    await _used(control)
    headers = _admin(control)
    found = {
        by: (await control.client.get(f"/tenants/acme/usage?month={MONTH}&by={by}", headers=headers)).json()
        for by in ("measure", "user", "feature", "day")
    }

    assert [(one["by"], one["amount"]) for one in found["measure"]["totals"]] == [
        ("calls", 7),
        ("signals", 5),
    ]
    assert [(one["by"], one["amount"]) for one in found["user"]["totals"]] == [
        ("=HYPERLINK(1)", 4),
        ("ann", 3),
        ("ann", 5),
    ]
    assert [one["by"] for one in found["feature"]["totals"]] == ["inference", "routing", "signals"]
    assert {one["by"] for one in found["day"]["totals"]} == {"2026-11-22"}


async def test_the_export_is_the_bill_line_by_line(control: ControlHub) -> None:
    """CSV and JSON say the same; a name that a spreadsheet would run is disarmed."""
    await _used(control)
    headers, path = _admin(control), f"/tenants/acme/usage/export?month={MONTH}"
    as_json = (await control.client.get(path, headers=headers)).json()
    answer = await control.client.get(f"{path}&format=csv", headers=headers)
    rows = list(csv.DictReader(io.StringIO(answer.text)))

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="usage-acme-2026-11.csv"' in answer.headers["content-disposition"]
    assert [(row["user_id"], int(row["amount"])) for row in rows] == [
        ("'=HYPERLINK(1)", 4),
        ("ann", 3),
        ("ann", 5),
    ]
    assert [(row["user_id"], row["amount"]) for row in as_json["rows"]] == [
        ("=HYPERLINK(1)", 4),
        ("ann", 3),
        ("ann", 5),
    ]


async def test_the_operator_sees_use_by_feature_and_tier(control: ControlHub) -> None:
    """Of all tenants together, without their users."""
    await _used(control)
    headers = control.auth("olga", roles=("operator",))
    found = {
        by: (await control.client.get(f"/platform/usage?month={MONTH}&by={by}", headers=headers)).json()[
            "totals"
        ]
        for by in ("feature", "tier")
    }

    assert [(one["by"], one["amount"]) for one in found["tier"]] == [("free", 7), ("pro", 7), ("pro", 5)]
    assert [(one["by"], one["amount"]) for one in found["feature"]] == [
        ("inference", 10),
        ("routing", 4),
        ("signals", 5),
    ]


@pytest.mark.parametrize("path", ["/tenants/bolt/usage", "/tenants/bolt/usage/export", "/platform/usage"])
async def test_foreign_use_is_nobodys_business(control: ControlHub, path: str) -> None:
    """A tenant's admin gets the answer of what is not there, or of a role too weak."""
    answer = await control.client.get(path, headers=_admin(control))

    assert answer.status_code in {403, 404}
    assert "bolt" not in answer.text


@pytest.mark.parametrize(
    "query",
    [
        "month=2026-13",
        "month=0000-01",
        "month=2026-1",
        "month=٢٠٢٦-11",
        "by=password",
        "format=xml",
        "month=9999-12",
    ],
)
async def test_what_is_no_month_or_grouping_is_refused(control: ControlHub, query: str) -> None:
    """With 422 and the field, never a failure of the hub; the last month there is has no next one."""
    path = "export" if "format" in query else ""
    answer = await control.client.get(
        f"/tenants/acme/usage/{path}?{query}".replace("usage/?", "usage?"),
        headers=_admin(control),
    )

    assert answer.status_code == 422
    assert answer.json()["field"] in query


def test_a_cell_that_begins_a_formula_is_quoted() -> None:
    """For each of the signs that a spreadsheet heeds."""
    row = UsageRow(day=TODAY, user_id="x", tier="pro", feature="f", measure=Measure.CALLS, amount=1)
    signs = "=+-@\t\r"
    text = csv_of([row.model_copy(update={"user_id": f"{sign}cmd"}) for sign in signs])

    assert [cells[1] for cells in csv.reader(io.StringIO(text, newline=""))][1:] == [
        f"'{sign}cmd" for sign in signs
    ]


async def test_calls_of_the_control_plane_count_too(control: ControlHub) -> None:
    """Under the caller's tenant, and not under what was sent."""
    headers = _admin(control)
    await control.client.get("/tenants/bolt/usage", headers=headers)
    await control.client.get("/there/is/nothing", headers=headers)
    await control.client.get("/tenants/acme/usage")
    await control.services.metering.flush()

    records = control.log.partition(USAGE.name, 0).records
    lines = [one for record in records for one in UsageReport.from_record(record.value or b"").lines]
    assert [(one.tenant_id, one.user_id, one.feature, one.amount) for one in lines] == [
        ("acme", "ann", "control", 1),
        ("acme", "ann", "other", 1),
    ]
