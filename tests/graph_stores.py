"""Directories on real storages, for the tests of the graph core."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from graph_classes import CLASSES
from ZODB.FileStorage import FileStorage

from kiokupy.backends.hash import HashStorage
from kiokupy.database import Database, Unit
from kiokupy.directory import Directory
from kiokupy.entry import NEW, Entry, Record
from kiokupy.typemap import TypeMap


class CountingStorage(HashStorage):
    """Counts the records that are read from it."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[bytes] = []

    def load(self, oid: bytes, version: str = "") -> Any:
        self.read.append(oid)
        return super().load(oid, version)

    def loadBefore(self, oid: bytes, tid: bytes) -> Any:  # noqa: N802  # a storage's method
        self.read.append(oid)
        return super().loadBefore(oid, tid)


def directory_on(
    storage: Any, allowed: Iterable[Any] = CLASSES, *, create: bool = True, readonly: bool = False, cache: int = 10_000
) -> Directory:
    typemap = TypeMap(allowed)
    database = Database(storage, "test", typemap.find, create=create, readonly=readonly, cache_size=cache)
    return Directory(database, typemap)


def directory_in(path: Any, allowed: Iterable[Any] = CLASSES, **options: Any) -> Directory:
    return directory_on(FileStorage(str(path), read_only=options.get("readonly", False)), allowed, **options)


def put(key: str, text: str) -> Callable[[Unit], None]:
    """Return what writes an entry that holds a text, past all that makes objects of entries."""

    def work(unit: Unit) -> None:
        record = Record("t", None, text.encode(), (), NEW)
        entries = unit.root["entries"]
        if key in entries:
            entries[key].record = record
        else:
            entries[key] = Entry(record)

    return work
