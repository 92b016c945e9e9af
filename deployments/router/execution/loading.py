"""Which models of a repository a replica holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from inference.cards import CARD_FILE, read_card
from inference.session import Session
from models.errors import CardRejected, ConfigError

log = logging.getLogger("ray.serve")


def load_models(repository: Path, wanted: Sequence[str] | Literal["*"]) -> list[Session]:
    """Sessions of the wanted models, every version of each.

    A model that does not load is left out with a line in the log: the registry refuses it with the same
    reason, so nothing is routed to it. ConfigError if a wanted name is not there, or if nothing loaded.
    """
    directories = sorted(path.parent for path in repository.glob(f"*/*/{CARD_FILE}"))
    names = {directory.parent.name for directory in directories}
    if missing := set(() if wanted == "*" else wanted) - names:
        raise ConfigError(
            f"models {', '.join(sorted(missing))} are not in {repository}; "
            f"it holds {', '.join(sorted(names))}",
            field="models",
        )
    chosen = [item for item in directories if wanted == "*" or item.parent.name in wanted]
    sessions = list(_loaded(chosen))
    if not sessions:
        raise ConfigError(f"no model of {repository} could be loaded", field="repository")
    return sessions


def _loaded(directories: Sequence[Path]) -> Iterator[Session]:
    for directory in directories:
        try:
            yield Session.load(directory, read_card(directory))
        except CardRejected as error:
            log.error("model left out: %s", error.message)  # noqa: TRY400 - the text says it all
