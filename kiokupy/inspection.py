"""Inspection: what a record holds, as plain data, without any of the application's classes.

Nothing in the store is run: while a pickle is read every class and function it names is a stand-in that only notes
how it was called. Afterwards the notes are rendered. The forms (each is JSON)::

    bytes           {"$bytes": "<base64>"}          tuple, list      [...]
    set, frozenset  {"$set": [...]}, sorted          dict             {...}, or {"$items": [[key, value], ...]}
    an object       {"$class": "module:qualname", ...its attributes}, and "$args", "$items", "$pairs", "$state" if any
    a reference     {"$ref": "<id>"}                 seen already     {"$same": "<path>"}
    a weak one      {"$weak": "<id>"}, or null if dead
    nan, inf, -inf  {"$float": "nan"}                int > 3000 digits {"$int": "0x..."}
    datetime types, Decimal, UUID, paths and the like: {"$class": ..., "$value": "<as text>"}
"""

from __future__ import annotations

import base64
import datetime
import decimal
import math
import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from persistent import Persistent
from ZODB.broken import Broken, PersistentBroken

from kiokupy import entry as stored
from kiokupy.entry import Record
from kiokupy.errors import KiokuError
from kiokupy.graph import Graph
from kiokupy.inert import Elements, Key, Reference, StandIn, read
from kiokupy.rules import name_of
from kiokupy.typemap import TypeMap, is_container_module

_DEEPEST = 100
# A few bytes of pickle can name the same part over and over. What costs more than this to show is no session.
_MOST_TEXT, _MOST_ITEMS = 100_000_000, 1_000_000
_COST = 32
_LONGEST_STEP = 40
_MOST_BITS = 10_000  # Python turns no int of more than 4300 digits into text
_STANDARD = TypeMap()


def content(record: Record) -> Any:
    """Return what a record holds in the forms above.

    :raises ValueError: a pickle in it is malformed, or unfolds to more than can be shown.
    :raises KiokuError: a record of ZODB that it consists of cannot be loaded.
    """
    try:
        return _content(record)
    except (ValueError, KiokuError):  # these say what is the matter
        raise
    except Exception as error:  # whoever wrote it by hand may have written anything
        raise ValueError(f"the record is not as kiokupy writes it ({type(error).__name__}: {error})") from error


def _content(record: Record) -> Any:
    if not isinstance(record.state, bytes):
        return render(record.state)
    state = read(record.state, record.refs, record.weak)
    if record.flags & stored.VALUE:
        return render(state)
    whole = StandIn(record.class_name)
    if record.head is not None:
        whole.args, keywords = _head(read(record.head, record.refs, record.weak))
        whole.pairs = list(keywords.items())
    if record.flags & stored.ITEMS:
        state, items, pairs = state
        whole.items = items or []
        whole.pairs += (pairs or {}).items()
    whole.state = state
    return render(whole)


def _head(head: Any) -> tuple[tuple[Any, ...], dict[Any, Any]]:
    match head:
        case (tuple() as args, dict() as keywords):
            return args, keywords
    return (head,), {}


def _of_zodb(class_name: str, obj: Any) -> StandIn:
    """Return a stand-in for a Persistent object: one of ZODB's own containers, or one whose class was not imported."""
    whole = StandIn(class_name)
    if isinstance(obj, Broken):
        if isinstance(obj, PersistentBroken):
            obj._p_activate()
        whole.args, whole.state = obj.__Broken_newargs__ or (), obj.__Broken_state__
    elif hasattr(obj, "items"):
        whole.pairs = _bounded(obj.items())
    elif hasattr(obj, "__iter__"):
        whole.items = _bounded(obj)
    else:
        whole.state = obj.__getstate__()
    return whole


def _bounded(items: Iterable[Any]) -> list[Any]:
    found = list(islice(items, _MOST_ITEMS + 1))
    if len(found) > _MOST_ITEMS:  # a damaged tree can also go in circles
        raise ValueError(f"it has more than {_MOST_ITEMS:,} items")
    return found


def find_inert(module: str, name: str) -> Any:
    """Return a class for what a record of ZODB names: its own containers, and stand-ins for all else."""
    if is_container_module(module):
        return _STANDARD.find(module, name)
    return type(name.rpartition(".")[2], (Broken,), {"__module__": module, "__qualname__": name})


class InertGraph(Graph):
    """Leaves references to first-class objects as they are."""

    def resolve(self, key: str, class_name: str) -> object:
        """Return a reference."""
        return Reference(key)

    def restore(self, class_name: str, data: object) -> object:
        """Return what an entry's pickle would have in this place."""
        return StandIn(f"{stored.__name__}:restore").made((class_name, data))


def render(value: Any) -> Any:
    """Return a value in the forms above.

    :raises ValueError: it unfolds to more than can be shown.
    """
    return _Renderer().render(value, "", 0)


