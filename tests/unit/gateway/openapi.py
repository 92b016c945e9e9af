"""The OpenAPI description of the API, and the golden copy of it.

After a wanted change: `python -m tests.unit.gateway.openapi` writes the golden file anew.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from tests.unit.gateway.doubles import SECRET, SECRET_ENV, make_hub

GOLDEN = Path(__file__).with_name("openapi.json")


async def description() -> str:
    """The description as indented JSON."""
    hub = await make_hub(0, public_docs=True)
    return json.dumps(hub.app.openapi(), indent=1) + "\n"


if __name__ == "__main__":
    os.environ[SECRET_ENV] = SECRET
    GOLDEN.write_text(asyncio.run(description()))
