"""File: a store in one file, a ZODB FileStorage; one process writes, others may read beside it."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from shlex import quote
from typing import Any, NoReturn

import zc.lockfile
from ZODB._compat import Unpickler
from ZODB.FileStorage.FileStorage import FileStorageError
from ZODB.POSException import StorageError

from kiokupy.backends import durability
from kiokupy.backends.synced import SyncedFileStorage
from kiokupy.backends.syncing import sync_folder, syncing
from kiokupy.errors import StoreDenied, StoreLocked, StoreNotFound, StoreUnreadable, TargetError

_MAGIC = b"FS30"


class File:
    """Opens ``path``.

    :param path: the file; ``path.lock``, ``path.index`` and, while packing, others stand beside it.
    :param fsync: when a commit is on the disk: ``"always"`` before it returns, which is the default; ``"group:5"`` as
        well, and those of other threads that are under way share an fsync, for which a commit waits 5 milliseconds at
        most; ``"everysec"`` about a second later; ``"never"`` when the store is packed and closed. A process that is
        killed loses nothing in any of them, a machine that loses its power what was not on the disk.
    """

    def __init__(self, path: str | os.PathLike[str] = "", *, fsync: str = "always") -> None:
        if not str(path):
            fix = "For example: connect('File', path='app.fs')"
            raise TargetError("the backend 'File' needs the option path", target="path", fix=fix)
        self.path, self._durability = Path(path), durability.read(fsync)
        self.location = str(self.path)

    def open(self, *, create: bool, readonly: bool) -> Any:
        """Return a FileStorage; a new file can be read by its owner only, since sessions are secrets."""
        try:
            self._check(create=create and not readonly)
            self._check_index()
            if not self.path.exists():
                # Made here, not by FileStorage, for the mode; an empty file is a store with nothing in it.
                os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
                sync_folder(self.path.parent)
            return SyncedFileStorage(str(self.path), syncing(self._durability, self.location), read_only=readonly)
        except zc.lockfile.LockError as error:
            raise StoreLocked(self.location, pid=self._holder()) from error
        except PermissionError as error:
            raise StoreDenied(self.location, f"the file system refuses it ({error.strerror})") from error
        except (FileStorageError, StorageError, OSError, ValueError, EOFError) as error:
            raise StoreUnreadable(self.location, f"it cannot be opened as a FileStorage ({error})") from error

    def _check(self, *, create: bool) -> None:
        if self.path.is_dir():
            fix = f"Give the path of a file; a store on SQLite is a folder, and named sqlite:///{self.path}"
            raise StoreUnreadable(self.location, "this is a folder", fix=fix)
        if not self.path.parent.is_dir():
            raise StoreNotFound(
                self.location, problem="its folder is not there", fix=f"Make it: mkdir -p {self.path.parent}"
            )
        if not self.path.exists():
            self._check_packed()
            if not create:
                raise StoreNotFound(self.location)
            return
        # FileStorage renames or truncates what it takes for a damaged store: a file of another kind never gets there.
        with self.path.open("rb") as stream:
            head = stream.read(len(_MAGIC))
        if head and head != _MAGIC:
            raise StoreUnreadable(
                self.location, "this is no FileStorage", fix="Give the path of a store, or of a file that is not there"
            )

    def _check_packed(self) -> None:
        """Refuse to begin anew where a packed store waits to be put into place, which takes two renamings."""
        packed, old = Path(f"{self.path}.pack"), Path(f"{self.path}.old")
        if packed.exists() and old.exists():
            raise StoreNotFound(
                self.location,
                problem="a process ended just before it put the packed file into place",
                fix=f"Do that: mv {quote(str(packed))} {quote(str(self.path))}",
            )

    def _check_index(self) -> None:
        """Refuse an index that would run something: FileStorage unpickles whatever stands there."""
        with contextlib.suppress(OSError), Path(f"{self.path}.index").open("rb") as stream:
            index = _Index(stream)
            with contextlib.suppress(Exception):  # FileStorage logs that it is damaged, and makes it anew
                index.load()  # the position in the file that it is up to; then pairs, and None
                while index.load():
                    pass
            if index.foreign:
                raise StoreUnreadable(
                    self.location,
                    f"its index was not written by FileStorage: it names {index.foreign}",
                    fix=f"Find out who wrote {stream.name}, and delete it: it is made anew",
                )

    def _holder(self) -> int | None:
        text = ""
        with contextlib.suppress(OSError):  # the holder may end, or this process may not read its file
            text = Path(f"{self.path}.lock").read_text()
        found = re.search(r"\d+", text)
        return int(found[0]) if found else None


class _Index(Unpickler):  # type: ignore[misc]  # ZODB has no annotations
    """Reads an index with the unpickler that FileStorage has, as far as that would read it."""

    #: What it names, though no index names anything.
    foreign = ""

    def find_class(self, module: str, name: str) -> NoReturn:
        self.foreign = f"{module}:{name}"
        raise ValueError(self.foreign)
