"""The database under a directory: a storage, its root record, connections that load only what the type map names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import transaction
from BTrees.OOBTree import OOBTree, OOTreeSet
from persistent import Persistent
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from ZODB import DB
from ZODB.Connection import Connection
from ZODB.POSException import POSError, POSKeyError, ReadOnlyError, StateLoadError, StorageError
from ZODB.serialize import ObjectReader, ObjectWriter
from ZODB.utils import z64

from kiokupy import entry
from kiokupy.errors import (
    ConflictError,
    KiokuError,
    ScopeClosed,
    StoreError,
    StoreNotFound,
    StoreReadOnly,
    StoreTooNew,
    StoreUnreachable,
    StoreUnreadable,
)
from kiokupy.typemap import name_of

#: Answers the class that a record of the database names, or raises NotLoadable.
FindClass = Callable[[str, str], Any]

_OURS = {(cls.__module__, cls.__qualname__): cls for cls in (entry.Entry, entry.EntryTree)}
_ATTEMPTS = 10

# In a Persistent object's record a reference to a first-class plain object looks like ZODB's weak reference into
# another database, since packing, conflict resolution and export know that form and leave it alone.
_MARK = "kiokupy "


class Graph:
    """What a connection asks of the scope that uses it; a connection without one stores no references."""

    def id_of(self, obj: object) -> str | None:
        """Return the id of a first-class plain object that a Persistent object holds."""

    def resolve(self, key: str, class_name: str) -> object:
        """Return the object of an id that a Persistent object's record refers to."""


class GraphConnection(Connection):  # type: ignore[misc]  # ZODB has no annotations
    """A connection whose Persistent objects may hold first-class plain objects."""

    graph: Graph = Graph()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._reader = _Reader(self, self._cache, self._db.classFactory)

    def _store_objects(self, writer: Any, transaction: Any) -> None:
        for obj in writer:
            ours = isinstance(obj, entry.Entry | entry.EntryTree)
            super()._store_objects((ObjectWriter if ours else _Writer)(obj), transaction)

    def setstate(self, obj: Any) -> None:
        """Load an object's state; of an object from before :meth:`forget` it is refused."""
        self._check_present(obj)
        super().setstate(obj)

    def register(self, obj: Any) -> None:
        """Note a change; of an object from before :meth:`forget` it is refused."""
        if obj._p_oid not in self._added:
            self._check_present(obj)
        super().register(obj)

    def _check_present(self, obj: Any) -> None:
        if self._cache.get(obj._p_oid) is not obj and obj._p_oid not in self._pre_cache:
            raise ScopeClosed(f"a {name_of(type(obj))}")

    def forget(self) -> None:
        """Part from all objects this connection gave out, so that its next user does not share them."""
        self._resetCache()

    def changed_objects(self) -> list[Persistent]:
        """Return the application's Persistent objects that this transaction changed."""
        return [obj for obj in self._registered_objects if not isinstance(obj, entry.Entry | entry.EntryTree)]


class _Writer(ObjectWriter):  # type: ignore[misc]  # ZODB has no annotations
    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, Persistent | type):
            key = self._jar.graph.id_of(obj)
            if key is not None:
                return ["w", (key.encode(), _MARK + name_of(type(obj)))]
        return super().persistent_id(obj)


class _Reader(ObjectReader):  # type: ignore[misc]  # ZODB has no annotations
    def _load_reference(self, key: bytes, database: str | None = None) -> object:
        if database is None or not database.startswith(_MARK):
            return self.load_persistent_weakref(key, database)
        return self._conn.graph.resolve(bytes(key).decode(), database[len(_MARK) :])

    loaders: ClassVar[dict[str, Any]] = {**ObjectReader.loaders, "w": _load_reference}


class _GraphDB(DB):  # type: ignore[misc]  # ZODB has no annotations
    klass = GraphConnection


