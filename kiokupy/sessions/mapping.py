"""Mapping: a session's data, and what it keeps among them for the application."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from abc import abstractmethod
from collections.abc import Iterator, MutableMapping
from typing import Any

from kiokupy.entry import Record
from kiokupy.errors import NotStorable
from kiokupy.rules import name_of
from kiokupy.sessions.held import Held
from kiokupy.sessions.merging import Data, Tail, added, appended, first

#: How the keys of messages begin, and the key of what makes the CSRF token another one.
FLASH, CSRF = "_flash", "_csrf"

#: Values that differ from what was there before if they are not equal to it.
_PLAIN = frozenset({str, int, bytes, bool, type(None)})


class SessionMapping(MutableMapping[str, Any]):
    """Strings to any objects that the type map knows."""

    @property
    @abstractmethod
    def held(self) -> Held:
        """What the manager knows of the session."""

    @property
    @abstractmethod
    def id(self) -> str:
        """The session's id."""

    @abstractmethod
    def load(self, record: Record) -> Data:
        """Return the data in the session's record."""

    def increment(self, key: str, by: float = 1) -> Any:
        """Add to a number and return it; what other requests add meanwhile counts as well."""
        self[key] = self.get(key, 0) + by
        self.held.merges[key] = added
        return self[key]

    def append(self, key: str, *values: object) -> None:
        """Append to a list; what other requests append meanwhile is kept as well."""
        known = self.held.merges.get(key)
        self[key] = [*self.get(key, []), *values]
        self.held.merges[key] = Tail(len(values) + (known.count if isinstance(known, Tail) else 0))

    def flash(self, message: object, queue: str = "", allow_duplicate: bool = True) -> None:
        """Keep a message for the next page that shows it, in a queue of messages."""
        key = FLASH + queue
        if allow_duplicate or message not in self.get(key, []):
            self[key] = [*self.get(key, []), message]
            self.held.merges[key] = appended

    def pop_flash(self, queue: str = "") -> list[Any]:
        """Return the messages of a queue, and take them out."""
        key = FLASH + queue
        if key not in self:
            return []
        messages: list[Any] = self.pop(key)
        self.held.merges[key] = appended
        return messages

    def peek_flash(self, queue: str = "") -> list[Any]:
        """Return the messages of a queue."""
        return list(self.get(FLASH + queue, []))

    def csrf_token(self) -> str:
        """Return what the application's own forms send along, and others cannot know; it changes with the id."""
        self.held.wanted = True
        return self._token()

    def new_csrf_token(self) -> str:
        """Let the token be another one, and return it."""
        self[CSRF] = secrets.token_urlsafe(8)
        self.held.merges[CSRF] = first
        return self.csrf_token()

    def check_csrf(self, token: object) -> bool:
        """Tell whether a request has the right token."""
        # What a client sends may be no text: JSON can have half a surrogate pair.
        given = token.encode(errors="replace") if isinstance(token, str) else b""
        return hmac.compare_digest(given, self._token().encode())

    def _token(self) -> str:
        salt = self.get(CSRF, "")
        digest = hmac.digest(self.id.encode(), f"csrf {salt}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def __getitem__(self, key: str) -> Any:
        return self._values()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise NotStorable("session", name_of(type(key)), reason=f"the key {key!r} is not a string")
        held, values = self.held, self._values()
        if type(value) in _PLAIN and (key not in values or _differs(value, values[key])):
            held.is_touched = True
        values[key] = value
        held.merges.pop(key, None)  # what increment() and the like did to it before is overruled

    def __delitem__(self, key: str) -> None:
        del self._values()[key]
        self.held.is_touched = True
        self.held.merges.pop(key, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())

    def _values(self) -> Data:
        held = self.held
        if held.data is None:
            held.data = {} if held.record is None else self.load(held.record)
        return held.data


def _differs(value: object, before: object) -> bool:
    """Tell whether a plain value differs from what was there; how others compare themselves is not asked."""
    return type(before) not in _PLAIN or value != before
