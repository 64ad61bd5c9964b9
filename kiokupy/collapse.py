"""Collapse: objects become records.

One C pickler an object. It calls back for instances of classes only, never for plain data, and there the references to
first-class objects are cut out and replaced by a position in the record's list of ids.
"""

from __future__ import annotations

import copyreg
import enum
import io
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from persistent import Persistent

from kiokupy import entry as stored
from kiokupy import ghosts, paths
from kiokupy.entry import Record
from kiokupy.errors import KiokuError, NotStorable
from kiokupy.typemap import Keep, Rule, TypeMap, name_of

#: Answers the id under which an object is (or from now on will be) kept, or ``None`` to keep it inside its holder.
IdOf = Callable[[object], str | None]

#: Plain containers can be stored under an id of their own; inside another object they are part of that object.
CONTAINERS = (dict, list, set)

_HOPELESS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.ModuleType,
    types.GeneratorType,
    types.CoroutineType,
    types.FrameType,
    types.TracebackType,
    type,
    io.IOBase,
)


class Refusal(Exception):
    """An object cannot be stored; whoever knows where the walk began makes the :class:`NotStorable` of it."""

    def __init__(self, culprit: object, reason: str = "", fix: str = "") -> None:
        super().__init__(reason)
        self.culprit, self.reason, self.fix = culprit, reason, fix

    def error(self, root: object, name: str = "") -> NotStorable:
        """Return the error to raise, its path beginning at ``root``."""
        cls = ghosts.real_class(self.culprit)
        path = paths.find(root, self.culprit, name=name)
        return NotStorable(path, name_of(cls), reason=self.reason, fix=self.fix)


class Collapser:
    """Turns objects into records by the rules of a type map.

    :param id_of: called for each instance met of a first-class class; see :data:`IdOf`. It may note the object, to be
        collapsed in its turn.
    """

    def __init__(self, typemap: TypeMap, id_of: IdOf) -> None:
        self.typemap, self.id_of = typemap, id_of

    def collapse(self, obj: object) -> Record:
        """Return the record of one first-class object.

        :raises Refusal: it, or something it holds, cannot be stored.
        """
        refs: dict[str, int] = {}
        cls = ghosts.real_class(obj)
        rule = self._rule(obj, cls)
        if isinstance(obj, Persistent):
            return Record(name_of(cls), None, obj, (), stored.STORED_ITSELF)
        with _refusing(lambda: obj):
            if rule.collapse is not None:
                head, state, flags = None, rule.collapse(obj), stored.PAIR
            elif cls in CONTAINERS:
                head, state, flags = None, obj, stored.VALUE
            else:
                head, state, flags = _take_apart(obj, rule)
        head_bytes = None if head is None else self.dump(head, refs, obj)
        return Record(name_of(cls), head_bytes, self.dump(state, refs, obj), tuple(refs), flags)

    def dump(self, value: object, refs: dict[str, int], owner: object) -> bytes:
        """Pickle a value; ids of first-class objects it reaches are added to ``refs`` with their positions."""
        buffer = io.BytesIO()
        self._run(_Pickler(buffer, self, refs), value, owner)
        return buffer.getvalue()

    def _run(self, pickler: _Pickler, value: object, owner: object) -> None:
        with _refusing(lambda: pickler.last if pickler.last is not None else owner):
            pickler.dump(value)

    def inspect(self, obj: Persistent) -> list[Persistent]:
        """Check what a Persistent object holds, which ZODB will pickle, and return the Persistent objects it refers to.

        :raises Refusal: it holds something that cannot be stored.
        """
        inspector = _Inspector(self)
        with _refusing(lambda: obj):
            state = obj.__getstate__()
        self._run(inspector, state, obj)
        return inspector.held

    def _rule(self, obj: object, cls: type) -> Rule:
        rule = self.typemap.rule_for(cls)
        if rule is None:
            raise _not_allowed(obj, cls)
        if rule.keep is Keep.INTRINSIC and cls not in CONTAINERS:
            raise Refusal(
                obj,
                f"{name_of(cls)} is kept inside the object that holds it and has no id of its own",
                "Store an object or a dict that holds it",
            )
        return rule


# What object.__reduce_ex__ calls; copyreg keeps the names to itself, but they stand in every pickle.
_NEWOBJ, _NEWOBJ_EX = object().__reduce_ex__(2)[0], copyreg.__dict__["__newobj_ex__"]
_LONGEST_REDUCTION = 5  # a sixth element is a function that sets the state

_LEAVE_OUT = "Leave it out of the object's state with __getstate__"


@contextmanager
def _refusing(culprit: Callable[[], object]) -> Iterator[None]:
    """Turn what pickling raises into a refusal of the culprit."""
    try:
        yield
    except KiokuError:
        raise
    except (TypeError, AttributeError, ValueError, pickle.PicklingError, RecursionError) as error:
        raise Refusal(culprit(), f"it cannot be pickled ({error})", _LEAVE_OUT) from error


