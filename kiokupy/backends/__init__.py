"""Backends: who opens a storage, found by name.

A backend is a class registered under an entry point of the group ``kiokupy.backends``; the built-in ones are registered
like anyone's. :func:`register` adds one without packaging.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from kiokupy import suggestion
from kiokupy.backends import dsn
from kiokupy.errors import BackendMissing, TargetError, UnknownBackend

if TYPE_CHECKING:
    from importlib import metadata

GROUP = "kiokupy.backends"


@runtime_checkable
class Backend(Protocol):
    """Opens one store.

    It is constructed with a target's options, as strings (from a DSN or a URL) or as what a caller gave. Options it
    does not know, or cannot read, are a :class:`~kiokupy.errors.TargetError` that names the option and the fix.
    Nothing is opened yet.
    """

    #: What to call the store in messages; never with a password.
    location: str

    def open(self, *, create: bool, readonly: bool) -> Any:
        """Return a ZODB storage that ``ZODB.DB`` can use from many threads.

        One whose ``supportsUndo()`` is true has a past: it keeps every state until it is packed, ``history`` and
        ``loadBefore`` tell of them, and ``undo`` takes the number of a transaction in base64, as FileStorage's does.

        :param create: make the store if it is not there. Without it, and with ``readonly``, a store that is not there
            is
            :class:`~kiokupy.errors.StoreNotFound`, and nothing is made.
        :param readonly: open it so that nothing can be written, beside a writer where the storage allows that.
        :raises StoreError: the subclass that says why; nothing stays open or half-made then.
        """


Factory = Callable[..., Backend]

_registered: dict[str, Factory] = {}

# The extra that brings what a built-in backend needs.
_EXTRAS = {"DBI": "kiokupy[dbi]", "ZEO": "kiokupy[zeo]"}


@dataclass(frozen=True)
class Resolved:
    """A target, taken apart."""

    name: str
    options: dict[str, Any]
    create: bool
    readonly: bool

    def backend(self) -> Backend:
        """Construct the backend."""
        factory = load(self.name)
        try:
            return factory(**self.options)
        except TypeError as error:
            raise self._refused(factory, error) from error

    def _refused(self, factory: Factory, error: TypeError) -> TargetError:
        known = [*inspect.signature(factory).parameters, "create", "readonly"]
        unknown = [name for name in self.options if name not in known]
        near = suggestion.nearest(unknown[0], known, 1) if unknown else []
        return TargetError(
            f"the backend {self.name!r} does not take these options: {', '.join(unknown) or error}",
            target=self.name,
            fix=f"Did you mean {near[0]!r}?" if near else f"It takes {', '.join(sorted(known))}",
        )


def resolve(target: Any, **options: Any) -> Resolved:
    """Take a target of any form apart; options given here count more than those in the target."""
    name, found = dsn.parse(target)
    merged = {**found, **options}
    if name == "DBI" and "dsn" in merged:
        inner, found = dsn.parse(merged.pop("dsn"))
        if inner != "DBI":
            raise TargetError("the option dsn of the backend 'DBI' names another backend", target="dsn")
        merged = {**found, **merged}
    create = dsn.flag("create", merged.pop("create", True))
    readonly = dsn.flag("readonly", merged.pop("readonly", False))
    return Resolved(name, merged, create, readonly)


def names() -> list[str]:
    """Return the names of all backends that are installed or registered."""
    return sorted({point.name for point in _installed()} | _registered.keys())


def register(name: str, factory: Factory) -> None:
    """Add a backend under a name that is free.

    :raises TargetError: the name is taken.
    """
    if name in names():
        raise TargetError(f"there is a backend {name!r} already", target=name, fix="Choose another name")
    _registered[name] = factory


def load(name: str) -> Factory:
    """Return the backend of a name.

    :raises UnknownBackend: there is none.
    :raises BackendMissing: the packages it stands on are not installed.
    """
    if name in _registered:
        return _registered[name]
    points = [point for point in _installed() if point.name == name]
    if not points:
        if "/" in name or name.endswith(".fs"):
            raise TargetError(f"{name!r} is a path", target=name, fix=f"For a file: connect('File', path={name!r})")
        near = [known for known in names() if known.lower() == name.lower()]
        raise UnknownBackend(name, known=names(), near=near or suggestion.nearest(name, names()))
    [point, *_] = points
    try:
        factory: Factory = point.load()
    except ImportError as error:
        package = point.dist.name if point.dist is not None else name
        raise BackendMissing(name, install=_EXTRAS.get(name, package)) from error
    return factory


def _installed() -> Iterable[metadata.EntryPoint]:
    from importlib import metadata  # noqa: PLC0415  # it brings zipfile, email and socket: 17 ms

    return metadata.entry_points(group=GROUP)
