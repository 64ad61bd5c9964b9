"""Decoding: the forms of :mod:`kiokupy.forms` become what :mod:`kiokupy.pickles` writes."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

from kiokupy import ids
from kiokupy.forms import words
from kiokupy.inert import Elements, RecordReference, Reference, StandIn, hashable
from kiokupy.pickles import Tuple
from kiokupy.writers import MARK

#: Answers the oid of a record by its number in the dump.
OidOf = Callable[[int], bytes]

_NAME = re.compile(r"[^\s:]+:[^\s:]+")
_PARTS = ("$args", "$keywords", "$state", "$items", "$pairs")
_PAIR = 2

#: The forms of what holds others or can change: how to make it empty.
_SHELLS: dict[str, Callable[[], Any]] = {
    "$list": list,
    "$dict": dict,
    "$tuple": Tuple,
    "$set": Elements,
    "$frozenset": lambda: Elements(frozen=True),
    "$bytearray": bytearray,
    **dict.fromkeys(("$new", "$call", *words.CALLS), lambda: StandIn("")),
}
_ALLOWED = {
    **dict.fromkeys(_SHELLS, frozenset()),
    **dict.fromkeys(("$new", "$call"), frozenset(_PARTS)),
    **{tag: frozenset({extra} - {""}) for tag, extra in words.CALLS.items()},
    **dict.fromkeys(("$ref", "$weak", "$record"), frozenset({"$class"})),
    **dict.fromkeys(("$class", "$same", "$weakrecord", *words.ATOMS), frozenset()),
}


def decode(form: Any, oid_of: OidOf | None = None) -> Any:
    """Return what a form stands for.

    :param oid_of: for the form of a record of ZODB; in those of entries no records are referred to.
    :raises ValueError: it is no form.
    """
    return _Decoder(form, oid_of).value()


class _Decoder:
    def __init__(self, form: Any, oid_of: OidOf | None) -> None:
        self._form, self._oid_of = form, oid_of
        # What has a mark is made first, since it may be named before its place comes, and be in a circle.
        self._marked: dict[int, Any] = {}
        self._find_marks(form)

    def value(self) -> Any:
        form = self._form
        if not isinstance(form, dict) or "$deep" not in form:
            return self._value(form)
        parts = form["$deep"]
        if len(form) > 1 or not isinstance(parts, list) or not parts:
            raise ValueError("$deep has a list of parts, and nothing is beside it")
        value, *_ = [self._value(part) for part in parts]
        return value

    def _find_marks(self, form: Any) -> None:
        pending = [form]
        while pending:
            found = pending.pop()
            if isinstance(found, dict):
                if "$id" in found:
                    mark = found["$id"]
                    if type(mark) is not int or mark in self._marked:
                        raise ValueError(f"$id is a number that is used once, not {mark!r:.40}")
                    self._marked[mark] = self._shell(found)
                pending += found.values()
            elif isinstance(found, list):
                pending += found

    def _shell(self, form: dict[str, Any]) -> Any:
        make = _SHELLS.get(_tag(form))
        if make is None:
            raise ValueError(f"what is marked with $id {form['$id']} cannot be shared")
        return make()

    def _value(self, form: Any) -> Any:
        if isinstance(form, list):
            return [self._value(item) for item in form]
        if not isinstance(form, dict):
            return form
        if not any(key.startswith("$") for key in form):
            return {key: self._value(value) for key, value in form.items()}
        tag = _tag(form)
        extra = form.keys() - {tag, "$id"} - _ALLOWED[tag]
        if extra:
            raise ValueError(f"{min(extra)} does not belong beside {tag}")
        if tag not in _SHELLS:
            return self._leaf(tag, form)
        value = self._marked[form["$id"]] if "$id" in form else self._shell(form)
        self._fill(value, tag, form)
        return value

    def _leaf(self, tag: str, form: dict[str, Any]) -> Any:
        body = form[tag]
        if tag in words.ATOMS:
            return words.ATOMS[tag](_text(tag, body))
        if tag == "$same":
            if type(body) is not int or body not in self._marked:
                raise ValueError(f"nothing is marked with $id {body!r:.40}")
            return self._marked[body]
        if tag == "$class":
            return StandIn(name(body))
        if tag in ("$record", "$weakrecord"):
            return self._record(tag, body, form)
        return self._reference(ids.check(body), _text("$class", form.get("$class")), weak=tag == "$weak")

    def _reference(self, id: str, class_name: str, *, weak: bool) -> StandIn:
        if self._oid_of is None:
            return Reference(id, class_name, weak=weak)
        if weak:
            raise ValueError("a record of ZODB refers to no object weakly")
        return RecordReference(["w", Tuple((id.encode(), MARK + class_name))])

    def _record(self, tag: str, number: Any, form: dict[str, Any]) -> StandIn:
        if self._oid_of is None:
            raise ValueError(f"{tag} stands in the lines of records only")
        oid = self._oid_of(number)
        if tag == "$weakrecord":
            return RecordReference(["w", Tuple((oid,))])
        if "$class" not in form:
            return RecordReference(oid)
        return RecordReference(Tuple((oid, StandIn(name(form["$class"])))))

    def _fill(self, value: Any, tag: str, form: dict[str, Any]) -> None:
        body = form[tag]
        if isinstance(value, StandIn):
            made = self._made(tag, body, form)
            vars(value).update(vars(made))
        elif isinstance(value, bytearray):
            value.extend(base64.b64decode(_text(tag, body), validate=True))
        elif isinstance(value, dict):
            value.update((hashable(key), held) for key, held in self._pairs(tag, body))
        else:
            value.extend(self._list(tag, body))

    def _made(self, tag: str, body: Any, form: dict[str, Any]) -> StandIn:
        if tag in words.CALLS:
            extra = form.get(words.CALLS[tag])
            return words.call_of(tag, _text(tag, body), None if extra is None else self._value(extra))
        how = tag[1:]
        if isinstance(body, str):
            made = StandIn(name(body)).made((), how)
        else:
            called = self._value(body)
            if not isinstance(called, StandIn):
                raise ValueError(f"{tag} has a name or an object, not {body!r:.40}")
            made = called.made((), how)
            made.called = called
        args: Any = form.get("$args", [])
        args = self._value(args) if isinstance(args, dict) else Tuple(self._list("$args", args))
        keywords = self._value(form.get("$keywords", {}))
        if not isinstance(args, Tuple) or type(keywords) is not dict or (keywords and how != "new"):
            raise ValueError("$args is a list, and $keywords, beside $new only, a dict")
        made.args, made.keywords, made.state = args, keywords, self._value(form.get("$state"))
        made.items = self._list("$items", form.get("$items", []))
        made.pairs = self._pairs("$pairs", form.get("$pairs", {}))
        return made

    def _list(self, tag: str, body: Any) -> list[Any]:
        if not isinstance(body, list):
            raise ValueError(f"{tag} has a list, not {body!r:.40}")
        return [self._value(item) for item in body]

    def _pairs(self, tag: str, body: Any) -> list[tuple[Any, Any]]:
        if isinstance(body, dict) and "$dict" in body:
            body = body["$dict"]
        if isinstance(body, dict):
            return [(key, self._value(value)) for key, value in body.items()]
        if not isinstance(body, list) or not all(isinstance(pair, list) and len(pair) == _PAIR for pair in body):
            raise ValueError(f"{tag} has pairs, not {body!r:.40}")
        return [(self._value(key), self._value(value)) for key, value in body]


def _tag(form: dict[str, Any]) -> str:
    for key in form:
        if key in _ALLOWED and not (key == "$class" and len(form) > 1):
            return key
    raise ValueError(f"{next(iter(form))} is no form that a dump has")


def _text(tag: str, body: Any) -> str:
    if not isinstance(body, str):
        raise ValueError(f"{tag} has text, not {body!r:.40}")
    return body


def name(body: Any) -> str:
    """Return what is the name of a class, as far as its looks go.

    :raises ValueError: it is none.
    """
    if not isinstance(body, str) or not _NAME.fullmatch(body):
        raise ValueError(f"{body!r:.80} is no name of a class, module:qualname")
    return body
