"""A model's files as `POST /api/v1/models` takes them."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import yaml

from models.errors import CardRejected


def upload_of(source: Path, card: Path | None = None) -> dict[str, Any]:
    """The body for a directory with `model.onnx` and `card.yaml`, or for an ONNX file and its card.

    A card without a hash gets that of the file. CardRejected names the file that is missing or no YAML.
    """
    file, described = (source / "model.onnx", source / "card.yaml") if source.is_dir() else (source, card)
    if described is None:
        raise CardRejected("an ONNX file needs its card: --card card.yaml", field="card")
    for path in (file, described):
        if not path.is_file():
            raise CardRejected(f"{path} is missing", field=path.name)
    try:
        said = yaml.safe_load(described.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise CardRejected(f"{described} is not YAML: {error}", field="card") from error
    artefact = file.read_bytes()
    if isinstance(said, dict):
        said.setdefault("sha256", hashlib.sha256(artefact).hexdigest())
    return {"card": said, "artefact": base64.b64encode(artefact).decode()}
