"""Group reads: short reads of many threads share one transaction, where to begin one is to ask a server.

A thread that comes alone reads alone, at once. Those that come meanwhile wait, and are served together: what changed is
asked once for all of them, and what they need comes in one answer. Where the answers take long, as the server is far
away, those that come later do not wait for them, but are served at the same time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from persistent import Persistent

from kiokupy.database import Database, Unit
from kiokupy.lanes import Lanes
from kiokupy.turns import Turn

T = TypeVar("T")

#: Returns the object that a read will load, if it is known.
Ahead = Callable[[Unit], Persistent | None]

#: How many reads share a transaction at most, so that the first does not wait long for the last.
MOST = 64

#: How many such transactions there are at most at one time, and the seconds from one's beginning to that of the next.
#: On one machine a transaction is over by then, and a second one would only compete with it for Python.
GROUPS, APART = 4, 0.001

#: The seconds after which a read does not wait for others any more.
PATIENCE = 1.0


class Reads:
    """The short reads of a database. Thread-safe.

    :param lanes: has the connections to read with.
    """

    def __init__(self, database: Database, lanes: Lanes) -> None:
        self._database, self._lanes = database, lanes
        self._asks = hasattr(database.storage, "sync")
        self._lock = threading.Lock()
        self._queue: dict[_Read[Any], None] = {}
        self._leading, self._began = 0, 0.0

    def do(self, work: Callable[[Unit], T], ahead: Ahead) -> T:
        """Return what ``work(unit)`` returns of what is committed now.

        It may run in any thread, and share its transaction with others; so it must not write, is to be short, and calls
        nothing of the application. It may be called twice.

        :param ahead: returns an object that ``work`` will load, to be loaded together with those of others.
        :raises StoreError: the directory was closed, or it was opened in the process that this one was forked from.
        """
        if not self._asks:
            return self._lanes.read(work)
        self._database.check_usable()  # first: in a child process the lock may be held by a thread that is not there
        read = _Read(work, ahead)
        try:
            self._come(read)
            self._wait(read)
            if read.leads and not self._queue:
                return self._lanes.read(work)
            if read.leads:
                self._lead(read)
        finally:
            self._leave(read)
        return read.outcome() if read.is_done else self._lanes.read(work)

    def _come(self, read: _Read[Any]) -> None:
        with self._lock:
            read.is_next = not self._queue
            self._queue[read] = None
            if self._is_free():
                self._let_lead(read)

    def _is_free(self) -> bool:
        return not self._leading or (self._leading < GROUPS and time.monotonic() - self._began > APART)

    def _let_lead(self, read: _Read[Any]) -> None:
        del self._queue[read]
        read.leads = True
        self._leading, self._began = self._leading + 1, time.monotonic()

    def _wait(self, read: _Read[Any]) -> None:
        """Wait to be served or to lead; who is next leads when it is late, since nobody else may come then."""
        while not read.leads and not read.gate.acquire(timeout=APART if read.is_next else PATIENCE):
            if not read.is_next:
                return
            read.is_next = False
            with self._lock:
                if read in self._queue and self._is_free():
                    self._let_lead(read)

    def _lead(self, read: _Read[Any]) -> None:
        with self._lock:
            others = list(islice(self._queue, MOST - 1))
            for other in others:
                del self._queue[other]
        try:
            self._lanes.read(partial(_serve, [read, *others]))
        finally:
            for other in others:
                other.go()

    def _leave(self, read: _Read[Any]) -> None:
        """Let the next one lead. Who was forgotten, as Ctrl-C can come anywhere, waits until its patience is over."""
        if read.is_done and not read.leads:
            return
        with self._lock:
            self._queue.pop(read, None)
            self._leading -= read.leads
            read.leads = False
            if self._queue and self._is_free():
                first = next(iter(self._queue))
                self._let_lead(first)
                first.go()


def nothing(unit: Unit) -> None:
    """Know of nothing that will be loaded."""


class _Read(Turn[T]):
    def __init__(self, work: Callable[[Unit], T], ahead: Ahead) -> None:
        super().__init__(work)
        self.ahead = ahead
        #: Whether nobody was before it when it came.
        self.is_next = False

    def run(self, unit: Unit) -> bool:
        """Do the work, and tell whether it went well."""
        try:
            with unit.database.translated():
                self._result = self._work(unit)
        except Exception as error:
            self.fail(error)
            return False
        self.is_done = True
        return True


def _serve(reads: list[_Read[Any]], unit: Unit) -> None:
    """Do the reads up to one that fails; it may be the connection's fault, so each of the rest is done alone."""
    with suppress(Exception):  # the work that needs what could not be loaded tells of it
        found = [read.ahead(unit) for read in reads]
        cold = [obj for obj in found if obj is not None and obj._p_changed is None]
        if cold:  # ZEO's client would do work for none, too
            unit.connection.prefetch(cold)
    for read in reads:
        if not read.run(unit):
            return
