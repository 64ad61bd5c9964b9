"""History: the states that an object had."""

from __future__ import annotations

import sys
from typing import Any

from ZODB.utils import z64

from kiokupy import entry as stored
from kiokupy import moments
from kiokupy.database import Unit
from kiokupy.errors import NotFound
from kiokupy.moments import Revision

# A storage wants to be told how many.
_ALL = sys.maxsize


def revisions(unit: Unit, key: str, limit: int | None = None) -> list[Revision]:
    """Return the states of an object until the moment that a unit sees, as :meth:`kiokupy.Scope.history` says."""
    unit.database.check_history()
    with unit.database.translated():
        entry = unit.root["entries"].get(key)
        if entry is None:
            raise NotFound(key)
        record = entry.record
        persistents = [entry, record.state] if record.flags & stored.STORED_ITSELF else [entry]
        found: dict[bytes, Revision] = {}
        for persistent in persistents:
            for told in _told(unit, persistent, limit):
                made = _revision(key, told)
                before = found.get(made.tid)
                found[made.tid] = made._replace(size=made.size + before.size) if before is not None else made
    return sorted(found.values(), key=lambda revision: revision.tid, reverse=True)[:limit]


def _told(unit: Unit, persistent: Any, limit: int | None) -> list[dict[str, Any]]:
    end = unit.connection.tid
    if persistent._p_serial == z64:  # it is not committed yet
        return []
    told = unit.connection.revisions(persistent._p_oid, _ALL if limit is None or end is not None else limit)
    return [one for one in told if end is None or one["tid"] <= end]


def _revision(key: str, told: dict[str, Any]) -> Revision:
    tid = told["tid"]
    user, description = (str(told[name], "utf-8", "replace") for name in ("user_name", "description"))
    return Revision(key, tid, moments.time_of(tid), told["size"], user, description)
