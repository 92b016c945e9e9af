"""The OpenAPI description of the control plane, and the golden copy of it.

After a wanted change: `python -m tests.unit.control.openapi` writes the golden file anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from deployments.control.app import create_app
from deployments.control.services import ControlServices

GOLDEN = Path(__file__).with_name("openapi.json")


def description() -> dict[str, Any]:
    """As the application describes itself, which takes no service."""
    none = dict.fromkeys(("meter", "monotonic", "tokens", "limiter", "metering", "denials"))
    services = SimpleNamespace(**none, public_docs=True, max_body_bytes=1, body_timeout_s=1.0)
    return create_app(cast("ControlServices", services)).openapi()


def rendered(found: dict[str, Any]) -> str:
    """Indented JSON."""
    return json.dumps(found, indent=1) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text(rendered(description()))
