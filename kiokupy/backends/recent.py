"""Recent: the records that were written last, in memory.

What one thread commits those of others load next. Read from the file that would let go of Python, more than once, and
wait for it again beside all other threads.
"""

from __future__ import annotations

from collections.abc import Iterable

_MOST_BYTES = 16 << 20


class Recent:
    """Current records by oid. Only a commit puts them in, one commit at a time; threads look at any moment.

    A commit takes out what it will replace before anybody hears of it, and puts the new records in when they are in the
    file. So what is here is the newest that anybody can have heard of.
    """

    def __init__(self) -> None:
        self._records: dict[bytes, tuple[bytes, bytes]] = {}
        self._bytes = 0

    def find(self, oid: bytes) -> tuple[bytes, bytes] | None:
        """Return the state of a record and the transaction that wrote it; ``None``: ask the file."""
        return self._records.get(oid)

    def keep(self, oid: bytes, data: bytes, tid: bytes) -> None:
        """Put a record in; those that came first go."""
        self.forget([oid])
        self._records[oid] = data, tid
        self._bytes += len(data)
        while self._bytes > _MOST_BYTES:
            self.forget([next(iter(self._records))])

    def forget(self, oids: Iterable[bytes]) -> None:
        """Take records out, as far as they are there."""
        for oid in oids:
            data, _ = self._records.pop(oid, (b"", b""))
            self._bytes -= len(data)

    def clear(self) -> None:
        """Take all records out."""
        self._records.clear()
        self._bytes = 0