def _not_allowed(obj: object, cls: type) -> Refusal:
    heap_type = bool(cls.__flags__ & 1 << 9)  # Py_TPFLAGS_HEAPTYPE: defined by a class statement, or like one
    if isinstance(obj, _HOPELESS) or not heap_type or cls.__module__ in sys.builtin_module_names:
        return Refusal(obj, fix=_LEAVE_OUT)
    return Refusal(obj, fix=f"To allow it: connect(..., allow_classes=[{cls.__name__}])")


def _take_apart(obj: object, rule: Rule) -> tuple[object, object, int]:
    """Split an object by its own pickle protocol into head, state and flags."""
    if rule.plain:
        return None, obj.__getstate__(), 0
    reduced = _reduce(obj)
    func, args, state, items, pairs = (*reduced, None, None, None)[:5]
    flags, head = _head(obj, func, args)
    if items is None and pairs is None:
        return head, state, flags
    return (
        head,
        (state, None if items is None else list(items), None if pairs is None else dict(pairs)),
        flags | stored.ITEMS,
    )


def _reduce(obj: object) -> tuple[Any, ...]:
    custom = copyreg.dispatch_table.get(type(obj))
    reduced = custom(obj) if custom is not None else obj.__reduce_ex__(stored.PROTOCOL)
    if isinstance(reduced, str) or len(reduced) > _LONGEST_REDUCTION:
        raise Refusal(obj, "its __reduce__ gives a form that kiokupy does not store", _GIVE_PAIR)
    return reduced


def _head(obj: object, func: object, args: Any) -> tuple[int, object]:
    cls = type(obj)
    if func is _NEWOBJ and args[0] is cls:
        return (stored.NEW, (args[1:], {})) if args[1:] else (0, None)
    if func is _NEWOBJ_EX and args[0] is cls:
        return stored.NEW, (tuple(args[1]), dict(args[2]))
    if func is cls:
        return stored.CALL, (tuple(args), {})
    raise Refusal(obj, f"its __reduce__ calls {func!r:.60}, and records call nothing but classes", _GIVE_PAIR)


_GIVE_PAIR = "Give its class a Rule with a collapse/expand pair"


def reducer_for(rule: Rule) -> Callable[[Any], tuple[Any, ...]] | None:
    """Return what reduces the intrinsic objects of a rule's class where their own way of it will not do."""
    cls, collapse = rule.cls, rule.collapse
    if collapse is not None:
        return lambda obj: (stored.restore, (name_of(cls), collapse(obj)))
    if issubclass(cls, enum.Enum):  # its own way differs between Python versions
        return lambda obj: (cls, (obj.value,))
    return None


class _Pickler(pickle.Pickler):
    """Pickles one object's state; see the module's docstring."""

    def __init__(self, buffer: io.BytesIO, collapser: Collapser, refs: dict[str, int]) -> None:
        super().__init__(buffer, stored.PROTOCOL)
        self._rule_for, self._id_of = collapser.typemap.rule_for, collapser.id_of
        self._refs = refs
        self.last: object = None

    def reducer_override(self, obj: Any) -> Any:
        """Cut first-class objects out, refuse what the type map does not name, leave the rest to pickle."""
        cls = ghosts.real_class(obj)
        if obj is stored.ref or obj is stored.restore:
            return NotImplemented
        if issubclass(cls, type):
            return self._class(obj)
        rule = self._rule_for(cls)
        if rule is None:
            raise _not_allowed(obj, cls)
        if rule.keep is Keep.FIRST_CLASS:
            id = self._id_of(obj)
            if id is not None:
                position = self._refs.setdefault(id, len(self._refs))
                return stored.ref, (position, name_of(cls))
        self.last = obj
        reducer = reducer_for(rule)
        return NotImplemented if reducer is None else reducer(obj)

    def _class(self, cls: type) -> Any:
        if self._rule_for(cls) is None:
            allow = f"To allow it: connect(..., allow_classes=[{cls.__name__}])"
            raise Refusal(cls, f"the class {name_of(cls)} is not in the type map", allow)
        return NotImplemented


class _Inspector(_Pickler):
    """Walks what a Persistent object holds, for ZODB to pickle later."""

    def __init__(self, collapser: Collapser) -> None:
        super().__init__(io.BytesIO(), collapser, {})
        self.held: list[Persistent] = []

    def reducer_override(self, obj: Any) -> Any:
        """Note Persistent objects, which ZODB follows by itself; treat the rest as in any record."""
        if isinstance(obj, stored.Entry):  # in a bucket of our own tree, which ZODB reports as changed
            return stored.ref, (0, "")
        if isinstance(obj, Persistent):
            if self._rule_for(type(obj)) is None:
                raise _not_allowed(obj, type(obj))
            self.held.append(obj)
            return stored.ref, (0, "")
        return super().reducer_override(obj)
