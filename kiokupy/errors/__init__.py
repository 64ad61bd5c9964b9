"""The error tree: what went wrong, the evidence, and the way out.

::

    KiokuError
    ├── TargetError              what connect() or a settings mapping was given makes no sense
    │   ├── UnknownBackend       no backend of that name is installed
    │   ├── BackendMissing       the backend is known, the packages it stands on are not installed
    │   └── SettingsError        a setting of the session manager or of the cookie is wrong
    ├── StoreError               the store could not be opened or used
    │   ├── StoreNotFound        nothing is there, and create=0 forbids making it
    │   ├── StoreLocked          another process holds it
    │   ├── StoreBusy            another transaction keeps it locked for too long
    │   ├── StoreUnreachable     the server does not answer
    │   ├── StoreDenied          the server or the file system refuses these credentials
    │   ├── StoreUnreadable      what is there is no store of this kind, or is damaged
    │   ├── StoreTooNew          a newer kiokupy wrote it
    │   ├── StoreReadOnly        a write was asked of a store or scope opened for reading
    │   └── NoHistory            the past was asked of a store that keeps none
    ├── InvalidId                an id is no non-empty string of at most 200 characters
    ├── InvalidMoment            what was given as a moment of the past is none
    ├── NotFound                 no object has that id
    ├── DuplicateId              another object has that id
    ├── NotStored                the scope does not know this object
    ├── NotStorable              the type map refuses an object that was to be stored
    ├── NotLoadable              the type map refuses a class or function that a record names
    ├── UpgradeMissing           a record has a version of its class that no handler upgrades
    ├── BrokenObject             an object whose class is gone was to be changed
    ├── BrokenReference          a stored object refers to an id that is gone
    ├── UniqueViolation          another object has the value that an index keeps unique
    ├── NotIndexed               a search needs an index that is not declared, or not built
    ├── NotIndexable             a value has no place in the order of an index
    ├── CannotUndo               what came later depends on the revision that was to be undone
    ├── StreamError              a line of a dump cannot be loaded
    ├── ScopeClosed              an unloaded object, or a verb, was used after its scope ended
    ├── ConflictError            another transaction came first; trying again may work
    ├── SessionGone              the session was destroyed, regenerated or has expired meanwhile
    ├── SessionTooLarge          a session takes more bytes than its policy allows
    └── TooManySessions          a principal has as many sessions as its policy allows
"""

from __future__ import annotations

from kiokupy.errors.objects import (
    BrokenObject,
    BrokenReference,
    CannotUndo,
    ConflictError,
    DuplicateId,
    InvalidId,
    InvalidMoment,
    NotFound,
    NotIndexable,
    NotIndexed,
    NotLoadable,
    NotStorable,
    NotStored,
    ScopeClosed,
    SessionGone,
    SessionTooLarge,
    StreamError,
    TooManySessions,
    UniqueViolation,
    UpgradeMissing,
)
from kiokupy.errors.root import (
    KiokuError,
)
from kiokupy.errors.stores import (
    BackendMissing,
    NoHistory,
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
    TargetError,
    UnknownBackend,
)

__all__ = [
    "BackendMissing",
    "BrokenObject",
    "BrokenReference",
    "CannotUndo",
    "ConflictError",
    "DuplicateId",
    "InvalidId",
    "InvalidMoment",
    "KiokuError",
    "NoHistory",
    "NotFound",
    "NotIndexable",
    "NotIndexed",
    "NotLoadable",
    "NotStorable",
    "NotStored",
    "ScopeClosed",
    "SessionGone",
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
    "UniqueViolation",
    "UnknownBackend",
    "UpgradeMissing",
]

for _name in __all__:  # a traceback shows the name that a program imports
    globals()[_name].__module__ = __name__
