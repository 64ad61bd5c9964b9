"""History: the states that an object had."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ZODB.utils import z64

from kiokupy import entry as stored
from kiokupy import moments
from kiokupy.database import Unit
from kiokupy.errors import NotFound
from kiokupy.moments import Revision


def revisions(unit: Unit, key: str, limit: int | None) -> list[Revision]:
    """Return the states of an object until the moment that a unit sees, as :meth:`kiokupy.Scope.history` says."""
    unit.database.check_history()
    with unit.database.translated():
        entry = unit.root["entries"].get(key)
        if entry is None:
            raise NotFound(key)
        record = entry.record
        found: dict[bytes, Revision] = {}
        for persistent in [entry, record.state] if record.flags & stored.STORED_ITSELF else [entry]:
            for revision in _of_record(unit, key, persistent, limit):
                earlier = found.get(revision.tid)  # one transaction wrote both of its records
                size = revision.size + (earlier.size if earlier is not None else 0)
                found[revision.tid] = revision._replace(size=size)
    return sorted(found.values(), key=lambda revision: revision.tid, reverse=True)[:limit]


def _of_record(unit: Unit, key: str, persistent: Any, limit: int | None) -> Iterator[Revision]:
    persistent._p_activate()
    if persistent._p_serial == z64:  # it is not committed yet
        return
    for told in unit.connection.revisions(persistent._p_oid, limit):
        user, description = (str(told[name], "utf-8", "replace") for name in ("user_name", "description"))
        yield Revision(key, told["tid"], moments.time_of(told["tid"]), told["size"], user, description)
