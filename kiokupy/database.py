"""The database under a directory: a storage, its root record, connections that load only what the type map names."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

import transaction
from BTrees.OOBTree import OOBTree, OOTreeSet
from persistent.mapping import PersistentMapping
from transaction.interfaces import NoTransaction, TransientError
from ZODB.POSException import POSKeyError
from ZODB.utils import z64

from kiokupy import entry, moments
from kiokupy.connection import GraphConnection, GraphDB
from kiokupy.errors import ConflictError, NoHistory, StoreError, StoreNotFound, StoreTooNew, StoreUnreadable
from kiokupy.lastword import LastWord
from kiokupy.translation import translated

#: Answers the class that a record of the database names, or raises NotLoadable.
FindClass = Callable[[str, str], Any]

_RESTORE = (entry.restore.__module__, entry.restore.__qualname__)
_ATTEMPTS = 10

#: What stands in the database root while a copy into it is not finished, with the source's location.
UNFINISHED = "unfinished copy of"


class Database:
    """A ZODB database with kiokupy's root record in it.

    :param storage: a ZODB storage; the database owns it and closes it, also when it cannot be opened.
    :param location: what to call it in errors.
    :param cache_size: objects each connection keeps loaded.
    :param prepare: make sure that the root record is there and can be used; a copy brings it along at its end.
    :param declare: called then, in the same transaction, unless the store is read-only.
    :raises StoreNotFound: there is no root record and ``create`` is off.
    :raises StoreTooNew: a newer kiokupy wrote it.
    :raises StoreUnreadable: a copy into it was not finished.
    """

    def __init__(
        self,
        storage: Any,
        location: str,
        find_class: FindClass,
        *,
        create: bool,
        readonly: bool,
        cache_size: int,
        prepare: bool = True,
        declare: Callable[[Unit], None] | None = None,
    ) -> None:
        self.storage, self.location, self.readonly = storage, location, readonly
        self._process = os.getpid()
        self._find_class, self._closed = find_class, False
        create = create and not readonly
        opened = storage
        try:
            with self.translated():
                if not create and not _has_root(storage):
                    raise StoreNotFound(location)
                options = {"pool_size": 64, "cache_size": cache_size, "class_factory": self._class_factory}
                self._db = opened = _insist(lambda: GraphDB(storage, find_class, **options))
            self._db.translated = self.translated
            if prepare:
                _insist(lambda: self._prepare(create, declare))
        except BaseException:
            opened.close()
            raise

    def open(self, manager: Any = None) -> Unit:
        """Return a unit of work on a pooled connection, its transaction begun.

        :param manager: the transaction manager in whose transaction it is done, instead of one of its own.
        :raises StoreError: as :meth:`check_usable`.
        """
        self.check_usable()
        with self.translated():
            return Unit(self, manager=manager)

    @property
    def is_ours(self) -> bool:
        """Whether this process opened it, not its parent."""
        return os.getpid() == self._process

    def check_usable(self) -> None:
        """Raise :class:`~kiokupy.errors.StoreError` if the database was closed, or opened in this process's parent.

        The two would share a file's lock and position, or a socket, and write over each other.
        """
        if not self.is_ours:
            raise StoreError(
                self.location,
                f"opened in process {self._process} and used in its child {os.getpid()}",
                fix="Connect in each process, after the fork; processes share a store through DBI or ZEO",
            )
        if self._closed:
            raise StoreError(self.location, "the directory was closed", fix="Open it again with connect()")

    def open_past(self, moment: moments.Moment) -> Unit:
        """Return a unit of work on the store as it was, which cannot write.

        :raises InvalidMoment: it is no moment, or in the future.
        :raises NoHistory: the storage keeps none, or not from then.
        """
        self.check_history()
        with self.open() as unit:  # begun, so it has heard of what others committed
            tid = moments.known(moment, unit.connection.newest())
        with self.translated(tid):
            return Unit(self, tid)

    def check_history(self) -> None:
        """Raise :class:`~kiokupy.errors.NoHistory` if the storage does not keep every state until it is packed."""
        if not self._db.supportsUndo():
            raise NoHistory(self.location)

    def connection(self, manager: Any, tid: bytes | None) -> GraphConnection:
        """Return a connection under a transaction manager: a pooled one, or one that sees a past transaction."""
        connection: GraphConnection = self._db.open(manager) if tid is None else self._db.open_past(manager, tid)
        return connection

    def close(self, wait: Callable[[], None] = lambda: None) -> None:
        """Close every connection and the storage, once ``wait`` returns; closing twice is fine."""
        self._closed = True
        if self.is_ours:  # a child would say goodbye to the server in its parent's name
            wait()
            self._db.close()

    def translated(self, tid: bytes | None = None) -> AbstractContextManager[None]:
        """Turn what ZODB and its storages raise into kiokupy's errors; see :mod:`kiokupy.translation`."""
        return translated(self.location, tid)

    def _class_factory(self, connection: Any, module: str, name: str) -> Any:
        if (module, name) == _RESTORE:
            return connection.graph.restore
        return entry.CLASSES.get((module, name)) or (connection.find_class or self._find_class)(module, name)

    def check_finished(self, root: PersistentMapping) -> None:
        """Raise :class:`~kiokupy.errors.StoreUnreadable` if a root record is that of an interrupted copy."""
        if UNFINISHED in root:
            raise StoreUnreadable(
                self.location,
                f"a copy of {root[UNFINISHED]} into it was not finished",
                fix="Run the same copy again, it goes on where it stopped",
            )

    def _prepare(self, create: bool, declare: Callable[[Unit], None] | None) -> None:
        with self.open() as unit:
            if not self._is_ready(unit):
                if not create:
                    raise StoreNotFound(self.location)
                unit.connection.root()["kiokupy"] = _new_root()
            if declare is not None and not self.readonly:
                declare(unit)
            unit.commit()

    def _is_ready(self, unit: Unit) -> bool:
        root = unit.connection.root().get("kiokupy")
        if root is None:
            return False
        self.check_finished(root)
        if root["format"] > entry.FORMAT:
            raise StoreTooNew(self.location, found=root["format"], supported=entry.FORMAT)
        return True


