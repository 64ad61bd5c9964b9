"""Live objects: the identity map of a scope. The same id gives the same object, loaded when it is first touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from persistent import Persistent

from kiokupy import entry as stored
from kiokupy import ghosts, paths
from kiokupy.database import Graph, Unit
from kiokupy.departed import Departed, Origin
from kiokupy.entry import Record
from kiokupy.errors import BrokenReference, ConflictError, DuplicateId, NotFound, NotLoadable
from kiokupy.expand import Expander
from kiokupy.typemap import TypeMap, name_of

_NOT_FOR_GHOSTS = stored.PAIR | stored.VALUE | stored.STORED_ITSELF


class LiveObjects(Graph):
    """Knows the objects of one scope by id, loads them, writes them."""

    def __init__(self, unit: Unit, typemap: TypeMap, departed: Departed) -> None:
        self._unit, self._typemap, self._departed = unit, typemap, departed
        self._expander = Expander(typemap, self.resolve)
        self._objects: dict[str, object] = {}
        self._ids: dict[int, str] = {}
        # What the store said when an object was loaded or written; an id without it belongs to a ghost.
        self._records: dict[str, Record] = {}
        self._referrers: dict[str, object] = {}
        # Objects that wait for their state, and all that came alive in the load that is under way.
        self._unfilled: list[tuple[str, object, Record]] = []
        self._arriving: list[str] | None = None
        self._loading: object = None
        # Deleted objects by id(); they are held, so that the number stays theirs.
        self._buried: dict[int, tuple[str, object]] = {}
        unit.connection.graph = self

    @property
    def entries(self) -> stored.EntryTree:
        """The tree of all entries."""
        entries: stored.EntryTree = self._unit.root["entries"]
        return entries

    def peek(self, key: str) -> object | None:
        """Return the live object of an id, without asking the store."""
        return self._objects.get(key)

    def get(self, key: str) -> object | None:
        """Return the object of an id, or ``None`` if the store has no such entry."""
        known = self._objects.get(key)
        if known is not None:
            return known
        with self._unit.database.translated():
            entry = self.entries.get(key)
            return None if entry is None else self.resolve(key, entry.record.class_name)

    def id_of(self, obj: object) -> str | None:
        """Return the id an object is known by, here or from a scope that has ended; otherwise ``None``."""
        key = self._ids.get(id(obj))
        if key is not None:
            return key
        if id(obj) in self._buried:  # deleted, but a live object still refers to it: the reference stays as it is
            return self._buried[id(obj)][0]
        origin = self._departed.find(obj)
        return None if origin is None else self._adopt(obj, origin)

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
        ghosts.register(ghost, self.load, key)
        if self._loading is not None:
            self._referrers[key] = self._loading
        if self._arriving is not None:
            self._arriving.append(key)
        return ghost

    def load(self, key: str, ghost: object) -> None:
        """Load a ghost's state; it stays a ghost if that fails."""
        record = self._record(key, ghost)
        if record.flags & _NOT_FOR_GHOSTS:
            wanted = name_of(ghosts.real_class(ghost))
            raise NotLoadable(record.class_name, id=key, reason=f"what refers to it expects a {wanted}")
        with self._load(ghost):
            state = self._expander.state(record)
        ghost_class = type(ghost)
        ghosts.awaken(ghost)
        try:
            self._expander.fill(ghost, state, record.flags)
        except BaseException:
            self._hollow(key, ghost, ghost_class)
            raise
        self._records[key] = record

    def load_all(self) -> None:
        """Load every ghost, and the ghosts that come with them, until there is none."""
        pending = list(self._objects.values())
        while pending:
            obj = pending.pop()
            before = len(self._objects)
            ghosts.load(obj)
            pending += list(self._objects.values())[before:]

    def loaded(self) -> Iterator[tuple[str, object]]:
        """Yield ids and objects whose state is loaded: those that may have changed."""
        for key in list(self._records):
            yield key, self._objects[key]

    def record(self, key: str) -> Record | None:
        """Return what the store said of a live object when it was loaded or written."""
        return self._records.get(key)

    def enter(self, key: str, obj: object, record: Record | None) -> None:
        """Take an object in under an id, with what the store says of it; without that it counts as a ghost."""
        self._objects[key] = obj
        self._ids[id(obj)] = key
        if record is not None:
            self._records[key] = record

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
        self._records[key] = record
        if not record.flags & stored.PAIR:
            with self._load(obj):
                ghosts.empty(obj)
                self._unfilled.append((key, obj, record))

    def depart(self) -> None:
        """End: objects leave with a note of their origin; ghosts can no longer load."""
        shared = False
        for key, obj in self._objects.items():
            ghosts.unregister(obj)
            shared = shared or isinstance(obj, Persistent)
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
        if key not in self.entries:
            raise ConflictError(f"object {key!r} was deleted since it was loaded")
        self.enter(key, obj, record)
        if record is None:
            ghosts.register(obj, self.load, key)
        return key

    def _hollow(self, key: str, obj: object, ghost_class: type) -> None:
        ghosts.hollow(obj, ghost_class)
        ghosts.register(obj, self.load, key)
        self._records.pop(key, None)

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
        raise BrokenReference(referrer=source, target=key, path=paths.find(referrer, obj) if obj else "")

    def _load_now(self, key: str) -> object:
        record = self._record(key, None)
        with self._load(None):
            shell = self._expander.shell(record)
            self.enter(key, shell, record)
            if self._arriving is not None:
                self._arriving.append(key)
            if not record.flags & (stored.PAIR | stored.STORED_ITSELF):
                self._unfilled.append((key, shell, record))
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
                _, obj, record = self._unfilled.pop()
                self._loading = obj
                self._expander.fill(obj, self._expander.state(record), record.flags)
        except BaseException:
            if outermost:
                self._unfilled.clear()
                for key in self._arriving or ():
                    self.leave(key)
            raise
        finally:
            self._loading = outer
            if outermost:
                self._arriving = None
