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
from kiokupy.sessions.manager import SessionManager
from kiokupy.sessions.policy import SessionPolicy
from kiokupy.sessions.session import Session
from kiokupy.typemap import TypeMap

__all__ = [
    "BackendMissing",
    "BrokenObject",
    "BrokenReference",
    "CannotUndo",
    "Condition",
    "ConflictError",
    "Directory",
    "DuplicateId",
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
    "SessionManager",
    "SessionPolicy",
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
