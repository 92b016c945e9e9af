"""The table of settings in `docs/tenant-config.md`, made from the schema.

After a wanted change: `python -m tests.unit.front.config_reference` writes the table anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from deployments.front.tenant_config.schema import SCHEMA, Setting

PAGE = Path(__file__).parents[3] / "docs" / "tenant-config.md"
_BEGIN = "<!-- settings: python -m tests.unit.front.config_reference -->\n"
_END = "<!-- end of settings -->\n"


def table() -> str:
    """The settings, a row each."""
    return "".join(_rows())


def written() -> str:
    """The table as the page has it."""
    return PAGE.read_text().partition(_BEGIN)[2].partition(_END)[0]


def write() -> None:
    """Put the table into the page."""
    before, begin, rest = PAGE.read_text().partition(_BEGIN)
    PAGE.write_text(before + begin + table() + _END + rest.partition(_END)[2])


def _rows() -> Iterator[str]:
    yield "| setting | takes | default | set by | what it is |\n|---|---|---|---|---|\n"
    for setting in SCHEMA.values():
        default = "-" if setting.default is None else f"`{orjson.dumps(setting.default).decode()}`"
        takes = setting.expects.replace("|", "\\|") + ("; a secret" if setting.secret else "")
        lowered = " Lowered below, never raised." if setting.bounding else ""
        yield f"| `{setting.name}` | {takes} | {default} | {_by(setting)} | {setting.about}{lowered} |\n"


def _by(setting: Setting) -> str:
    platform = [] if setting.secret else ["platform"]
    return ", ".join(platform + sorted(layer.value for layer in setting.set_by))


if __name__ == "__main__":
    write()
