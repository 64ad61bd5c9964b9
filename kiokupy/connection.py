"""Connections: ZODB's, whose Persistent objects may hold first-class plain objects, and that part from their objects.

In a Persistent object's record a reference to a first-class plain object looks like ZODB's weak reference into another
database, since packing, conflict resolution and export know that form and leave it alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from persistent import Persistent
from ZODB import DB
from ZODB.Connection import Connection
from ZODB.POSException import POSKeyError
from ZODB.serialize import referencesf
from ZODB.utils import p64, u64, z64

from kiokupy import resolving
from kiokupy.collections.bulk import Bulk
from kiokupy.errors import ScopeClosed
from kiokupy.graph import Graph
from kiokupy.readers import Reader
from kiokupy.rules import name_of
from kiokupy.writers import Verbatim, is_ours, is_quick, writer_of

T = TypeVar("T")


class GraphConnection(Connection):  # type: ignore[misc]  # ZODB has no annotations
    """A connection whose Persistent objects may hold first-class plain objects."""

    graph: Graph = Graph()
    # ZODB's: what changed in the transaction; and, while it is written, what was added by that.
    _registered_objects: list[Persistent]
    _added_during_commit: list[Persistent] | None
    #: Answers the classes that records name, instead of the database's own way; until :meth:`forget`.
    find_class: Callable[[str, str], Any] | None = None

    def __init__(self, db: GraphDB, *args: Any, **options: Any) -> None:
        # It is told of commits from now on, of each as a whole. A storage that tells its newest transaction without
        # waiting for the commit that is under way gives the lock under which a commit is told and put in place.
        with getattr(db.storage, "publishing", nullcontext()):
            super().__init__(db, *args, **options)
        self._reader = Reader(self, self._cache, self._db.classFactory)
        # The transaction that it takes part in; None: it was given back since.
        self._transaction: Any = None

    def _register(self, obj: Any = None) -> None:
        if not self.is_joined:
            self._transaction = self.transaction_manager.get()
        super()._register(obj)

    def abort(self, transaction: Any) -> None:
        """Abort; when a hook at the end of a transaction gave it back it may be another's, and is left alone."""
        if transaction is self._transaction:
            super().abort(transaction)

    def close(self, primary: bool = True) -> None:
        """Give it back."""
        self._transaction = self._transaction if self.is_joined else None  # it refuses then
        super().close(primary)

    def _commit(self, transaction: Any) -> None:
        """Write what changed. Of most objects that is done here: ZODB makes a pickler for each, and need not."""
        changed = self._registered_objects
        quick = [obj for obj in changed if obj._p_changed and obj._p_serial != z64 and is_quick(obj)]
        done = set(map(id, quick))
        self._registered_objects = [obj for obj in changed if id(obj) not in done]
        try:
            super()._commit(transaction)
        finally:
            self._registered_objects = changed
        self._added_during_commit = []  # by what a tree holds, while it is written
        self._store_objects(quick, transaction)
        self._store_objects(self._added_during_commit, transaction)
        self._added_during_commit = None

    def _store_objects(self, writer: Any, transaction: Any) -> None:
        for obj in writer:
            super()._store_objects(writer_of(obj), transaction)

    def setstate(self, obj: Any) -> None:
        """Load an object's state; of an object from before :meth:`forget` it is refused."""
        self._check_present(obj)
        try:
            super().setstate(obj)
        except Exception:
            with self._db.translated(self.tid):
                raise

    @property
    def tid(self) -> bytes | None:
        """The last transaction that this connection sees; ``None``: it sees the present."""
        return None if self.before is None else p64(u64(self.before) - 1)

    def cacheGC(self) -> None:  # noqa: N802  # ZODB's name
        """Let go of what was loaded beyond the size of the cache. ZODB's looks for connections to other databases."""
        self._cache.incrgc()

    def newest(self) -> bytes:
        """Return the number of the newest transaction that the storage knows of."""
        tid: bytes = self._storage.lastTransaction()
        return tid

    def revisions(self, oid: bytes, limit: int | None) -> list[dict[str, Any]]:
        """Return what the storage says of the states that a record had until then, the newest first."""
        told = self._storage.history(oid, size=limit if limit is not None and self.tid is None else sys.maxsize)
        found = [one for one in told if self.tid is None or one["tid"] <= self.tid]
        if not found:  # RelStorage does not tell of what was there when it was packed last
            data, tid = self._storage.load(oid)
            found = [{"tid": tid, "size": len(data), "user_name": b"", "description": b""}]
        return found

    def register(self, obj: Any) -> None:
        """Note a change; of an object from before :meth:`forget` it is refused."""
        self._check_present(obj)
        super().register(obj)

    def owns(self, obj: Any) -> bool:
        """Tell whether this connection gave out a Persistent object, and has not parted from it."""
        known = self._cache.get(obj._p_oid) is obj or obj._p_oid in self._pre_cache or obj._p_oid in self._added
        return obj._p_jar is self and known

    def _check_present(self, obj: Any) -> None:
        if not self.owns(obj):
            raise ScopeClosed(f"a {name_of(type(obj))}")

    def forget(self) -> None:
        """Part from all objects this connection gave out, so that its next user does not share them."""
        self.find_class = None
        self._resetCache()

    @property
    def is_joined(self) -> bool:
        """Whether the connection has a part in a transaction that is not over."""
        return not self._needs_to_join

    @property
    def records(self) -> Any:
        """The storage as this transaction sees it."""
        return self._storage

    def serial(self, oid: bytes) -> bytes | None:
        """Return the transaction that wrote a record; ``None`` if there is none."""
        try:
            serial: bytes = self._storage.load(oid)[1]
        except POSKeyError:
            return None
        return serial

    def put(self, oid: bytes, data: bytes, serial: bytes = z64) -> None:
        """Write a record as it is in this transaction; :meth:`forget` must follow.

        What ZODB raises if the record is none can be anything.

        :param serial: the transaction that wrote what is replaced; by default the record is new.
        """
        self._reader.getGhost(data)
        obj = Verbatim(data)
        if serial == z64:
            self._add(obj, oid)
        else:
            obj._p_oid, obj._p_jar, obj._p_serial = oid, self, serial
            self._cache[oid] = obj
            obj._p_changed = True

    def reference(self, oid: bytes) -> Persistent:
        """Return what an entry can hold to refer to a record of any class, which need not be there yet."""
        obj = Verbatim(b"")
        obj._p_oid, obj._p_jar = oid, self
        return obj

    def changed_objects(self) -> list[Persistent]:
        """Return the application's Persistent objects that this transaction changed."""
        return [obj for obj in self._registered_objects if not is_ours(obj)]

    def raw(self, oid: bytes) -> bytes:
        """Return a record as the storage has it, in this transaction's view; no object is made of it."""
        data: bytes = self._storage.load(oid)[0]
        return data

    def advance(self) -> list[bytes] | None:
        """Let a transaction that only reads see what was committed until now.

        It is what ZODB does at the begin of each transaction, where it keeps the oids to itself.

        :returns: the oids of what changed; ``None`` if the storage does not know, as after a lost connection.
        """
        self._storage.sync(True)
        changed = self._storage.poll_invalidations()
        if changed is None:
            self._resetCache()
            return None
        oids = list(changed)  # first: the cache empties the list it is given
        self._cache.invalidate(changed)
        return oids

    def load_whole(self, obj: Persistent) -> None:
        """Load a Persistent object and all Persistent objects that it reaches in the store."""
        pending, seen = [obj], {obj._p_oid}
        while pending:
            found = pending.pop()
            if isinstance(found, Bulk):  # what is too big to be loaded whole
                continue
            found._p_activate()
            if found._p_serial == z64:  # not in the store yet, so there is nothing to load
                continue
            for oid in referencesf(self._storage.load(found._p_oid)[0]):
                if oid not in seen:
                    seen.add(oid)
                    pending.append(self.get(oid))


