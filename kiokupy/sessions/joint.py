"""Joint: a session takes part in a scope's transaction: it is saved with the application's objects or not at all."""

from __future__ import annotations

from collections.abc import Callable

from kiokupy.database import Unit
from kiokupy.errors import ScopeClosed
from kiokupy.scope import Scope
from kiokupy.sessions.content import ScopeObjects
from kiokupy.sessions.held import Held

#: Writes a session, and ends what it was before, in a transaction; returns what is to be done after the commit.
Write = Callable[[Unit, list[Held]], Callable[[], None]]


class Joint:
    """A session's part in a scope.

    :param source: the scope, whose owner ends it; or what opens one, which the session's owner ends then.
    """

    def __init__(self, source: Scope | Callable[[], Scope]) -> None:
        #: Whether the scope is to be committed and closed by whoever concludes the session.
        self.is_owner = not isinstance(source, Scope)
        self._source = source
        self._scope = source if isinstance(source, Scope) else None
        # Of the scope, as soon as the session takes part in it.
        self._objects: ScopeObjects | None = None
        self._over = False
        self._write: Write = lambda unit, ended: _nothing
        self._reset: Callable[..., None] = _nothing
        self._committed = _nothing
        self._mark: Callable[[], Callable[[], None]] = lambda: _nothing
        #: The sessions that this one was, to be ended with the transaction.
        self.ended: list[Held] = []

    def bind(self, write: Write, reset: Callable[..., None], mark: Callable[[], Callable[[], None]]) -> None:
        """Be the joint of a session.

        :param reset: called when the session is to be as the store has it; with ``over``, whether the scope has ended.
        :param mark: called at a savepoint; returns what lets the session be again as it is then.
        """
        self._write, self._reset, self._mark = write, reset, mark

    @property
    def scope(self) -> Scope:
        """The scope, opened now if it was not yet.

        :raises ScopeClosed: it ended, or the session was concluded, before the session took part.
        """
        if self._objects is None:
            self._scope = self._begun()
            self._scope.join(self)
            self._objects = ScopeObjects(self._scope)
        assert self._scope is not None
        return self._scope

    @property
    def is_usable(self) -> bool:
        """Whether the scope has not ended, so that the session is read and saved there."""
        return not self._over and (self._scope is None or self._scope.is_open)

    def end(self, *, commit: bool) -> None:
        """End the scope that was opened for the session, if it was; none is opened from now on."""
        try:
            if self._scope is not None and commit:
                with self._scope:
                    pass
            elif self._scope is not None:
                self._scope.close()
        finally:
            self._over = True

    @property
    def objects(self) -> ScopeObjects:
        """The objects that the session's data refer to."""
        assert self.scope is not None  # it is opened now if it was not yet
        assert self._objects is not None
        return self._objects

    def _begun(self) -> Scope:
        if self._over:
            raise ScopeClosed("the scope of a session that was concluded")
        return self._source if isinstance(self._source, Scope) else self._source()

    def save(self, unit: Unit) -> None:
        """Write the session in the scope's transaction."""
        self._committed = self._write(unit, self.ended)

    def settle(self) -> None:
        """Let the session know that it is saved."""
        committed, self._committed = self._committed, _nothing
        self.ended.clear()
        committed()

    def drop(self) -> None:
        """Let the session be as the store has it."""
        self._committed = _nothing
        self.ended.clear()
        self._reset(over=not self.is_usable)

    def mark(self) -> Callable[[], None]:
        """At a savepoint: return what lets the session be again as it is now."""
        ended, recall = list(self.ended), self._mark()

        def back() -> None:
            self.ended[:] = ended
            recall()

        return back


def _nothing() -> None:
    """Do nothing."""
