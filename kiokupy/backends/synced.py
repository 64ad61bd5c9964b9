"""Synced: a FileStorage that puts commits on the disk as was chosen, and its file before it replaces another."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from glob import escape, glob
from pathlib import Path
from typing import Any
from weakref import WeakSet

from persistent.TimeStamp import TimeStamp
from ZODB.FileStorage import FileStorage
from ZODB.utils import u64, z64

from kiokupy.backends.current import Current, head
from kiokupy.backends.publishing import Publishing
from kiokupy.backends.recent import Recent
from kiokupy.backends.syncing import Syncing, sync_file, sync_folder

_EMPTY = 4  # the length of a file without transactions

_opened: WeakSet[SyncedFileStorage] = WeakSet()


def _let_go() -> None:
    """Part from the files of the parent process.

    Both have one position in each file, and file objects move it at their end, to where they think they are: the parent
    would then fail to write, or not know where it writes. And they have one lock, which would outlive the parent.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for storage in _opened:
        lock = getattr(storage, "_lock_file", None)
        for file in (storage._file, storage._tfile, getattr(lock, "_fp", None)):
            if file is not None and not file.closed:
                os.dup2(null, file.fileno())
    os.close(null)


def _as_secret(path: str, like: str) -> None:
    """Let a file, made if it is not there, be for those whom another is for; what this process makes may be for all."""
    mode = stat.S_IMODE(os.stat(like).st_mode)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, mode))
    with suppress(OSError):  # it is another's
        os.chmod(path, mode)


getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_let_go)  # not every system forks


