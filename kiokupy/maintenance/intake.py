"""Intake: the lines of a dump become records, and go into a store. No class is imported, and nothing run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from BTrees.QQBTree import QQBTree, QQTreeSet
from ZODB.POSException import POSError
from ZODB.utils import p64, u64, z64

from kiokupy import entry as stored
from kiokupy import ids
from kiokupy.database import Unit
from kiokupy.entry import Entry, Record
from kiokupy.errors import DuplicateId, InvalidId, KiokuError, NotLoadable, StreamError
from kiokupy.forms.decoding import decode, name
from kiokupy.inert import StandIn
from kiokupy.maintenance import bare
from kiokupy.maintenance.lines import FLAGS, Form
from kiokupy.pickles import Found, write, write_record
from kiokupy.sessions.facts import facts_of
from kiokupy.sessions.shelf import Shelf

_MOST_RECORDS = 1 << 63
_NEW = b"", None
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FIELDS = {
    "entry": {"class", "version", "flags", "head", "state"},
    "session": {"class", "version", "flags", "head", "state"},
    "record": {"class", "state", "gone"},
}


class Intake:
    """Puts lines into the store of a transaction that was begun with :func:`~kiokupy.maintenance.bare.bare_unit`.

    :param known: oid and serial of records that are there, by their numbers.
    """

    def __init__(self, unit: Unit, known: dict[int, tuple[bytes, bytes | None]] | None = None) -> None:
        self._unit, self._known = unit, known or {}
        self._oids = QQBTree([(number, u64(oid)) for number, (oid, _) in self._known.items()])
        self._taken = QQTreeSet()
        # The numbers that have no record yet, with the lines that name them first.
        self._open: dict[int, int] = {}
        self.entries, self.records, self.sessions = 0, 0, 0

    def take(self, line: int, form: Form, *, replace: bool = False) -> None:
        """Put one line in.

        :param replace: the entry that it has takes the place of one that is there.
        :raises StreamError: it cannot be one of a dump.
        :raises DuplicateId: the store has an object, or a session, of that id.
        """
        with explained(line):
            kind = kind_of(form)
            if kind == "record":
                self._record(form, line)
                self.records += 1
            elif kind == "entry":
                self._entry(ids.check(form["entry"]), form, line, replace)
                self.entries += 1
            else:
                self._session(form, line)
                self.sessions += 1

    def _entry(self, key: str, form: Form, line: int, replace: bool) -> None:
        if not replace and key in self._unit.root["entries"]:
            raise DuplicateId(key)
        bare.put(self._unit, key, self._content(form, line))

    def _session(self, form: Form, line: int) -> None:
        digest, sessions = form["session"], self._unit.root["sessions"]
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ValueError("a session has the SHA-256 of its id, 64 digits")
        key = bytes.fromhex(digest)
        if key in sessions:
            raise DuplicateId(digest, problem=f"the session {digest} is in the store already. Load with clear=True")
        record = self._content(form, line)
        sessions[key] = Entry(record)
        with suppress(NotLoadable):  # as it was in the store that was dumped, for fsck() to tell of
            Shelf(self._unit.root).file(key, facts_of(record))

    def finish(self) -> None:
        """Check that every record that was named came.

        :raises StreamError: one did not.
        """
        for number, line in self._open.items():
            raise StreamError(line, f"it refers to record {number}, and no line has that one")

    def _content(self, form: Form, line: int) -> Record:
        class_name, version, found = name(form["class"]), form.get("version"), Found()
        if not isinstance(version, str | None):
            raise ValueError(f"a version is text, not {version!r:.40}")
        flags = sum(map(_flag, set(form["flags"])))
        head = write(decode(form["head"]), found) if "head" in form else None
        state: Any
        if flags & stored.STORED_ITSELF:
            state = self._unit.connection.reference(self._oid(form["state"]["$record"], line))
        else:
            state = write(decode(form["state"]), found)
        return Record(class_name, head, state, tuple(found.refs), flags, version, tuple(found.weak))

    def _record(self, form: Form, line: int) -> None:
        number = form["record"]
        oid = self._oid(number, line)
        if not self._taken.insert(number):
            raise ValueError(f"there is a record {number} already")
        self._open.pop(number, None)
        if form.get("gone") is True:
            return
        cls = form["class"]
        meta = StandIn(name(cls)) if isinstance(cls, str) else decode(cls, lambda n: self._oid(n, line))
        data = write_record(meta, decode(form["state"], lambda n: self._oid(n, line)))
        self._unit.connection.put(oid, data, self._known.get(number, _NEW)[1] or z64)

    def _oid(self, number: Any, line: int) -> bytes:
        """Return the oid of a number, a new one if it was not met before."""
        if type(number) is not int or not 0 < number < _MOST_RECORDS:
            raise ValueError(f"a record has a number from 1 up, not {number!r:.40}")
        if number not in self._oids:
            self._oids[number] = u64(self._unit.connection.new_oid())
            self._open[number] = line
        return bytes(p64(self._oids[number]))


def _flag(flag: Any) -> int:
    if flag not in FLAGS:
        raise ValueError(f"{flag!r:.40} is no flag")
    return FLAGS[flag]


def kind_of(form: Form) -> str:
    """Return what a line has.

    :raises ValueError: it is no line of a dump, or has what does not belong there.
    """
    kind = next(iter(form), "")
    if kind not in _FIELDS:
        raise ValueError("a line begins with entry, record or session")
    extra = form.keys() - {kind} - _FIELDS[kind]
    if extra:
        raise ValueError(f"{min(extra)!r} does not belong in a line of that kind")
    return kind


@contextmanager
def explained(line: int) -> Iterator[None]:
    """Turn what a malformed line raises into an error that names it."""
    try:
        yield
    except InvalidId as error:
        raise StreamError(line, str(error)) from error
    except (KiokuError, POSError):
        raise
    except KeyError as error:
        raise StreamError(line, f"it has no {error}") from error
    except Exception as error:  # whoever wrote it by hand may have written anything
        raise StreamError(line, str(error) or type(error).__name__) from error
