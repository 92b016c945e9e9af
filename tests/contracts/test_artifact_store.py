"""`ArtifactStore` on a directory and on fsspec's memory driver, which stands for an object store."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import fsspec
import pytest

from models.errors import CardRejected, NotFound
from storage.artifact_store import ArtifactStore


@pytest.fixture(params=["directory", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path, unique: Callable[[str], str]) -> str:
    """Where the store under test keeps its blobs."""
    return str(tmp_path / "artefacts") if request.param == "directory" else f"memory://{unique('artefacts')}"


def test_gives_back_what_was_put(url: str) -> None:
    """The name is the hash of the content; a second store over the same place reads it."""
    digest = ArtifactStore(url).put(b"model")

    assert digest == sha256(b"model").hexdigest()
    assert ArtifactStore(url).get(digest) == b"model"


def test_putting_twice_changes_nothing(url: str) -> None:
    """The same content has the same name and one copy."""
    store = ArtifactStore(url)

    assert store.put(b"model") == store.put(b"model")
    files, root = fsspec.core.url_to_fs(url)
    assert len(files.ls(root)) == 1


def test_refuses_a_changed_artefact(url: str) -> None:
    """One flipped byte in place is found when it is read."""
    store = ArtifactStore(url)
    digest = store.put(b"model")
    files, root = fsspec.core.url_to_fs(url)
    files.pipe_file(f"{root}/{digest}", b"modem")

    with pytest.raises(CardRejected, match=digest):
        store.get(digest)


@pytest.mark.parametrize("digest", ["f" * 64, "../secret", "F" * 64, ""])
def test_an_unknown_name_is_not_found(url: str, digest: str) -> None:
    """Absent, or no hash at all: the same error, and no path is followed."""
    with pytest.raises(NotFound):
        ArtifactStore(url).get(digest)
