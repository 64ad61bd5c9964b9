"""SQLite under RelStorage: a folder that holds the database; processes of one host share it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from relstorage.adapters.sqlite.adapter import Sqlite3Adapter
from relstorage.adapters.sqlite.batch import Sqlite3RowBatcher
from relstorage.adapters.sqlite.connmanager import Sqlite3ConnectionManager
from relstorage.adapters.sqlite.locker import Sqlite3Locker
from relstorage.options import Options

from kiokupy.backends import durability
from kiokupy.errors import StoreDenied, StoreNotFound, StoreUnreadable, TargetError

# What each of our words is in SQLite's log ahead of writing. NORMAL, which is RelStorage's own choice, syncs at
# checkpoints only; OFF not even then, so that a power failure may damage the database: nobody gets that by our words.
_SYNCHRONOUS = {"always": "FULL", "never": "NORMAL"}
_MAIN = "main.sqlite3"  # RelStorage's name for it
_MAKING, _PATIENCE = "making.lock", 60  # seconds


class _ConnectionManager(Sqlite3ConnectionManager):  # type: ignore[misc]  # RelStorage has no annotations
    """Always rolls back.

    RelStorage gathers a transaction's rows in temporary tables, and a rollback empties them. It skips that where
    SQLite says it is in no transaction, which is so after a conflict found at vote: the next commit of the connection
    would then write the failed transaction's rows as well. A rollback too many costs some microseconds.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._may_need_rollback = lambda connection: True


class _Locker(Sqlite3Locker):  # type: ignore[misc]  # RelStorage has no annotations
    """Takes the lock on the database before it looks whether what a transaction holds as read is current.

    RelStorage looks first, and another process or thread may commit before the lock is there: a transaction then misses
    a change that it must not miss, as of a node of a tree, and objects or their places in an index get lost.
    """

    def _lock_readCurrent_oids_for_share(self, cursor: Any, oids: Any, blocks: bool) -> None:  # noqa: N802  # its name
        self._lock_rows_being_modified(cursor)


class _Adapter(Sqlite3Adapter):  # type: ignore[misc]  # RelStorage has no annotations
    def _create(self) -> None:
        if self.connmanager is None:
            self.connmanager: Any = _ConnectionManager(
                self.driver,
                path=os.path.join(self.data_dir, _MAIN),
                pragmas=self.pragmas,
                options=self.options,
            )
        if self.locker is None:
            self.locker: Any = _Locker(self.options, self.driver, batcher_factory=Sqlite3RowBatcher)
        super()._create()


class SQLite:
    """A store in the folder ``dbname``; other options are SQLite's pragmas.

    :param fsync: when a commit is on the disk: ``"always"`` before it returns, which is the default; ``"never"`` when
        SQLite makes a checkpoint, that is after some megabytes. Instead the pragma ``synchronous`` can be given.
    """

    def __init__(self, *, dbname: str | os.PathLike[str] = "", fsync: str | None = None, **pragmas: Any) -> None:
        if not str(dbname):
            raise TargetError(
                "SQLite needs the option dbname",
                target="dbname",
                fix="It is the folder of the store: 'dbi:SQLite:dbname=app.sqlite'",
            )
        for name in pragmas:
            if not name.isidentifier():
                raise TargetError(f"{name!r} is no pragma of SQLite", target=name)
        self.folder = Path(dbname)
        self.location = f"sqlite:{self.folder}"
        if fsync is not None:
            pragmas["synchronous"] = _synchronous(fsync, pragmas)
        self._pragmas = {"synchronous": _SYNCHRONOUS["always"], **pragmas}

    def history(self, *, create: bool) -> bool | None:
        """As the protocol in :mod:`kiokupy.backends.dbi` says."""
        try:
            return self._look(create)
        except PermissionError as error:
            raise StoreDenied(self.location, f"the file system refuses it ({error.strerror})") from error

    @contextmanager
    def making(self) -> Iterator[None]:
        """As the protocol in :mod:`kiokupy.backends.dbi` says."""
        with closing(sqlite3.connect(self.folder / _MAKING, timeout=_PATIENCE)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield

    def adapter(self, options: Options) -> Any:
        """As the protocol in :mod:`kiokupy.backends.dbi` says."""
        return _Adapter(str(self.folder), dict(self._pragmas), options=options)

    def _look(self, create: bool) -> bool | None:
        if self.folder.exists() and not self.folder.is_dir():
            raise StoreUnreadable(
                self.location,
                "this is a file, and a store on SQLite is a folder",
                fix="Give the path of a folder, or one that is not there",
            )
        if not self.folder.parent.is_dir():
            raise StoreNotFound(
                self.location, problem="its folder is not there", fix=f"Make it: mkdir -p {self.folder.parent}"
            )
        if not (self.folder / _MAIN).exists():
            if create:
                self.folder.mkdir(mode=0o700, exist_ok=True)
            return None
        return _history(self.folder / _MAIN, self.location)


def _synchronous(fsync: str, pragmas: Mapping[str, Any]) -> str:
    if "synchronous" in pragmas:
        problem = "the options fsync and synchronous say the same thing, and one of them is enough"
        raise TargetError(problem, target="fsync", fix="Leave synchronous out")
    word = durability.read(fsync).word
    if word not in _SYNCHRONOUS:
        fix = "It is 'always', or 'never', which loses what came after the last checkpoint, and damages nothing"
        raise TargetError(f"SQLite cannot do fsync={fsync!r}", target="fsync", fix=fix)
    return _SYNCHRONOUS[word]


def _history(path: Path, location: str) -> bool | None:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.OperationalError as error:
        raise StoreDenied(location, f"SQLite cannot open it ({error})") from error
    except sqlite3.DatabaseError as error:
        raise StoreUnreadable(location, f"{path.name} in it is no SQLite database ({error})") from error
    return "transaction" in tables if "object_state" in tables else None
