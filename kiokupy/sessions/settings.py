"""Settings of Dancer::Session::KiokuDB, read from a mapping or a file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

from kiokupy.backends import dsn
from kiokupy.directory import Directory
from kiokupy.errors import SettingsError
from kiokupy.opening import connect as connect_directory
from kiokupy.typemap import Allowed

BACKEND, OPTIONS = "kiokudb_backend", "kiokudb_backend_opts"
_ENGINES = ("KiokuDB", "kiokupy")


def connect(settings: Mapping[str, Any] | str | PathLike[str], allow_classes: Iterable[Allowed] = ()) -> Directory:
    """Open the directory that the settings describe; see :meth:`SessionManager.from_settings`."""
    if not isinstance(settings, Mapping):
        settings = dsn.read_file(settings)
    engine = settings.get("session", "KiokuDB")
    if engine not in _ENGINES:
        raise SettingsError(f"session is {engine!r}", target="session", fix="It must be 'KiokuDB' here")
    _check_names(settings)
    backend = settings.get(BACKEND, "Hash")
    options = settings.get(OPTIONS, {})
    if not isinstance(options, Mapping):
        raise SettingsError(
            f"{OPTIONS} must be a mapping, not {type(options).__name__}",
            target=OPTIONS,
            fix="For example: {'dsn': 'dbi:SQLite:dbname=mydb.sqlite'}",
        )
    if not isinstance(backend, str):
        raise SettingsError(f"{BACKEND} must be a name, not {backend!r}", target=BACKEND)
    return connect_directory(backend, allow_classes=allow_classes, **{"create": 1, **options})


def _check_names(settings: Mapping[str, Any]) -> None:
    for name in settings:
        if str(name).startswith("kiokudb_") and name not in (BACKEND, OPTIONS):
            near = difflib.get_close_matches(str(name), [BACKEND, OPTIONS], 1)
            fix = f"Did you mean {near[0]!r}?" if near else f"There are {BACKEND!r} and {OPTIONS!r}"
            raise SettingsError(f"there is no setting {name!r}", target=name, fix=fix)
