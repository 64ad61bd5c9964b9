"""Collapse: objects become records.

One C pickler an object. It calls back for instances of classes only, never for plain data, and there the references to
first-class objects are cut out and replaced by a position in the record's list of ids.
"""

from __future__ import annotations

import collections
import io
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
            record = self._collapse(obj, flags, _Pickler)
            if self.shared is None or not (self._holds_itself or any(self.shared(part) for part in self.parts)):
                return record
        except TooDeep:
            if self.shared is None:
                raise
        self.parts = []
        return self._collapse(obj, flags, _SharingPickler)

    def _collapse(self, obj: object, flags: int, pickler: type[_Pickler]) -> Record:
        rule = self._rule(obj)
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
        head_bytes = None if head is None else self._dump(head, found, obj, pickler)
        state_bytes, refs = self._dump(state, found, obj, pickler), tuple(found.refs)
        return Record(rule.name, head_bytes, state_bytes, refs, form | flags, rule.version, tuple(found.weak))

    def dump(self, value: object, found: Found, owner: object) -> bytes:
        """Pickle a value; ids of first-class objects it reaches are added to ``found`` with their positions."""
        return self._pickled(value, found, owner, _Pickler if self.shared is None else _SharingPickler)[0]

    def _pickled(self, value: object, found: Found, owner: object, kind: type[_Pickler]) -> tuple[bytes, _Pickler]:
        buffer = io.BytesIO()
        pickler = kind(buffer, self, found)
        self._run(pickler, value, owner)
        return buffer.getvalue(), pickler

    def _dump(self, value: object, found: Found, owner: object, kind: type[_Pickler]) -> bytes:
        data, pickler = self._pickled(value, found, owner, kind)
        # The memo has all that was pickled, at the price of a tuple for each; plain data is sooner looked through.
        held = _memo_of(pickler) if pickler.namespaces or pickler.cuts else plain_containers(value)
        for obj in held:
            if obj is owner:  # in the memo it also is when it is pickled itself
                self._holds_itself = True
            elif type(obj) in CONTAINERS and obj is not value and id(obj) not in pickler.namespaces:
                self.parts.append(obj)
        return data

    def _run(self, pickler: _Pickler, value: object, owner: object) -> None:
        try:
            pickler.dump(value)
        except Exception as error:
            refuse(owner if pickler.last is None else pickler.last, error)

    def inspect(self, obj: Persistent) -> list[Persistent]:
        """Check what a Persistent object holds, which ZODB will pickle, and return the Persistent objects it refers to.

        :raises Refusal: it holds something that cannot be stored.
        """
        inspector = _Inspector(self)
        try:
            state = obj.__getstate__()
        except Exception as error:
            refuse(obj, error)
        self._run(inspector, state, obj)
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
        return rule


def _memo_of(pickler: _Pickler) -> list[object]:
    """Return what a pickler came by, in that order; the memo itself is in the order of addresses."""
    return [obj for _, obj in sorted(pickler.memo.copy().values(), key=lambda pair: pair[0])]


class _Pickler(pickle.Pickler):
    """Pickles one object's state; see the module's docstring."""

    #: Whether containers that have ids are cut out.
    cuts = False
    last: object = None

    def __init__(self, buffer: io.BytesIO, collapser: Collapser, found: Found) -> None:
        super().__init__(buffer, stored.PROTOCOL)
        self._collapser, self._found = collapser, found
        #: The numbers of the dicts that hold the attributes of the intrinsic objects that were met and may hold others.
        self.namespaces: set[int] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Cut first-class objects out, refuse what the type map does not name, leave the rest to pickle."""
        if obj is stored.ref or obj is stored.restore or obj is stored.weak:
            return NotImplemented
        cls = ghosts.real_class(obj)
        if issubclass(cls, type):
            return self._class(obj)
        if issubclass(cls, weakref.ref):
            return self._weak(obj)
        rule = self._collapser.typemap.rule_for(cls)
        if rule is None:
            raise not_allowed(obj, cls)
        key = None
        if rule.keep is Keep.FIRST_CLASS:
            key = self._collapser.id_of(obj)
        elif self.cuts and cls in CONTAINERS:
            key = self._shared(obj)
        if key is not None:
            # A new string each time: were it the same, the second one would stand in the pickle in another form.
            return stored.ref, (self._position(key), name_of(cls))
        self.last = obj
        if rule.holds:
            self.namespaces.add(id(getattr(obj, "__dict__", None)))
        reducer = reducer_for(rule)
        return NotImplemented if reducer is None else reducer(obj)

    def _shared(self, obj: object) -> str | None:
        shared = self._collapser.shared
        return None if shared is None else shared(obj)

    def _position(self, id: str) -> int:
        return self._found.refs.setdefault(id, len(self._found.refs))

    def _class(self, cls: type) -> Any:
        if self._collapser.typemap.rule_for(cls) is None:
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
            rule = self._collapser.typemap.rule_for(ghosts.real_class(target))
            found = self._collapser.id_of(target) if rule is not None and rule.keep is Keep.FIRST_CLASS else None
            if found is None:
                raise Refusal(reference, f"it refers weakly to a {class_name}, which has no id of its own")
            id = found
        return stored.weak, (self._found.weak.setdefault(id, len(self._found.weak)), class_name)


class _SharingPickler(_Pickler):
    """Cuts containers out that have ids. Plain ones come by here only, and so does every other value."""

    cuts = True
    _begun = False

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
        super().__init__(io.BytesIO(), collapser, Found({}, {}))
        self.held: list[Persistent] = []

    def reducer_override(self, obj: Any) -> Any:
        """Note Persistent objects, which ZODB follows by itself; treat the rest as in any record."""
        # In a bucket of our own tree, or beside our own trees in the record of an index: ZODB reports these as changed.
        if isinstance(obj, stored.Entry | stored.EntryTree):
            return stored.ref, (0, "")
        if isinstance(obj, Persistent):
            if self._collapser.typemap.rule_for(type(obj)) is None:
                raise not_allowed(obj, type(obj))
            self.held.append(obj)
            return stored.ref, (0, "")
        return super().reducer_override(obj)
