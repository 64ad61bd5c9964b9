"""Savepoints: points inside a transaction that it can go back to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kiokupy.errors import ScopeClosed


class Savepoint:
    """A point inside a scope's transaction; it ends with the transaction.

    :param point: the transaction's own savepoint.
    :param roll_back: takes the scope back to it.
    """

    def __init__(self, point: Any, roll_back: Callable[[Any], None]) -> None:
        self._point, self._roll_back = point, roll_back

    def rollback(self) -> None:
        """Take back all that was done since, in the store and in live objects; savepoints made since are over.

        It can be done more than once.

        :raises ScopeClosed: the transaction is over, or an earlier savepoint was rolled back to.
        """
        if not self._point.valid:
            raise ScopeClosed("a savepoint, which ends with its transaction and with a rollback to an earlier one,")
        self._roll_back(self._point)
