"""The identity map of a scope: objects by id, and what the store says of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from kiokupy import ghosts
from kiokupy.departed import Departed
from kiokupy.entry import Record


class IdentityMap(ABC):
    """Knows objects by id and ids by object. It holds the objects, so that their numbers stay theirs."""

    def __init__(self, departed: Departed) -> None:
        self._departed = departed
        self._objects: dict[str, object] = {}
        self._ids: dict[int, str] = {}
        # What the store said when an object was loaded or written; an id without it belongs to a ghost.
        self._records: dict[str, Record] = {}
        self._referrers: dict[str, object] = {}
        # Deleted objects by number.
        self._buried: dict[int, tuple[str, object]] = {}
        # Ids that were taken over from an ended scope.
        self._adopted: list[str] = []

    def peek(self, key: str) -> object | None:
        """Return the live object of an id, without asking the store."""
        return self._objects.get(key)

    def live_id(self, obj: object) -> str | None:
        """Return the id of a live object, otherwise ``None``; nothing is adopted and the store is not asked."""
        return self._ids.get(id(obj))

    def loaded(self) -> Iterator[tuple[str, object]]:
        """Yield ids and objects whose state is loaded: those that may have changed."""
        for key in list(self._records):
            yield key, self._objects[key]

    def record(self, key: str) -> Record | None:
        """Return what the store said of a live object when it was loaded or written."""
        return self._records.get(key)

    def enter(self, key: str, obj: object, record: Record | None) -> None:
        """Take an object in under an id, with what the store says of it; without that it is a ghost."""
        self._objects[key] = obj
        self._ids[id(obj)] = key
        if record is not None:
            self._records[key] = record
        else:
            ghosts.register(obj, self.load, key)

    @abstractmethod
    def load(self, key: str, ghost: object) -> None:
        """Load a ghost's state; it stays a ghost if that fails."""

    def leave(self, key: str) -> object:
        """Forget an object; it stays usable."""
        obj = self._objects.pop(key)
        del self._ids[id(obj)]
        self._records.pop(key, None)
        self._referrers.pop(key, None)
        ghosts.unregister(obj)
        return obj

    def bury(self, key: str) -> None:
        """Forget a deleted object, but keep its id for the references that live objects still have to it."""
        obj = self.leave(key)
        self._departed.forget(obj)
        self._buried[id(obj)] = key, obj

    def unearth(self, obj: object) -> None:
        """Treat a deleted object as one never known."""
        self._buried.pop(id(obj), None)

    @contextmanager
    def adopting(self) -> Iterator[None]:
        """Let go of the objects adopted in the block if it fails."""
        before = len(self._adopted)
        try:
            yield
        except BaseException:
            for key in self._objects.keys() & set(self._adopted[before:]):
                self.leave(key)
            raise
        finally:
            del self._adopted[before:]
