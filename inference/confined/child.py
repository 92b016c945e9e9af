"""The process that looks at a stranger's artefact: `python -P -m inference.confined.child REQUEST VERDICT`.

Both are numbers of open files. The request is one line of JSON and then the artefact; the verdict is JSON.
Everything that is imported is imported here, because no file can be opened once the rights are gone.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Final

import numpy.ma  # noqa: F401 - numpy would import it when it is first asked for a percentile

from inference.check import try_out, typical_rows
from inference.confined.graph import read_graph
from inference.confined.jail import enter
from inference.confined.wire import Examined, Refused, Request, Verdict
from inference.warm import QUICK, warm_profile
from models.errors import HubError
from models.task import task_named

_DIFFERENT_ROWS: Final = 64


def examined(request: Request, artefact: bytes) -> Examined:
    """Read the graph, run it, time it; CardRejected names the first thing that is wrong."""
    facts = read_graph(artefact, most_nodes=request.limits.nodes)
    session = try_out(request.card, artefact)
    return Examined(
        opset=facts.opset,
        operators=tuple(sorted(facts.operators)),
        nodes=facts.nodes,
        warm=warm_profile(
            session, typical_rows(_DIFFERENT_ROWS, task_named(request.card.task)), effort=QUICK
        ),
        cpu_s=time.process_time(),
    )


def main() -> None:
    """Read, give up every right, look, say."""
    given, said = (int(number) for number in sys.argv[1:3])
    with os.fdopen(given, "rb") as file:
        request, artefact = Request.model_validate_json(file.readline()), file.read()
    try:
        enter(request.limits)
        verdict = Verdict(examined=examined(request, artefact))
    except HubError as error:
        verdict = Verdict(refused=Refused(code=error.code, field=error.field, message=error.message))
    except MemoryError:
        verdict = Verdict(
            refused=Refused(code="card_rejected", field="memory", message="it wants more memory")
        )
    os.write(said, verdict.model_dump_json().encode())


if __name__ == "__main__":
    main()
