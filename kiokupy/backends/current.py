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
        position = self._index.get(oid)
        if position is None:
            return None
        start = os.pread(self._descriptor, _READ, position)
        if len(start) < _HEAD.size:
            return None
        found, tid, _, _, other, length = _HEAD.unpack_from(start)
        end = _HEAD.size + length
        if found != oid or other or not length:
            return None
        if end > _READ:
            start += os.pread(self._descriptor, end - _READ, position + _READ)
        return Found(start[_HEAD.size : end], tid) if len(start) >= end else None
