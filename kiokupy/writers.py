"""Writers: Persistent objects become records of ZODB, those that hold first-class plain objects too."""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Callable
from typing import Any

from BTrees.OOBTree import OOBTree, OOBucket, OOSet, OOTreeSet
from persistent import Persistent
from ZODB._compat import PersistentPickler, _protocol
from ZODB.serialize import ObjectWriter, binary

from kiokupy.entry import Entry, EntryTree
from kiokupy.graph import Graph
from kiokupy.rules import name_of

#: How the second part of such a reference begins, before the name of the object's class; the first is its id.
MARK = "kiokupy "


def is_ours(obj: object) -> bool:
    """Tell whether an object is an entry or a tree of them, and not the application's."""
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


def _is_alone(obj: object) -> bool:
    """Tell whether an object is an entry that refers to no other record."""
    return type(obj) is Entry and type(obj.record.state) is bytes


def is_quick(obj: object) -> bool:
    """Tell whether an object is one for whose writer ZODB need not make a pickler."""
    return _is_alone(obj) or type(obj) in _NODES


def writer_of(obj: Persistent) -> Any:
    """Return what writes an object and the new ones that it reaches. The records are as ZODB's own, byte for byte."""
    return (_VerbatimWriter if isinstance(obj, Verbatim) else _Writer)(obj)


def _entry_record(obj: Entry) -> bytes:
    """Return the record of an entry in which nothing is to be asked for its oid."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, _protocol)
    pickler.memo = _ENTRY_MEMO  # as after the class
    pickler.dump(obj.__getstate__())
    return ENTRY_CLASS + buffer.getvalue()


#: Trees and their inner nodes; all nodes; what these refer to mostly; and all that can be looked up in a dict.
_TREES = frozenset({EntryTree, OOBTree, OOTreeSet})
_NODES = _TREES | {OOBucket, OOSet}
_REFERRED_TO = _NODES | {Entry}
_KNOWN = _REFERRED_TO | {str, int, bytes, float, bool, type(None)}

#: Never Persistent nor first-class.
_PLAIN = frozenset({str, tuple, int, bytes, float, bool, type(None)})


def _pickled_class() -> tuple[bytes, dict[int, tuple[int, object]]]:
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, _protocol)
    pickler.dump(Entry)
    return buffer.getvalue(), pickler.memo.copy()


#: The first pickle of every entry's record, and the memo that the second one goes on with.
ENTRY_CLASS, _ENTRY_MEMO = _pickled_class()


class _Writer(ObjectWriter):  # type: ignore[misc]  # ZODB has no annotations
    def __init__(self, obj: Any) -> None:
        # ObjectWriter's own makes a pickler, which costs as much as to write an entry, and few need it.
        self._jar, self._stack = obj._p_jar, [obj]
        self._p: Any = None

    def persistent_id(self, obj: Any) -> Any:
        if type(obj) in _PLAIN:
            return None
        if not isinstance(obj, Persistent | type):
            key = self._jar.graph.id_of(obj)
            if key is not None:
                return ["w", (key.encode(), MARK + name_of(type(obj)))]
        return super().persistent_id(obj)

    def serialize(self, obj: Any) -> Any:
        if _is_alone(obj):
            return _entry_record(obj)
        return self._node_record(obj) if type(obj) in _NODES else self._any_record(obj)

    def _any_record(self, obj: Any) -> Any:
        if self._p is None:
            self._file = io.BytesIO()
            self._p = PersistentPickler(self.persistent_id, self._file, _protocol)
            self._p.dispatch_table = _Reducers(self._jar.graph)
        return super().serialize(obj)

    def _node_record(self, obj: Any) -> Any:
        """Return the record of a node of a tree.

        ZODB's pickler asks in Python of each key and each value whether it is a reference. Where all else is plain, a
        dict is asked, in C; but of what is referred to twice ZODB writes the reference twice.
        """
        state = obj.__getstate__()
        parts = _parts(obj, state)
        references = [part for part in parts if type(part) in _REFERRED_TO]
        if not _KNOWN.issuperset(map(type, parts)) or len(set(references)) < len(references):
            return self._any_record(obj)
        ids: dict[Any, Any] = {reference: self._reference(reference) for reference in references}
        if state is not None and len(state) > 1:  # a leaf: the next one, or the first one, which may be a part too
            leaf = object()
            ids[leaf], state = self._reference(state[1]), (state[0], leaf)
        buffer = io.BytesIO()
        pickler = PersistentPickler(ids.get, buffer, _protocol)
        pickler.dump(type(obj))
        pickler.dump(state)
        return buffer.getvalue()

    def _reference(self, obj: Any) -> Any:
        if obj._p_jar is self._jar:
            return binary(obj._p_oid), type(obj)
        return super().persistent_id(obj)  # a new one gets an oid, and is written next


def _parts(node: object, state: Any) -> Any:
    """Return the keys, values and nodes in the state of a node of a tree."""
    if state is None:
        return ()
    if type(node) in _TREES and len(state) == 1:  # it holds its only leaf
        return state[0][0][0]
    return state[0]


class _Reducers:
    """What a pickler takes for its table of reducers by class."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __getitem__(self, cls: type) -> Callable[[Any], Any]:
        return self._graph.reducer(cls) or copyreg.dispatch_table[cls]
