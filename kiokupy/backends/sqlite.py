"""SQLite under RelStorage: a folder that holds the database; processes of one host share it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from relstorage.options import Options

from kiokupy.backends import durability, sqliteadapter
from kiokupy.backends.relational import Storage
from kiokupy.backends.syncing import sync_folder
from kiokupy.errors import StoreDenied, StoreNotFound, StoreUnreadable, TargetError

# What each of our words is in SQLite's log ahead of writing. NORMAL, which is RelStorage's own choice, syncs at
# checkpoints only; OFF not even then, so that a power failure may damage the database: nobody gets that by our words.
_SYNCHRONOUS = {"always": "FULL", "never": "NORMAL"}
_MAKING, _PATIENCE = "making.lock", 60  # seconds


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

    def storage(self, options: Options) -> Any:
        """As the protocol in :mod:`kiokupy.backends.dbi` says."""
        return Storage(sqliteadapter.adapter(str(self.folder), dict(self._pragmas), options), options=options)

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
        if not (self.folder / sqliteadapter.MAIN).exists():
            if create:
                self.folder.mkdir(mode=0o700, exist_ok=True)
                sync_folder(self.folder.parent)  # SQLite syncs the names in it
            return None
        return _history(self.folder / sqliteadapter.MAIN, self.location)


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
