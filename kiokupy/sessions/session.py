"""Session: a visitor's data, as a mapping."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from kiokupy.entry import Record
from kiokupy.errors import NotStorable
from kiokupy.rules import name_of
from kiokupy.sessions.record import Facts


@dataclass
class Held:
    """What a manager knows of an open session."""

    id: str
    facts: Facts
    #: What the store said when the session was read or written last; ``None``: it is not stored.
    record: Record | None
    #: The session's data; ``None``: still to be unpickled from the record.
    data: dict[str, Any] | None
    principal: str | None = None


class Verbs(Protocol):
    """What a session asks of its manager."""

    def begin(self, client_id: str | None) -> Held:
        """Return the stored session of an id, else a new one."""

    def load(self, record: Record) -> dict[str, Any]:
        """Return the data in a session's record."""

    def flush(self, session: Session) -> None:
        """Save a session."""

    def destroy(self, session: Session) -> bool:
        """End a session."""

    def regenerate(self, session: Session) -> str:
        """Move a session to a new id."""


class Session(MutableMapping[str, Any]):
    """A visitor's data: strings to any objects that the type map knows.

    Changes, also those deep inside values, are saved by :meth:`flush`, which a web adapter calls at the end of a
    request. A lazy session asks the store when it is first touched, and not at all if it never is.
    """

    def __init__(self, manager: Verbs, client_id: str | None, held: Held | None = None) -> None:
        self._manager = manager
        #: The id that the client sent, or ``None``; it need not be that of a session.
        self.client_id = client_id
        #: Whether the session was looked at or changed.
        self.accessed = False
        #: Whether the session was destroyed; it cannot be saved then.
        self.destroyed = False
        self._held = held

    @property
    def held(self) -> Held:
        """What the manager knows of the session; opens a lazy one."""
        self.accessed = True
        if self._held is None:
            self._held = self._manager.begin(self.client_id)
        return self._held

    @property
    def id(self) -> str:
        """The session's id: the secret for the cookie, 43 characters."""
        return self.held.id

    @property
    def is_new(self) -> bool:
        """Whether the session has not been stored yet."""
        return self.held.record is None

    @property
    def created(self) -> datetime:
        """When the session was created."""
        return datetime.fromtimestamp(self.held.facts.created, UTC)

    @property
    def expires(self) -> datetime:
        """When the session ends unless it is used before."""
        return datetime.fromtimestamp(min(self.held.facts.expires, _LAST), UTC)

    @property
    def principal(self) -> str | None:
        """Who the session belongs to; the application sets it, after :meth:`regenerate`, when someone logs in."""
        return self.held.principal

    @principal.setter
    def principal(self, principal: str | None) -> None:
        self.held.principal = principal

    def flush(self) -> None:
        """Save what changed; see :meth:`SessionManager.flush`."""
        self._manager.flush(self)

    def destroy(self) -> bool:
        """End the session; see :meth:`SessionManager.destroy`."""
        return self._manager.destroy(self)

    def regenerate(self) -> str:
        """Move the session to a new id; see :meth:`SessionManager.regenerate`."""
        return self._manager.regenerate(self)

    def invalidate(self) -> None:
        """End the session and go on as a new, empty one under a new id."""
        self.destroy()
        self._held = self._manager.begin(None)
        self.destroyed = False

    def __getitem__(self, key: str) -> Any:
        return self._values()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise NotStorable("session", name_of(type(key)), reason=f"the key {key!r} is not a string")
        self._values()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._values()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())

    def __repr__(self) -> str:  # neither id nor data: a repr ends up in logs
        if self._held is None:
            return "<Session, not opened yet>"
        state = "destroyed" if self.destroyed else "new" if self._held.record is None else "stored"
        return f"<Session, {state}>"

    def _values(self) -> dict[str, Any]:
        held = self.held
        if held.data is None:
            held.data = {} if held.record is None else self._manager.load(held.record)
        return held.data


# The last moment that datetime can say; a session without limits has an infinite one.
_LAST = datetime.max.replace(tzinfo=UTC).timestamp() - 86400
