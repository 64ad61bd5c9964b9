"""Writing: objects become records of ZODB."""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any

from persistent import Persistent
from ZODB.serialize import ObjectWriter

from kiokupy.entry import STORED_ITSELF, Entry, EntryTree
from kiokupy.graph import Graph
from kiokupy.rules import name_of

#: How the second part of a reference to a first-class plain object begins, before the name of its class; the first is
#: its id.
MARK = "kiokupy "

_PROTOCOL = 3  # ZODB's


def is_ours(obj: object) -> bool:
    """Tell whether an object is a record of kiokupy's own."""
    return isinstance(obj, Entry | EntryTree)


class Verbatim(Persistent):  # type: ignore[misc]  # persistent has no annotations
    """A record that is written as it is, whatever its class."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    #: That there is one has references to it name no class: ZODB then looks into the record.
    __getnewargs__ = tuple


class _VerbatimWriter(ObjectWriter):  # type: ignore[misc]  # ZODB has no annotations
    def serialize(self, obj: Verbatim) -> bytes:
        return obj.data


class _EntryWriter:
    """Writes an entry that refers to no record, byte for byte as ZODB's own writer, in a tenth of the time."""

    def __init__(self, obj: Entry) -> None:
        self._objects = [obj]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._objects)

    def serialize(self, obj: Entry) -> bytes:
        buffer = io.BytesIO()
        pickler = pickle.Pickler(buffer, _PROTOCOL)
        pickler.dump(Entry)
        pickler.dump(obj.__getstate__())
        return buffer.getvalue()


def is_alone(obj: object) -> bool:
    """Tell whether an object is an entry that refers to no other record."""
    return type(obj) is Entry and not obj.record.flags & STORED_ITSELF


def writer_of(obj: Persistent) -> Any:
    """Return what makes the record of an object, and of those that are found on the way."""
    if is_alone(obj):
        return _EntryWriter(obj)
    if isinstance(obj, Verbatim):
        return _VerbatimWriter(obj)
    return (ObjectWriter if is_ours(obj) else _Writer)(obj)


#: Never first-class, and most of what the leaves of a tree hold: a third of a write's time went into asking.
_PLAIN = frozenset({str, tuple, int, bytes, float, bool, type(None)})


class _Writer(ObjectWriter):  # type: ignore[misc]  # ZODB has no annotations
    def __init__(self, obj: Any) -> None:
        super().__init__(obj)
        self._p.dispatch_table = _Reducers(self._jar.graph)

    def persistent_id(self, obj: Any) -> Any:
        if type(obj) in _PLAIN:
            return None
        if not isinstance(obj, Persistent | type):
            key = self._jar.graph.id_of(obj)
            if key is not None:
                return ["w", (key.encode(), MARK + name_of(type(obj)))]
        return super().persistent_id(obj)


class _Reducers:
    """What a pickler takes for its table of reducers by class."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __getitem__(self, cls: type) -> Callable[[Any], Any]:
        return self._graph.reducer(cls) or copyreg.dispatch_table[cls]
