"""Reading a model's card from its directory `<name>/<version>/`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml
from pydantic import ValidationError

from models.card import ModelCard
from models.errors import CardRejected

CARD_FILE: Final = "card.yaml"


def read_card(directory: Path) -> ModelCard:
    """Parse `card.yaml`; CardRejected names the field at fault.

    The card's name and version must be those of the directory, so that a path says which model it holds.
    """
    path = directory / CARD_FILE
    try:
        card = ModelCard.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise CardRejected(f"{path} is missing", field=CARD_FILE) from None
    except yaml.YAMLError as error:
        raise CardRejected(f"{path} is not YAML: {error}", field=CARD_FILE) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or CARD_FILE
        raise CardRejected(f"{path}: {field}: {first['msg']}", field=field) from error
    if (directory.parent.name, directory.name) != (card.name, card.version):
        raise CardRejected(
            f"{path} is the card of {card.key}: its directory must be {card.name}/{card.version}",
            field="name",
        )
    return card