class SyncedFileStorage(Publishing, FileStorage):  # type: ignore[misc]  # ZODB has no annotations
    """A FileStorage that survives what may happen to a disk.

    Where FileStorage closes itself after a failed fsync, this one goes on reading, and refuses to write. Packing syncs
    the new file: without that a power failure soon afterwards may leave neither the old one nor the new. And whatever a
    power failure leaves at the end, the transaction before it is the last.

    :param syncing: of this file; the storage closes it.
    """

    def __init__(self, path: str, syncing: Syncing, *, read_only: bool) -> None:
        self._syncing, self._replaced = syncing, False
        self._recent = Recent()
        self._current: Current | None = None
        # What the current transaction stored, by oid.
        self._stored: dict[bytes, bytes] = {}
        if not read_only:
            _as_secret(f"{path}.tmp", path)  # what is not committed yet
        super().__init__(path, read_only=read_only)
        for torn in glob(f"{escape(path)}.tr*"):  # what FileStorage cut off
            _as_secret(torn, path)
        # FileStorage takes the first bytes of a torn tail for the last transaction's number.
        self._ltid = self._last() if self._pos > _EMPTY else z64
        self._ts = TimeStamp(self._ltid)
        self._follow()
        _opened.add(self)

    def _follow(self) -> None:
        """Sync this file from now on, and read its records."""
        self._syncing.follow(self._file.fileno())
        self._current = None
        if hasattr(os, "pread"):
            with suppress(OSError):  # without a descriptor to spare FileStorage reads them
                self._current = Current(os.dup(self._file.fileno()), self._index)

    def _last(self) -> bytes:
        """Return the number of the last transaction, which begins with it; its length stands at its end."""
        self._file.seek(self._pos - 8)
        self._file.seek(self._pos - 8 - u64(self._file.read(8)))
        tid: bytes = self._file.read(8)
        return tid

    def tpc_begin(self, transaction: Any, tid: bytes | None = None, status: str = " ") -> None:
        """Begin, when no other transaction is under way."""
        self._syncing.begin(transaction)
        super().tpc_begin(transaction, tid, status)
        self._stored = {}

    def loadBefore(self, oid: bytes, tid: bytes) -> Any:  # noqa: N802  # its name
        """Return the state that a record had before a transaction, that one's number, and that of the one after it."""
        found = self._newest(oid)
        return super().loadBefore(oid, tid) if found is None or found[1] >= tid else (*found, None)

    def getTid(self, oid: bytes) -> bytes:  # noqa: N802  # its name
        """Return the number of the transaction that wrote a record last."""
        tid: bytes = self._newest_tid(oid) or super().getTid(oid)
        return tid

    def _newest(self, oid: bytes) -> tuple[bytes, bytes] | None:
        """Return the current state of a record and the transaction that wrote it; ``None``: ask FileStorage.

        Of what is being committed others may have heard, and the index not yet: FileStorage's locks wait for it.
        """
        if oid in self._tindex:
            return None
        found = self._recent.find(oid)
        return self._current.find(oid) if found is None and self._current is not None else found

    def _newest_tid(self, oid: bytes) -> bytes | None:
        """Return only the transaction, as :meth:`_newest`."""
        if oid in self._tindex:
            return None
        found = self._recent.find(oid)
        if found is not None:
            return found[1]
        return None if self._current is None else self._current.tid(oid)

    def store(self, oid: bytes, oldserial: bytes, data: bytes, version: str, transaction: Any) -> None:
        """Write a record in the transaction."""
        tid = self._newest_tid(oid) if transaction is self._transaction else None
        if tid is not None and tid == oldserial:
            self._append(oid, data)
        else:  # it is new, or there is a conflict
            super().store(oid, oldserial, data, version, transaction)
        self._stored[oid] = data

    def _append(self, oid: bytes, data: bytes) -> None:
        with self._lock:
            self._tindex[oid] = self._pos + self._thl + self._tfile.tell()
            self._tfile.write(head(oid, self._tid, self._index[oid], self._pos, len(data)))
            self._tfile.write(data)

    def tpc_vote(self, transaction: Any) -> Any:
        """Write the transaction, not committed yet.

        :raises StoreError: an fsync has failed.
        """
        self._syncing.check()
        return super().tpc_vote(transaction)

    def tpc_finish(self, transaction: Any, f: Callable[[bytes], Any] | None = None) -> bytes:
        """Commit the transaction, and return when it is as durable as was chosen.

        :raises StoreError: an fsync has failed, and it is not known whether the transaction will be there.
        """
        number = self._syncing.next
        self._recent.forget(self._tindex)
        try:
            tid: bytes = super().tpc_finish(transaction, f)
        finally:
            self._syncing.end(transaction)
        self._syncing.wait(number)
        return tid

    def tpc_abort(self, transaction: Any) -> None:
        """Drop the transaction, if it is this storage's current one."""
        try:
            super().tpc_abort(transaction)
        finally:
            self._syncing.end(transaction)

    def _finish_finish(self, tid: bytes) -> None:
        """As FileStorage's, which calls fsync itself."""
        self._file.flush()
        self._syncing.written()
        if not self._syncing.failed:
            self._keep_recent(tid)
            self._pos = self._nextpos
            self._index.update(self._tindex)
            self._ltid = tid
            self._blob_tpc_finish()

    def _keep_recent(self, tid: bytes) -> None:
        """Keep what was stored, but not where that was merged with what another transaction stored."""
        for oid, data in self._stored.items():
            if oid not in self._resolved:
                self._recent.keep(oid, data, tid)

    @staticmethod
    def packer(storage: SyncedFileStorage, referencesf: Any, stop: bytes, gc: bool) -> Any:
        """Write the packed file, and sync it.

        :returns: ``None`` if there is nothing to pack; else no transaction is under way until it is in place.
        """
        path, packed = f"{storage._file_name}.pack", None
        _as_secret(path, storage._file_name)
        try:
            packed = FileStorage.packer(storage, referencesf, stop, gc)
            if packed is not None:
                sync_file(path)
                storage._replaced = True
            return packed
        except BaseException:
            if packed is not None:
                storage._commit_lock.release()
            raise
        finally:
            if not storage._replaced:
                with suppress(OSError):
                    os.remove(path)

    def pack(self, t: float, referencesf: Any, gc: bool | None = None) -> None:
        """Pack.

        :raises StoreError: an fsync has failed, so what the file holds is not known.
        """
        self._syncing.check()
        super().pack(t, referencesf, gc)

    def _initIndex(self, index: Any, tindex: Any) -> None:  # noqa: N802  # its name
        """As FileStorage's, which calls it as well when packing has just replaced the file, with all locks held."""
        super()._initIndex(index, tindex)
        if self._replaced:
            self._replaced = False
            self._recent.clear()
            sync_folder(Path(self._file_name).parent)
            self._follow()

    def close(self) -> None:
        """Sync, and close.

        :raises StoreError: an fsync has failed; the storage is closed all the same.
        """
        self._syncing.close()
        self._current = None
        super().close()
        self._syncing.check()

    def _save_index(self) -> None:
        """Save the index, which has the next opening skip what it tells of: not what may not be there."""
        if not self._syncing.failed:
            super()._save_index()
