"""Encoding: what an inert pickle holds takes the forms of :mod:`kiokupy.forms`."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from kiokupy.forms import words
from kiokupy.inert import Elements, Key, RecordReference, Reference, StandIn
from kiokupy.writers import MARK

#: Answers the number of a record in the dump.
NumberOf = Callable[[bytes], int]

# JSON is read and written with a stack that ends; what is deeper is written beside, not inside.
_DEEPEST = 30
_LONGEST = 200
# Sets are sorted by what their elements look like, with the sets in these, and in these; no further and no deeper than
# above, for an element may lead back to its set. Beyond, a set looks like any other of its size.
_LOOKS = 3
_CONTAINERS = (list, dict, tuple, bytearray)


def encode(value: Any, number_of: NumberOf) -> Any:
    """Return the form of a value.

    :raises ValueError: it refers to another database of ZODB.
    """
    return _Encoder(value, number_of, {}, 0).whole()


class _Encoder:
    def __init__(self, value: Any, number_of: NumberOf, texts: dict[tuple[int, int], str], look: int) -> None:
        self._value, self._number_of, self._texts, self._look = value, number_of, texts, look
        self._shared = set() if look else _shared(value)
        self._numbers: dict[int, int] = {}
        self._aside: deque[Any] = deque()

    def whole(self) -> Any:
        parts = [self._form(self._value, 0)]
        while self._aside:
            part = self._aside.popleft()
            parts.append({"$id": self._numbers[id(part)]} | _wrapped(part, self._body(part, 0)))
        return parts[0] if len(parts) == 1 else {"$deep": parts}

    def _form(self, value: Any, depth: int) -> Any:
        if not _is_compound(value):
            return self._leaf(value)
        number = self._numbers.get(id(value))
        if number is not None:
            return {"$same": number}
        if depth >= _DEEPEST:
            self._aside += () if self._look else (value,)
            return {"$same": self._number(value)}
        if id(value) not in self._shared and not self._look:
            return self._body(value, depth)
        return {"$id": self._number(value)} | _wrapped(value, self._body(value, depth))

    def _number(self, value: Any) -> int:
        number = self._numbers[id(value)] = len(self._numbers) + 1
        return number

    def _leaf(self, value: Any) -> Any:
        if isinstance(value, Reference):
            return {"$weak" if value.weak else "$ref": value.id, "$class": value.class_name}
        if isinstance(value, RecordReference):
            return self._record(value.args[0])
        if isinstance(value, StandIn):
            return {"$class": value.name}
        return {"$tuple": []} if value == () else words.of_atom(value)

    def _record(self, pid: Any) -> dict[str, Any]:
        match pid:
            case bytes(oid):
                return {"$record": self._number_of(oid)}
            case (bytes(oid), StandIn(how="", name=name)):
                return {"$record": self._number_of(oid), "$class": name}
            case ["w", (bytes(oid),)]:
                return {"$weakrecord": self._number_of(oid)}
            case ["w", (bytes(id), str(mark))] if mark.startswith(MARK):
                return {"$ref": id.decode(), "$class": mark.removeprefix(MARK)}
        raise ValueError("it refers to another database of ZODB")

    def _body(self, value: Any, depth: int) -> Any:
        """Return the form of what holds others, as it is where it stands alone."""
        inner = depth + 1
        if isinstance(value, Elements):
            return {"$frozenset" if value.frozen else "$set": self._elements(value, inner)}
        if isinstance(value, StandIn):
            return self._made(value, inner)
        if isinstance(value, bytearray):
            return {"$bytearray": base64.b64encode(value).decode()}
        if isinstance(value, dict):
            return self._pairs(value.items(), inner)
        items = [self._form(item, inner) for item in value]
        return items if isinstance(value, list) else {"$tuple": items}

    def _pairs(self, pairs: Any, depth: int) -> Any:
        pairs = [(key.value if isinstance(key, Key) else key, value) for key, value in pairs]
        if len({key for key, _ in pairs if _is_name(key)}) == len(pairs):
            return {key: self._form(value, depth) for key, value in pairs}
        return {"$dict": [[self._form(key, depth), self._form(value, depth)] for key, value in pairs]}

    def _elements(self, elements: list[Any], depth: int) -> list[Any]:
        if self._look == _LOOKS:
            return [len(elements)]
        ordered = sorted(elements, key=self._order) if len(elements) > 1 else elements
        return [self._form(element, depth) for element in ordered]

    def _made(self, value: StandIn, depth: int) -> dict[str, Any]:
        known = words.of_call(value)
        if known is not None:
            return {tag: self._form(part, depth) for tag, part in known.items()}
        if value.how == "call" and value.name in ("builtins:set", "builtins:frozenset") and self._is_set(value):
            return {f"${value.name.removeprefix('builtins:')}": self._elements(value.args[0], depth)}
        form = {f"${value.how}": value.name if value.called is None else self._form(value.called, depth)}
        if value.args:
            args = self._form(value.args, depth)
            form["$args"] = args["$tuple"] if "$id" not in args and "$tuple" in args else args
        if value.keywords:
            form["$keywords"] = self._form(value.keywords, depth)
        if value.state is not None:
            form["$state"] = self._form(value.state, depth)
        if value.items:
            form["$items"] = [self._form(item, depth) for item in value.items]
        if value.pairs:
            form["$pairs"] = self._pairs(value.pairs, depth)
        return form

    def _is_set(self, value: StandIn) -> bool:
        """Tell whether a call makes a set as the protocol of ZODB does, which has no opcode for it."""
        plain = value.called is None and not (value.state or value.items or value.pairs)
        return plain and len(value.args) == 1 and type(value.args[0]) is list and id(value.args[0]) not in self._shared

    def _order(self, element: Any) -> tuple[Any, ...]:
        """Return what to sort an element of a set by: its type and value, or what it looks like by itself."""
        if not isinstance(element, StandIn | tuple | Elements):
            known = element is not None and element == element  # noqa: PLR0124  # nan is not
            return type(element).__name__, known, element if known else 0
        look = self._look + 1
        if (id(element), look) not in self._texts:
            text = json.dumps(_Encoder(element, lambda oid: 0, self._texts, look).whole(), ensure_ascii=False)
            short = text if len(text) < _LONGEST else hashlib.sha256(text.encode()).hexdigest()
            self._texts[id(element), look] = short
        return "", True, self._texts[id(element), look]


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and not key.startswith("$") and words.of_atom(key) == key


def _is_compound(value: Any) -> bool:
    """Tell whether a value is something else in another place, so that sharing it means something."""
    if isinstance(value, StandIn):
        return bool(value.how)
    return isinstance(value, _CONTAINERS) and value != ()


def _wrapped(value: Any, body: Any) -> dict[str, Any]:
    """Return a form that has room for a mark."""
    if isinstance(body, list):
        return {"$list": body}
    if isinstance(value, dict) and "$dict" not in body:
        return {"$dict": body}
    found: dict[str, Any] = body
    return found


def _shared(root: Any) -> set[int]:
    """Return the numbers of what is held in more than one place."""
    seen, shared, pending = set[int](), set[int](), [root]
    while pending:
        value = pending.pop()
        if not _is_compound(value):
            continue
        if id(value) in seen:
            shared.add(id(value))
            continue
        seen.add(id(value))
        pending.extend(_held(value))
    return shared


def _held(value: Any) -> Iterator[Any]:
    if isinstance(value, StandIn):
        yield from (value.called, value.args, value.state, *value.items)
        pairs = [*value.keywords.items(), *value.pairs]
    elif isinstance(value, dict):
        pairs = list(value.items())
    else:
        yield from () if isinstance(value, bytearray) else value
        return
    for key, held in pairs:
        yield key.value if isinstance(key, Key) else key
        yield held
