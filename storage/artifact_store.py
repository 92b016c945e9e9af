"""Artefacts by content: a file is named by its sha256, so that a name can never mean another file.

A directory on this machine and an object store look the same through fsspec.
"""

from __future__ import annotations

from hashlib import sha256
from uuid import uuid4

import fsspec

from models.errors import CardRejected, NotFound


class ArtifactStore:
    """Blobs below `url`: a directory path, `file://`, `s3://` or whatever fsspec has a driver for. Blocks.

    A blob is written beside its place and moved there, so a reader sees all of it or nothing.
    """

    def __init__(self, url: str) -> None:
        self._files, self._root = fsspec.core.url_to_fs(url)

    def put(self, content: bytes) -> str:
        """Store the content and return its sha256; storing it again changes nothing."""
        digest = sha256(content).hexdigest()
        if not self.has(digest):
            self._files.makedirs(self._root, exist_ok=True)
            partial = f"{self._root}/.{digest}.{uuid4().hex}"
            self._files.pipe_file(partial, content)
            self._files.mv(partial, self._place(digest))
        return digest

    def get(self, digest: str) -> bytes:
        """The content; NotFound if it was never stored, CardRejected if it was changed since."""
        try:
            content: bytes = self._files.cat_file(self._place(digest))
        except FileNotFoundError:
            raise NotFound(f"no artefact {digest} in {self._root}") from None
        if sha256(content).hexdigest() != digest:
            raise CardRejected(f"artefact {digest} in {self._root} was changed; restore it from its source")
        return content

    def has(self, digest: str) -> bool:
        return bool(self._files.exists(self._place(digest)))

    def _place(self, digest: str) -> str:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise NotFound(f"artefact was {digest!r}; expected a sha256 of 64 hex digits")
        return f"{self._root}/{digest}"
