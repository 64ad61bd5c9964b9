"""Pickles: what :mod:`kiokupy.inert` read becomes a pickle again. Nothing that it names is imported or called."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from kiokupy import entry as stored
from kiokupy.collapse import VALUES
from kiokupy.inert import Elements, Key, RecordReference, Reference, StandIn
from kiokupy.rules import name_of

_RECORD_PROTOCOL = 3  # the one that ZODB reads
_ATOMS = frozenset({type(None), bool, int, float, str, bytes})
_SHORT_TUPLES = {1: pickle.TUPLE1, 2: pickle.TUPLE2, 3: pickle.TUPLE3}

#: What the pickler of entries cuts out as it does with records of ZODB, since it calls nobody else for plain data.
_CUT_OUT = frozenset(map(name_of, VALUES))

Steps = Iterator[Any]


class Tuple(list[Any]):
    """A tuple on its way into a pickle; it may hold itself, through a list or an object."""


class Found:
    """The ids that the pickles of a record refer to, with their positions."""

    def __init__(self) -> None:
        self.refs: dict[str, int] = {}
        self.weak: dict[str, int] = {}


def write(value: Any, found: Found) -> bytes:
    """Return the pickle of a value, as in an entry; ids that it refers to are added to ``found``.

    :raises ValueError: it contains itself as no object can.
    """
    buffer = io.BytesIO()
    _Writer(buffer, stored.PROTOCOL, found).dump(value)
    return buffer.getvalue()


def write_record(cls: Any, state: Any) -> bytes:
    """Return a record of ZODB; raises as :func:`write`."""
    buffer = io.BytesIO()
    for part in (cls, state):
        _Writer(buffer, _RECORD_PROTOCOL, Found()).dump(part)
    return buffer.getvalue()


class _Writer(pickle._Pickler):
    """Writes each thing as Python's own pickler does, but with a stack of its own: data may be nested deeply."""

    # What the standard library's stubs leave out.
    write: Callable[[bytes], None]
    get: Callable[[int], bytes]
    memoize: Callable[[Any], None]
    memo: Any
    framer: Any
    proto: int

    def __init__(self, buffer: io.BytesIO, protocol: int, found: Found) -> None:
        super().__init__(buffer, protocol)
        self._found = found
        # The places in the memo of what is the same by its name, and how much was in it when a tuple was begun.
        self._named: dict[Any, int] = {}
        self._begun: dict[int, int] = {}

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        """Write an object and all that it holds."""
        stack: list[Steps] = [iter((obj,))]
        while stack:
            for child in stack[-1]:
                steps = self._begin(child)
                if steps is not None:
                    stack.append(steps)
                    break
            else:
                stack.pop()

    def _begin(self, obj: Any) -> Steps | None:
        if type(obj) in _ATOMS:
            super().save(obj)  # type: ignore[misc]  # in no stubs
            return None
        self.framer.commit_frame()
        return None if self._again(obj) else self._steps[type(obj)](self, obj)

    def _again(self, obj: Any) -> bool:
        known = self.memo.get(id(obj))
        if known is not None:
            self.write(self.get(known[0]))
        return known is not None

    def _list(self, obj: list[Any]) -> Steps:
        self.write(pickle.EMPTY_LIST)
        self.memoize(obj)
        yield from self._many(iter(obj), pickle.APPENDS)

    def _dict(self, obj: dict[Any, Any]) -> Steps:
        self.write(pickle.EMPTY_DICT)
        self.memoize(obj)
        yield from self._many(_flat(obj.items()), pickle.SETITEMS)

    def _many(self, items: Steps, opcode: bytes) -> Steps:
        for first in items:
            self.write(pickle.MARK)
            yield first
            yield from items
            self.write(opcode)

    def _tuple(self, obj: list[Any] | tuple[Any, ...]) -> Steps:
        if not obj:
            self.write(pickle.EMPTY_TUPLE)
            return
        self._check_progress(obj)
        short = _SHORT_TUPLES.get(len(obj))
        if short is None:
            self.write(pickle.MARK)
        yield from obj
        if id(obj) in self.memo:  # what it holds led back to it
            self.write(pickle.POP * len(obj) if short else pickle.POP_MARK)
            self._again(obj)
            return
        self.write(short or pickle.TUPLE)
        self.memoize(obj)

    def _elements(self, obj: Elements) -> Steps:
        if self.proto == _RECORD_PROTOCOL:
            yield from self._made(obj, StandIn(f"builtins:{'frozenset' if obj.frozen else 'set'}"), [list(obj)])
        elif not obj.frozen:
            self.write(pickle.EMPTY_SET)
            self.memoize(obj)
            yield from self._many(iter(obj), pickle.ADDITEMS)
        else:
            self._check_progress(obj)
            self.write(pickle.MARK)
            yield from obj
            if id(obj) in self.memo:
                self.write(pickle.POP_MARK)
                self._again(obj)
                return
            self.write(pickle.FROZENSET)
            self.memoize(obj)

    def _bytearray(self, obj: bytearray) -> Steps:
        if self.proto == _RECORD_PROTOCOL:
            yield from self._made(obj, StandIn("builtins:bytearray"), [bytes(obj)])
        else:
            super().save(obj)  # type: ignore[misc]  # in no stubs

    def _stand_in(self, obj: StandIn) -> Steps:
        if not obj.how:
            self._global(obj)
            return
        yield from self._made(obj, obj.called or StandIn(obj.name), obj.args, obj.how, obj.keywords)
        yield from self._many(iter(obj.items), pickle.APPENDS)
        yield from self._many(_flat(obj.pairs), pickle.SETITEMS)
        if obj.state is not None:
            yield obj.state
            self.write(pickle.BUILD)

    def _made(self, obj: Any, called: Any, args: Any, how: str = "call", keywords: Any = None) -> Steps:
        self._check_progress(obj)
        yield called
        yield args if isinstance(args, tuple | Tuple) else Tuple(args)
        if keywords:
            yield keywords
        self.write(pickle.REDUCE if how == "call" else pickle.NEWOBJ_EX if keywords else pickle.NEWOBJ)
        if id(obj) in self.memo:
            self.write(pickle.POP)
            self._again(obj)
        else:
            self.memoize(obj)

    def _global(self, obj: StandIn) -> None:
        if not self._named_before(obj.name, obj):
            module, _, name = obj.name.partition(":")
            if self.proto == _RECORD_PROTOCOL:
                self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
            else:
                super().save(module)  # type: ignore[misc]  # in no stubs
                super().save(name)  # type: ignore[misc]  # in no stubs
                self.write(pickle.STACK_GLOBAL)
            self._name(obj.name, obj)

    def _reference(self, obj: Reference) -> Steps:
        name = obj.id, obj.class_name, obj.weak
        ids = self._found.weak if obj.weak else self._found.refs
        if obj.class_name in _CUT_OUT:
            yield ids.setdefault(obj.id, len(ids)), obj.class_name
            self.write(pickle.BINPERSID)
            return
        if self._named_before(name, obj):
            return
        yield StandIn(f"{stored.__name__}:{'weak' if obj.weak else 'ref'}")
        yield ids.setdefault(obj.id, len(ids))
        yield obj.class_name
        self.write(pickle.TUPLE2 + pickle.REDUCE)
        self._name(name, obj)

    def _named_before(self, name: Any, obj: Any) -> bool:
        if name in self._named:
            self.write(self.get(self._named[name]))
        return name in self._named

    def _name(self, name: Any, obj: Any) -> None:
        self._named[name] = len(self.memo)
        self.memoize(obj)

    def _record(self, obj: RecordReference) -> Steps:
        yield obj.args[0]
        self.write(pickle.BINPERSID)

    def _check_progress(self, obj: Any) -> None:
        """Between two visits to what has no place in the memo yet, something must have got one."""
        if self._begun.get(id(obj)) == len(self.memo):
            raise ValueError("something contains itself as no object can")
        self._begun[id(obj)] = len(self.memo)

    _steps: ClassVar[dict[type, Callable[[Any, Any], Steps]]] = {
        list: _list,
        dict: _dict,
        tuple: _tuple,
        Tuple: _tuple,
        Elements: _elements,
        bytearray: _bytearray,
        StandIn: _stand_in,
        Reference: _reference,
        RecordReference: _record,
    }


def _flat(pairs: Any) -> Steps:
    for key, value in pairs:
        yield key.value if isinstance(key, Key) else key
        yield value
