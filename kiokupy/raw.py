"""Raw: what the records of the database hold, read from their bytes.

No class that a record names is imported, no object is made, and nothing stays in a connection's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

from ZODB.serialize import PersistentUnpickler

from kiokupy.entry import Entry, EntryTree, Record
from kiokupy.errors import KiokuError
from kiokupy.rules import name_of
from kiokupy.writers import MARK

ENTRY, ENTRY_TREE = name_of(Entry), name_of(EntryTree)


class Pointer(NamedTuple):
    """Stands for the object of another record of the database."""

    oid: bytes
    #: ``module:qualname``, or nothing if the pointer does not tell
    class_name: str


class Held(NamedTuple):
    """What the record of a Persistent object refers to."""

    #: ids of first-class objects
    ids: list[str]
    #: other records
    oids: list[bytes]


def class_name(data: bytes) -> str:
    """Return the name of the class of a record's object, or nothing if it is not plainly there."""
    try:
        meta = _unpickler(data).load()
    except Exception:  # the arguments of a class's __new__ may be of any kind
        return ""
    name = meta[0] if isinstance(meta, tuple) and meta else meta
    return name if isinstance(name, str) else ""


def read(data: bytes) -> tuple[str, Any]:
    """Return the class and the state of a record of kiokupy's own: an entry, or a node of a tree.

    :raises ValueError: it is not one.
    """
    try:
        unpickler = _unpickler(data)
        return unpickler.load(), unpickler.load()
    except Exception as error:  # whoever wrote it by hand may have written anything
        raise ValueError(f"the record cannot be read ({type(error).__name__}: {error})") from error


def entry(data: bytes) -> Record:
    """Return what an entry says; in the place of a Persistent object is a :class:`Pointer` to it.

    :raises ValueError: the record is no entry as kiokupy writes it.
    :raises StoreTooNew: a newer kiokupy wrote it.
    """
    name, state = read(data)
    try:
        found = Entry.__new__(Entry)
        found.__setstate__(state)
        record: Record = found.record
    except KiokuError:
        raise
    except Exception as error:
        raise ValueError(f"the record is not as kiokupy writes it ({type(error).__name__}: {error})") from error
    if name != ENTRY or not _is_well_formed(record):
        raise ValueError("the record is not as kiokupy writes it")
    return record


def held(data: bytes) -> Held:
    """Return what the record of a Persistent object refers to; ZODB's weak references are left out.

    :raises ValueError: the record cannot be read.
    """
    found: list[Any] = []
    unpickler = PersistentUnpickler(None, found.append, BytesIO(data))
    try:
        unpickler.noload()
        unpickler.noload()
    except Exception as error:
        raise ValueError(f"the record cannot be read ({type(error).__name__}: {error})") from error
    result = Held([], [])
    for reference in found:
        match reference:
            case (bytes() as oid) | (bytes() as oid, _):
                result.oids.append(oid)
            case ["w", (bytes() as key, str() as mark)] if mark.startswith(MARK):
                result.ids.append(key.decode())
    return result


def _unpickler(data: bytes) -> Any:
    return PersistentUnpickler(_name, _pointer, BytesIO(data))


_name: Callable[[str, str], str] = "{}:{}".format


def _pointer(reference: Any) -> Pointer:
    match reference:
        case (bytes() as oid, str() as name):
            return Pointer(oid, name)
        case bytes() as oid:
            return Pointer(oid, "")
    raise ValueError(f"a reference of another kind: {reference!r:.80}")


def _is_well_formed(record: Record) -> bool:
    return (
        isinstance(record.class_name, str)
        and isinstance(record.head, bytes | None)
        and isinstance(record.state, bytes | Pointer)
        and _are_ids(record.refs)
        and isinstance(record.flags, int)
        and isinstance(record.version, str | None)
        and _are_ids(record.weak)
    )


def _are_ids(ids: Any) -> bool:
    return isinstance(ids, tuple) and all(isinstance(id, str) for id in ids)
