"""The verbs that every contestant has. A contestant translates them, and does nothing on top."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

Data = dict[str, Any]

#: Sessions live so long (seconds): nothing ends in a run that should not.
LIFETIME = 7 * 24 * 60 * 60
#: So many sessions are written in one transaction where a store is filled.
BATCH = 5_000


class Missing(Exception):
    """What a contestant stands on is not there; it is left out of the run, by name."""


class Store(ABC):
    """One open store.

    :param folder: a folder of its own. What is written there is found again by another process that opens it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        #: What is to be closed with the store, such as a server that was started for it.
        self.stack = ExitStack()

    @abstractmethod
    def create(self, data: Data) -> str:
        """Store a new session and return its id."""

    @abstractmethod
    def retrieve(self, id: str) -> Mapping[str, Any]:
        """Return what is in a session, unpickled: its values can be read without asking the store again."""

    @abstractmethod
    def misses(self, id: str) -> bool:
        """Look for a session by the id in a cookie, and return whether it is not there."""

    @abstractmethod
    def change(self, id: str, number: int) -> None:
        """Retrieve a session, set its key ``n``, and store it."""

    @abstractmethod
    def destroy(self, id: str) -> None:
        """Take a session out."""

    def fill(self, count: int, data: Data, *, age: float = 0) -> list[str]:
        """Store many sessions, as fast as the store can, and return their ids.

        :param age: so many seconds ago; they have expired when that is more than :data:`LIFETIME`.
        :raises NotImplementedError: the store cannot do that.
        """
        if age:
            raise NotImplementedError
        return [self.create(data) for _ in range(count)]

    def sweep(self) -> None:
        """Take out what has expired.

        :raises NotImplementedError: the store has no such verb.
        """
        raise NotImplementedError

    def pack(self) -> None:
        """Let go of what is not needed any more, on the disk.

        :raises NotImplementedError: the store has no such verb.
        """
        raise NotImplementedError

    def leave_thread(self) -> None:  # noqa: B027  # most stores keep nothing in a thread
        """Give back what the current thread holds; it ends."""

    def pids(self) -> list[int]:
        """Return the processes that are there for this store alone."""
        return [os.getpid()]

    def shared_pids(self) -> list[int]:
        """Return the processes that write for this store, of a server that others use as well."""
        return []

    def close(self) -> None:
        """Close the store, and stop its server."""
        self.stack.close()
