"""Roster: the sessions that are stored, whose they are, and how they are ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from kiokupy.database import Unit
from kiokupy.sessions.events import Event, EventKind, Events
from kiokupy.sessions.facts import Device, Facts
from kiokupy.sessions.ids import handle_of
from kiokupy.sessions.shelf import Shelf

_BETWEEN_COLLECTIONS = 500

# The last moment that datetime can say; a session without limits has an infinite one.
_LAST = datetime.max.replace(tzinfo=UTC).timestamp() - 86400


@dataclass(frozen=True)
class SessionInfo:
    """A stored session, as its owner or an administrator may see it: without its id and its data."""

    #: what it is called in events and for :meth:`SessionManager.end`; it opens nothing
    handle: str
    principal: str | None
    created: datetime
    #: when it was used last, to the policy's ``resolution``
    used: datetime
    expires: datetime
    authenticated: datetime | None
    device: Device

    def __str__(self) -> str:
        principal = "-" if self.principal is None else repr(self.principal)
        times = (time.isoformat(" ", "seconds") for time in (self.created, self.used, self.expires))
        agent = "-" if self.device.user_agent is None else repr(self.device.user_agent)
        return "  ".join([self.handle, principal, *times, ascii(self.device.address or "-").strip("'"), agent])


@dataclass(frozen=True)
class Stats:
    """How many sessions there are."""

    #: sessions that have not expired
    alive: int
    #: sessions that have expired, and that a sweep takes out
    expired: int
    #: how often each kind of event came in this process, by its name
    events: Mapping[str, int]


def moment(seconds: float) -> datetime:
    """Return a time in seconds since 1970 as a datetime in UTC."""
    return datetime.fromtimestamp(min(seconds, _LAST), UTC)


class Roster:
    """The stored sessions, in one transaction; the commit is the caller's."""

    def __init__(self, unit: Unit, events: Events, now: float) -> None:
        self._unit, self._shelf, self._events, self._now = unit, Shelf(unit.root), events, now

    def sessions(self, principal: str | None) -> Iterator[SessionInfo]:
        """Yield the sessions of a principal, or all, that have not expired, in no order."""
        keys = self._shelf.sessions.keys() if principal is None else self._shelf.of_principal(principal)
        return (_info(key, facts) for key, facts in self._readable(keys) if facts.expires > self._now)

    def count(self) -> tuple[int, int]:
        """Return how many sessions have not expired, and how many have and are still there."""
        alive = Counter(facts.expires > self._now for _, facts in self._readable(self._shelf.sessions.keys()))
        return alive[True], alive[False]

    def _readable(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, Facts]]:
        for number, key in enumerate(keys, start=1):
            facts = self._shelf.readable(key)
            if facts is not None and facts.successor is None:
                yield key, facts
            if number % _BETWEEN_COLLECTIONS == 0:
                self._unit.connection.cacheGC()

    def end(self, principal: str, handle: str) -> list[Event]:
        """End the session of a principal that has a handle, and tell which it was."""
        return self._end(principal, lambda key: handle_of(key) == handle)

    def end_all(self, principal: str, *, keep: bytes | None) -> list[Event]:
        """End all sessions of a principal but one, and tell which.

        Who logs in as that principal meanwhile comes after it, or is ended as well.
        """
        found = None if keep is None else self._shelf.alive(keep, self._now)  # it may have moved, with an overlap
        kept = keep if found is None else found[0]
        return self._end(principal, lambda key: key != kept)

    def _end(self, principal: str, is_meant: Callable[[bytes], bool]) -> list[Event]:
        self._shelf.claim(principal)
        keys = [key for key in self._shelf.of_principal(principal) if is_meant(key)]
        return [event for key in keys for event in self.remove(key, "revoked")]

    def clear(self, most: int) -> tuple[list[Event], bool]:
        """End so many sessions, whoever's they are; tell which, and whether there are others."""
        ended: list[Event] = []
        for key in list(islice(self._shelf.sessions.keys(), most)):
            ended += self.remove(key, "revoked")
        return ended, bool(self._shelf.sessions)

    def remove(self, key: bytes, why: str) -> list[Event]:
        """End the session of a key, and tell so if it was there."""
        facts = self._shelf.discard(key)
        if facts is None:
            return []
        if facts.successor is not None:
            return self.remove(facts.successor, why) if facts.expires > self._now else []
        return [self._events.event(EventKind.DESTROYED, key, facts.principal, why)]


def _info(key: bytes, facts: Facts) -> SessionInfo:
    authenticated = None if facts.authenticated is None else moment(facts.authenticated)
    return SessionInfo(
        handle_of(key),
        facts.principal,
        moment(facts.created),
        moment(facts.used),
        moment(facts.expires),
        authenticated,
        facts.device,
    )
