"""Checking: what is wrong with a store, as far as it can be told without the application's objects.

Each record is read by itself, and what is damaged hides nothing else. Of each object some 50 bytes are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from BTrees.QQBTree import QQBTree, QQTreeSet
from ZODB.FileStorage import FileStorage
from ZODB.utils import u64

from kiokupy import entry as stored
from kiokupy import inert, links, raw
from kiokupy.broken import Broken
from kiokupy.database import Unit
from kiokupy.directory import Directory
from kiokupy.entry import Record
from kiokupy.errors import KiokuError
from kiokupy.maintenance.files import fsck_file
from kiokupy.maintenance.findings import Finding, Kind, Report
from kiokupy.maintenance.progress import Progress, Step, silent
from kiokupy.maintenance.reindexing import check_indexes
from kiokupy.maintenance.trees import Walker
from kiokupy.raw import Pointer
from kiokupy.sessions.facts import facts_of
from kiokupy.sessions.shelf import Shelf

_BETWEEN_STEPS = 500

_REBUILD = "Restore the store from a backup, or dump what can be read and load it into a new store"
_REINDEX = "If nothing else is damaged, build them anew: kiokupy.maintenance.reindex(directory)"
_REMOVE = "Restore the store from a backup, or take it out: kiokupy.maintenance.remove(directory, {!r}{})"


def fsck(directory: Directory, *, progress: Progress = silent) -> Report:
    """Check a store, and go on after each finding; nothing is written.

    What is committed while it runs is not seen. Of the application's classes only those that the type map names are
    imported, to see whether they can be; their objects are loaded only if indexes are declared, to compare these.

    :raises StoreError: the storage under the store does not answer.
    """
    report = Report()
    with directory.new_unit() as unit:
        for finding in _file(unit, progress):
            report.add(finding)
        _Store(directory, unit, report, progress).check()
    for finding in _indexes(directory, progress):
        report.add(finding)
    return report


def _file(unit: Unit, progress: Progress) -> list[Finding]:
    storage = unit.connection.db().storage
    if not isinstance(storage, FileStorage):
        return []
    return fsck_file(storage.getName(), size=storage.getSize(), progress=progress)


def _indexes(directory: Directory, progress: Progress) -> list[Finding]:
    try:
        return check_indexes(directory, progress=progress)
    except Exception as error:  # the trees of an index fail in any way they like when they are damaged
        return [Finding(Kind.INDEX, ", ".join(directory.indexes), f"they cannot be read ({error})", _REINDEX)]


class _Store:
    def __init__(self, directory: Directory, unit: Unit, report: Report, progress: Progress) -> None:
        self._typemap, self._unit, self._report, self._progress = directory.typemap, unit, report, progress
        self._connection, self._translated = unit.connection, unit.database.translated
        # By oid: entries with the root flag, records that something refers to, Persistent objects that have entries.
        self._rooted, self._wanted, self._state_of = QQTreeSet(), QQTreeSet(), QQBTree()
        self._classes: set[str] = set()
        self._shelf = Shelf(unit.root)

    def check(self) -> None:
        for id, pointer in self._walk("entries"):
            self._report.objects += 1
            if isinstance(id, str) and isinstance(pointer, Pointer):
                self._object(id, pointer.oid)
            else:
                self._add(Kind.RECORD, repr(id), "it is under no id, or has no record", _REBUILD)
        for id, _ in self._walk("roots"):
            self._report.roots += 1
            self._root(id)
        for key, pointer in self._walk("sessions"):
            self._report.sessions += 1
            self._session(key, pointer)
        for id, pointer in self._walk("entries", again=True):
            if isinstance(pointer, Pointer):
                self._usefulness(id, u64(pointer.oid))

    def _add(self, kind: Kind, subject: str, detail: str, fix: str, target: str | None = None) -> None:
        self._report.add(Finding(kind, subject, detail, fix, target))

    def _walk(self, name: str, *, again: bool = False) -> Iterator[tuple[Any, Any]]:
        """Yield the keys and values of one of the trees; say what is damaged in it, unless that was done before."""

        def damaged(detail: str) -> None:
            if not again:
                self._add(Kind.TREE, name, detail, _REBUILD)

        oid = getattr(self._unit.root.get(name), "_p_oid", None)
        if oid is None:
            damaged("the tree is not there")
            return
        done = 0
        for done, item in enumerate(Walker(self._connection, damaged).walk(oid), start=1):
            yield item
            if done % _BETWEEN_STEPS == 0:
                self._connection.cacheGC()
                self._progress(Step(f"check {name}", done, None))
        self._progress(Step(f"check {name}", done, done))

    def _entry(self, oid: bytes) -> Record:
        """Return what an entry says; its pickles are read too."""
        with self._translated():
            record = raw.entry(self._connection.raw(oid))
        for data in (record.head, record.state):
            if isinstance(data, bytes):
                inert.read(data, record.refs, record.weak)
        return record

    def _object(self, id: str, oid: bytes) -> None:
        number = u64(oid)
        try:
            record = self._entry(oid)
            self._references(id, oid, record)
        except (ValueError, KiokuError) as error:
            self._add(Kind.RECORD, id, str(error), _REMOVE.format(id, ""))
            self._rooted.insert(number)  # so that nothing else is said of it
            return
        if record.flags & stored.ROOT:
            self._rooted.insert(number)
            if not self._is_in_roots(id):
                detail = "it has the root flag, and is not in the tree of roots"
                self._add(Kind.ROOT, id, detail, f"unset_root({id!r}), and to keep it a root set_root({id!r}) after it")
        self._class(id, record.class_name)

    def _references(self, id: str, oid: bytes, record: Record) -> None:
        targets = set(record.refs)
        if isinstance(record.state, Pointer):
            parts, state = QQTreeSet(), u64(record.state.oid)
            targets.update(link.target for link in links.of_entry(self._connection, oid, parts) if not link.weak)
            self._state_of[u64(oid)] = state
            self._wanted.update(part for part in parts if part != state)
        for target in sorted(targets):
            entry = self._find(target)
            if entry is None:
                detail = f"it refers to {target!r}, which is not there"
                fix = "Store an object under that id, or remove the reference and store the referrer"
                self._add(Kind.REFERENCE, id, detail, fix, target)
            elif entry._p_oid != oid:
                self._wanted.insert(u64(entry._p_oid))

    def _find(self, id: str) -> Any:
        with suppress(Exception):  # a damaged tree fails in any way it likes, and was reported
            return self._unit.root["entries"].get(id)
        return None

    def _is_in_roots(self, id: str) -> bool:
        with suppress(Exception):  # as above
            return id in self._unit.root["roots"]
        return False

    def _root(self, id: Any) -> None:
        entry = self._find(id)
        if entry is None:
            fix = f"Take it out: kiokupy.maintenance.remove(directory, {id!r})"
            self._add(Kind.ROOT, str(id), "it is in the tree of roots, and there is no such object", fix)
        elif u64(entry._p_oid) not in self._rooted:
            detail = "it is in the tree of roots, and has not the root flag"
            self._add(Kind.ROOT, id, detail, f"set_root({id!r}), and if it is to be none unset_root({id!r}) after it")

    def _class(self, id: str, name: str) -> None:
        if name in self._classes:
            return
        self._classes.add(name)
        try:
            cls = self._typemap.class_named(name)
            problem = f"{name} is gone" if issubclass(cls, Broken) else ""
        except Exception as error:  # also whatever the import of its module raises
            problem = str(error)
        if problem:
            fix = "Connect with the class in allow_classes, or name its successor: Rule(..., aliases=[...])"
            self._add(Kind.CLASS, name, f"{problem} (first met at {id!r})", fix)

    def _session(self, key: Any, pointer: Any) -> None:
        name = key.hex() if isinstance(key, bytes) else repr(key)
        try:
            if not isinstance(key, bytes) or not isinstance(pointer, Pointer):
                raise ValueError("it is under no hash, or has no record")
            record = self._entry(pointer.oid)
            principal = facts_of(record).principal
            if principal is not None and not self._shelf.knows(principal, key):
                raise ValueError("it is not among the sessions of its principal")
        except (ValueError, TypeError, KiokuError) as error:
            self._add(Kind.SESSION, name, str(error), _REMOVE.format(name, ", session=True"))
            return
        for target in record.refs:
            found = self._find(target)
            if found is None:
                detail = f"it refers to {target!r}, which is not there"
                fix = "What refers to it is not in the session any more; store an object under that id to have it again"
                self._add(Kind.REFERENCE, name, detail, fix, target)
            else:
                self._wanted.insert(u64(found._p_oid))

    def _usefulness(self, id: Any, number: int) -> None:
        state = self._state_of.get(number)
        if not (number in self._rooted or number in self._wanted or (state is not None and state in self._wanted)):
            detail = "it is no root, and nothing refers to it"
            self._add(Kind.UNREFERENCED, id, detail, f"gc() deletes it; to keep it: set_root({id!r})")
