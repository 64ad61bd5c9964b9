"""Links: which objects a stored object refers to, without the application's classes.

A plain object's entry says it in the clear. A Persistent object has no such list: its links stand in its own record and
in those of the Persistent objects that it holds, which are read for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from BTrees.QQBTree import QQTreeSet
from ZODB.utils import u64

from kiokupy import raw
from kiokupy.connection import GraphConnection
from kiokupy.raw import Pointer

#: Where kiokupy's own Persistent classes are that keep ids as plain strings in trees of their own. Their objects have a
#: method ``member_ids()``, which gives these ids, and an attribute ``weak``: whether they keep nothing alive.
COLLECTIONS = "kiokupy.collections"


class Link(NamedTuple):
    """A reference from one object to another."""

    target: str
    weak: bool = False


class Links(NamedTuple):
    """What one record of the database refers to."""

    #: references to first-class objects, by id; each may come more than once
    links: Iterable[Link]
    #: the records that belong to it as parts, by oid
    parts: list[bytes]
    #: whether the links are read from the parts as well
    from_parts: bool = False


def of_record(connection: GraphConnection, oid: bytes) -> Links:
    """Return what one record, of an entry or of a Persistent object, refers to.

    :raises ValueError: the record cannot be read.
    :raises KiokuError: it is not there.
    """
    with connection.db().translated():
        data = connection.raw(oid)
    name = raw.class_name(data)
    if name == raw.ENTRY:
        record = raw.entry(data)
        links = [*map(Link, record.refs), *(Link(target, weak=True) for target in record.weak)]
        return Links(links, [record.state.oid] if isinstance(record.state, Pointer) else [])
    found = raw.held(data)
    if name.startswith(COLLECTIONS):
        return Links(_members(connection, oid), found.oids, from_parts=True)
    return Links(list(map(Link, found.ids)), found.oids)


def of_entry(connection: GraphConnection, oid: bytes, seen: QQTreeSet | None = None) -> Iterator[Link]:
    """Yield what the object of an entry refers to, as it is stored; an id may come more than once.

    Each record is read once, and about 16 bytes are kept of it. Raises as :func:`of_record`.

    :param seen: an empty set, for the oids of the records that were read, as numbers.
    """
    seen = QQTreeSet() if seen is None else seen
    pending = [oid]
    while pending:
        found = of_record(connection, pending.pop())
        yield from found.links
        pending += [part for part in found.parts if seen.insert(u64(part))]


def _members(connection: GraphConnection, oid: bytes) -> Iterator[Link]:
    collection = connection.get(oid)
    for target in collection.member_ids():
        yield Link(target, weak=collection.weak)
