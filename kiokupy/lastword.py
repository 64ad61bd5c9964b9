"""Last word: a check within a commit, when all else in it is decided."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


class LastWord:
    """A part of a transaction that has no data, and votes when all others have.

    :param check: what it raises ends the commit, and nothing is written.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def sortKey(self) -> str:  # noqa: N802  # a data manager's method, as are the rest
        """Come last: the parts of a transaction vote in this order."""
        return chr(sys.maxunicode)

    def tpc_begin(self, transaction: Any) -> None:
        """Do nothing."""

    def commit(self, transaction: Any) -> None:
        """Do nothing."""

    def tpc_vote(self, transaction: Any) -> None:
        """Let the check speak."""
        self._check()

    def tpc_finish(self, transaction: Any) -> None:
        """Do nothing."""

    def tpc_abort(self, transaction: Any) -> None:
        """Do nothing."""

    def abort(self, transaction: Any) -> None:
        """Do nothing."""
