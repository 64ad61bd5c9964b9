"""Syncing: when what was written to a file is put on the disk, and what follows if that fails.

After a failed fsync the operating system may have dropped what it could not write, and a second fsync then succeeds
without it, as PostgreSQL had to learn. So the first failure is the last fsync, and the last write.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path

from kiokupy.backends.durability import Durability
from kiokupy.errors import StoreError

_log = logging.getLogger(__name__)

_SECOND = 1.0


class Syncing:
    """Knows how many of a file's transactions were written, and how many of these are on the disk.

    This one syncs when the file is closed; its subclasses do it earlier.

    :param location: what to call the store in errors.
    """

    def __init__(self, location: str, delay: float = 0.0) -> None:
        self._location, self._delay = location, delay
        self._disk = threading.Lock()  # held during an fsync, so no other lock is asked for meanwhile
        self._file: FileIO | None = None  # a descriptor of our own, that packing cannot close during an fsync
        self._written = self._synced = 0
        self._failure: OSError | None = None

    def follow(self, descriptor: int) -> None:
        """Sync this file from now on; what the one before held of transactions is in it, and on the disk."""
        with self._disk:
            if self._file is None:
                self._file = FileIO(os.dup(descriptor))
            else:  # in the midst of packing, which must not fail there for want of another descriptor
                os.dup2(descriptor, self._file.fileno(), inheritable=False)

    def begin(self, transaction: object) -> None:
        """Take note of a transaction that asks to write; :meth:`end` is sure to follow."""

    def end(self, transaction: object) -> None:
        """Take note that a transaction will write no more; of one that never began as well."""

    def written(self) -> None:
        """Take note that the next transaction is in the file. No other one is written until this returns."""
        self._written += 1

    @property
    def next(self) -> int:
        """The number of the transaction that is about to be written."""
        return self._written + 1

    def wait(self, number: int) -> None:
        """Return when a transaction may be told as committed.

        :raises StoreError: an fsync has failed, and the transaction was not on the disk before.
        """
        if self._synced < number:
            self.check()

    def sync(self) -> None:
        """Put on the disk what is written by now, unless an fsync has failed; :meth:`check` tells."""
        with self._disk:
            written = self._written
            if self._synced == written or self._failure is not None or self._file is None:
                return
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                self._failure = error
                _log.critical("%s: fsync failed, nothing is written any more", self._location, exc_info=True)
                return
            self._synced = written

    @property
    def failed(self) -> bool:
        """Whether an fsync has failed."""
        return self._failure is not None

    def check(self) -> None:
        """Raise :class:`~kiokupy.errors.StoreError` if an fsync has failed."""
        if self._failure is not None:
            raise StoreError(
                self._location,
                f"the disk refused to keep what was written ({self._failure.strerror}), so the last commits may be "
                "lost, and no more are made",
                fix="Look after the disk, check the file with kiokupy.maintenance.fsck_file(), and connect again",
            ) from self._failure

    def close(self) -> None:
        """Sync, and let go of the file; closing twice is fine."""
        self.sync()
        with self._disk:
            if self._file is not None:
                self._file.close()
                self._file = None


class Always(Syncing):
    """Syncs each transaction before others can read it."""

    def written(self) -> None:
        """Put it on the disk."""
        super().written()
        self.sync()


class EverySecond(Syncing):
    """Syncs at most about a second after a commit.

    A thread does it that lives while there is something to sync. It is no daemon: a process that ends without closing
    the store waits for the last sync.
    """

    def __init__(self, location: str, delay: float = 0.0) -> None:
        super().__init__(location, delay)
        self._state = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def written(self) -> None:
        """See to it that there is a thread."""
        with self._state:
            super().written()
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name=f"kiokupy fsync of {self._location}")
            try:
                self._thread.start()
                return
            except RuntimeError:  # there are too many, or the interpreter is ending
                self._thread = None
        self.sync()

    def close(self) -> None:
        """As the superclass does; the thread has ended then."""
        self._closing.set()
        thread = self._thread
        if thread is not None:
            thread.join()
        super().close()

    def _run(self) -> None:
        while True:
            self._closing.wait(_SECOND)
            self.sync()
            with self._state:
                if self._synced == self._written or self.failed or self._closing.is_set():
                    self._thread = None
                    return


class Group(Syncing):
    """Lets transactions of several threads share an fsync, which the first of them to wait does for all.

    It waits for those that have begun, for ``delay`` seconds at most, and not at all when alone. Others can read a
    transaction before it is on the disk, but nobody has been told that it is.
    """

    def __init__(self, location: str, delay: float) -> None:
        super().__init__(location, delay)
        self._state = threading.Condition()
        self._under_way: set[object] = set()
        self._is_led = False

    def begin(self, transaction: object) -> None:
        """Take note that it may be worth waiting."""
        with self._state:
            self._under_way.add(transaction)

    def end(self, transaction: object) -> None:
        """Take note that it may be worth waiting no more."""
        with self._state:
            self._under_way.discard(transaction)
            self._state.notify_all()

    def wait(self, number: int) -> None:
        """Return when a transaction is on the disk."""
        with self._state:
            self._state.wait_for(lambda: self._is_known(number) or not self._is_led)
            leads = not self._is_known(number)
            self._is_led |= leads
        if leads:
            self._lead()
        super().wait(number)

    def _lead(self) -> None:
        try:
            with self._state:
                self._state.wait_for(lambda: not self._under_way, self._delay)
            self.sync()
        finally:
            with self._state:
                self._is_led = False
                self._state.notify_all()

    def _is_known(self, number: int) -> bool:
        return self._synced >= number or self.failed


_KINDS: dict[str, Callable[[str, float], Syncing]] = {
    "always": Always,
    "group": Group,
    "everysec": EverySecond,
    "never": Syncing,
}


def syncing(durability: Durability, location: str) -> Syncing:
    """Return what syncs as was chosen."""
    return _KINDS[durability.word](location, durability.delay)


def sync_file(path: str) -> None:
    """Put a file that nobody writes to on the disk."""
    with Path(path).open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Put the names in a folder on the disk, as well as the system lets us: some do not open folders."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
