"""Loading: the objects of a scope come alive, as ghosts first, and are loaded when they are first touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from persistent import Persistent

from kiokupy import entry as stored
from kiokupy import ghosts, paths
from kiokupy.connection import Graph
from kiokupy.database import Unit
from kiokupy.departed import Departed
from kiokupy.entry import Record
from kiokupy.errors import (
    BrokenReference,
    NotFound,
    NotLoadable,
)
from kiokupy.expand import Expander, explained
from kiokupy.identity import IdentityMap
from kiokupy.typemap import TypeMap, name_of

_NOT_FOR_GHOSTS = stored.PAIR | stored.VALUE | stored.STORED_ITSELF


class Loading(IdentityMap, Graph):
    """Makes objects of the records that a transaction sees."""

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
            self._referrers[key] = self._ids[id(self._loading)]
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
        if isinstance(obj, Persistent):
            obj._p_invalidate()
            return
        if ghosts.is_ghost(obj):
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

    def _hollow(self, key: str, obj: object, ghost_class: type) -> None:
        ghosts.hollow(obj, ghost_class)
        self._records.pop(key, None)
        self.enter(key, obj, None)

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
        source = self._referrers.get(key) or self._ids.get(id(self._loading))
        if source is None:
            raise NotFound(key)
        referrer = self._objects.get(source)
        known = obj is not None and referrer is not None
        raise BrokenReference(referrer=source, target=key, path=paths.find(referrer, obj) if known else "")

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
