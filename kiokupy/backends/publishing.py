"""Publishing: what a storage tells of commits, which are told to connections and put in place under its lock."""

from __future__ import annotations

from contextlib import AbstractContextManager


class Publishing:
    """Mixed into a storage of ZODB: it tells its newest transaction without waiting for a commit that is under way."""

    _lock: AbstractContextManager[object]
    _ltid: bytes

    @property
    def publishing(self) -> AbstractContextManager[object]:
        """The lock, for whoever has to hear of a commit as a whole or not at all; see :mod:`kiokupy.connection`."""
        return self._lock

    def lastTransaction(self) -> bytes:  # noqa: N802  # its name
        """Return the number of the last transaction that is in place."""
        return self._ltid
