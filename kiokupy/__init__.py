"""Object graphs and web sessions, kept by id in ZODB: in memory, in one file, on SQLite, PostgreSQL or ZEO."""

from kiokupy.collections.lists import ObjectList
from kiokupy.collections.maps import ObjectMap
from kiokupy.collections.sets import ObjectSet
from kiokupy.conditions import Condition, above, all_of, any_of, at_least, at_most, below, between, has_prefix
from kiokupy.directory import Directory
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
