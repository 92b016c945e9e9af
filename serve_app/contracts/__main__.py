"""`python -m serve_app.contracts` writes `docs/contracts` from the types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import yaml

from serve_app.contracts.asyncapi import document
from serve_app.contracts.schemas import Schema, schemas
from serve_app.settings import ROOT

DIRECTORY: Final = ROOT / "docs" / "contracts"
_HEAD: Final = "# Generated from the types: python -m serve_app.contracts\n"


def files() -> dict[Path, str]:
    """What belongs where."""
    made = {DIRECTORY / "schemas" / f"{name}.json": rendered(schema) for name, schema in schemas().items()}
    text = yaml.safe_dump(document(), sort_keys=False, width=110, allow_unicode=True)
    return {DIRECTORY / "asyncapi.yaml": _HEAD + text, **made}


def rendered(schema: Schema) -> str:
    """A schema as it is kept."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every file, and remove the schemas that no longer are."""
    wanted = files()
    (DIRECTORY / "schemas").mkdir(parents=True, exist_ok=True)
    for stale in set((DIRECTORY / "schemas").glob("*.json")) - set(wanted):
        stale.unlink()
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
