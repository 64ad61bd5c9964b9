"""Live objects: the identity map of a scope. The same id gives the same object, loaded when it is first touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from persistent import Persistent

from kiokupy import entry as stored
from kiokupy import ghosts, paths
from kiokupy.collapse import Collapser, reducer_for
from kiokupy.connection import Graph
from kiokupy.database import Unit
from kiokupy.departed import Departed, Origin
from kiokupy.entry import Record
from kiokupy.errors import (
    BrokenReference,
    ConflictError,
    DuplicateId,
    NotFound,
    NotLoadable,
    ScopeClosed,
)
from kiokupy.expand import Expander, explained
from kiokupy.identity import IdentityMap
from kiokupy.typemap import TypeMap, name_of

_NOT_FOR_GHOSTS = stored.PAIR | stored.VALUE | stored.STORED_ITSELF


class LiveObjects(IdentityMap, Graph):
    """Knows the objects of one scope by id, loads them, writes them."""

    def __init__(self, unit: Unit, typemap: TypeMap, departed: Departed) -> None:
        super().__init__(departed)
        self._unit, self._typemap = unit, typemap
        self._expander = Expander(typemap, self.resolve)
        # Objects that wait for their state, and all that came alive in the load that is under way.
        self._unfilled: list[tuple[str, object, Record]] = []
        self._arriving: list[str] | None = None
        self._loading: object = None
        # Ghosts that were loaded in it, and the ids whose states are being read.
        self._awakened: list[tuple[str, object, type]] = []
        self._reading: set[str] = set()
        unit.connection.graph = self

    @property
    def entries(self) -> stored.EntryTree:
        """The tree of all entries."""
        entries: stored.EntryTree = self._unit.root["entries"]
        return entries

    def get(self, key: str) -> object | None:
        """Return the object of an id, or ``None`` if the store has no such entry."""
        known = self._objects.get(key)
        if known is not None and not ghosts.is_ghost(known):
            return known
        with self._unit.database.translated():
            entry = self.entries.get(key)
            if entry is None:
                return None
            found = self.resolve(key, entry.record.class_name)
            # What made the ghost may have expected an object of another class under this id.
            if self._typemap.class_named(entry.record.class_name) is not ghosts.real_class(found):
                found = self._as_stored(key, found, entry.record.class_name)
            return found

    def id_of(self, obj: object) -> str | None:
        """Return the id to refer to an object by: as :meth:`known_id`, or the one a deleted object had."""
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
            raise ScopeClosed(f"a {name_of(type(obj))}")
        origin = self._departed.find(obj)
        return None if origin is None else self._adopt(obj, origin)

    def reducer(self, cls: type) -> Callable[[Any], tuple[Any, ...]] | None:
        """Return what reduces the intrinsic objects of a class, where their own way of it will not do."""
        rule = self._typemap.rule_for(cls)
        return None if rule is None else reducer_for(rule)

    def restore(self, class_name: str, data: object) -> object:
        """Make an object of what its rule's ``collapse`` gave."""
        return self._expander.restore(class_name, data)

    def resolve(self, key: str, class_name: str) -> object:
        """Return the object of an id that a record refers to: the live one, a ghost, or one loaded at once.

        :raises BrokenReference: no such entry, seen at once because its class allows no ghosts.
        """
        known = self._objects.get(key)
        if known is not None:
            return known
        try:
            rule = self._typemap.rule_for(self._typemap.class_named(class_name))
        except NotLoadable:
            rule = None  # its own record tells better what is wrong
        ghost_class = ghosts.ghost_class(rule) if rule is not None else None
        if ghost_class is None:
            return self._load_now(key)
        ghost = ghosts.make(ghost_class)
        self.enter(key, ghost, None)
        if self._loading is not None:
            self._referrers[key] = self._loading
        if self._arriving is not None:
            self._arriving.append(key)
        return ghost

    def load(self, key: str, ghost: object) -> None:
        """Load a ghost's state; it stays a ghost if that fails."""
        record = self._record(key, ghost)
        if key in self._reading:
            raise NotLoadable(record.class_name, id=key, reason="it is needed, as by its __hash__, to load itself")
        with self._load(ghost), explained(key, record):
            self._reading.add(key)
            try:
                state = self._expander.state(record)
            finally:
                self._reading.discard(key)
            self._awakened.append((key, ghost, type(ghost)))
            self._awaken(key, ghost, record)
            self._expander.fill(ghost, state, record.flags)
            self._records[key] = record

    def load_all(self) -> None:
        """Load every ghost, and the ghosts that come with them, until there is none."""
        done = 0
        while done < len(self._objects):
            arrived = list(self._objects.values())[done:]
            done += len(arrived)
            for obj in arrived:
                if isinstance(obj, Persistent):
                    self._unit.connection.load_whole(obj)
                ghosts.load(obj)

    def reset(self, key: str) -> None:
        """Let an object be as the store has it: a ghost again, or loaded anew where its class allows no ghosts."""
        obj = self._objects[key]
        if isinstance(obj, Persistent) or ghosts.is_ghost(obj):
            return
        rule = self._typemap.rule_for(type(obj))
        ghost_class = ghosts.ghost_class(rule) if rule is not None else None
        if ghost_class is not None:
            self._hollow(key, obj, ghost_class)
            return
        record = self._record(key, obj)
        if self._typemap.class_named(record.class_name) is not type(obj):
            self.bury(key)
            return
        with self._load(obj), explained(key, record):
            fresh = self._expander.shell(record)
            self._expander.fill(fresh, self._expander.state(record), record.flags)
            ghosts.transplant(fresh, obj)
            self._records[key] = record

    def reread(self, record: Record) -> Record | None:
        """Return what an object that was just loaded from a record would collapse to.

        It may differ from the record: sets come in another order, equal strings are one object or two.
        ``None``: not everything that the record refers to is live.
        """
        expander = Expander(self._typemap, lambda key, _: self._objects[key])
        collapser, refs = Collapser(self._typemap, self.id_of), dict[str, int]()
        try:
            head, state = expander.parts(record)
        except KeyError:
            return None
        head_bytes = None if head is None else collapser.dump(head, refs, head)
        return record._replace(head=head_bytes, state=collapser.dump(state, refs, state), refs=tuple(refs))

    def depart(self) -> None:
        """End: objects leave with a note of their origin; ghosts can no longer load."""
        gone = [obj for _, obj in self._buried.values()]
        shared = any(isinstance(obj, Persistent) for obj in [*gone, *self._objects.values()])
        for key, obj in self._objects.items():
            ghosts.unregister(obj)
            self._departed.remember(obj, Origin(key, self._records.get(key)))
        self._objects.clear()
        self._ids.clear()
        self._unit.connection.graph = Graph()
        if shared:
            self._unit.connection.forget()

    def _adopt(self, obj: object, origin: Origin) -> str:
        key, record = origin
        if key in self._objects:
            raise DuplicateId(
                key,
                problem=f"this scope has loaded its own copy of object {key!r}; change that one instead of "
                "the copy from an earlier scope",
            )
        if record is not None and key not in self.entries:
            raise ConflictError(f"object {key!r} was deleted since it was loaded")
        self.enter(key, obj, record)
        self._adopted.append(key)
        return key

    def _hollow(self, key: str, obj: object, ghost_class: type) -> None:
        ghosts.hollow(obj, ghost_class)
        self._records.pop(key, None)
        self.enter(key, obj, None)

    def _as_stored(self, key: str, ghost: object, class_name: str) -> object:
        try:
            ghosts.load(ghost)
        except NotLoadable:  # the ghost cannot become what the store has
            self.bury(key)
            return self.resolve(key, class_name)
        return ghost

    def _awaken(self, key: str, ghost: object, record: Record) -> None:
        cls = self._typemap.class_named(record.class_name)
        try:
            if record.flags & _NOT_FOR_GHOSTS:
                raise TypeError("objects of that class are no ghosts")
            ghosts.awaken(ghost, cls)
        except TypeError as error:
            wanted = ghosts.real_class(ghost)
            reason = f"what refers to it expects a {name_of(wanted)}"
            if wanted is cls:
                reason = "it was stored by a collapse/expand pair or as a Persistent object, and its class has changed"
            raise NotLoadable(record.class_name, id=key, reason=reason) from error

    def _record(self, key: str, obj: object) -> Record:
        with self._unit.database.translated():
            entry = self.entries.get(key)
            if entry is not None:
                record: Record = entry.record
                return record
        referrer = self._referrers.get(key, self._loading)
        source = self._ids.get(id(referrer))
        if source is None:
            raise NotFound(key)
        raise BrokenReference(referrer=source, target=key, path=paths.find(referrer, obj) if obj is not None else "")

    def _load_now(self, key: str) -> object:
        record = self._record(key, None)
        if key in self._reading:
            raise NotLoadable(record.class_name, id=key, reason="its constructor's arguments lead back to it")
        with self._load(None), explained(key, record):
            self._reading.add(key)
            try:
                shell = self._expander.shell(record)
            finally:
                self._reading.discard(key)
            self.enter(key, shell, record)
            assert self._arriving is not None  # as _load() leaves it
            self._arriving.append(key)
            if not ghosts.has_own_hash(type(shell)):
                self._unfilled.append((key, shell, record))
            else:  # a set or dict may ask for its hash at once
                self._expander.fill(shell, self._expander.state(record), record.flags)
        return shell

    @contextmanager
    def _load(self, owner: object) -> Iterator[None]:
        """Hold the outermost load: fill all shells at its end, or let all that arrived in it go again."""
        outer, self._loading = self._loading, owner if owner is not None else self._loading
        outermost = self._arriving is None
        if outermost:
            self._arriving = []
        try:
            yield
            while outermost and self._unfilled:
                key, obj, record = self._unfilled.pop()
                self._loading = obj
                with explained(key, record):
                    self._expander.fill(obj, self._expander.state(record), record.flags)
        except BaseException:
            if outermost:
                self._take_back()
            raise
        finally:
            self._loading = outer
            if outermost:
                self._arriving = None
                self._awakened.clear()

    def _take_back(self) -> None:
        """After a failed load: ghosts are ghosts again, and what arrived with it is unknown again."""
        self._unfilled.clear()
        for key, obj, ghost_class in self._awakened:
            if not ghosts.is_ghost(obj):
                self._hollow(key, obj, ghost_class)
        for key in self._arriving or ():
            self.leave(key)
