"""ZODB's own tests of storages, run against the storages that the backends open.

A test that does not hold is skipped and says why; it is never redefined.
"""

import contextlib
import tempfile
import unittest
from functools import partial
from unittest import mock

import pytest
import servers
from ZODB.broken import find_global
from ZODB.tests import (
    BasicStorage,
    ConflictResolution,
    HistoryStorage,
    IteratorStorage,
    MTStorage,
    PackableStorage,
    PersistentStorage,
    ReadOnlyStorage,
    RevisionStorage,
    Synchronization,
    TransactionalUndoStorage,
    racetest,
)
from ZODB.tests.StorageTestBase import StorageTestBase

from kiokupy import backends
from kiokupy.connection import GraphDB

pytestmark = pytest.mark.no_cover


class Opened(StorageTestBase):
    """Opens the storage as a directory would; what races are the connections that a directory has."""

    def setUp(self):
        self.enterContext(mock.patch.object(racetest, "DB", partial(GraphDB, find_class=find_global)))
        self.target = self.enterContext(self.new_target())  # first: what follows changes the folder and tempfile
        super().setUp()
        self.open()

    def open(self, read_only=False, **options):
        backend = backends.resolve(self.target).backend()
        self._storage = backend.open(create=not read_only, readonly=read_only)
        return self._storage


def skipped(reason, *names):
    """Skip tests that a class inherits."""

    def skip(cls):
        for name in names:
            setattr(cls, name, unittest.skip(reason)(getattr(cls, name)))
        return cls

    return skip


@contextlib.contextmanager
def folder(target):
    """Give a target in a new folder."""
    with tempfile.TemporaryDirectory() as name:
        yield target.format(name)


class EveryStorage(
    BasicStorage.BasicStorage,
    ConflictResolution.ConflictResolvingStorage,
    MTStorage.MTStorage,
    PackableStorage.PackableStorage,
    Synchronization.SynchronizedStorage,
):
    pass


class LastingStorage(PersistentStorage.PersistentStorage, ReadOnlyStorage.ReadOnlyStorage):
    pass


class HistoryKeepingStorage(
    HistoryStorage.HistoryStorage,
    RevisionStorage.RevisionStorage,
    IteratorStorage.IteratorStorage,
    IteratorStorage.ExtendedIteratorStorage,
):
    use_extension_bytes = True


class UndoingStorage(TransactionalUndoStorage.TransactionalUndoStorage, PackableStorage.PackableUndoStorage):
    pass


no_undo = skipped("the storage has no undo", "testLoadBeforeUndo", "testUndoZombie")
one_storage = skipped(
    "threads share one RelStorage in it; a directory gives each of its connections one",
    "test2StorageThreads",
    "test4ExtStorageThread",
    "test7StorageThreads",
    "test_checkCurrentSerialInTransaction",
    "test_tid_ordering_w_commit",
)
no_undo_to_refuse = skipped("it ends with undo(), which a store without history has not", "testWriteMethods")


@no_undo
class TestHash(Opened, EveryStorage, HistoryKeepingStorage, PackableStorage.PackableStorageWithOptionalGC):
    def new_target(self):
        return contextlib.nullcontext("memory://")


class TestFile(
    Opened,
    EveryStorage,
    LastingStorage,
    HistoryKeepingStorage,
    UndoingStorage,
    PackableStorage.PackableStorageWithOptionalGC,
    ConflictResolution.ConflictResolvingTransUndoStorage,
):
    def new_target(self):
        return folder("file:path={}/store.fs")


@one_storage
@no_undo_to_refuse
class TestSQLite(Opened, EveryStorage, LastingStorage):
    def new_target(self):
        return folder("sqlite:///{}/store")


@skipped(
    "RelStorage resolves no conflicts while it undoes",
    "testUndoMultipleConflictResolution",
    "testUndoMultipleConflictResolutionReversed",
)
@skipped(
    "RelStorage's iterator does not name the transaction that an undo went back to", "testTransactionalUndoIterator"
)
class TestSQLiteWithHistory(Opened, LastingStorage, HistoryKeepingStorage, UndoingStorage):
    def new_target(self):
        return folder("sqlite:///{}/store?keep_history=1")


@one_storage
@no_undo_to_refuse
@skipped(
    "it takes long on PostgreSQL, and SQLite runs the same code of RelStorage",
    "test_race_loadopen_vs_local_invalidate",
    "testPackLotsWhileWriting",
    "testPackNowWhileWriting",
)
class TestPostgreSQL(Opened, EveryStorage, LastingStorage):
    def new_target(self):
        return servers.new_postgresql()


class TestPostgreSQLWithHistory(Opened, LastingStorage, HistoryKeepingStorage):
    @contextlib.contextmanager
    def new_target(self):
        with servers.new_postgresql() as url:
            yield f"{url}?keep_history=1"


class Invalidated:
    """Takes what a ZEO server says to its clients, as a database would."""

    def invalidate(self, *about):
        pass

    invalidateCache = invalidate  # noqa: N815  # a database's method

    def transform_record_data(self, data):
        return data

    untransform_record_data = transform_record_data


class TestZEO(Opened, EveryStorage, LastingStorage, HistoryKeepingStorage):
    use_extension_bytes = False

    def new_target(self):
        return servers.new_zeo()

    def open(self, **options):
        super().open(**options).registerDB(Invalidated())
