"""Expand: records become objects. Shells first, then their state; no global outside the type map."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from persistent import Persistent

from kiokupy import entry as stored
from kiokupy import ghosts, weak
from kiokupy.entry import Record
from kiokupy.errors import KiokuError, NotLoadable, UpgradeMissing
from kiokupy.evolution import evolved
from kiokupy.typemap import TypeMap

#: Gives the live object of an id, which the record being expanded expects to be of the named class.
Resolve = Callable[[str, str], object]


class Expander:
    """Turns records into objects by the rules of a type map.

    :param resolve: called for each reference met.
    :param exists: tells of an id that is referred to weakly whether it is in the store.
    """

    def __init__(self, typemap: TypeMap, resolve: Resolve, exists: Callable[[str], bool]) -> None:
        self.typemap, self.resolve, self.exists = typemap, resolve, exists

    def shell(self, record: Record) -> Any:
        """Return a new object of the record's class with no state yet, to be filled.

        :raises NotLoadable: the type map refuses the class.
        """
        cls: Any = self.typemap.class_named(record.class_name)
        if record.flags & stored.STORED_ITSELF:
            return record.state
        if record.flags & stored.PAIR:
            return self.restore(record.class_name, self.evolved(record, self.load(record.state, record)))
        if record.head is None:
            return cls.__new__(cls)
        args, kwargs = self.load(record.head, record)
        if record.flags & stored.CALL:
            return cls(*args, **kwargs)
        return cls.__new__(cls, *args, **kwargs)

    def state(self, record: Record) -> Any:
        """Return the unpickled state of a record, brought to today's version of its class, for :meth:`fill`.

        :raises UpgradeMissing: there is no way to today's version.
        """
        if record.flags & (stored.PAIR | stored.STORED_ITSELF):
            return None
        return self.evolved(record, self.load(record.state, record))

    def evolved(self, record: Record, state: Any) -> Any:
        """Return a record's state as today's class has it; the very same if nothing is to be done."""
        rule = self.typemap.rule_for(self.typemap.class_named(record.class_name))
        return state if rule is None else evolved(state, record, rule)

    def parts(self, record: Record) -> tuple[Any, Any] | None:
        """Return head and state, unpickled, as the state of an object that was loaded from the record would be.

        ``None``: the object has another state than the record.
        """
        head = None if record.head is None else self.load(record.head, record)
        state = self.load(record.state, record)
        if self.evolved(record, state) is not state:
            return None
        own_way = hasattr(self.typemap.class_named(record.class_name), "__setstate__")
        if own_way or record.flags & (stored.PAIR | stored.VALUE):
            return head, state
        if record.flags & stored.ITEMS:
            return head, (_interned(state[0]), *state[1:])
        return head, _interned(state)

    def fill(self, obj: Any, state: Any, flags: int) -> None:
        """Give a shell its state."""
        items = pairs = None
        if flags & stored.VALUE:
            (obj.extend if isinstance(obj, list | bytearray) else obj.update)(state)
            return
        if flags & stored.ITEMS:
            state, items, pairs = state
        if state is not None:
            _set_state(obj, state)
        if items is not None:
            obj.extend(items)
        if pairs is not None:
            for key, value in pairs.items():
                obj[key] = value

    def load(self, data: bytes | Persistent, record: Record) -> Any:
        """Unpickle the head or the state of a record.

        :raises NotLoadable: it names something the type map does not.
        """
        assert isinstance(data, bytes)
        unpickler = _Unpickler(io.BytesIO(data))
        unpickler.expander, unpickler.record = self, record
        return unpickler.load()

    def restore(self, class_name: str, data: object) -> object:
        """Make an object of what its rule's ``collapse`` gave."""
        rule = self.typemap.rule_for(self.typemap.class_named(class_name))
        if rule is None or rule.expand is None:
            raise NotLoadable(class_name, reason="its rule had a collapse/expand pair when it was stored")
        return rule.expand(data)


class explained:  # noqa: N801  # used as a function is, like contextlib's own
    """Turn what an application's class raises while it is given its state into an error that names the object."""

    __slots__ = ("_key", "_record")

    def __init__(self, key: str, record: Record) -> None:
        self._key, self._record = key, record

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, UpgradeMissing):
            id = error.id or self._key
            raise UpgradeMissing(error.class_name, error.version, wanted=error.wanted, id=id) from None
        if isinstance(error, Exception) and not isinstance(error, KiokuError):
            reason = f"its state does not fit its class ({error!r})"
            raise NotLoadable(self._record.class_name, id=self._key, reason=reason) from error


_STAND_INS = (stored.ref, stored.weak, stored.restore)
#: By module and name, the methods of the unpickler that give them their meaning.
_MEANINGS = {(stored.__name__, function.__name__): f"_{function.__name__}" for function in _STAND_INS}


class _Unpickler(pickle.Unpickler):
    # Given to it when it is made: an __init__ in Python would cost as much again as to make it.
    expander: Expander
    record: Record

    def find_class(self, module: str, name: str) -> Any:
        """Consult the type map, and nothing else."""
        meaning = _MEANINGS.get((module, name))
        if meaning is not None:
            return getattr(self, meaning)
        return self.expander.typemap.find(module, name)

    def persistent_load(self, pid: Any) -> object:
        """Return a container that has a record of its own."""
        return self._ref(*pid)

    def _restore(self, class_name: str, data: object) -> object:
        return self.expander.restore(class_name, data)

    def _ref(self, position: int, class_name: str) -> object:
        return self.expander.resolve(self.record.refs[position], class_name)

    def _weak(self, position: int, class_name: str) -> object:
        key = "" if position == stored.DEAD else self.record.weak[position]
        if not key or not self.expander.exists(key):
            return weak.dead()
        return weak.made(self.expander.resolve(key, class_name), key, class_name)


def _set_state(obj: Any, state: Any) -> None:
    """Do what unpickling does with a state, past any ``__setattr__`` of the class."""
    set_state = getattr(obj, "__setstate__", None)
    if set_state is not None:
        set_state(state)
        return
    slots = _slots(type(obj))  # type: ignore[arg-type]  # mypy does not know that classes are hashable
    attributes = getattr(obj, "__dict__", None)
    for part in _interned(state) if isinstance(state, tuple) else (_interned(state),):
        if not slots and attributes is not None:
            attributes.update(part or ())
            continue
        for name, value in (part or {}).items():
            if attributes is None or name in slots:
                object.__setattr__(obj, name, value)
            else:  # the class had a slot of that name once
                attributes[name] = value


@lru_cache(maxsize=1_000)
def _slots(cls: type) -> frozenset[str]:
    return frozenset(ghosts.slots_of(cls))


def _interned(state: Any) -> Any:
    """Return a state with the very names of attributes that the interpreter uses."""
    if isinstance(state, dict):
        return {sys.intern(name) if type(name) is str else name: value for name, value in state.items()}
    if isinstance(state, tuple):
        attributes, slots = state
        return _interned(attributes), _interned(slots)
    return state
