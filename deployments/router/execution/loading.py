"""Which models of a repository a replica holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from inference.cards import CARD_FILE, read_card
from inference.session import Session
from models.card import ModelCard
from models.errors import CardRejected, ConfigError

log = logging.getLogger("ray.serve")


def load_models(repository: Path, wanted: Sequence[str] | Literal["*"]) -> list[Session]:
    """Sessions of the wanted models, every version of each.

    A model that does not load is left out with a line in the log: the registry refuses it with the same
    reason, so nothing is routed to it. ConfigError if a wanted name is not there, or if nothing loaded.
    """
    sessions = load_fitting(repository, wanted, lambda _: True)
    if not sessions:
        raise ConfigError(f"no model of {repository} could be loaded", field="repository")
    return sessions


def load_fitting(
    repository: Path, wanted: Sequence[str] | Literal["*"], fits: Callable[[ModelCard], bool]
) -> list[Session]:
    """The same, of those whose card fits; that may be none."""
    directories = sorted(path.parent for path in repository.glob(f"*/*/{CARD_FILE}"))
    names = {directory.parent.name for directory in directories}
    if missing := set(() if wanted == "*" else wanted) - names:
        raise ConfigError(
            f"models {', '.join(sorted(missing))} are not in {repository}; "
            f"it holds {', '.join(sorted(names))}",
            field="models",
        )
    return list(_loaded([item for item in directories if wanted == "*" or item.parent.name in wanted], fits))


def _loaded(directories: Sequence[Path], fits: Callable[[ModelCard], bool]) -> Iterator[Session]:
    for directory in directories:
        try:
            card = read_card(directory)
            if fits(card):
                yield Session.load(directory, card)
        except CardRejected as error:
            log.error("model left out: %s", error.message)  # noqa: TRY400 - the text says it all