class _Renderer:
    def __init__(self) -> None:
        self._paths: dict[int, str] = {}
        self._kept: list[Any] = []  # so that the numbers in _paths stay theirs
        self._left = _MOST_TEXT

    def render(self, value: Any, path: str, depth: int) -> Any:
        """Return what shows a value that is found at a path, so deep in the whole."""
        self._pay(len(path) + (len(value) if isinstance(value, str | bytes | bytearray) else 0))
        value = value.value if isinstance(value, Key) else value
        if value is None or isinstance(value, bool | str | int | float | bytes | bytearray):
            return _plain_form(value)
        if isinstance(value, Reference):
            return {"$weak" if value.weak else "$ref": value.id}
        frozen = isinstance(value, tuple) or (isinstance(value, Elements) and value.frozen)
        if id(value) in self._paths and not frozen:
            return {"$same": self._paths[id(value)] or "."}
        if depth > _DEEPEST:
            return {"$deeper": type(value).__name__}
        self._paths[id(value)] = path
        self._kept.append(value)
        if isinstance(value, Broken | Persistent):
            value = _of_zodb(name_of(type(value)), value)
        return self._whole(value, path, depth + 1)

    def _pay(self, length: int) -> None:
        self._left -= length + _COST
        if self._left < 0:
            raise ValueError(f"it unfolds to more than {_MOST_TEXT:,} characters")

    def _whole(self, value: Any, path: str, depth: int) -> Any:
        if isinstance(value, dict):
            return self._pairs(list(value.items()), path, depth)
        if isinstance(value, Elements | set | frozenset):
            return {"$set": sorted((self.render(v, path, depth) for v in value), key=repr)}
        if isinstance(value, StandIn):
            return self._stand_in(value, path, depth)
        if not isinstance(value, list | tuple):  # ZODB's own, or a class that a record of ZODB names
            return {"$class": name_of(value if isinstance(value, type) else type(value))}
        return [self.render(item, f"{path}[{index}]", depth) for index, item in enumerate(value)]

    def _pairs(self, pairs: list[tuple[Any, Any]], path: str, depth: int) -> Any:
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in pairs):
            return {key: self.render(value, _below(path, key), depth) for key, value in pairs}
        rows = [[self.render(k, path, depth), self.render(v, path, depth)] for k, v in pairs]
        return {"$items": rows}

    def _stand_in(self, value: StandIn, path: str, depth: int) -> dict[str, Any]:
        name, args = value.name, value.args
        if name == f"{stored.__name__}:restore" and len(args) == _PAIR and isinstance(args[0], str):
            return {"$class": args[0], "$value": self.render(args[1], path, depth)}
        if name == f"{stored.__name__}:weak":
            return {"$weak": None}
        text = _as_text(value)
        if text is not None:
            return {"$class": name, "$value": text}
        shown: dict[str, Any] = {"$class": name}
        if args:
            shown["$args"] = [self.render(item, f"{path}.$args[{i}]", depth) for i, item in enumerate(args)]
        for part in value.state if isinstance(value.state, tuple) else (value.state,):
            if isinstance(part, dict):
                attributes = self._pairs(list(part.items()), path, depth)
                shown |= attributes if "$items" not in attributes else {"$state": attributes}
            elif part is not None:
                shown["$state"] = self.render(part, f"{path}.$state", depth)
        if value.items:
            shown["$items"] = [self.render(item, f"{path}[{i}]", depth) for i, item in enumerate(value.items)]
        pairs = [*value.keywords.items(), *value.pairs]
        if pairs:
            shown["$pairs"] = self._pairs(pairs, path, depth)
        return shown


_PAIR = 2


def _below(path: str, key: str) -> str:
    step = key if len(key) <= _LONGEST_STEP else f"{key[:_LONGEST_STEP]}…"
    return f"{path}.{step}" if path else step


def _plain_form(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return {"$int": hex(value)}
    return value


def _as_text(value: StandIn) -> str | None:
    """Return a value of a well-known type as text, made from arguments that were checked to be plain."""
    maker = _TEXTS.get(value.name)
    if maker is None:
        return None
    try:
        return maker(value)
    except (
        TypeError,
        ValueError,
        ArithmeticError,
        LookupError,
        AttributeError,
    ):  # arguments that no honest writer gave
        return None


def _plain(args: tuple[Any, ...]) -> Iterator[Any]:
    for arg in args:
        if type(arg) not in (int, float, str, bytes):
            raise TypeError("not plain")
        yield arg


# The packed form of its own pickles is one argument that the stubs do not know.
_datetime: Any = datetime.datetime


def _moment(value: StandIn) -> str:
    (packed,) = _plain(value.args[:1])
    zone = None
    if len(value.args) > 1:
        offset, name = value.args[1].args[0], value.args[1].args[-1]
        if isinstance(name, str):  # a zone with a name, as RFC 9557 writes it
            return f"{_datetime(packed).isoformat()}[{name}]"
        zone = datetime.timezone(datetime.timedelta(*_plain(offset.args)))
    moment = _datetime(packed) if zone is None else _datetime(packed, zone)
    return str(moment.isoformat())


def _day(value: StandIn) -> str:
    return datetime.date(*_plain(value.args)).isoformat()


def _time(value: StandIn) -> str:
    return datetime.time(*_plain(value.args)).isoformat()


def _span(value: StandIn) -> str:
    return str(datetime.timedelta(*_plain(value.args)))


def _number(value: StandIn) -> str:
    (text,) = _plain(value.args)
    return str(decimal.Decimal(text))


def _fraction(value: StandIn) -> str:
    return "/".join(map(str, _plain(value.args)))


def _uuid(value: StandIn) -> str:
    (number,) = _plain((value.state["int"],))
    return str(uuid.UUID(int=number))


_TEXTS: dict[str, Callable[[StandIn], str]] = {
    "datetime:datetime": _moment,
    "datetime:date": _day,
    "datetime:time": _time,
    "datetime:timedelta": _span,
    "decimal:Decimal": _number,
    "fractions:Fraction": _fraction,
    "uuid:UUID": _uuid,
}
