"""Lanes: connections that stay open for short transactions, one after the other.

To open a pooled connection, begin a transaction of package ``transaction`` and give both back takes some 60 µs, more
than a session in the connection's cache takes to be read. A lane is begun in a tenth of that: the storage is asked what
changed since, if anything did. The lane used last is taken first, so there are as many as threads work at one moment,
with warm caches.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from kiokupy.connection import GraphConnection
from kiokupy.database import Database, Unit

T = TypeVar("T")

#: How many seconds to wait for those that use lanes when the directory is closed.
PATIENCE = 10.0

_log = logging.getLogger("kiokupy.lanes")


class Lanes:
    """The lanes of a database. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._idle: list[Lane] = []
        # The threads that use lanes, once for each lane.
        self._users: list[int] = []

    def read(self, work: Callable[[Unit], T]) -> T:
        """Return what ``work`` returns of what is committed now; it must not write.

        :raises StoreError: the directory was closed, or it was opened in the process that this one was forked from.
        """
        lane = self.take()
        try:
            lane.begin()
            return work(lane)
        except Exception:  # what raises nothing need not enter and leave a context
            with self._database.translated():
                raise
        finally:
            self.put_back(lane)

    def take(self) -> Lane:
        """Return a lane that nobody uses; its transaction is to be begun."""
        thread = threading.get_ident()
        self._users.append(thread)  # first: whoever closes the directory waits, or it is seen here that it is closed
        try:
            self._database.check_usable()
            lane = self._unused()
        except BaseException:
            self._users.remove(thread)
            raise
        lane.connection.opened = time.time()
        return lane

    def put_back(self, lane: Lane) -> None:
        """Take a lane back, without what was not committed."""
        try:
            self._end(lane)
            self._idle.append(lane)  # from here on it may be another thread's
        finally:
            self._users.remove(threading.get_ident())

    def wait(self) -> None:
        """Wait until no other thread uses a lane, but not forever.

        Under a transaction that is under way SQLite's connection cannot be closed: that may end the process. It looks
        time and again, since to tell who waits would be work for each read, and a directory is closed once.
        """
        end = time.monotonic() + PATIENCE
        while set(self._users) - {threading.get_ident()} and time.monotonic() < end:
            time.sleep(0.001)

    def _end(self, lane: Lane) -> None:
        try:
            lane.abort()
            lane.connection.opened = None  # nobody has it: who counts open connections does not count it
        except BaseException:
            with suppress(Exception):  # ZODB closes none that still has part in a transaction
                lane.close()
            raise

    def _unused(self) -> Lane:
        try:
            return self._idle.pop()
        except IndexError:
            with self._database.translated():
                return Lane(self._database)


class Lane(Unit):
    """A connection and the transaction that it is in."""

    def __init__(self, database: Database) -> None:
        self._sole = _Sole()
        super().__init__(database, manager=self._sole)

    def begin(self) -> None:
        """Begin a transaction. Whoever uses the lane translates what this raises, with all the rest."""
        self._active = True
        self._sole.begin()

    @property
    def has_voted(self) -> bool:
        """Whether the last commit came to its very end; if it failed there it may have been written or not."""
        return self._sole.has_voted


class _Sole:
    """A transaction manager for one connection, which alone has part in its transactions, without hooks or savepoints.

    It does what ``transaction.Transaction`` does with one data manager: both phases of the commit, or the undoing.
    """

    explicit = True
    user = description = ""
    extension: Any = None

    def __init__(self) -> None:
        self._connection: Any = None
        self._joined = False
        self._data: Any = None
        self.has_voted = False
        # Whether the storage is told when a transaction is over. It lets go of what it saw then, so that it need not be
        # told to do that when the next one begins.
        self._lets_go = False
        # The newest transaction when the last one began; and whether the storage has to ask others for it. ZODB's own
        # look at what changed costs as much as to find a session, and goes through the cache.
        self._seen: bytes | None = None
        self._asks = False

    def registerSynch(self, connection: GraphConnection) -> None:  # noqa: N802  # a transaction manager's method, as are the rest
        self._connection = connection
        self._lets_go = hasattr(connection.records, "afterCompletion")
        self._asks = hasattr(connection.db().storage, "sync")

    def unregisterSynch(self, connection: GraphConnection) -> None:  # noqa: N802
        """Keep it: whoever closes the directory may do so in the midst of a transaction, which has to end yet."""

    def begin(self) -> None:
        """Begin a transaction: see what was committed since the last one, if anything was."""
        newest = None if self._asks else self._connection.newest()
        if newest is None or newest != self._seen:
            self._connection.newTransaction(self, sync=not self._lets_go)
            self._seen = newest

    def get(self) -> _Sole:
        return self

    def join(self, connection: GraphConnection) -> None:
        self._joined = True

    def data(self, connection: GraphConnection) -> Any:
        return self._data

    def set_data(self, connection: GraphConnection, data: Any) -> None:
        self._data = data

    def commit(self) -> None:
        """Write what changed, in two phases; if that fails nothing is written."""
        connection, self.has_voted = self._connection, False
        try:
            if self._joined:
                connection.tpc_begin(self)
                connection.commit(self)
                connection.tpc_vote(self)
                self.has_voted = True
                connection.tpc_finish(self)
        except BaseException:
            if not self.has_voted:
                _insist(connection.abort, self)
            _insist(connection.tpc_abort, self)
            raise
        finally:
            self._end()

    def abort(self) -> None:
        """Drop what changed."""
        if self._joined:
            self._connection.abort(self)
        self._end()

    def _end(self) -> None:
        self._joined, self._data = False, None
        if self._lets_go:
            self._connection.afterCompletion(self)
        else:
            self._connection.cacheGC()


def _insist(undo: Callable[[_Sole], None], transaction: _Sole) -> None:
    """Undo a part of a commit; what made it fail is what the caller is told, and not that this fails too."""
    try:
        undo(transaction)
    except Exception:
        _log.exception("a transaction that failed could not be undone")
