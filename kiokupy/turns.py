"""Turns: pieces of work that one thread may do for others, which wait meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from kiokupy.database import Unit

T = TypeVar("T")


class Turn(Generic[T]):
    """A piece of work, and how it went."""

    def __init__(self, work: Callable[[Unit], T]) -> None:
        self._work = work
        self._result: T | None = None
        self._error: Exception | None = None
        self.is_done = False
        #: Whether its thread is to work for those that wait.
        self.leads = False
        #: Held until it is done or leads.
        self.gate = threading.Lock()
        self.gate.acquire()

    def go(self) -> None:
        """Let its thread go on; doing it twice is fine. Who calls it sees to it that no other thread does."""
        if self.gate.locked():
            self.gate.release()

    def fail(self, error: Exception) -> None:
        """Know that it will not be done."""
        self._error, self.is_done = error, True

    def outcome(self) -> T:
        """Return what the work returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return cast(T, self._result)
