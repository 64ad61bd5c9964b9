"""Collapse: objects become records.

One C pickler an object. It calls back for instances of classes only, never for plain data, and there the references to
first-class objects are cut out and replaced by a position in the record's list of ids.
"""

from __future__ import annotations

import collections
import pickle
import types
import weakref
from array import array
from collections.abc import Callable
from typing import Any, NamedTuple

from persistent import Persistent

from kiokupy import entry as stored
from kiokupy import ghosts
from kiokupy.entry import Record
from kiokupy.parts import plain_containers
from kiokupy.reduction import reducer_for, take_apart
from kiokupy.refusal import Refusal, TooDeep, not_allowed, refuse
from kiokupy.rules import Keep, Rule, name_of
from kiokupy.typemap import TypeMap
from kiokupy.weak import WeakReference

#: Answers the id under which an object is (or from now on will be) kept, or ``None`` to keep it inside its holder.
IdOf = Callable[[object], str | None]

#: Plain containers: as a record of their own they are their state.
VALUES = (dict, list, set, bytearray)

#: What can be changed and is part of its holder, until two objects hold the same one: then it gets a record of its own.
CONTAINERS = frozenset({
    *VALUES, collections.OrderedDict, collections.defaultdict, collections.Counter, collections.deque,
    collections.ChainMap, collections.UserDict, collections.UserList, types.SimpleNamespace, array,
})  # fmt: skip

# The memo of a pickler stays as big as it was, and to empty it costs time for its size.
_LARGE = 4_096


def _unshared(container: object) -> None:
    pass


class Found(NamedTuple):
    """What a pickler found to refer to: ids, with their positions in the record."""

    refs: dict[str, int]
    weak: dict[str, int]


class Collapser:
    """Turns objects into records by the rules of a type map.

    :param id_of: called for each instance met of a first-class class; see :data:`IdOf`. It may note the object, to be
        collapsed in its turn.
    :param shared: called for each container that is met, where one may have an id.
    """

    def __init__(self, typemap: TypeMap, id_of: IdOf, *, shared: IdOf | None = None) -> None:
        self.typemap, self.id_of, self.shared = typemap, id_of, shared
        # The pickler of the last object, for the next one.
        self._idle: _Pickler | None = None
        self._rules: dict[type, Rule] = {}
        #: The containers that are part of the object collapsed last, outer ones before inner ones.
        self.parts: list[object] = []
        self._holds_itself = False

    def collapse(self, obj: object, flags: int = 0) -> Record:
        """Return the record of one first-class object.

        :param flags: what it has besides those that say how it is to be read.
        :raises Refusal: it, or something it holds, cannot be stored.
        """
        self.parts = []
        if isinstance(obj, Persistent):
            return Record(name_of(self._rule(obj).cls), None, obj, (), stored.STORED_ITSELF | flags)
        self._holds_itself = False
        try:
            record = self._collapse(obj, flags)
            if self.shared is None or not (self._holds_itself or any(self.shared(part) for part in self.parts)):
                return record
        except TooDeep:
            if self.shared is None:
                raise
        self.parts = []
        return self._collapse(obj, flags, cuts=True)

    def _collapse(self, obj: object, flags: int, *, cuts: bool = False) -> Record:
        rule = self._rules.get(type(obj)) or self._rule(obj)
        try:
            if rule.collapse is not None:
                head, state, form = None, rule.collapse(obj), stored.PAIR
            elif rule.cls in VALUES:
                head, state, form = None, obj, stored.VALUE
            else:
                head, state, form = take_apart(obj, rule)
        except Exception as error:
            refuse(obj, error)
        found = Found({}, {})
        head_bytes = None if head is None else self._dump(head, found, obj, cuts=cuts)
        state_bytes, refs = self._dump(state, found, obj, cuts=cuts), tuple(found.refs)
        return Record(rule.name, head_bytes, state_bytes, refs, form | flags, rule.version, tuple(found.weak))

    def dump(self, value: object, found: Found, owner: object) -> bytes:
        """Pickle a value; ids of first-class objects it reaches are added to ``found`` with their positions."""
        return (_Pickler if self.shared is None else _SharingPickler)(self).pickled(value, found, owner)

    def _dump(self, value: object, found: Found, owner: object, *, cuts: bool) -> bytes:
        # To make a pickler costs as much as to pickle a small object, so one is used again.
        pickler = _SharingPickler(self) if cuts else self._idle or _Pickler(self)
        self._idle = None
        data = pickler.pickled(value, found, owner)
        # The memo has all that was pickled, at the price of a tuple for each; plain data is sooner looked through.
        is_plain = not (pickler.namespaces or cuts)
        for obj in plain_containers(value) if is_plain else _memo_of(pickler):
            if obj is owner:  # in the memo it also is when it is pickled itself
                self._holds_itself = True
            elif type(obj) in CONTAINERS and obj is not value and id(obj) not in pickler.namespaces:
                self.parts.append(obj)
        if is_plain and len(data) < _LARGE:
            pickler.clear_memo()
            self._idle = pickler
        return data

    def inspect(self, obj: Persistent) -> list[Persistent]:
        """Check what a Persistent object holds, which ZODB will pickle, and return the Persistent objects it refers to.

        :raises Refusal: it holds something that cannot be stored.
        """
        inspector = _Inspector(self)
        try:
            state = obj.__getstate__()
        except Exception as error:
            refuse(obj, error)
        inspector.pickled(state, Found({}, {}), obj)
        return inspector.held

    def _rule(self, obj: object) -> Rule:
        cls = ghosts.real_class(obj)
        rule = self.typemap.rule_for(cls)
        if rule is None:
            raise not_allowed(obj, cls)
        if rule.keep is Keep.INTRINSIC and cls not in CONTAINERS:
            raise Refusal(
                obj,
                f"{name_of(cls)} is kept inside the object that holds it and has no id of its own",
                "Store an object or a dict that holds it",
            )
        self._rules[type(obj)] = rule
        return rule


