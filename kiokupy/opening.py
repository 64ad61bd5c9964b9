"""Opening: a target becomes a directory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kiokupy import backends, upkeep
from kiokupy.database import Database
from kiokupy.directory import Directory
from kiokupy.errors import TargetError
from kiokupy.indexes import Index, declared
from kiokupy.typemap import Allowed, TypeMap


def connect(
    target: Any = "Hash",
    *,
    allow_classes: Iterable[Allowed] = (),
    typemap: TypeMap | None = None,
    indexes: Iterable[Index] = (),
    cache_size: int = 20_000,
    **options: Any,
) -> Directory:
    """Open a directory.

    :param target: a backend's name (``"Hash"``, ``"File"``, ``"DBI"``, ``"ZEO"``) with its options; a DSN
        (``"dbi:SQLite:dbname=app.sqlite"``, ``"file:path=app.fs;create=0"``); a URL (``"sqlite:///app.sqlite"``,
        ``"postgresql://user@host/db"``, ``"zeo://host:port"``, ``"file:///srv/app.fs"``, ``"memory://"``); a mapping;
        or the path of a ``.toml`` or ``.yaml`` file that holds such a mapping.
    :param allow_classes: the application's classes that may be stored: classes, ``Rule`` objects, or names of modules.
    :param typemap: a type map of your own, to which ``allow_classes`` is added.
    :param indexes: what :meth:`Directory.search` finds objects by. Each directory that writes to the store declares the
        same ones; one that is declared for a store with objects must be built first, with
        :func:`kiokupy.maintenance.reindex`.
    :param cache_size: how many records each connection keeps in memory. There are as many connections as threads work
        at one moment, so this bounds the memory of a process.
    :param options: the backend's options; for each of them ``create`` (default 1: make the store if it is not there)
        and ``readonly`` (default 0).
    :raises TargetError: the target, an option or a backend is unknown or malformed.
    :raises StoreError: the store cannot be opened; see the subclasses in :mod:`kiokupy.errors`.
    """
    typemap = typemap if typemap is not None else TypeMap()
    if isinstance(allow_classes, str | type):
        raise TargetError(f"allow_classes is a list, not {allow_classes!r}", fix=f"Write [{allow_classes!r}]")
    for item in allow_classes:
        typemap.allow(item)
    by_name = declared(indexes)
    resolved = backends.resolve(target, **options)
    backend = resolved.backend()
    storage = backend.open(create=resolved.create, readonly=resolved.readonly)
    database = Database(
        storage,
        backend.location,
        typemap.find,
        create=resolved.create,
        readonly=resolved.readonly,
        cache_size=cache_size,
        declare=lambda unit: upkeep.declare(unit, by_name),
    )
    return Directory(database, typemap, by_name)
