"""Joint: a session takes part in a scope's transaction: it is saved with the application's objects or not at all."""

from __future__ import annotations

from collections.abc import Callable

from kiokupy.database import Unit
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
        self._source = source
        self._scope: Scope | None = None
        self._objects: ScopeObjects | None = None
        self._write: Write = _unbound
        self._reset = self._committed = _nothing
        #: The sessions that this one was, to be ended with the transaction.
        self.ended: list[Held] = []

    def bind(self, write: Write, reset: Callable[[], None]) -> None:
        """Be the joint of a session.

        :param reset: called when the session is to be as the store has it.
        """
        self._write, self._reset = write, reset

    @property
    def is_owner(self) -> bool:
        """Whether the scope is to be committed and closed by whoever concludes the session."""
        return not isinstance(self._source, Scope)

    @property
    def scope(self) -> Scope:
        """The scope, opened now if it was not yet; the session is in it from then on."""
        if self._scope is None:
            self._scope = self._source if isinstance(self._source, Scope) else self._source()
            self._scope.join(self)
            self._objects = ScopeObjects(self._scope)
        return self._scope

    @property
    def is_open(self) -> bool:
        """Whether the scope was needed."""
        return self._scope is not None

    @property
    def is_usable(self) -> bool:
        """Whether the scope has not ended."""
        return self._scope is None or self._scope.is_open

    @property
    def objects(self) -> ScopeObjects:
        """The objects that the session's data refer to."""
        assert self.scope is not None
        assert self._objects is not None
        return self._objects

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
        self._reset()


def _nothing() -> None:
    pass


def _unbound(unit: Unit, ended: list[Held]) -> Callable[[], None]:
    return _nothing