def _memo_of(pickler: _Pickler) -> list[object]:
    """Return what a pickler came by, in that order; the memo itself is in the order of addresses."""
    return [obj for _, obj in sorted(pickler.memo.copy().values(), key=lambda pair: pair[0])]


class _Output(list[bytes]):
    """A file for a pickler that is only written to."""

    __slots__ = ()
    write = list.append


class _Pickler(pickle.Pickler):
    """Pickles one object's state; see the module's docstring."""

    _found: Found
    _last: object

    def __init__(self, collapser: Collapser) -> None:
        self._output = _Output()
        super().__init__(self._output, stored.PROTOCOL)
        self._typemap, self._id_of = collapser.typemap, collapser.id_of
        # Answers the id of a container that is to be cut out.
        self._shared: IdOf = _unshared
        #: The numbers of the dicts that hold the attributes of the intrinsic objects that were met and may hold others.
        self.namespaces: set[int] = set()
        # By class, ghosts' too, the name of what is referred to, in two parts.
        self._names: dict[type, tuple[str, str]] = {}

    def pickled(self, value: object, found: Found, owner: object) -> bytes:
        """Return the pickle of a value.

        :raises Refusal: it holds something that cannot be stored.
        """
        self._found, self._last = found, None
        try:
            self.dump(value)
        except Exception as error:
            refuse(owner if self._last is None else self._last, error)
        data = b"".join(self._output)
        self._output.clear()
        return data

    def reducer_override(self, obj: Any) -> Any:
        """Cut first-class objects out, refuse what the type map does not name, leave the rest to pickle."""
        if obj is stored.ref:
            return NotImplemented
        name = self._names.get(type(obj))
        key = None if name is None else self._id_of(obj)
        if name is None or key is None:
            return self._reduced(obj)
        # A new string each time: were it the same, the second one would stand in the pickle in another form.
        return stored.ref, (self._position(key), name[0] + name[1])

    def _reduced(self, obj: Any) -> Any:
        if obj is stored.restore or obj is stored.weak:
            return NotImplemented
        cls = ghosts.real_class(obj)
        if issubclass(cls, type):
            return self._class(obj)
        if issubclass(cls, weakref.ref):
            return self._weak(obj)
        rule = self._typemap.rule_for(cls)
        if rule is None:
            raise not_allowed(obj, cls)
        if rule.keep is Keep.FIRST_CLASS and type(obj) not in self._names:
            self._names[type(obj)] = rule.name[:1], rule.name[1:]
            return self.reducer_override(obj)
        key = self._shared(obj) if cls in CONTAINERS else None
        if key is not None:
            return stored.ref, (self._position(key), name_of(cls))
        self._last = obj
        if rule.holds:
            self.namespaces.add(id(getattr(obj, "__dict__", None)))
        reducer = reducer_for(rule)
        return NotImplemented if reducer is None else reducer(obj)

    def _position(self, id: str) -> int:
        return self._found.refs.setdefault(id, len(self._found.refs))

    def _class(self, cls: type) -> Any:
        if self._typemap.rule_for(cls) is None:
            allow = f"To allow it: connect(..., allow_classes=[{cls.__name__}])"
            raise Refusal(cls, f"the class {name_of(cls)} is not in the type map", allow)
        return NotImplemented

    def _weak(self, reference: weakref.ref[Any]) -> Any:
        target = reference()
        if target is None:
            origin = reference.origin if isinstance(reference, WeakReference) else None
            if origin is None:
                return stored.weak, (stored.DEAD, "")
            id, class_name = origin
        else:
            class_name = name_of(ghosts.real_class(target))
            rule = self._typemap.rule_for(ghosts.real_class(target))
            found = self._id_of(target) if rule is not None and rule.keep is Keep.FIRST_CLASS else None
            if found is None:
                raise Refusal(reference, f"it refers weakly to a {class_name}, which has no id of its own")
            id = found
        return stored.weak, (self._found.weak.setdefault(id, len(self._found.weak)), class_name)


class _SharingPickler(_Pickler):
    """Cuts containers out that have ids. Plain ones come by here only, and so does every other value."""

    _begun = False

    def __init__(self, collapser: Collapser) -> None:
        super().__init__(collapser)
        self._shared = collapser.shared or _unshared

    def persistent_id(self, obj: Any) -> Any:
        """Return what stands for a plain container that has an id; the first object to come by is the record's own."""
        cls, begun = type(obj), self._begun
        self._begun = True
        if begun and (cls is dict or cls is list or cls is set or cls is bytearray):
            id = self._shared(obj)
            if id is not None:
                return self._position(id), name_of(cls)
        return None


class _Inspector(_Pickler):
    """Walks what a Persistent object holds, for ZODB to pickle later."""

    def __init__(self, collapser: Collapser) -> None:
        super().__init__(collapser)
        self.held: list[Persistent] = []

    def reducer_override(self, obj: Any) -> Any:
        """Note Persistent objects, which ZODB follows by itself; treat the rest as in any record."""
        # In a bucket of our own tree, or beside our own trees in the record of an index: ZODB reports these as changed.
        if isinstance(obj, stored.Entry | stored.EntryTree):
            return stored.ref, (0, "")
        if isinstance(obj, Persistent):
            if self._typemap.rule_for(type(obj)) is None:
                raise not_allowed(obj, type(obj))
            self.held.append(obj)
            return stored.ref, (0, "")
        return super().reducer_override(obj)
