"""The stored form: an entry is the record of one first-class object.

An entry can be read, copied, collected and checked without the application's classes: it names its class and the ids
it refers to in the clear, and keeps the object in two pickles that only :mod:`kiokupy.expand` and the dump open.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from BTrees.OOBTree import OOBTree
from persistent import Persistent

from kiokupy.errors import StoreTooNew

#: The format of the database's root record. This code reads all up to this one.
FORMAT = 1

#: The formats of entries: the second has a version and weak references, and is written only where there are any.
_SHORT, _WHOLE = 1, 2

#: The pickle protocol of the two pickles: fixed, since change detection compares bytes.
PROTOCOL = 5

#: The position of a weak reference whose object is no more.
DEAD = -1

#: Flags of a record.
ROOT = 1  #: keeps itself and all it reaches alive
NEW = 2  #: the head holds arguments of the class's ``__new__``
CALL = 4  #: the head holds arguments of the class itself
ITEMS = 8  #: the state is a triple: state, list items, dict items
PAIR = 16  #: the state is what the type map's ``collapse`` made
VALUE = 32  #: the state is the object: a plain dict, list or set
STORED_ITSELF = 64  #: a ``persistent.Persistent`` object: the state is a ZODB reference to it


class Record(NamedTuple):
    """What an entry says of its object; compared to see whether the object changed."""

    #: ``module:qualname``
    class_name: str
    #: the pickled ``(args, kwargs)`` that make the object, or ``None``
    head: bytes | None
    #: the pickled state; of a Persistent object, the object
    state: bytes | Persistent
    #: the ids of the first-class objects it refers to; the pickles name them by their position here
    refs: tuple[str, ...]
    flags: int
    #: the version of the class whose state this is, as the type map's rule said; since format 2
    version: str | None = None
    #: the ids of the first-class objects it refers to weakly, which it does not keep alive; since format 2
    weak: tuple[str, ...] = ()


class Entry(Persistent):  # type: ignore[misc]  # persistent has no annotations
    """A record in the database."""

    # Without a dict of its own an entry is one object less for Python's collector to visit, and half as big.
    __slots__ = ("record",)

    record: Record

    def __init__(self, record: Record) -> None:
        self.record = record

    def __getstate__(self) -> tuple[object, ...]:
        record = self.record
        if record.version is None and not record.weak:
            return (_SHORT, *record[:5])
        return (_WHOLE, *record)

    def __setstate__(self, state: tuple[object, ...]) -> None:
        if state[0] not in (_SHORT, _WHOLE):
            raise StoreTooNew("an entry", found=state[0], supported=_WHOLE)
        self.record = Record(*state[1:])  # type: ignore[arg-type]  # as __getstate__ wrote it


class EntryTree(OOBTree):  # type: ignore[misc]  # BTrees has no annotations
    """A tree of entries.

    Small leaves and interior nodes: a store rewrites one leaf and two writers collide on one interior node, so smaller
    ones are cheaper to write and rarer to collide on; a read descends one level more.
    """

    max_leaf_size = 16
    max_internal_size = 64


#: The classes of records that are ours, by module and name.
CLASSES = {(cls.__module__, cls.__qualname__): cls for cls in (Entry, EntryTree)}

Key: TypeAlias = str | bytes


def ref(position: int, class_name: str) -> object:
    """Stand in a pickle for the object whose id is at ``position`` of the record's references.

    :mod:`kiokupy.expand` gives the name its meaning; a pickle of ours opened by anything else stops here.
    """
    raise TypeError(f"a kiokupy record is opened by kiokupy.expand, not by pickle ({class_name} {position})")


def weak(position: int, class_name: str) -> object:
    """Stand in a pickle for a weak reference, to the id at ``position`` of the record's weak ones; as :func:`ref`."""
    raise TypeError(f"a kiokupy record is opened by kiokupy.expand, not by pickle ({class_name} {position})")


def restore(class_name: str, data: object) -> object:
    """Stand in a pickle for an intrinsic object that the type map's pair made ``data`` of; as :func:`ref`."""
    raise TypeError(f"a kiokupy record is opened by kiokupy.expand, not by pickle ({class_name} {data!r:.40})")
