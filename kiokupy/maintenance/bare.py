"""Bare: transactions on records, without the application's classes and without its objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kiokupy import entry as stored
from kiokupy import indexing
from kiokupy.database import Unit
from kiokupy.directory import Directory
from kiokupy.entry import Entry, Record
from kiokupy.errors import StoreReadOnly
from kiokupy.inspection import find_inert
from kiokupy.sessions.shelf import Shelf


@contextmanager
def bare_unit(directory: Directory, *, write: bool = False) -> Iterator[Unit]:
    """Give a transaction in which records of the application's classes are stand-ins.

    :raises StoreReadOnly: ``write`` is asked of a directory that was opened for reading.
    """
    if write and directory.readonly:
        raise StoreReadOnly(directory.location)
    with directory.new_unit() as unit, unit.database.translated():
        unit.connection.forget()
        unit.connection.find_class = find_inert
        try:
            yield unit
        finally:
            unit.abort()
            unit.connection.forget()


def put(unit: Unit, key: str, record: Record) -> None:
    """Write an entry. Indexes know nothing of it: where there are any they must be rebuilt; see :func:`stale`."""
    unit.guard()
    entries, roots = unit.root["entries"], unit.root["roots"]
    entry = entries.get(key)
    if entry is None:
        entries[key] = Entry(record)
    else:
        entry.record = record
    if record.flags & stored.ROOT:
        roots.insert(key)
    elif key in roots:
        roots.remove(key)


def remove(unit: Unit, key: str) -> None:
    """Take an entry out; of indexes as for :func:`put`."""
    del unit.root["entries"][key]
    if key in unit.root["roots"]:
        unit.root["roots"].remove(key)


def clear(unit: Unit, *, sessions: bool) -> None:
    """Take all entries out, and the sessions if they are meant too; of indexes as for :func:`put`."""
    for name in ("entries", "roots"):
        unit.root[name].clear()
    if sessions:
        Shelf(unit.root).clear()


def stale(unit: Unit) -> bool:
    """Let the indexes be rebuilt after what this module wrote, before they are searched; tell whether there are any."""
    indexing.mark_stale(unit.root)
    return bool(unit.root["indexes"])
