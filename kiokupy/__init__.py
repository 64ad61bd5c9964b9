"""Object graphs and web sessions, kept by id in ZODB: in memory, in one file, on SQLite, PostgreSQL or ZEO."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kiokupy.errors import (
    BackendMissing,
    BrokenObject,
    BrokenReference,
    CannotUndo,
    ConflictError,
    DuplicateId,
    InvalidId,
    InvalidMoment,
    KiokuError,
    NoHistory,
    NotFound,
    NotIndexable,
    NotIndexed,
    NotLoadable,
    NotStorable,
    NotStored,
    ScopeClosed,
    SessionGone,
    SessionTooLarge,
    SettingsError,
    StoreBusy,
    StoreDenied,
    StoreError,
    StoreLocked,
    StoreNotFound,
    StoreReadOnly,
    StoreTooNew,
    StoreUnreachable,
    StoreUnreadable,
    StreamError,
    TargetError,
    TooManySessions,
    UniqueViolation,
    UnknownBackend,
    UpgradeMissing,
)

if TYPE_CHECKING:
    from kiokupy.collections.lists import ObjectList
    from kiokupy.collections.maps import ObjectMap
    from kiokupy.collections.sets import ObjectSet
    from kiokupy.conditions import Condition, above, all_of, any_of, at_least, at_most, below, between, has_prefix
    from kiokupy.directory import Directory
    from kiokupy.fields import lazy
    from kiokupy.indexes import Index
    from kiokupy.moments import Revision
    from kiokupy.opening import connect
    from kiokupy.rules import Keep, Rule, first_class, intrinsic
    from kiokupy.scope import Scope
    from kiokupy.sessions.events import Event, EventKind
    from kiokupy.sessions.facts import Device
    from kiokupy.sessions.manager import SessionManager
    from kiokupy.sessions.policy import SessionPolicy
    from kiokupy.sessions.roster import SessionInfo
    from kiokupy.sessions.session import Session
    from kiokupy.typemap import TypeMap
else:

    def __getattr__(name: str) -> Any:
        """Import what is asked for: a program pays for the parts of kiokupy that it uses, and only when it does.

        Type checkers do not see it, or they would take any name for one that is there.
        """
        for home, names in _HOMES.items():
            if name in names.split():
                found = globals()[name] = getattr(importlib.import_module(home), name)
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "BackendMissing",
    "BrokenObject",
    "BrokenReference",
    "CannotUndo",
    "Condition",
    "ConflictError",
    "Device",
    "Directory",
    "DuplicateId",
    "Event",
    "EventKind",
    "Index",
    "InvalidId",
    "InvalidMoment",
    "Keep",
    "KiokuError",
    "NoHistory",
    "NotFound",
    "NotIndexable",
    "NotIndexed",
    "NotLoadable",
    "NotStorable",
    "NotStored",
    "ObjectList",
    "ObjectMap",
    "ObjectSet",
    "Revision",
    "Rule",
    "Scope",
    "ScopeClosed",
    "Session",
    "SessionGone",
    "SessionInfo",
    "SessionManager",
    "SessionPolicy",
    "SessionTooLarge",
    "SettingsError",
    "StoreBusy",
    "StoreDenied",
    "StoreError",
    "StoreLocked",
    "StoreNotFound",
    "StoreReadOnly",
    "StoreTooNew",
    "StoreUnreachable",
    "StoreUnreadable",
    "StreamError",
    "TargetError",
    "TooManySessions",
    "TypeMap",
    "UniqueViolation",
    "UnknownBackend",
    "UpgradeMissing",
    "above",
    "all_of",
    "any_of",
    "at_least",
    "at_most",
    "below",
    "between",
    "connect",
    "first_class",
    "has_prefix",
    "intrinsic",
    "lazy",
]

#: Where the names are that are not imported with the package.
_HOMES = {
    "kiokupy.collections.lists": "ObjectList",
    "kiokupy.collections.maps": "ObjectMap",
    "kiokupy.collections.sets": "ObjectSet",
    "kiokupy.conditions": "Condition above all_of any_of at_least at_most below between has_prefix",
    "kiokupy.directory": "Directory",
    "kiokupy.fields": "lazy",
    "kiokupy.indexes": "Index",
    "kiokupy.moments": "Revision",
    "kiokupy.opening": "connect",
    "kiokupy.rules": "Keep Rule first_class intrinsic",
    "kiokupy.scope": "Scope",
    "kiokupy.sessions.events": "Event EventKind",
    "kiokupy.sessions.facts": "Device",
    "kiokupy.sessions.manager": "SessionManager",
    "kiokupy.sessions.policy": "SessionPolicy",
    "kiokupy.sessions.roster": "SessionInfo",
    "kiokupy.sessions.session": "Session",
    "kiokupy.typemap": "TypeMap",
}
