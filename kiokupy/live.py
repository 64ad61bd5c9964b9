"""Live objects: the identity map of a scope. The same id gives the same object."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from persistent import Persistent

from kiokupy import ghosts
from kiokupy.broken import Broken
from kiokupy.collapse import Collapser, Found
from kiokupy.collections.bulk import Bulk, taken
from kiokupy.departed import Origin
from kiokupy.entry import Entry, Record
from kiokupy.errors import (
    ConflictError,
    DuplicateId,
    NotLoadable,
    ScopeClosed,
)
from kiokupy.expand import Expander
from kiokupy.graph import Graph
from kiokupy.holder import Holder
from kiokupy.loading import Loading
from kiokupy.reduction import reducer_for
from kiokupy.refusal import Refusal
from kiokupy.rules import name_of

T = TypeVar("T")


class Host(Protocol):
    """What live objects ask of their scope."""

    def walk(self, blocks: Iterable[Iterable[T]], meet: Callable[[T], Any]) -> Iterator[Any]:
        """Yield what ``meet`` makes of each item, and part from what came with them."""

    def store_new(self, objects: list[Any]) -> None:
        """Store the objects that have no ids."""


class LiveObjects(Loading):
    """Knows the objects of one scope by id, those from ended scopes too, and what the store says of them."""

    #: Without one the members of a collection that is walked over stay, and new ones cannot be stored.
    host: Host | None = None

    def get(self, key: str) -> object | None:
        """Return the object of an id, or ``None`` if the store has no such entry."""
        known = self._objects.get(key)
        if known is not None and not ghosts.is_ghost(known):
            return known
        with self._unit.database.translated():
            return self._found(key, self.entries.get(key))

    def get_many(self, keys: Iterable[str]) -> dict[str, object]:
        """Return the objects of those ids that the store has; their records are read at once where it can do that."""
        with self._unit.database.translated():
            entries = self.entries
            unloaded = {key: entries.get(key) for key in keys if key not in self._records}
            self._unit.connection.prefetch([entry for entry in unloaded.values() if entry is not None])
            found = {key: self._found(key, unloaded.get(key)) for key in keys}
        return {key: obj for key, obj in found.items() if obj is not None}

    def _found(self, key: str, entry: Entry | None) -> object | None:
        if key in self._records:  # loaded by now, if it was not before
            return self._objects[key]
        if entry is None:
            return None
        class_name = entry.record.class_name
        found = self.resolve(key, class_name)
        # What made the ghost may have expected an object of another class under this id.
        if self._typemap.class_named(class_name) is not ghosts.real_class(found):
            found = self._as_stored(key, found, class_name)
        return found

    def id_of(self, obj: object) -> str | None:
        """Return the id to refer to an object by: as :meth:`known_id`, or the one a deleted object had."""
        key = self._ids.get(id(obj))
        if key is not None:
            return key
        if id(obj) in self._buried:  # deleted, but a live object still refers to it: the reference stays as it is
            return self._buried[id(obj)][0]
        return self.known_id(obj)

    def known_id(self, obj: object) -> str | None:
        """Return the id an object is known by, here or from a scope that has ended; otherwise ``None``.

        :raises ScopeClosed: it is a Persistent object from a scope that has ended.
        """
        key = self._ids.get(id(obj))
        if key is not None:
            return key
        if isinstance(obj, Persistent) and obj._p_jar is not None and not self._unit.connection.owns(obj):
            if isinstance(obj, Bulk):
                return self._key_of_departed(obj)
            raise ScopeClosed(f"a {name_of(type(obj))}")
        _, origin = self._offered.pop(id(obj), (None, None))
        if origin is None:
            origin = self._departed.find(obj)
        return None if origin is None else self._adopt(obj, origin)

    def reducer(self, cls: type) -> Callable[[Any], tuple[Any, ...]] | None:
        """Return what reduces the intrinsic objects of a class, where their own way of it will not do."""
        rule = self._typemap.rule_for(cls)
        return None if rule is None else reducer_for(rule)

    def prefetch(self, keys: Iterable[str]) -> None:
        """Have the storage read the records of many ids at once, where it can; objects load when they are touched."""
        with self._unit.database.translated():
            entries = self.entries
            found = (entries.get(key) for key in keys if key not in self._records)
            self._unit.connection.prefetch([entry for entry in found if entry is not None])

    def collapsed(self, obj: object) -> Record | None:
        """Return the record of an object as it is, or ``None`` if it has none because something in it is refused."""
        try:
            return self._collapser().collapse(obj)
        except Refusal:
            return None

    def reread(self, record: Record) -> Record | None:
        """Return what an object that was just loaded from a record would collapse to.

        It may differ from the record: sets come in another order, equal strings are one object or two.
        ``None``: not everything that the record refers to is live.
        """
        expander = Expander(self._typemap, lambda key, _: self._objects[key], self.exists)
        collapser, found = self._collapser(), Found({}, {})
        try:
            parts = expander.parts(record)
            if parts is None:
                fresh = expander.shell(record)
                expander.fill(fresh, expander.state(record), record.flags)
                return collapser.collapse(fresh)
        except KeyError:
            return None
        head, state = parts
        head_bytes = None if head is None else collapser.dump(head, found, head)
        state_bytes = collapser.dump(state, found, state)
        return record._replace(head=head_bytes, state=state_bytes, refs=tuple(found.refs), weak=tuple(found.weak))

    def is_outdated(self, key: str) -> bool:
        """Tell whether the record of a loaded object is of an earlier version of its class, or uses an earlier name."""
        record = self._records[key]
        if isinstance(record.state, Persistent) or isinstance(self._objects[key], Broken):
            return False
        cls = self._typemap.class_named(record.class_name)
        rule = self._typemap.rule_for(cls)
        version = None if rule is None else rule.version
        if (record.class_name, record.version) != (name_of(cls), version) or self._expander.parts(record) is None:
            return True
        pickles = (record.head or b"") + record.state
        return any(alias.encode() in pickles for alias in self._typemap.aliases)

    def _collapser(self) -> Collapser:
        return Collapser(self._typemap, self.id_of, shared=self.id_of if self.has_containers() else None)

    def member(self, owner: Persistent, key: str, class_name: str) -> object:
        """Return the object of an id in a collection; as :meth:`resolve`."""
        if key in self._objects:
            return self._objects[key]
        referrer = self._ids.get(id(owner))
        if referrer is not None:
            self._referrers[key] = referrer
        try:
            return self.resolve(key, class_name)
        except BaseException:
            self._referrers.pop(key, None)
            raise

    def reference(self, owner: Persistent, obj: object) -> tuple[str, str]:
        """Return what a collection keeps of an object that is known here."""
        key, referrer = self.key_of(obj), self._ids.get(id(owner))
        assert key is not None  # or it would not be known
        if type(obj) is Holder and referrer is not None:
            self._referrers[key] = referrer
        return key, sys.intern(name_of(ghosts.real_class(obj)))  # one string for a whole leaf of the tree

    def key_of(self, obj: object) -> str | None:
        """Return the id that an object has, or had in a scope that ended or before it was deleted."""
        key = self._ids.get(id(obj))
        if key is not None:
            return key
        if id(obj) in self._buried:
            return self._buried[id(obj)][0]
        origin = self._departed.find(obj)
        return None if origin is None else origin.key

    def refers(self, obj: object) -> bool:
        """Tell whether an object is to have an entry of its own; otherwise it is a part of another."""
        return self._typemap.refers_to(ghosts.real_class(obj))

    def walk(self, blocks: Iterable[Iterable[T]], meet: Callable[[T], Any]) -> Iterator[Any]:
        """Yield what ``meet`` makes of each item, in memory for some blocks."""
        return super().walk(blocks, meet) if self.host is None else self.host.walk(blocks, meet)

    def take_in(self, owner: Persistent, objects: list[Any]) -> list[tuple[str, str]]:
        """Return references to objects of a collection; those without ids are stored."""
        assert self.host is not None  # as in every scope
        self.host.store_new(objects)
        return [self.reference(owner, obj) for obj in objects]

    def depart(self, *, unit_ends: bool = True) -> None:
        """End: objects leave with a note of their origin; ghosts can no longer load.

        :param unit_ends: let the connection's next user have other Persistent objects; without it those that are there
            are unloaded only, so that the unit can go on, with its trees, among other live objects.
        """
        self.closed = True
        self.host = None  # which holds this
        for key, obj in self._objects.items():
            if type(obj) is Holder:
                owner = self._objects.get(self._referrers.get(key, ""))
                if isinstance(owner, Bulk):
                    owner.at_departure(obj)
        gone = [obj for _, obj in self._buried.values()]
        shared = any(isinstance(obj, Persistent) for obj in [*gone, *self._objects.values()])
        past = self._unit.connection.tid is not None
        for key, obj in self._objects.items():
            ghosts.unregister(obj)
            self._departed.remember(obj, self._origin(key, past=past))
        self._objects.clear()
        self._ids.clear()
        self._unit.connection.graph = Graph()
        if shared:
            connection = self._unit.connection
            (connection.forget if unit_ends else connection.cacheMinimize)()

    def _origin(self, key: str, *, past: bool) -> Origin:
        record, past = self._records.get(key), past or self.is_from_past(key)
        if not self._containers or record is None:
            return Origin(key, record, past)
        shared = self._containers.intersection(record.refs)
        return Origin(key, record, past, {part: (self._objects[part], self._records[part]) for part in shared})

    def _key_of_departed(self, bulk: Bulk) -> str:
        """Return the id of a collection from a scope that has ended, for a reference: it cannot have changed since."""
        origin = self._departed.find(bulk)
        if origin is None:
            raise ScopeClosed(f"a {name_of(type(bulk))}")
        if origin.key not in self.entries:
            raise ConflictError(f"object {origin.key!r} was deleted since it was loaded")
        for holder in taken(bulk):
            self.known_id(holder)
        return origin.key

    def _adopt(self, obj: object, origin: Origin) -> str:
        key, record, past, containers = origin
        if key in self._objects:
            raise DuplicateId(
                key,
                problem=f"this scope has loaded its own copy of object {key!r}; change that one instead of "
                "the copy from an earlier scope",
            )
        if record is not None and key not in self.entries:
            raise ConflictError(f"object {key!r} was deleted since it was loaded")
        self.enter(key, obj, record)
        if past and record is not None:
            self._from_past.add(key)
        self._adopted.append(key)
        for part, (container, known) in containers.items():
            self._offered[id(container)] = container, Origin(part, known, past)
        return key

    def _as_stored(self, key: str, ghost: object, class_name: str) -> object:
        try:
            ghosts.load(ghost)
        except NotLoadable:  # the ghost cannot become what the store has
            self.bury(key)
            return self.resolve(key, class_name)
        return ghost
