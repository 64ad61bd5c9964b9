"""Lines: the lines of a dump. Each is a JSON object::

    {"kiokupy": "dump", "format": 1}                the first line; with "sessions": true if they are in it
    {"entry": "<id>", "class": "module:qualname", ...}      an object, in the order of ids
    {"record": 1, "class": "module:qualname", "state": ...} a record of ZODB, after the first that refers to its number
    {"session": "<SHA-256 of its id>", "class": "kiokupy:Session", ...}
    {"end": true}                                   the last line

Entries and sessions have what :class:`kiokupy.entry.Record` has: "version" if there is one, "flags" by their names,
"head" if there is one, and "state", the last two in the forms of :mod:`kiokupy.forms`. The ids that an object refers to
are those in these forms.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from BTrees.QQBTree import QQBTree
from ZODB.POSException import POSKeyError
from ZODB.utils import u64

from kiokupy import entry as stored
from kiokupy import inert
from kiokupy.database import Unit
from kiokupy.entry import Entry, Record
from kiokupy.errors import KiokuError, StoreUnreadable, StreamError
from kiokupy.forms.encoding import encode

FORMAT = 1
END = {"end": True}
FLAGS = {
    "root": stored.ROOT,
    "new": stored.NEW,
    "call": stored.CALL,
    "items": stored.ITEMS,
    "pair": stored.PAIR,
    "value": stored.VALUE,
    "persistent": stored.STORED_ITSELF,
}

# What JSON leaves as it is, and a terminal or another reader of lines does not.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029]")

Form = dict[str, Any]


def header(*, sessions: bool) -> Form:
    """Return the form of the first line."""
    return {"kiokupy": "dump", "format": FORMAT, **({"sessions": True} if sessions else {})}


def text_of(form: Form, *, indent: int | None = None) -> str:
    """Return a form as text that ends with a newline: one line, or several with an indent."""
    text = json.dumps(form, ensure_ascii=False, indent=indent, allow_nan=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


class Lines:
    """Makes the lines of a dump of what one transaction sees."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._numbers, self._pending = QQBTree(), deque[bytes]()

    def entry(self, key: str, entry: Entry) -> Form:
        """Return the form of an entry.

        :raises StoreUnreadable: it is damaged.
        """
        return {"entry": key, **self._explained(f"the object {key!r}", entry)}

    def session(self, key: bytes, entry: Entry) -> Form:
        """Return the form of a session; raises as :meth:`entry`."""
        return {"session": key.hex(), **self._explained(f"the session {key.hex()}", entry)}

    def records(self) -> Iterator[tuple[bytes, bytes | None, Form]]:
        """Yield oid, serial and form of each record that was referred to and not yielded yet.

        The serial of one that is not in the store is ``None``.
        """
        while self._pending:
            oid = self._pending.popleft()
            try:
                data, serial = self._unit.connection.records.load(oid)
            except POSKeyError:
                yield oid, None, {"record": self._numbers[u64(oid)], "gone": True}
                continue
            with _explaining(self._unit, f"the record {oid.hex()}"):
                yield oid, serial, self._record(oid, data)

    def _record(self, oid: bytes, data: bytes) -> Form:
        cls, state = inert.read_record(data)
        named = isinstance(cls, inert.StandIn) and not cls.how
        return {
            "record": self._numbers[u64(oid)],
            "class": cls.name if named else encode(cls, self.number_of),
            "state": encode(state, self.number_of),
        }

    def _explained(self, what: str, entry: Entry) -> Form:
        with _explaining(self._unit, what):
            return self._content(entry.record)

    def _content(self, record: Record) -> Form:
        form: Form = {"class": record.class_name}
        if record.version is not None:
            form["version"] = record.version
        form["flags"] = [name for name, bit in FLAGS.items() if record.flags & bit]
        for name, part in (("head", record.head), ("state", record.state)):
            if isinstance(part, bytes):
                form[name] = encode(inert.read(part, record.refs, record.weak), self.number_of)
            elif part is not None:
                form[name] = {"$record": self.number_of(part._p_oid)}
        return form

    def number_of(self, oid: bytes) -> int:
        """Return the number of a record; a new one waits to be yielded."""
        number: int | None = self._numbers.get(u64(oid))
        if number is None:
            number = self._numbers[u64(oid)] = len(self._numbers) + 1
            self._pending.append(oid)
        return number


@contextmanager
def _explaining(unit: Unit, what: str) -> Iterator[None]:
    try:
        yield
    except KiokuError:
        raise
    except Exception as error:  # a damaged record fails in any way it likes
        problem = f"{what} cannot be dumped ({error or type(error).__name__})"
        raise StoreUnreadable(unit.database.location, problem, fix="Look at it with kiokupy-dump") from error


def opened(stream: Iterable[str]) -> tuple[Form, Iterator[tuple[int, Form]]]:
    """Return the header of a dump, and an iterator of the forms between that and the end, with their line numbers.

    :raises StreamError: this is no dump, or one of a newer kiokupy; the iterator raises it for what is no JSON, and for
        a dump that was cut off.
    """
    found = documents(stream)
    line, head = next(found, (1, {}))
    if head.get("kiokupy") != "dump":
        raise StreamError(line, f"a dump begins with {text_of(header(sessions=False)).strip()}")
    if head.get("format") != FORMAT:
        raise StreamError(line, f"it has format {head.get('format')!r:.40}, and this kiokupy reads {FORMAT}")
    return head, _until_end(found)


def _until_end(found: Iterator[tuple[int, Form]]) -> Iterator[tuple[int, Form]]:
    line = 1
    for line, form in found:
        if form == END:
            break
        yield line, form
    else:
        raise StreamError(line, f"the dump was cut off after it; the last line of one is {text_of(END).strip()}")
    for line, _ in found:
        raise StreamError(line, "it comes after the end")


def documents(stream: Iterable[str]) -> Iterator[tuple[int, Form]]:
    """Yield the forms in a text with the numbers of their lines: one a line, or from a line ``{`` to a line ``}``.

    :raises StreamError: something in it is no JSON object.
    """
    block, start = list[str](), 0
    for number, line in enumerate(stream, start=1):
        mark = line.rstrip()
        if block or mark:
            start = start if block else number
            block.append(line)
        if block and (block[0].rstrip() != "{" or mark == "}"):
            yield start, _parsed("".join(block), start)
            block = []
    if block:
        raise StreamError(start, "the object that begins here has no end")


def _parsed(text: str, start: int) -> Form:
    try:
        form = json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise StreamError(start + error.lineno - 1, f"it is no JSON ({error.msg}, column {error.colno})") from error
    except (ValueError, RecursionError) as error:
        raise StreamError(start, str(error)) from error
    if not isinstance(form, dict):
        raise StreamError(start, "it is no JSON object")
    return form


def _refuse(constant: str) -> None:
    raise ValueError(f'{constant} is no JSON; write {{"$float": "{constant.lower().removesuffix("inity")}"}}')
