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
    │   ├── StoreUnreachable     the server does not answer
    │   ├── StoreDenied          the server or the file system refuses these credentials
    │   ├── StoreUnreadable      what is there is no store of this kind, or is damaged
    │   ├── StoreTooNew          a newer kiokupy wrote it
    │   └── StoreReadOnly        a write was asked of a store or scope opened for reading
    ├── InvalidId                an id is no non-empty string of at most 200 characters
    ├── NotFound                 no object has that id
    ├── DuplicateId              another object has that id
    ├── NotStored                the scope does not know this object
    ├── NotStorable              the type map refuses an object that was to be stored
    ├── NotLoadable              the type map refuses a class or function that a record names
    ├── BrokenReference          a stored object refers to an id that is gone
    ├── ScopeClosed              an unloaded object, or a verb, was used after its scope ended
    ├── ConflictError            another transaction came first; trying again may work
    └── SessionGone              the session was destroyed, regenerated or has expired meanwhile
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable
from typing import Any

from transaction.interfaces import TransientError


class KiokuError(Exception):
    """The root of everything kiokupy raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:  # an error crosses to other processes with its evidence
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # in no stubs


class TargetError(KiokuError, ValueError):
    """What :func:`kiokupy.connect` was given does not describe a store."""

    def __init__(self, problem: str, *, target: object = None, fix: str = "") -> None:
        super().__init__(f"{problem}{'. ' if fix else ''}{fix}")
        #: The target or option at fault, with any password left out.
        self.target = target


class UnknownBackend(TargetError):
    """No backend of that name is installed."""

    def __init__(self, name: str, *, known: Iterable[str], near: Iterable[str] = ()) -> None:
        self.name, self.known, self.near = name, sorted(known), list(near)
        guess = f"Did you mean {' or '.join(map(repr, self.near))}? " if self.near else ""
        super().__init__(
            f"there is no backend {name!r}",
            target=name,
            fix=f"{guess}Installed backends: {', '.join(self.known)}",
        )


class BackendMissing(TargetError):
    """The backend is known, but a package it stands on is not installed."""

    def __init__(self, name: str, *, install: str) -> None:
        self.name, self.install = name, install
        super().__init__(
            f"the backend {name!r} needs packages that are not installed",
            target=name,
            fix=f"Install them with: pip install '{install}'",
        )


class SettingsError(TargetError):
    """A setting of the session manager or of its cookie is wrong."""


class StoreError(KiokuError):
    """The store at :attr:`location` could not be opened or used."""

    def __init__(self, location: str, problem: str, *, fix: str = "") -> None:
        super().__init__(f"{location}: {problem}{'. ' if fix else ''}{fix}")
        #: Where the store is: a path, or host and database; never a password.
        self.location = location


class StoreNotFound(StoreError):
    """Nothing is there, and it may not be created."""

    def __init__(self, location: str, *, problem: str = "there is no store here", fix: str = "") -> None:
        super().__init__(
            location,
            problem,
            fix=fix or "Check the place; connect() with create=1, which is the default, makes a new store",
        )


class StoreLocked(StoreError):
    """Another process, or another handle of this one, holds the store."""

    def __init__(self, location: str, *, pid: int | None = None) -> None:
        holder = f"process {pid}" if pid is not None else "another process"
        super().__init__(
            location,
            f"{holder} holds this store",
            fix="Open it with readonly=1 to look at it, or share it between processes through the DBI or ZEO backend",
        )
        #: The holder's process id, where the lock file tells.
        self.pid = pid


class StoreUnreachable(StoreError):
    """The server behind the store does not answer."""


class StoreDenied(StoreError):
    """The server or the file system refuses access."""


class StoreUnreadable(StoreError):
    """What is there is no store of this kind, or is damaged."""


class StoreTooNew(StoreError):
    """A newer kiokupy wrote the store."""

    def __init__(self, location: str, *, found: object, supported: int) -> None:
        super().__init__(
            location,
            f"the store has format {found!r}; this kiokupy reads up to {supported}",
            fix="Upgrade with: pip install --upgrade kiokupy",
        )
        self.found, self.supported = found, supported


class StoreReadOnly(StoreError):
    """A write was asked of something opened for reading."""

    def __init__(self, location: str) -> None:
        super().__init__(location, "opened read-only", fix="Open it without readonly to write")


class InvalidId(KiokuError, ValueError):
    """An id is no non-empty string of at most 200 characters."""

    def __init__(self, id: object) -> None:
        super().__init__(
            f"{id!r:.80} cannot be an id. An id is a non-empty string of at most 200 characters without lone surrogates"
        )
        self.id = id


class NotFound(KiokuError, LookupError):
    """No object has this id."""

    def __init__(self, id: str) -> None:
        super().__init__(f"no object has the id {id!r}. Use lookup() to get None instead")
        self.id = id


class DuplicateId(KiokuError):
    """The id belongs to another object, or the object already has an id."""

    def __init__(self, id: str, *, problem: str = "") -> None:
        super().__init__(
            problem
            or f"another object has the id {id!r}. Delete it first, change the object that get({id!r}) "
            "returns, or choose another id"
        )
        self.id = id


class NotStored(KiokuError):
    """The scope does not know this object."""

    def __init__(self, object: object, *, path: str = "") -> None:
        where = f" at {path}" if path else ""
        super().__init__(
            f"this {type(object).__qualname__}{where} has no id in this scope. Store it first with store()"
        )
        self.object, self.path = object, path


class NotStorable(KiokuError, TypeError):
    """The type map refuses an object on its way into the store."""

    def __init__(self, path: str, class_name: str, *, reason: str = "", fix: str = "") -> None:
        reason = reason or f"{class_name} is not in the type map"
        super().__init__(f"{path} cannot be stored: {reason}{'. ' if fix else ''}{fix}")
        #: The way from the stored object to the culprit, such as ``cart['items'][2].gadget``.
        self.path = path
        #: The culprit's class as ``module:qualname``.
        self.class_name = class_name


class NotLoadable(KiokuError):
    """The type map refuses a class or function that a record names, or it cannot be imported."""

    def __init__(self, class_name: str, *, id: str | None = None, reason: str = "") -> None:
        owner = f" (in the record of {id!r})" if id is not None else ""
        allow = f"connect(..., allow_classes=[{class_name.rpartition(':')[2]}])"
        super().__init__(
            f"{class_name}{owner} is not loaded: "
            + (reason or f"it is not in the type map. If it is yours, pass it: {allow}")
        )
        self.class_name, self.id = class_name, id


class BrokenReference(KiokuError):
    """A stored object refers to an id that is gone."""

    def __init__(self, *, referrer: str, target: str, path: str = "") -> None:
        where = f" at {path}" if path else ""
        super().__init__(
            f"object {referrer!r} refers{where} to {target!r}, which is not in the store. "
            "Store an object under that id, or remove the reference and store the referrer"
        )
        self.referrer, self.target, self.path = referrer, target, path


class ScopeClosed(KiokuError):
    """An unloaded object, or a verb, was used after its scope ended."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} was used after its scope ended. Use it inside `with directory.new_scope()`, "
            "or look it up again in a new scope"
        )
        self.what = what


class ConflictError(KiokuError, TransientError):  # type: ignore[misc]  # transaction has no annotations
    """Another transaction changed the same object first; nothing of this one was written.

    It is a :class:`transaction.interfaces.TransientError`: trying the whole unit of work again may succeed,
    which is what :meth:`kiokupy.Directory.txn_do` does.
    """

    def __init__(self, problem: str = "another transaction changed the same objects") -> None:
        super().__init__(f"{problem}. Try again in a new transaction; txn_do() does that")


class SessionGone(KiokuError):
    """The session was destroyed, regenerated or has expired since it was read."""

    def __init__(self) -> None:
        super().__init__(
            "the session was destroyed, regenerated or has expired since it was read; its changes were not "
            "saved. Open a new session"
        )
