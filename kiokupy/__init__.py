"""Object graphs and web sessions, kept by id in ZODB: in memory, in one file, on SQLite, PostgreSQL or ZEO."""

from kiokupy.directory import Directory
from kiokupy.errors import (
    BackendMissing,
    BrokenReference,
    ConflictError,
    DuplicateId,
    InvalidId,
    KiokuError,
    NotFound,
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
    TargetError,
    UnknownBackend,
)
from kiokupy.opening import connect
from kiokupy.scope import Scope
from kiokupy.sessions.manager import SessionManager
from kiokupy.sessions.policy import SessionPolicy
from kiokupy.sessions.session import Session
from kiokupy.typemap import Keep, Rule, TypeMap, first_class, intrinsic

__all__ = [
    "BackendMissing",
    "BrokenReference",
    "ConflictError",
    "Directory",
    "DuplicateId",
    "InvalidId",
    "Keep",
    "KiokuError",
    "NotFound",
    "NotLoadable",
    "NotStorable",
    "NotStored",
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
    "TargetError",
    "TypeMap",
    "UnknownBackend",
    "connect",
    "first_class",
    "intrinsic",
]
