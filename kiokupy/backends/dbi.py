"""DBI: a store in an SQL database, SQLite or PostgreSQL, through RelStorage."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from relstorage.options import Options

from kiokupy.backends import dsn
from kiokupy.backends.obsolete import forgetting
from kiokupy.backends.postgresql import PostgreSQL
from kiokupy.backends.sqlite import SQLite
from kiokupy.errors import StoreError, StoreNotFound, TargetError

_REFUSED = {
    "mysql": "RelStorage needs MySQL 8.0.20, whose SQL MariaDB does not understand",
    "mariadb": "RelStorage's SQL for MySQL 8.0.20 is not understood by MariaDB",
    "oracle": "it was never tested",
}
# What kiokupy itself decides.
_OURS = {"adapter", "name", "driver", "create_schema", "read_only"}


class Database(Protocol):
    """What differs between the databases."""

    location: str

    def history(self, *, create: bool) -> bool | None:
        """Return whether the store that is there keeps history; ``None``: the database is there, a store is not.

        :raises StoreError: the database cannot be reached or read, or it is not there and ``create`` is off.
        """

    def making(self) -> AbstractContextManager[object]:
        """Let one process at a time make the tables: RelStorage looks which are missing, and makes these."""

    def storage(self, options: Options) -> Any:
        """Return the RelStorage."""


class DBI:
    """Opens a store in an SQL database.

    :param driver: ``sqlite`` or ``postgresql``; the target's DSN or URL names it.
    :param keep_history: whether old revisions are kept until the store is packed (default 0). It is decided when the
        store is made.
    :param options: RelStorage's options (``cache_local_mb``, ``commit_lock_timeout``, …); the rest goes to the
        database: ``fsync``, see there; for PostgreSQL the parameters of libpq; for SQLite ``dbname`` (a folder) and its
        pragmas.
    """

    def __init__(self, *, driver: str = "", keep_history: Any = False, **options: Any) -> None:
        kind = {"sqlite": SQLite, "postgresql": PostgreSQL}.get(driver)
        if kind is None:
            reason = _REFUSED.get(driver.lower(), "")
            raise TargetError(
                f"the backend 'DBI' cannot use {driver or 'a database without a name'!r}"
                f"{f': {reason}' if reason else ''}",
                target="driver",
                fix="There are 'dbi:SQLite:dbname=app.sqlite' and 'dbi:Pg:dbname=app', or their URLs",
            )
        known = set(Options.valid_option_names()) - _OURS
        self._options = {name: _typed(name, options.pop(name)) for name in known & set(options)}
        self._keep_history = dsn.flag("keep_history", keep_history)
        self._database: Database = kind(**options)
        self.location = self._database.location

    def open(self, *, create: bool, readonly: bool) -> Any:
        """Return a RelStorage; ``create`` makes its tables, never the database of a server."""
        create = create and not readonly
        self._database.history(create=create)  # asks whether the database can be reached, and makes SQLite's folder
        with self._database.making() if create else nullcontext():
            return self._open(self._database.history(create=create), create=create, readonly=readonly)

    def _open(self, history: bool | None, *, create: bool, readonly: bool) -> Any:
        if history is None and not create:
            raise StoreNotFound(self.location)
        if history is not None and history is not self._keep_history:
            raise StoreError(
                self.location,
                f"the store was made with keep_history={history:d}",
                fix=f"Open it with keep_history={history:d}, or copy it into a new one",
            )
        options = Options(keep_history=self._keep_history, read_only=readonly, create_schema=create, **self._options)
        return forgetting(self._database.storage(options))


def _typed(name: str, value: Any) -> Any:
    """Return an option as the type that its default in RelStorage has."""
    kind = type(getattr(Options, name))
    if not isinstance(value, str) or kind not in (bool, int, float):
        return value
    if kind is bool:
        return dsn.flag(name, value)
    try:
        return kind(value)
    except ValueError as error:
        raise TargetError(f"the option {name} is {value!r}", target=name, fix="It is a number") from error
