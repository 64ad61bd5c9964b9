"""Events: what happens to sessions, for callbacks and for the log."""

from __future__ import annotations

import enum
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from kiokupy.errors import SettingsError
from kiokupy.sessions.ids import handle_of

_log = logging.getLogger("kiokupy.sessions")


class EventKind(enum.Enum):
    """What can happen to a session, with the level at which it is logged."""

    CREATED = "created", logging.INFO
    LOADED = "loaded", logging.DEBUG
    SAVED = "saved", logging.DEBUG
    RENEWED = "renewed", logging.DEBUG
    ROTATED = "rotated", logging.INFO
    MERGED = "merged", logging.DEBUG
    EXPIRED = "expired", logging.INFO
    DESTROYED = "destroyed", logging.INFO
    REJECTED = "rejected", logging.WARNING

    def __init__(self, text: str, level: int) -> None:
        self._text = text
        #: The level at which it is logged.
        self.level = level

    def __str__(self) -> str:
        return self._text

    __hash__ = object.__hash__  # enum's own hashes the name, in Python


class Event(NamedTuple):
    """Something that happened to a session, and is committed.

    No event has a session's id: it is a secret, and events end up in logs.
    """

    kind: EventKind
    #: the beginning of the id's SHA-256, in hex, as in :class:`~kiokupy.sessions.roster.SessionInfo`; empty for an id
    #: that cannot be one
    handle: str
    #: when, in seconds since 1970 UTC, by the policy's clock
    time: float
    principal: str | None = None
    #: why, or, of a rotated session, the handle that it has now
    detail: str = ""

    def __str__(self) -> str:
        parts = [f"session {self.handle or '-'} {self.kind}"]
        if self.principal is not None:
            parts.append(f"principal {self.principal!r:.80}")
        if self.detail:
            parts.append(self.detail)
        return ", ".join(parts)


#: Called with each event, in the thread where it happened, when the transaction is committed. What it raises is logged,
#: and does not harm the session.
Listener = Callable[[Event], object]


class Events:
    """Tells listeners and the log of what happened, and counts."""

    def __init__(self, listeners: Iterable[Listener], clock: Callable[[], float]) -> None:
        self._listeners, self._clock = tuple(listeners), clock
        for listener in self._listeners:
            if not callable(listener):
                raise SettingsError(f"a listener is {listener!r:.60}, which cannot be called", target="listeners")
        #: How often each kind came in this process.
        self.counts: Counter[EventKind] = Counter()
        self._lock = threading.Lock()

    def event(self, kind: EventKind, key: bytes | None, principal: str | None = None, detail: str = "") -> Event:
        """Return an event of now."""
        return Event(kind, "" if key is None else handle_of(key), self._clock(), principal, detail)

    def happened(self, kind: EventKind, key: bytes | None, principal: str | None = None, detail: str = "") -> None:
        """Let everybody know of what waits for no commit; an event is made of it only if somebody listens."""
        if self._listeners or _log.isEnabledFor(kind.level):
            self.tell([self.event(kind, key, principal, detail)])
        else:
            self._count(kind)

    def tell(self, events: Iterable[Event]) -> None:
        """Let everybody know."""
        for event in events:
            self._count(event.kind)
            _log.log(event.kind.level, "%s", event)
            for listener in self._listeners:
                try:
                    listener(event)
                except Exception:
                    _log.exception("a listener failed at: %s", event)

    def _count(self, kind: EventKind) -> None:
        with self._lock:
            self.counts[kind] += 1