class GraphDB(DB):  # type: ignore[misc]  # ZODB has no annotations
    """A ZODB database of such connections."""

    klass = GraphConnection

    def __init__(self, storage: Any, find_class: Callable[[str, str], Any], **options: Any) -> None:
        check = resolving.checker(find_class)
        resolving.install(storage, check)  # before there are connections: each of RelStorage's has a copy of its own
        super().__init__(storage, **options)
        resolving.install(storage, check)  # others were told of an adapter meanwhile, which has no checks

    #: Gives a context that turns what ZODB raises, at a transaction of the past or now, into kiokupy's errors.
    translated: Callable[[bytes | None], AbstractContextManager[None]] = staticmethod(lambda _: nullcontext())

    def open_past(self, manager: Any, tid: bytes) -> GraphConnection:
        """Return a connection that sees what was committed up to a transaction.

        Unlike :meth:`open` with ``before=`` it does not ask what the newest transaction is: RelStorage's own instance
        does not hear of those to come.
        """
        connection = self.klass(self, self.getCacheSize(), p64(u64(tid) + 1))
        connection.open(manager)
        return connection

    def _returnToPool(self, connection: GraphConnection) -> None:  # noqa: N802  # ZODB's name
        """Take a connection back; one to the past is let go, for in a pool its snapshot would stay open in SQL."""
        if connection.tid is None:
            super()._returnToPool(connection)
        else:
            connection.opened = None
            connection._release_resources()
