"""The identity map of a scope: objects by id, and what the store says of them."""

from __future__ import annotations

import sys
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from kiokupy import ghosts
from kiokupy.collapse import CONTAINERS
from kiokupy.departed import Departed, Origin
from kiokupy.entry import Record


class Snapshot(NamedTuple):
    """Which objects were live, and which were deleted, at a savepoint."""

    live: dict[str, tuple[object, Record | None]]
    buried: dict[int, tuple[str, object]]


class Released(NamedTuple):
    """What is known of an object that was let go."""

    key: str
    #: Answers the object while somebody holds it.
    alive: Callable[[], object | None]
    record: Record | None
    referrer: str | None


# References to an object that nobody else holds: a local variable, and the argument of getrefcount.
_ONLY_HERE = 2


class IdentityMap(ABC):
    """Knows objects by id and ids by object. It holds the objects, so that their numbers stay theirs."""

    def __init__(self, departed: Departed) -> None:
        self._departed = departed
        self._objects: dict[str, object] = {}
        self._ids: dict[int, str] = {}
        # What the store said when an object was loaded or written; an id without it belongs to a ghost.
        self._records: dict[str, Record] = {}
        # The id of the object that was being loaded when a ghost was made.
        self._referrers: dict[str, str] = {}
        # Deleted objects by number.
        self._buried: dict[int, tuple[str, object]] = {}
        # Ids that were taken over from an ended scope.
        self._adopted: list[str] = []
        # Those of them that were loaded from the past.
        self._from_past: set[str] = set()
        self._watchers: list[set[str]] = []
        # The ids of plain containers: lists, dicts and the like.
        self._containers: set[str] = set()
        # By number, the containers that objects taken over from ended scopes had, for when they are met.
        self._offered: dict[int, tuple[object, Origin]] = {}

    def peek(self, key: str) -> object | None:
        """Return the live object of an id, without asking the store."""
        return self._objects.get(key)

    def live_keys(self) -> list[str]:
        """Return the ids of all live objects."""
        return list(self._objects)

    def live_id(self, obj: object) -> str | None:
        """Return the id of a live object, otherwise ``None``; nothing is adopted and the store is not asked."""
        return self._ids.get(id(obj))

    def loaded(self) -> Iterator[tuple[str, object]]:
        """Yield ids and objects whose state is loaded: those that may have changed."""
        for key in list(self._records):
            yield key, self._objects[key]

    def records(self) -> list[tuple[str, Record]]:
        """Return ids and what the store said of the objects when they were loaded or written."""
        return list(self._records.items())

    def record(self, key: str) -> Record | None:
        """Return what the store said of a live object when it was loaded or written."""
        return self._records.get(key)

    def has_containers(self) -> bool:
        """Tell whether a container is known by an id of its own."""
        return bool(self._containers or self._offered)

    def is_from_past(self, key: str) -> bool:
        """Tell whether a live object was taken over from a scope of the past."""
        return key in self._from_past

    def enter(self, key: str, obj: object, record: Record | None) -> None:
        """Take an object in under an id, with what the store says of it; without that it is a ghost."""
        self._objects[key] = obj
        self._ids[id(obj)] = key
        if type(obj) in CONTAINERS:
            self._containers.add(key)
        for arrived in self._watchers:
            arrived.add(key)
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
        self._containers.discard(key)
        self._from_past.discard(key)
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
    def watching(self) -> Iterator[set[str]]:
        """Give a set that the ids of the objects taken in during the block are added to."""
        arrived: set[str] = set()
        self._watchers.append(arrived)
        try:
            yield arrived
        finally:
            self._watchers.remove(arrived)

    def release(self, key: str) -> Released:
        """Forget an object, for :meth:`reclaim` to know it again if somebody else holds it."""
        record, referrer = self._records.get(key), self._referrers.get(key)
        obj = self.leave(key)
        if record is not None and record.state is obj:  # a Persistent object, which must not hold itself
            record = record._replace(state=b"")
        try:
            return Released(key, weakref.ref(obj), record, referrer)
        except TypeError:  # a class with __slots__ leaves no room for weak references
            held = sys.getrefcount(obj) > _ONLY_HERE
            return Released(key, (lambda: obj) if held else (lambda: None), record, referrer)

    def reclaim(self, released: Released) -> str | None:
        """Know a released object again if it is still alive, and return its id then."""
        obj = released.alive()
        if obj is None:
            return None
        record = released.record
        self.enter(released.key, obj, record._replace(state=obj) if record and record.state == b"" else record)
        if released.referrer is not None:
            self._referrers[released.key] = released.referrer
        return released.key

    def snapshot(self) -> Snapshot:
        """Note what is known now."""
        return Snapshot({key: (obj, self._records.get(key)) for key, obj in self._objects.items()}, dict(self._buried))

    def recall(self, snapshot: Snapshot, entries: Container[str]) -> None:
        """Know again what was known at a snapshot, and of what was loaded since, what has an entry now."""
        for key, obj in list(self._objects.items()):
            if key in snapshot.live:
                if obj is not snapshot.live[key][0]:
                    self.leave(key)
            elif key not in entries:
                self.leave(key)
        self._buried = dict(snapshot.buried)
        for key, (obj, record) in snapshot.live.items():
            if key not in self._objects:
                self.enter(key, obj, record)

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