class Database:
    """A ZODB database with kiokupy's root record in it.

    :param storage: a ZODB storage; the database owns it and closes it, also when it cannot be opened.
    :param location: what to call it in errors.
    :param cache_size: objects each connection keeps loaded.
    :raises StoreNotFound: there is no root record and ``create`` is off.
    :raises StoreTooNew: a newer kiokupy wrote it.
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
    ) -> None:
        self.location, self.readonly = location, readonly
        self._find_class = find_class
        create = create and not readonly
        opened = storage
        try:
            with self.translated():
                if not create and not _has_root(storage):
                    raise StoreNotFound(location)
                self._db = opened = _GraphDB(
                    storage, pool_size=64, cache_size=cache_size, class_factory=self._class_factory
                )
            self._prepare(create)
        except BaseException:
            opened.close()
            raise

    def open(self) -> Unit:
        """Return a unit of work on a pooled connection, its transaction begun."""
        with self.translated():
            return Unit(self)

    def connection(self, manager: Any) -> GraphConnection:
        """Return a pooled connection under a transaction manager."""
        connection: GraphConnection = self._db.open(manager)
        return connection

    def close(self) -> None:
        """Close every connection and the storage."""
        self._db.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what ZODB and its storages raise into kiokupy's errors."""
        try:
            yield
        except KiokuError:
            raise
        except StateLoadError as error:
            cause = error.__cause__
            if isinstance(cause, KiokuError):
                raise cause from cause.__cause__
            raise StoreUnreadable(self.location, f"a record cannot be read ({cause})") from error
        except ReadOnlyError as error:
            raise StoreReadOnly(self.location) from error
        except TransientError as error:
            if type(error).__name__ == "ClientDisconnected":  # ZEO is optional, its class may not exist
                raise StoreUnreachable(self.location, "the server has gone away") from error
            raise ConflictError() from error
        except POSKeyError as error:
            raise StoreUnreadable(self.location, f"the record {error} is missing") from error
        except (StorageError, POSError) as error:
            raise StoreError(self.location, f"the storage failed ({error})") from error

    def _class_factory(self, connection: Any, module: str, name: str) -> Any:
        return _OURS.get((module, name)) or self._find_class(module, name)

    def _prepare(self, create: bool) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            with self.open() as unit:
                try:
                    if self._is_ready(unit):
                        return
                    if not create:
                        raise StoreNotFound(self.location)
                    unit.connection.root()["kiokupy"] = _new_root()
                    unit.commit()
                    return
                except ConflictError:  # another process makes the same record at the same time
                    if attempt == _ATTEMPTS:
                        raise

    def _is_ready(self, unit: Unit) -> bool:
        root = unit.connection.root().get("kiokupy")
        if root is not None and root["format"] > entry.FORMAT:
            raise StoreTooNew(self.location, found=root["format"], supported=entry.FORMAT)
        return root is not None


def _has_root(storage: Any) -> bool:
    try:
        storage.load(z64)
    except POSKeyError:
        return False
    return True


def _new_root() -> PersistentMapping:
    return PersistentMapping(
        format=entry.FORMAT,
        entries=entry.EntryTree(),
        roots=OOTreeSet(),
        indexes=OOBTree(),
        sessions=entry.EntryTree(),
    )


class Unit:
    """One connection in one transaction. A context manager: it closes, and what was not committed is gone."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._manager = transaction.TransactionManager(explicit=True)
        self.connection = database.connection(self._manager)
        self._manager.begin()

    @property
    def root(self) -> PersistentMapping:
        """kiokupy's root record: ``format``, ``entries``, ``roots``, ``indexes`` and ``sessions``."""
        return self.connection.root()["kiokupy"]

    def commit(self) -> None:
        """Write everything, or raise and write nothing; a new transaction has begun either way.

        :raises ConflictError: another transaction changed the same records first.
        """
        try:
            with self.database.translated():
                self._manager.commit()
        except BaseException:
            self._manager.abort()
            raise
        finally:
            self._manager.begin()

    def abort(self) -> None:
        """Drop what was not committed, and begin a new transaction that sees the newest state."""
        self._manager.abort()
        with self.database.translated():
            self._manager.begin()

    def close(self) -> None:
        """Drop what was not committed and give the connection back."""
        self._manager.abort()
        self.connection.close()

    def __enter__(self) -> Unit:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
