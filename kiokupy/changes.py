"""Changes: what a transaction writes and deletes, and how an abort takes it back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from persistent import Persistent

from kiokupy import entry as stored
from kiokupy import ghosts
from kiokupy.broken import Broken
from kiokupy.collections.bulk import Bulk, has_contents
from kiokupy.database import Unit
from kiokupy.drafts import Draft
from kiokupy.entry import Entry, Record
from kiokupy.errors import ConflictError, KiokuError
from kiokupy.holder import Holder
from kiokupy.identity import Snapshot
from kiokupy.live import LiveObjects
from kiokupy.upkeep import Upkeep


class Mark(NamedTuple):
    """What a transaction had done, and which objects it knew, at a savepoint."""

    inserted: set[str]
    before: dict[str, Record]
    deleted: dict[str, tuple[object, Record | None]]
    buried: list[object]
    known: Snapshot
    contents: list[tuple[Bulk, Any]]


class Changes:
    """Writes entries for the live objects of a scope.

    :param upkeep: lets the indexes follow what is written.
    :param tracks: whether live objects that changed are written without being named.
    :param readonly: whether nothing is written at all, and what changed is lost.
    :param check_writable: raises where the scope may not write; called before anything is written.
    """

    def __init__(
        self,
        unit: Unit,
        live: LiveObjects,
        upkeep: Upkeep,
        *,
        tracks: bool,
        readonly: bool,
        check_writable: Callable[[], None],
    ) -> None:
        self._unit, self._live, self._upkeep = unit, live, upkeep
        self._tracks, self._readonly = tracks, readonly
        self._inserted: set[str] = set()
        # What was known of objects before this transaction wrote or deleted them.
        self._before: dict[str, Record] = {}
        self._deleted: dict[str, tuple[object, Record | None]] = {}
        self._buried: list[object] = []
        # Collections whose trees this transaction built, and those whose contents its commit made old.
        self._built: dict[int, Bulk] = {}
        self._old: list[Bulk] = []
        self._check_writable = check_writable

    def write(self, draft: Draft, *, unchanged: bool = False) -> None:
        """Write what a draft collapsed, and take its new objects in.

        :param unchanged: write also what has not changed.
        :raises ConflictError: an object held from an ended scope was changed here, and meanwhile in the store; nothing
            is written then.
        :raises UniqueViolation: an index would have one value of two objects; nothing is written then.
        :raises NotIndexable: an object has a value that has no place in an index; nothing is written then.
        """
        updates = [
            (key, self._merged(key, record))
            for key, record in draft.records.items()
            if key not in draft.new and (unchanged or self._differs(key, record))
        ]
        if updates or draft.new:
            self._check_writable()
        steps = self._upkeep.plan({key: self._live.peek(key) for key, _ in updates} | self._touched(draft) | draft.new)
        entries = self._live.entries
        for key, record in updates:
            before = self._live.record(key)
            if before is not None and key not in self._inserted:
                self._before.setdefault(key, before)
            entries[key].record = record
            self._live.enter(key, self._live.peek(key), record)
        for key, obj in draft.new.items():
            self._insert(key, obj, draft.records[key], entries)
        if draft.roots:
            self._unit.root["roots"].update(draft.roots)
        for step in steps:
            step()

    def flush(self, draft: Draft, refused: Draft | None = None, *, unchanged: bool = False) -> None:
        """Write every live object that changed, with the new ones that they reach.

        :param draft: an empty one; otherwise as :meth:`write`.
        :param refused: one whose new objects are to be written too.
        """
        if refused is not None:
            draft.roots |= refused.roots
            for key, obj in refused.new.items():
                draft.add(key, obj)
                draft.run(obj)
        for key, obj in self._live.loaded() if self._tracks else ():
            draft.revisit(key, obj)
            draft.run(obj)
        for obj in self._unit.connection.changed_objects():
            self._check_writable()
            draft.check(obj)
            draft.run(obj)
        self.write(draft, unchanged=unchanged)
        self.build(draft)

    def check_current(self, draft: Draft) -> None:
        """Refuse to store objects that were loaded from the past and changed in the store since.

        :raises ConflictError: there is one. Without a change of its own nothing would be written for it, which would
            look as if it had been put back.
        """
        for key in filter(self._live.is_from_past, draft.records):
            if _content(self._live.entries[key].record) != _content(self._live.record(key)):
                raise ConflictError(f"object {key!r} was changed since the moment that it was loaded from")

    def build(self, draft: Draft) -> None:
        """Let the trees of new collections have what those contain; to be called before they are written."""
        for bulk in draft.bulks:
            if has_contents(bulk):
                self._built[id(bulk)] = bulk
                bulk.build(partial(self._live.reference, bulk))

    def is_clean(self, key: str) -> bool:
        """Tell whether a live object is as the store had it before this transaction, so that nothing needs it here."""
        obj, known = self._live.peek(key), self._live.record(key)
        if obj is None or key in self._inserted or key in self._before:
            return False
        if isinstance(obj, Persistent):
            return not obj._p_changed
        if isinstance(obj, Broken):
            return True
        if type(obj) is Holder:  # somebody may hold its value, or a part of that
            return False
        if known is None or self._readonly or not self._tracks:
            return True
        return not self._differs(key, self._live.collapsed(obj))

    def delete(self, key: str) -> None:
        """Take an entry out of the store. A live object is loaded first, if it can be, and stays usable."""
        obj = self._live.peek(key)
        if obj is not None:
            with suppress(KiokuError):
                ghosts.load(obj)
            if key not in self._inserted:
                self._deleted[key] = obj, self._before.pop(key, None) or self._live.record(key)
            self._live.bury(key)
            self._buried.append(obj)
        self._inserted.discard(key)
        self.set_root(key, False)
        self._upkeep.drop(key)
        del self._live.entries[key]

    def clear(self) -> None:
        """Take every entry out of the store."""
        for key in self._live.live_keys():
            if key in self._live.entries:
                self.delete(key)
        self._live.entries.clear()
        self._unit.root["roots"].clear()
        self._upkeep.clear()

    def set_root(self, key: str, root: bool) -> None:
        """Set or clear an entry's root flag."""
        entry: Entry = self._live.entries[key]
        if self.is_root(key) is root:
            return
        entry.record = entry.record._replace(flags=entry.record.flags ^ stored.ROOT)
        roots = self._unit.root["roots"]
        if root:
            roots.insert(key)
        else:
            roots.discard(key)  # in a damaged store it may not be there

    def is_root(self, key: str) -> bool:
        """Tell whether an entry has the root flag."""
        return bool(self._live.entries[key].record.flags & stored.ROOT)

    def settle(self) -> None:
        """After a commit: nothing is left to undo."""
        self._inserted.clear()
        self._before.clear()
        self._deleted.clear()
        self._buried.clear()
        self._old += self._built.values()
        self._built.clear()

    def refresh(self) -> None:
        """In a new transaction: what others changed is loaded anew when it is touched."""
        for bulk in self._old:
            bulk.settle()
        self._old.clear()
        entries = self._live.entries
        for key, known in self._live.records():
            entry = entries.get(key)
            if entry is None:
                self._live.bury(key)
            elif entry.record is not known and _content(entry.record) != _content(known):
                self._live.reset(key)

    def undo(self) -> None:
        """After an abort: objects and what is known of them are as the store has them."""
        self.forget()
        entries = self._live.entries
        for key, _ in self._live.loaded():
            if key in entries:
                self._live.reset(key)
            else:
                self._live.bury(key)

    def mark(self) -> Mark:
        """At a savepoint: note how things stand."""
        known = self._live.snapshot()
        contents = [(bulk, bulk.copied_contents()) for bulk in self._built.values()]
        return Mark(set(self._inserted), dict(self._before), dict(self._deleted), list(self._buried), known, contents)

    def roll_back(self, mark: Mark) -> None:
        """After a rollback to a savepoint: objects and what is known of them are as they were there."""
        self._live.recall(mark.known, self._live.entries)
        self._inserted, self._before = set(mark.inserted), dict(mark.before)
        self._deleted, self._buried = dict(mark.deleted), list(mark.buried)
        for key, _ in self._live.loaded():
            self._live.reset(key)
        for key in self._inserted:  # an abort would leave them without a store to load from
            ghosts.load(self._live.peek(key))
        built, self._built = self._built, {id(bulk): bulk for bulk, _ in mark.contents}
        for bulk in built.values():
            if id(bulk) not in self._built:
                bulk.unbuild()
        for bulk, contents in mark.contents:
            bulk.recall(contents)

    def forget(self) -> None:
        """Let what is known of objects be as before this transaction; the objects stay as they are."""
        for key in self._inserted:
            self._live.leave(key)
        for bulk in self._built.values():
            bulk.unbuild()
        self._built.clear()
        for obj in self._buried:
            self._live.unearth(obj)
        for key, (obj, record) in self._deleted.items():
            self._live.enter(key, obj, record)
        for key, record in self._before.items():
            self._live.enter(key, self._live.peek(key), record)
        self.settle()

    def _touched(self, draft: Draft) -> dict[str, object | None]:
        """Return the first-class Persistent objects that changed; they write themselves."""
        found = {self._live.live_id(obj): obj for obj in draft.checked}
        return {key: obj for key, obj in found.items() if key is not None}

    def _differs(self, key: str, record: Record | None) -> bool:
        """Tell whether an object changed: whether its record is neither the known one nor what that one reloads to."""
        known = self._live.record(key)
        if known is None or record == known or _content(record) == _content(known):
            return known is None
        return _content(record) != _content(self._live.reread(known))

    def _merged(self, key: str, record: Record) -> Record:
        """Return the record to write: the new one, with the root flag that the store has."""
        current: Entry | None = self._live.entries.get(key)
        if current is None or _content(current.record) != _content(self._live.record(key)):
            raise ConflictError(f"object {key!r} was changed since it was loaded")
        return record._replace(flags=record.flags & ~stored.ROOT | current.record.flags & stored.ROOT)

    def _insert(self, key: str, obj: object, record: Record, entries: stored.EntryTree) -> None:
        if isinstance(obj, Persistent) and obj._p_jar is None:
            self._unit.connection.add(obj)
        self._live.unearth(obj)
        entries[key] = Entry(record)
        self._live.enter(key, obj, record)
        self._inserted.add(key)


def _content(record: Record | None) -> object:
    """Return what makes two records the same: not the class's name, which an alias changes, nor the root flag."""
    return record and (record.head, record.state, record.refs, record.weak, record.flags & ~stored.ROOT)
