"""Errors about targets and stores."""

from __future__ import annotations

from collections.abc import Iterable

from kiokupy.errors.root import KiokuError


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


class StoreBusy(StoreError):
    """Another transaction keeps the store locked for longer than this one waits."""

    def __init__(self, location: str, *, words: str) -> None:
        super().__init__(
            location,
            f"another transaction keeps it locked for too long ({words})",
            fix="Try again when that is over, or let it wait longer with the option commit_lock_timeout",
        )


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
        super().__init__(
            location, "opened read-only", fix="Open it without readonly to write; the past, at=, never changes"
        )


class NoHistory(StoreError):
    """The past was asked of a store that keeps none, or not so far back."""

    def __init__(self, location: str, problem: str = "this store keeps no history") -> None:
        super().__init__(
            location,
            problem,
            fix="File keeps it until it is packed, and DBI if the store was made with keep_history=1",
        )
