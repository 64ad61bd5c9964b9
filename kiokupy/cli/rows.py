"""Rows: what kiokupy-dump shows of a store, one plain mapping for each session and object."""

from __future__ import annotations

import contextlib
import datetime
import fnmatch
import re
from collections.abc import Iterable, Iterator
from typing import Any

from persistent import Persistent

from kiokupy import inert, inspection
from kiokupy.cli.masking import masked
from kiokupy.database import Unit
from kiokupy.entry import ROOT, Entry, EntryTree, Record
from kiokupy.errors import StoreUnreadable
from kiokupy.sessions.facts import CLASS_NAME, Facts
from kiokupy.sessions.ids import key_of

Row = dict[str, Any]

_DIGEST = re.compile(r"[0-9a-f]{8,64}")
_WHOLE_DIGEST = 64
_BETWEEN_COLLECTIONS = 500


class Rows:
    """Reads the rows of a store.

    :param now: the time that sessions expire by, in seconds since 1970 UTC.
    :param reveal: show secrets.
    """

    def __init__(self, unit: Unit, *, now: float, reveal: bool) -> None:
        self._sessions, self._entries = unit.root.get("sessions"), unit.root.get("entries")
        if not isinstance(self._sessions, EntryTree) or not isinstance(self._entries, EntryTree):
            raise StoreUnreadable(unit.database.location, "its root record is not as kiokupy writes it")
        self._now, self._reveal = now, reveal
        self._connection = unit.connection
        unit.connection.graph = inspection.InertGraph()

    def sessions(self) -> Iterator[Row]:
        """Yield every session."""
        for key, entry in self._each(self._sessions):
            yield self._session(key, entry)

    def objects(self, pattern: str | None = None) -> Iterator[Row]:
        """Yield every object, or those whose class name, or its last part, matches a shell pattern."""
        for id, entry in self._each(self._entries):
            if pattern is None or _is_of(entry, pattern):
                yield self._object(id, entry)

    def _each(self, tree: EntryTree) -> Iterator[tuple[Any, Entry]]:
        for number, item in enumerate(tree.items(), start=1):
            yield item
            if number % _BETWEEN_COLLECTIONS == 0:
                self._connection.cacheGC()  # ZODB keeps all it loaded until the transaction ends, unless it is asked

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
        row: Row = {"session": key.hex() if isinstance(key, bytes) else inspection.render(key)}
        with _reported(row):
            record = _checked(entry)
            self._add_times(row, record)
            self._add_content(row, record)
        return row

    def _add_times(self, row: Row, record: Record) -> None:
        args, _ = inert.read(record.head or b"")
        facts = Facts(*args)
        row |= {
            "created": _moment(facts.created),
            "used": _moment(facts.used),
            "expires": _moment(facts.expires),
            "expired": facts.expires <= self._now,
            "principal": inspection.render(facts.principal),
        }
        if facts.authenticated is not None:
            row["authenticated"] = _moment(facts.authenticated)
        for name in ("user_agent", "address"):
            if getattr(facts, name) is not None:
                row[name] = inspection.render(getattr(facts, name))
        if facts.successor is not None:
            row["moved_to"] = facts.successor.hex()

    def _object(self, id: str, entry: Entry) -> Row:
        row: Row = {"object": inspection.render(id)}
        with _reported(row):
            record = _checked(entry)
            row |= {"class": record.class_name, "root": bool(record.flags & ROOT), "references": list(record.refs)}
            self._add_content(row, record)
        return row

    def _add_content(self, row: Row, record: Record) -> None:
        parts = (part for part in (record.head, record.state) if isinstance(part, bytes))
        row["size"] = sum(map(len, parts))
        if record.class_name == CLASS_NAME and isinstance(record.state, bytes):
            content = inspection.render(inert.read(record.state))
        else:
            content = inspection.content(record)
        row["content"] = content if self._reveal else masked(content)


@contextlib.contextmanager
def _reported(row: Row) -> Iterator[None]:
    """Note in a row why the rest of it is missing."""
    try:
        yield
    except Exception as error:  # a hostile or damaged record fails in any way it likes, and the dump goes on
        row["error"] = str(error) or type(error).__name__


def _checked(entry: Entry) -> Record:
    record = entry.record
    head, state, refs = record[1:4]
    if not (
        isinstance(record.class_name, str)
        and isinstance(head, bytes | None)
        and isinstance(state, bytes | Persistent)
        and isinstance(refs, tuple)
        and all(isinstance(id, str) for id in refs)
        and isinstance(record.flags, int)
    ):
        raise ValueError("the record is not as kiokupy writes it")
    return record


def _is_of(entry: Entry, pattern: str) -> bool:
    row: Row = {}
    with _reported(row):
        row["class"] = _checked(entry).class_name
    return _matches(row.get("class", ""), pattern)


def _moment(seconds: float) -> str | None:
    """Return a time in ISO 8601, UTC, or ``None`` for never."""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError):
        return None


def _matches(class_name: str, pattern: str) -> bool:
    names: Iterable[str] = (class_name, class_name.partition(":")[2])
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)
