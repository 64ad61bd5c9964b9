"""Group commit: small writes of many threads share one transaction, and so one wait for the disk.

A thread that comes alone commits alone, at once. Those that come while it waits for the disk queue up; when it is done,
the first of them commits for all that wait, and so on. No other thread is needed.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from itertools import islice
from typing import Any, TypeVar

from kiokupy.database import Database, Unit
from kiokupy.errors import StoreBusy, StoreError, StoreUnreachable
from kiokupy.lanes import Lanes
from kiokupy.turns import Turn

T = TypeVar("T")

#: What is no fault of one of the writes; and the seconds after which an attempt that ended so is not made again, since
#: the others would wait as long, one after the other.
_OF_ALL, _LONG = (StoreUnreachable, StoreBusy), 0.5

#: How many writes share a transaction at most, so that the first does not wait long for the last.
MOST = 64


class Commits:
    """The small writes of a database. Thread-safe.

    :param lanes: has the connections to write with.
    """

    def __init__(self, database: Database, lanes: Lanes) -> None:
        self._database, self._lanes = database, lanes
        self._lock = threading.Lock()
        # Those that are not done, in the order in which they came. The first leads: it commits for the first of them.
        # They stay here meanwhile, so that Ctrl-C loses none, and whoever went away is not waited for.
        self._queue: dict[_Write[Any], None] = {}
        self._last = 1
        self._leading_thread: int | None = None

    def do(self, work: Callable[[Unit], T]) -> T:
        """Call ``work(unit)``, commit what it wrote, and return what it returned when that is durable.

        It may share its transaction with others, and then sees what those before it wrote. It may be called again,
        since one that fails harms no other. So it is to be short and to wait for nothing. It may run in any thread,
        and has the context (:mod:`contextvars`) of its own. What it calls may write, in a transaction of its own.

        :raises ConflictError: another process, or a scope, changed the same records first.
        :raises StoreError: the storage cannot write, or the directory was closed.
        """
        self._database.check_usable()  # first: in a child process the lock may be held by a thread that is not there
        write = _Write(work)
        try:
            if self._leading_thread == threading.get_ident():
                self._commit([write])
            else:
                self._take_part(write)
            return write.outcome()
        except Exception:  # what raises nothing need not enter and leave a context
            with self._database.translated():
                raise

    def _take_part(self, write: _Write[Any]) -> None:
        batch: list[_Write[Any]] = []
        try:
            with self._lock:
                write.leads = not self._queue
                self._queue[write] = None
            if not write.leads:
                write.gate.acquire()
            if write.leads:
                self._lead(batch)
            self._leave(write, batch)
        except BaseException:
            self._leave(write, batch)  # Ctrl-C may have come in the midst of that, too
            raise

    def _lead(self, batch: list[_Write[Any]]) -> None:
        self._gather()
        with self._lock:
            batch.extend(islice(self._queue, MOST))
        self._last = len(batch)
        self._leading_thread = threading.get_ident()
        try:
            self._commit(batch)
        finally:
            self._leading_thread = None

    def _gather(self) -> None:
        """Let those come that were there the last time, if they are on their way: while more come, Python is theirs."""
        waiting = 0
        while waiting < len(self._queue) < self._last:
            waiting = len(self._queue)
            time.sleep(0)

    def _leave(self, write: _Write[Any], batch: list[_Write[Any]]) -> None:
        """Let the others go on, also where Ctrl-C ended this thread's part before its time; doing it twice is fine."""
        if write.is_done and not write.leads:
            return
        with self._lock:
            self._queue.pop(write, None)
            for other in batch:
                if other.is_done:
                    self._queue.pop(other, None)
                    other.go()
            for first in islice(self._queue, 1):
                first.leads = True
                first.go()

    def _commit(self, writes: list[_Write[Any]]) -> None:
        """Commit writes together, or, if one of them fails, apart: halves, and halves of these."""
        began = time.monotonic()
        try:
            with self._database.translated():
                self._commit_together(writes)
        except Exception as error:
            waiting = [write for write in writes if not write.is_done]
            if len(waiting) == 1 or (isinstance(error, _OF_ALL) and time.monotonic() - began > _LONG):
                for write in waiting:
                    write.fail(error)
            elif waiting:
                half = len(waiting) // 2
                self._commit(waiting[:half])
                self._commit(waiting[half:])

    def _commit_together(self, writes: list[_Write[Any]]) -> None:
        lane = self._lanes.take()
        try:
            lane.begin()
            written = [write for write in writes if write.run(lane)]
            try:
                lane.commit()
                for write in written:
                    write.is_done = True
            except BaseException as error:
                # One that is alone is told of the error itself.
                if not isinstance(error, Exception) or (lane.has_voted and len(written) > 1):
                    self._leave_open(written, error)
                raise
        finally:
            self._lanes.put_back(lane)

    def _leave_open(self, writes: list[_Write[Any]], cause: BaseException) -> None:
        """Do not try again what may have been written."""
        for write in [write for write in writes if not write.is_done]:
            problem = f"a commit was interrupted ({cause!r:.200}), and may have been written or not"
            error = StoreError(self._database.location, problem, fix="Read again what is there now")
            error.__cause__ = cause
            write.fail(error)


class _Write(Turn[T]):
    def __init__(self, work: Callable[[Unit], T]) -> None:
        super().__init__(work)
        self._context = contextvars.copy_context()

    def run(self, unit: Unit) -> bool:
        """Do the work, and tell whether it is to be committed.

        What fails before anybody changed anything has failed; after that all changes have to be undone, so it raises.
        """
        try:
            self._result = self._context.run(self._work, unit)
        except Exception as error:
            if unit.connection.is_joined:
                raise
            self.fail(error)
            return False
        return True
