"""Joined: a scope in the application's own transaction, which others may be part of as well."""

from __future__ import annotations

from typing import Any

from kiokupy.errors import StoreError
from kiokupy.scope import Scope


class JoinedScope(Scope):
    """A unit of work within a transaction that somebody else begins and ends.

    What changed is written when that one is committed, and dropped when it is aborted; the scope ends with it. After
    that it is to be closed, unless a ``with`` block has ended before.
    """

    _left = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        current = self._unit.transaction
        current.addBeforeCommitHook(self._before_commit)
        current.addAfterCommitHook(self._after_commit)
        current.addAfterAbortHook(self._end)

    def commit(self) -> None:
        """Refuse: the transaction is not the scope's to end."""
        raise self._not_ours("commit()")

    def abort(self) -> None:
        """Refuse: the transaction is not the scope's to end."""
        raise self._not_ours("abort()")

    def close(self) -> None:
        """Give the connection back.

        :raises StoreError: something was written, and the transaction is not over.
        """
        if self._unit.connection.is_joined:
            raise self._not_ours("close()")
        super().close()

    def __exit__(self, *exc_info: object) -> None:
        self._left = True
        if not self._open:
            self.close()

    def _end(self) -> None:
        was_open = self._open
        super()._end()
        if was_open and self._left:
            self.close()

    def _before_commit(self) -> None:
        if self._open and not self._readonly:
            try:
                self._prepare()
            except Exception as error:
                # Raised from here it would leave the transaction under way, and who called commit() believes it over.
                self._unit.transaction.join(_Refusal(error))

    def _after_commit(self, committed: bool) -> None:
        if not self._open:
            return
        if committed:
            if not self._readonly:
                self._settle()
            self._companions.clear()
        self._end()

    def _not_ours(self, verb: str) -> StoreError:
        problem = f"the scope's {verb} was called in a transaction that is not its own"
        return StoreError(self._unit.database.location, problem, fix="Commit or abort the transaction it was opened in")


class _Refusal:
    """Fails a commit with an error, before any other part of the transaction has begun to write."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def sortKey(self) -> str:  # noqa: N802  # a data manager's method, as are the rest
        """Be the first."""
        return ""

    def tpc_begin(self, transaction: Any) -> None:
        """Fail."""
        raise self._error

    def abort(self, transaction: Any) -> None:
        """Do nothing: nothing was written."""

    tpc_abort = abort
