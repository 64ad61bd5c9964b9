"""Loading: the objects of a scope come alive, as ghosts first, and are loaded when they are first touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from persistent import Persistent

from kiokupy import broken, ghosts, paths
from kiokupy import entry as stored
from kiokupy.broken import Broken
from kiokupy.collapse import CONTAINERS
from kiokupy.database import Unit
from kiokupy.departed import Departed
from kiokupy.entry import Record
from kiokupy.errors import (
    BrokenReference,
    NotFound,
    NotLoadable,
)
from kiokupy.expand import Expander, explained
from kiokupy.graph import Graph
from kiokupy.holder import Holder
from kiokupy.identity import IdentityMap
from kiokupy.inspection import content
from kiokupy.rules import name_of
from kiokupy.typemap import TypeMap

T = TypeVar("T")

# Loads within loads, each some ten calls deep, before it is tried without recursion.
_DEEPEST = 20

_NOT_FOR_GHOSTS = stored.PAIR | stored.VALUE | stored.STORED_ITSELF


class Loading(IdentityMap, Graph):
    """Makes objects of the records that a transaction sees."""

    def __init__(self, unit: Unit, typemap: TypeMap, departed: Departed) -> None:
        super().__init__(departed)
        self._unit, self._typemap = unit, typemap
        self._expander = Expander(typemap, self.resolve, self.exists)
        # Objects that wait for their state, and all that came alive in the load that is under way.
        self._unfilled: list[tuple[str, object, Record]] = []
        self._arriving: list[str] | None = None
        self._loading: object = None
        # Ghosts that were loaded in it, and the ids whose states are being read.
        self._awakened: list[tuple[str, object, type]] = []
        self._reading: set[str] = set()
        self._depth = 0
        unit.connection.graph = self

    @property
    def entries(self) -> stored.EntryTree:
        """The tree of all entries."""
        entries: stored.EntryTree = self._unit.root["entries"]
        return entries

    def exists(self, key: str) -> bool:
        """Tell whether the store has an entry of this id."""
        with self._unit.database.translated():
            return key in self.entries

    def stored(self, keys: Iterable[str]) -> Iterator[str]:
        """Yield those of many ids that the store has an entry of."""
        with self._unit.database.translated():
            yield from filter(self.entries.__contains__, keys)

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
        self._whole(ghost, lambda: self._revive(key, ghost, record))

    def _revive(self, key: str, ghost: object, record: Record) -> None:
        with explained(key, record):
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
        """Load every ghost, and the ghosts that come with them, until there is none; no collections and lazy values."""
        done = 0
        while done < len(self._objects):
            arrived = list(self._objects.values())[done:]
            done += len(arrived)
            for obj in arrived:
                if isinstance(obj, Persistent):
                    self._unit.connection.load_whole(obj)
                if ghosts.real_class(obj) is not Holder:
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
        self._whole(obj, lambda: self._renew(key, obj, record))

    def _renew(self, key: str, obj: object, record: Record) -> None:
        with explained(key, record):
            fresh = self._shell(record)
            self._fill(fresh, record)
            ghosts.transplant(fresh, obj)
            self._records[key] = record

    def _shell(self, record: Record) -> object:
        cls = self._typemap.class_named(record.class_name)
        return broken.made(cls, record, content) if issubclass(cls, Broken) else self._expander.shell(record)

    def _fill(self, obj: object, record: Record) -> None:
        if not isinstance(obj, Broken):
            self._expander.fill(obj, self._expander.state(record), record.flags)

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
        return self._whole(None, lambda: self._make(key, record))

    def _make(self, key: str, record: Record) -> object:
        with explained(key, record), self._deeper(key):
            self._reading.add(key)
            try:
                shell = self._shell(record)
            finally:
                self._reading.discard(key)
            self.enter(key, shell, record)
            assert self._arriving is not None  # as _whole() leaves it
            self._arriving.append(key)
            # A set or dict may ask for a hash at once, and a constructor for what is in a container.
            if ghosts.has_own_hash(type(shell)) or type(shell) in CONTAINERS:
                self._fill(shell, record)
            else:
                self._unfilled.append((key, shell, record))
        return shell

    @contextmanager
    def _deeper(self, key: str) -> Iterator[None]:
        self._depth += 1
        try:
            if self._depth > _DEEPEST:
                self._load_ahead(key)
            yield
        finally:
            self._depth -= 1

    def _load_ahead(self, wanted: str) -> None:
        """Load what the making of an object needs, innermost first: Python recurses only so far."""
        pending, seen = [wanted], set[str]()
        while pending:
            key = pending[-1]
            if key in seen or key in self._objects:
                pending.pop()
                if key != wanted and key not in self._objects:
                    self._load_now(key)
                continue
            seen.add(key)
            pending += [id for id in self._needed(self._record(key, None)) if id not in seen]

    def _needed(self, record: Record) -> Iterator[str]:
        """Yield the ids of objects, no ghosts, that must be there before an object of a record can be made."""
        cls = self._typemap.class_named(record.class_name)
        filled_at_once = ghosts.has_own_hash(cls) or cls in CONTAINERS
        if record.head is None and not record.flags & stored.PAIR and not filled_at_once:
            return
        for id in record.refs:
            entry = self.entries.get(id)
            if entry is not None:
                rule = self._typemap.rule_for(self._typemap.class_named(entry.record.class_name))
                if rule is None or ghosts.ghost_class(rule) is None:
                    yield id

    def _whole(self, owner: object, load: Callable[[], T]) -> T:
        """Do a load; at the end of the outermost one fill all shells, or let all that arrived in it go again."""
        outer, self._loading = self._loading, owner if owner is not None else self._loading
        outermost = self._arriving is None
        if outermost:
            self._arriving = []
        try:
            loaded = load()
            while outermost and self._unfilled:
                key, obj, record = self._unfilled.pop()
                self._loading = obj
                with explained(key, record):
                    self._fill(obj, record)
            return loaded
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
