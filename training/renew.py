"""A newer version of models that are there: trained on what came since, written, and brought to the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.errors import BadValue
from training.heads.base import Head
from training.measure import CardedModel


def chosen(heads: Sequence[Head], names: Sequence[str]) -> list[Head]:
    """The heads of these names, after the naive control, which all are measured against."""
    known = {head.about.name: head for head in heads}
    if unknown := sorted(set(names) - set(known)):
        raise BadValue(f"there is no model {', '.join(unknown)}; known: {', '.join(known)}", field="only")
    return [heads[0], *(head for head in heads[1:] if head.about.name in names)]


def next_version(repository: Path, names: Sequence[str]) -> str:
    """One more than the highest that any of these has in the repository."""
    found = [path.name for name in names for path in (repository / name).glob("*") if path.is_dir()]
    return str(max((int(version.partition(".")[0]) for version in found), default=0) + 1)


def bring(models: Sequence[CardedModel], repository: Path) -> None:
    """Register them with the hub that runs here, as candidates."""
    from serve_app.commands.models import add  # noqa: PLC0415 - training alone needs no hub

    for model in models:
        add(repository / model.card.name / model.card.version)
