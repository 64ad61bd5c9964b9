"""Writers: Persistent objects become records of ZODB, those that hold first-class plain objects too."""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Callable
from typing import Any

from persistent import Persistent
from ZODB._compat import _protocol
from ZODB.serialize import ObjectWriter

from kiokupy import entry
from kiokupy.graph import Graph
from kiokupy.rules import name_of

#: How the second part of such a reference begins, before the name of the object's class; the first is its id.
MARK = "kiokupy "


def is_ours(obj: object) -> bool:
    """Tell whether an object is an entry or a tree of them, and not the application's."""
    return isinstance(obj, entry.Entry | entry.EntryTree)


class Verbatim(Persistent):  # type: ignore[misc]  # persistent has no annotations
    """A record that is written as it is, whatever its class."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    #: That there is one has references to it name no class: ZODB then looks into the record.
    __getnewargs__ = tuple


class _VerbatimWriter(ObjectWriter):  # type: ignore[misc]  # ZODB has no annotations
    def serialize(self, obj: Verbatim) -> bytes:
        return obj.data


def writer_of(obj: object) -> ObjectWriter:
    """Return what writes an object, and the new Persistent objects that it reaches."""
    if isinstance(obj, Verbatim):
        return _VerbatimWriter(obj)
    return (_OwnWriter if is_ours(obj) else _Writer)(obj)


#: Never first-class, and most of what the leaves of a tree hold: a third of a write's time went into asking.
_PLAIN = frozenset({str, tuple, int, bytes, float, bool, type(None)})


class _OwnWriter(ObjectWriter):  # type: ignore[misc]  # ZODB has no annotations
    """Writes trees of entries, and the new entries in them, byte for byte as ZODB does."""

    def __init__(self, obj: Any) -> None:
        super().__init__(obj)
        self._buffer = io.BytesIO()
        self._plain = pickle.Pickler(self._buffer, _protocol)

    def persistent_id(self, obj: Any) -> Any:
        return super().persistent_id(obj) if isinstance(obj, Persistent) else None

    def serialize(self, obj: Any) -> bytes:
        """Return the record of an object; where an entry has text and bytes only nothing in it is asked for its oid."""
        if type(obj) is not entry.Entry or type(obj.record.state) is not bytes:
            data: bytes = super().serialize(obj)
            return data
        self._buffer.seek(0)
        self._buffer.truncate()
        self._plain.memo = _ENTRY_MEMO  # as after the class
        self._plain.dump(obj.__getstate__())
        return _ENTRY_CLASS + self._buffer.getvalue()


def _pickled_class() -> tuple[bytes, dict[int, tuple[int, object]]]:
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, _protocol)
    pickler.dump(entry.Entry)
    return buffer.getvalue(), pickler.memo.copy()


#: The first pickle of every entry's record, and the memo that the second one goes on with.
_ENTRY_CLASS, _ENTRY_MEMO = _pickled_class()


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
