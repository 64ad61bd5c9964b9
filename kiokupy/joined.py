"""Joined: a scope in the application's own transaction, which others may be part of as well."""

from __future__ import annotations

from typing import Any

from kiokupy.errors import StoreError
from kiokupy.scope import Scope


class JoinedScope(Scope):
    """A unit of work within a transaction that somebody else begins and ends.

    What changed is written when that one is committed, and dropped when it is aborted; the scope ends with it. It is to
    be closed after that, since a connection cannot be given back while its transaction is still looked after.
    """

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
        self.close()

    def _before_commit(self) -> None:
        if not self._open or self._readonly:
            return
        try:
            self._prepare()
        except BaseException:
            # The hook is called once only: another commit() would write what stands there by now.
            self._unit.transaction.doom()
            raise

    def _after_commit(self, committed: bool) -> None:
        if committed and self._open:
            if not self._readonly:
                self._settle()
            self._companions.clear()
            self._end()

    def _not_ours(self, verb: str) -> StoreError:
        problem = f"the scope's {verb} was called in a transaction that is not its own"
        return StoreError(self._unit.database.location, problem, fix="Commit or abort the transaction it was opened in")
