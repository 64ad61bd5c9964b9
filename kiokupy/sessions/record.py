"""The stored form of a session: an entry in the tree ``sessions``, under the SHA-256 of the session's id.

The head holds the session's times and principal, the state its data, whole: the objects in it belong to the session.
So sessions can be listed, expired and inspected without touching their data.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Any, NamedTuple

from kiokupy import entry
from kiokupy.collapse import Collapser, Found
from kiokupy.entry import Record
from kiokupy.errors import NotLoadable
from kiokupy.expand import Expander, explained
from kiokupy.refusal import Refusal
from kiokupy.typemap import TypeMap

CLASS_NAME = "kiokupy:Session"

_ID_SYNTAX = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def new_id() -> str:
    """Return a fresh session id: 256 bits of the operating system's randomness, 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def key_of(id: object) -> bytes | None:
    """Return the key a session id is stored under, or ``None`` if it cannot be a session id."""
    if not isinstance(id, str) or not _ID_SYNTAX.fullmatch(id):
        return None
    return hashlib.sha256(id.encode()).digest()


class Facts(NamedTuple):
    """What the store knows of a session beside its data; times are seconds since 1970 UTC."""

    created: float
    used: float
    expires: float
    principal: str | None = None


class SessionCodec:
    """Turns sessions into records and back, by the rules of a type map."""

    def __init__(self, typemap: TypeMap) -> None:
        # No object in a session has an id of its own, so no reference is ever cut out, or met.
        self._collapser = Collapser(typemap, lambda obj: None)
        self._expander = Expander(typemap, _no_reference, lambda key: False)

    def dump(self, data: dict[str, Any]) -> bytes:
        """Pickle a session's data.

        :raises NotStorable: the type map refuses something in it; its path begins with ``session``.
        """
        try:
            return self._collapser.dump(data, Found({}, {}), data)
        except Refusal as refusal:
            raise refusal.error(data, "session") from refusal.__cause__

    def load(self, record: Record) -> dict[str, Any]:
        """Return a session's data.

        :raises NotLoadable: the type map refuses something in it, or it does not fit its class.
        """
        with explained("a session", record):
            data: dict[str, Any] = self._expander.load(record.state, record)
        return data

    def record(self, facts: Facts, state: bytes) -> Record:
        """Return the record of a session."""
        return Record(CLASS_NAME, self._collapser.dump((tuple(facts), {}), Found({}, {}), None), state, (), entry.NEW)

    def facts(self, record: Record) -> Facts:
        """Return what a record says of its session beside the data."""
        args, _ = self._expander.load(record.head or b"", record)
        return Facts(*args)


def _no_reference(key: str, class_name: str) -> object:
    raise NotLoadable(
        class_name, id="a session", reason=f"a session holds no reference, and this one has one to {key!r}"
    )
