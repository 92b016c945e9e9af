"""Signed heads in a directory or an object store, away from database and broker: one file a head.

Who can write to the database must not be able to write here, or it vouches for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import fsspec
from pydantic import ValidationError

from models.audit import SignedHead
from models.errors import ConfigError


class AuditVault:
    """Files below `url`: a directory path, `s3://` or whatever fsspec has a driver for. Blocks."""

    def __init__(self, url: str) -> None:
        self._files, self._root = fsspec.core.url_to_fs(url)

    def put(self, head: SignedHead) -> None:
        """Keep a head. Keeping it again changes nothing, and another one gets another file."""
        folder = f"{self._root}/{head.tenant_id}"
        place = f"{folder}/{head.sequence:019d}-{head.kind}-{head.hash[:16]}.json"
        if not self._files.exists(place):
            self._files.makedirs(folder, exist_ok=True)
            self._files.pipe_file(place, head.model_dump_json(by_alias=True).encode())

    def heads(self, tenant_id: str | None = None) -> Iterator[SignedHead]:
        """All that were kept, or a tenant's; ConfigError for a file that is no head."""
        for place in sorted(self._files.glob(f"{self._root}/{tenant_id or '*'}/*.json")):
            try:
                yield SignedHead.from_record(self._files.cat_file(place))
            except ValidationError:
                raise ConfigError(f"{place} is not a signed head; remove it from the vault") from None
