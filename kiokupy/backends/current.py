"""Current: the newest records in the file of a FileStorage, each read in one step.

FileStorage locks, seeks and reads twice for each of them, which takes five times as long.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from ZODB.fsIndex import fsIndex

#: What a record begins with: its oid, the transaction that wrote it, the positions of its last state and of that
#: transaction, a length that is 0, and that of its data, which follow; see :mod:`ZODB.FileStorage.format`.
_HEAD = struct.Struct(">8s8sQQHQ")
#: Most records are not longer.
_READ = 4096


def head(oid: bytes, tid: bytes, last: int, transaction: int, length: int) -> bytes:
    """Return what a record begins with.

    :param last: the position of its last state.
    :param transaction: the position of its transaction.
    :param length: of its data.
    """
    return _HEAD.pack(oid, tid, last, transaction, 0, length)


class Found(NamedTuple):
    """A record, and the transaction that wrote it."""

    data: bytes
    tid: bytes


class Current:
    """The records that an index tells of. Threads read at any moment; they hold a file that packing has replaced.

    :param descriptor: of the file; it is closed with the last reader.
    """

    def __init__(self, descriptor: int, index: fsIndex) -> None:
        self._descriptor, self._index = descriptor, index

    def __del__(self) -> None:
        os.close(self._descriptor)

    def find(self, oid: bytes) -> Found | None:
        """Return a record; ``None``: it is not there, or in another form."""
        start = self._start(oid, _READ)
        if start is None:
            return None
        position, tid, length, data = start
        if length > len(data):
            data += os.pread(self._descriptor, length - len(data), position + _HEAD.size + len(data))
        return Found(data[:length], tid) if len(data) >= length else None

    def tid(self, oid: bytes) -> bytes | None:
        """Return the transaction that wrote a record; ``None`` as :meth:`find`."""
        start = self._start(oid, _HEAD.size)
        return None if start is None else start[1]

    def _start(self, oid: bytes, size: int) -> tuple[int, bytes, int, bytes] | None:
        """Return a record's position, its transaction, the length of its data, and as much of these as was read."""
        position = self._index.get(oid)
        start = b"" if position is None else os.pread(self._descriptor, size, position)
        if len(start) < _HEAD.size:
            return None
        found, tid, _, _, other, length = _HEAD.unpack_from(start)
        return None if found != oid or other or not length else (position, tid, length, start[_HEAD.size :])
