"""Sweeping: expired sessions are taken out of the store, in batches, by as many sweepers as there are."""

from __future__ import annotations

import atexit
import logging
import random
import threading
import weakref
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from kiokupy.database import Unit
from kiokupy.errors import SettingsError
from kiokupy.sessions.events import Event, EventKind, Events
from kiokupy.sessions.shelf import Shelf

_log = logging.getLogger("kiokupy.sessions")

#: How many marks one transaction looks at.
BATCH = 500

_JITTER = 0.2
_PATIENCE = 10.0


class Swept(NamedTuple):
    """What one transaction of a sweep did."""

    events: list[Event]
    #: the mark to go on after; ``None``: nothing is left to look at
    after: bytes | None


def sweep_some(unit: Unit, *, events: Events, now: float, after: bytes, most: int) -> Swept:
    """Take out expired sessions of the slices that are over, and of the one of now; the commit is the caller's.

    A session that lives on is filed under its new end.

    :param after: the mark to begin after.
    :param most: how many sessions may be taken out.
    """
    shelf = Shelf(unit.root)
    gone: list[Event] = []
    marks = list(islice(shelf.due(now, after), BATCH))
    for mark, key in marks:
        if len(gone) == most:
            return Swept(gone, after)
        after = mark
        facts = shelf.readable(key)  # what is damaged stays for fsck() to tell of
        if facts is not None and facts.expires > now:
            if shelf.is_filed(mark, facts):
                continue
            shelf.mark(key, facts)
        elif facts is not None:
            shelf.remove(key, facts)
            if facts.successor is None:
                gone.append(events.event(EventKind.EXPIRED, key, facts.principal))
        shelf.unmark(mark)
    return Swept(gone, after if len(marks) == BATCH else None)


class Sweeper:
    """Sweeps time and again in a thread of its own, which ends with the process and does not keep it.

    A process that forks goes on sweeping, and its child does not sweep until it starts a sweeper of its own.

    :param sweep: what to do; what it raises is logged, and it is done again the next time.
    :param every: seconds between two sweeps, more or less: several processes do not stay in step.
    :raises SettingsError: ``every`` is no number above 0.
    """

    def __init__(self, sweep: Callable[[], object], every: float) -> None:
        if not (isinstance(every, int | float) and 0 < every <= threading.TIMEOUT_MAX / 2):
            raise SettingsError(f"every is a number of seconds above 0, not {every!r}", target="every")
        self._sweep, self._every = sweep, every
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a thread in this process."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin; nothing happens if it runs already."""
        if self.is_running:
            return
        self._stop = threading.Event()  # a fork may have copied the old one while it was locked
        self._thread = threading.Thread(target=self._run, args=(self._stop,), name="kiokupy-sweeper", daemon=True)
        self._thread.start()
        _sweepers.add(self)

    def stop(self) -> None:
        """End after the sweep that is under way; stopping twice is fine."""
        if self._thread is None or not self.is_running:  # in a child it is not, whose copy of its lock may be taken
            return
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(self._every * random.uniform(1 - _JITTER, 1 + _JITTER)):  # noqa: S311  # no secret
            try:
                self._sweep()
            except Exception:
                _log.exception("a sweep failed; the next one comes")


#: Those that may run in this process.
_sweepers: weakref.WeakSet[Sweeper] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """Let no sweep be cut off in the middle of a commit, as daemons are at the end of a process."""
    for sweeper in list(_sweepers):
        sweeper.stop()