def _insist(make: Callable[[], Any]) -> Any:
    for _ in range(_ATTEMPTS - 1):
        with suppress(ConflictError, TransientError):  # another process makes the same record now
            return make()
    return make()


def _has_root(storage: Any) -> bool:
    try:
        return bool(storage.load(z64))
    except POSKeyError:
        return False
    finally:
        getattr(storage, "afterCompletion", lambda: None)()  # its snapshot would last as long as the database


def _new_root() -> PersistentMapping:
    trees = {name: entry.EntryTree() for name in ("entries", "sessions")}
    return PersistentMapping(format=entry.FORMAT, roots=OOTreeSet(), indexes=OOBTree(), **trees)


class Unit:
    """One connection in one transaction. A context manager: it closes, and what was not committed is gone."""

    def __init__(self, database: Database, tid: bytes | None = None, *, manager: Any = None) -> None:
        self.database = database
        self._manager = transaction.TransactionManager(explicit=True) if manager is None else manager
        self._active = self._closed = False
        self.connection = database.connection(self._manager, tid)
        try:
            if manager is None:
                self.begin()
            if tid is not None and "kiokupy" not in self.connection.root():  # ZODB's own root is older
                raise POSKeyError(z64)
        except BaseException:
            self.close()
            raise

    @property
    def root(self) -> PersistentMapping:
        """kiokupy's root record: ``format``, ``entries``, ``roots``, ``indexes`` and ``sessions``.

        :raises StoreUnreadable: a copy into the store, which was open meanwhile, was not finished.
        """
        root: PersistentMapping = self.connection.get(z64).data["kiokupy"]
        self.database.check_finished(root)
        return root

    def begin(self) -> None:
        """Begin a transaction; it sees what was committed until now. Raises as :meth:`Database.check_usable`."""
        self.database.check_usable()
        self._active = True
        with self.database.translated():
            self._manager.begin()

    def commit(self) -> None:
        """Write everything, or raise and write nothing; the transaction is over either way.

        :raises ConflictError: another transaction changed the same records first.
        :raises StoreError: the storage cannot write, as on a full disk.
        """
        try:
            with self.database.translated():
                self._manager.commit()
            self._active = False
        except OSError as error:
            problem = f"nothing was written, the file system refused ({error.strerror})"
            raise StoreError(self.database.location, problem, fix="Make room on the disk, and try again") from error
        finally:
            self.abort()

    def note(self, text: str, user: str) -> None:
        """Say what the transaction is for, and who did it."""
        self.transaction.note(text)
        if user:
            self.transaction.user = user

    def undo(self, revision: moments.Revision) -> None:
        """Let the commit undo the transaction that wrote a revision."""
        # The storages that keep history name a transaction to be undone by this form of its number.
        name = base64.b64encode(revision.tid)
        self.connection.db().undo(name, self.transaction)

    @property
    def transaction(self) -> Any:
        """The transaction under way."""
        return self._manager.get()

    def savepoint(self) -> Any:
        """Write changes aside, and return the transaction's savepoint to roll back to."""
        with self.database.translated():
            return self._manager.savepoint()

    def guard(self) -> None:
        """Let :meth:`commit` fail if garbage was collected since the transaction began: what it refers to may be gone.

        To be called before the commit of whatever writes entries.
        """
        self.connection.readCurrent(self.root)

    def collect(self, check: Callable[[], None]) -> None:
        """Let :meth:`commit` stop those that call :meth:`guard`; see :mod:`kiokupy.maintenance.garbage`.

        :param check: called in the commit, when those that it does not stop have committed; what it raises ends it.
        """
        self.root._p_changed = True
        self.transaction.join(LastWord(check))

    def abort(self) -> None:
        """Drop what was not committed; the transaction is over, if there is one."""
        if self._active and self.database.is_ours:
            with suppress(NoTransaction):  # the database was closed, and ended it
                self._manager.abort()
        self._active = False

    def close(self) -> None:
        """Drop what was not committed and give the connection back; closing twice is fine."""
        self.abort()
        if not self._closed and self.database.is_ours:
            self.connection.close()
        self._closed = True

    def __enter__(self) -> Unit:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
