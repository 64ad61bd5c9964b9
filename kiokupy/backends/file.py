"""File: a store in one file, a ZODB FileStorage; one process writes, others may read beside it."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import zc.lockfile
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.FileStorage import FileStorageError
from ZODB.POSException import StorageError

from kiokupy.errors import StoreDenied, StoreLocked, StoreNotFound, StoreUnreadable, TargetError

_MAGIC = b"FS30"


class File:
    """Opens ``path``.

    :param path: the file; ``path.lock``, ``path.index`` and, while packing, others stand beside it.
    """

    def __init__(self, path: str | os.PathLike[str] = "") -> None:
        if not str(path):
            fix = "For example: connect('File', path='app.fs')"
            raise TargetError("the backend 'File' needs the option path", target="path", fix=fix)
        self.path = Path(path)
        self.location = str(self.path)

    def open(self, *, create: bool, readonly: bool) -> Any:
        """Return a FileStorage; a new file can be read by its owner only, since sessions are secrets."""
        try:
            self._check(create=create and not readonly)
            if not self.path.exists():
                # Made here, not by FileStorage, for the mode; an empty file is a store with nothing in it.
                os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
            return FileStorage(str(self.path), read_only=readonly)
        except zc.lockfile.LockError as error:
            raise StoreLocked(self.location, pid=self._holder()) from error
        except PermissionError as error:
            raise StoreDenied(self.location, f"the file system refuses it ({error.strerror})") from error
        except (FileStorageError, StorageError, OSError, ValueError, EOFError) as error:
            raise StoreUnreadable(self.location, f"it cannot be opened as a FileStorage ({error})") from error

    def _check(self, *, create: bool) -> None:
        if self.path.is_dir():
            raise StoreUnreadable(self.location, "this is a folder", fix="Give the path of a file in it")
        if not self.path.parent.is_dir():
            raise StoreNotFound(
                self.location, problem="its folder is not there", fix=f"Make it: mkdir -p {self.path.parent}"
            )
        if not self.path.exists():
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

    def _holder(self) -> int | None:
        text = ""
        with contextlib.suppress(OSError):  # the holder may end, or this process may not read its file
            text = Path(f"{self.path}.lock").read_text()
        found = re.search(r"\d+", text)
        return int(found[0]) if found else None
