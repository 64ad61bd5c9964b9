"""Expand: records become objects. Shells first, then their state; no global outside the type map."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kiokupy import entry as stored
from kiokupy import ghosts
from kiokupy.entry import Record
from kiokupy.errors import KiokuError, NotLoadable
from kiokupy.typemap import TypeMap

#: Gives the live object of an id, which the record being expanded expects to be of the named class.
Resolve = Callable[[str, str], object]


class Expander:
    """Turns records into objects by the rules of a type map.

    :param resolve: called for each reference met.
    """

    def __init__(self, typemap: TypeMap, resolve: Resolve) -> None:
        self.typemap, self.resolve = typemap, resolve

    def shell(self, record: Record) -> Any:
        """Return a new object of the record's class with no state yet, to be filled.

        :raises NotLoadable: the type map refuses the class.
        """
        cls: Any = self.typemap.class_named(record.class_name)
        if record.flags & stored.STORED_ITSELF:
            return record.state
        if record.flags & stored.PAIR:
            return self._made_by_pair(cls, record)
        if record.head is None:
            return cls.__new__(cls)
        args, kwargs = self.load(record.head, record.refs)
        if record.flags & stored.CALL:
            return cls(*args, **kwargs)
        return cls.__new__(cls, *args, **kwargs)

    def state(self, record: Record) -> Any:
        """Return the unpickled state of a record, for :meth:`fill`."""
        if record.flags & (stored.PAIR | stored.STORED_ITSELF):
            return None
        assert isinstance(record.state, bytes)
        return self.load(record.state, record.refs)

    def parts(self, record: Record) -> tuple[Any, Any]:
        """Return head and state, unpickled, as the state of an object that was loaded from the record would be."""
        head = None if record.head is None else self.load(record.head, record.refs)
        assert isinstance(record.state, bytes)
        state = self.load(record.state, record.refs)
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
            (obj.extend if isinstance(obj, list) else obj.update)(state)
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

    def load(self, data: bytes, refs: tuple[str, ...]) -> Any:
        """Unpickle the head or the state of a record.

        :raises NotLoadable: it names something the type map does not.
        """
        return _Unpickler(io.BytesIO(data), self, refs).load()

    def _made_by_pair(self, cls: type, record: Record) -> object:
        assert isinstance(record.state, bytes)
        return self.restore(record.class_name, self.load(record.state, record.refs))

    def restore(self, class_name: str, data: object) -> object:
        """Make an object of what its rule's ``collapse`` gave."""
        rule = self.typemap.rule_for(self.typemap.class_named(class_name))
        if rule is None or rule.expand is None:
            raise NotLoadable(class_name, reason="its rule had a collapse/expand pair when it was stored")
        return rule.expand(data)


@contextmanager
def explained(key: str, record: Record) -> Iterator[None]:
    """Turn what an application's class raises while it is given its state into an error that names the object."""
    try:
        yield
    except KiokuError:
        raise
    except Exception as error:
        reason = f"its state does not fit its class ({error!r})"
        raise NotLoadable(record.class_name, id=key, reason=reason) from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, expander: Expander, refs: tuple[str, ...]) -> None:
        super().__init__(buffer)
        self._expander, self._refs = expander, refs

    def find_class(self, module: str, name: str) -> Any:
        """Consult the type map, and nothing else."""
        if module == stored.__name__:
            if name == stored.ref.__name__:
                return self._ref
            if name == stored.restore.__name__:
                return self._expander.restore
        return self._expander.typemap.find(module, name)

    def _ref(self, position: int, class_name: str) -> object:
        return self._expander.resolve(self._refs[position], class_name)


def _set_state(obj: Any, state: Any) -> None:
    """Do what unpickling does with a state, past any ``__setattr__`` of the class."""
    set_state = getattr(obj, "__setstate__", None)
    if set_state is not None:
        set_state(state)
        return
    state, slots = _interned(state) if isinstance(state, tuple) else (_interned(state), None)
    if state:
        obj.__dict__.update(state)
    if slots:
        known = set(ghosts.slots_of(type(obj)))
        for name, value in slots.items():
            if name in known or not hasattr(obj, "__dict__"):
                object.__setattr__(obj, name, value)
            else:  # the class had a slot of that name once
                obj.__dict__[name] = value


def _interned(state: Any) -> Any:
    """Return a state with the very names of attributes that the interpreter uses."""
    if isinstance(state, dict):
        return {sys.intern(name) if type(name) is str else name: value for name, value in state.items()}
    if isinstance(state, tuple):
        attributes, slots = state
        return _interned(attributes), _interned(slots)
    return state
