"""Rows: what kiokupy-dump shows of a store, one plain mapping for each session and object."""

from __future__ import annotations

import datetime
import fnmatch
import re
from collections.abc import Iterable, Iterator
from typing import Any

from kiokupy import inert, inspection
from kiokupy.cli.masking import masked
from kiokupy.database import Unit
from kiokupy.entry import ROOT, Entry, Record
from kiokupy.errors import KiokuError
from kiokupy.sessions.record import CLASS_NAME, Facts, key_of

Row = dict[str, Any]

_DIGEST = re.compile(r"[0-9a-f]{8,64}")
_WHOLE_DIGEST = 64


class Rows:
    """Reads the rows of a store.

    :param now: the time that sessions expire by, in seconds since 1970 UTC.
    :param reveal: show secrets.
    """

    def __init__(self, unit: Unit, *, now: float, reveal: bool) -> None:
        self._sessions, self._entries = unit.root["sessions"], unit.root["entries"]
        self._now, self._reveal = now, reveal
        unit.connection.graph = inspection.InertGraph()

    def sessions(self) -> Iterator[Row]:
        """Yield every session."""
        for key, entry in self._sessions.items():
            yield self._session(key, entry)

    def objects(self, pattern: str | None = None) -> Iterator[Row]:
        """Yield every object, or those whose class name, or its last part, matches a shell pattern."""
        for id, entry in self._entries.items():
            row = self._object(id, entry)
            if pattern is None or _matches(row.get("class", ""), pattern):
                yield row

    def named(self, id: str) -> Iterator[Row]:
        """Yield what an id names: a session's id in the cookie, the beginning of its hash, or an object's id."""
        key = key_of(id)
        if key is not None and key in self._sessions:
            yield self._session(key, self._sessions[key])
        if _DIGEST.fullmatch(id):
            low, high = bytes.fromhex(id.ljust(_WHOLE_DIGEST, "0")), bytes.fromhex(id.ljust(_WHOLE_DIGEST, "f"))
            for found, entry in self._sessions.items(low, high):
                yield self._session(found, entry)
        if id in self._entries:
            yield self._object(id, self._entries[id])

    def _session(self, key: bytes, entry: Entry) -> Row:
        row: Row = {"session": key.hex()}
        try:
            row |= self._times(entry.record)
        except (ValueError, TypeError, KiokuError) as error:
            return {**row, "error": str(error)}
        return self._with_content(row, entry.record)

    def _times(self, record: Record) -> Row:
        args, _ = inert.read(record.head or b"")
        facts = Facts(*args)
        return {
            "created": _moment(facts.created),
            "used": _moment(facts.used),
            "expires": _moment(facts.expires),
            "expired": facts.expires <= self._now,
            "principal": facts.principal,
        }

    def _object(self, id: str, entry: Entry) -> Row:
        row: Row = {"object": id}
        try:
            record = entry.record
        except KiokuError as error:
            return {**row, "error": str(error)}
        row |= {"class": record.class_name, "root": bool(record.flags & ROOT), "references": list(record.refs)}
        return self._with_content(row, record)

    def _with_content(self, row: Row, record: Record) -> Row:
        parts = (part for part in (record.head, record.state) if isinstance(part, bytes))
        row["size"] = sum(map(len, parts))
        try:
            if record.class_name == CLASS_NAME and isinstance(record.state, bytes):
                content = inspection.render(inert.read(record.state))
            else:
                content = inspection.content(record)
        except (ValueError, KiokuError) as error:
            return {**row, "error": str(error)}
        return {**row, "content": content if self._reveal else masked(content)}


def _moment(seconds: float) -> str | None:
    """Return a time in ISO 8601, UTC, or ``None`` for never."""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError):
        return None


def _matches(class_name: str, pattern: str) -> bool:
    names: Iterable[str] = (class_name, class_name.partition(":")[2])
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)
