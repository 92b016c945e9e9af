"""Which registered models are loaded: within a bound of memory, the least recently used going first."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deployments.pool.loader import Loaded
from deployments.router.execution.worker import InferenceWorker


class Stock:
    """The loaded models of a worker, by name. Belongs to one event loop.

    Whoever puts something in sees to it that `surplus` goes: rather a little too much for a moment than a
    call that loses its model.
    """

    def __init__(self, worker: InferenceWorker, *, most_bytes: int) -> None:
        self._worker = worker
        self._most_bytes = most_bytes
        self._bytes: OrderedDict[str, int] = OrderedDict()
        self._calls: Counter[str] = Counter()
        self.used_bytes = 0

    def __contains__(self, name: str) -> bool:
        return name in self._bytes

    def __len__(self) -> int:
        return len(self._bytes)

    def put(self, name: str, loaded: Loaded) -> None:
        """Answer for a model from now on."""
        self._worker.hold(loaded.model)
        self._bytes[name] = loaded.nbytes
        self.used_bytes += loaded.nbytes

    def drop(self, name: str) -> None:
        """Unload a model; nothing happens if it is not loaded."""
        if name in self._bytes:
            self.used_bytes -= self._bytes.pop(name)
            self._worker.drop(name)

    def has_room(self, nbytes: int) -> bool:
        """Whether so much more fits beside all that is loaded."""
        return self.used_bytes + nbytes <= self._most_bytes

    def is_used(self, name: str) -> bool:
        """Whether calls run on the model, or wait for it."""
        return name in self._calls

    def surplus(self, must_stay: Callable[[str], bool]) -> list[str]:
        """Who has to go for the rest to fit, as far as they may: nobody that is in use goes."""
        going: list[str] = []
        left = self.used_bytes
        for name, nbytes in self._bytes.items():
            if left <= self._most_bytes:
                break
            if not self.is_used(name) and not must_stay(name):
                going.append(name)
                left -= nbytes
        return going

    @contextmanager
    def in_use(self, name: str) -> Iterator[None]:
        """Keep a model, loaded or about to be, for as long as the block lasts; it was used last then."""
        self._calls[name] += 1
        try:
            yield
        finally:
            self._calls[name] -= 1
            if not self._calls[name]:
                del self._calls[name]
            if name in self._bytes:
                self._bytes.move_to_end(name)
