"""Files: damage in the file of a FileStorage, found in its bytes.

What FileStorage cannot read when it opens a file it takes for the end of it. Where it may write, it cuts that off,
sound transactions too if they are behind a wrong length (they go to ``path.tr0``). So a file that is suspected should
be checked before it is opened.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import BinaryIO

from ZODB.scripts.fstest import check_trec
from ZODB.utils import u64, z64

from kiokupy.errors import StoreUnreadable
from kiokupy.maintenance.findings import Finding, Kind
from kiokupy.maintenance.progress import Progress, Step, silent

_MAGIC = b"FS30"
_LENGTH = 8
# What reading a transaction raises where there is none: lengths may lead to anywhere.
_DAMAGE = (ValueError, OSError, struct.error)
_BETWEEN_STEPS = 10_000


def fsck_file(path: str | os.PathLike[str], *, size: int | None = None, progress: Progress = silent) -> list[Finding]:
    """Return what is damaged in a FileStorage's file, whether or not it can be opened; nothing is written.

    Damage inside an object's pickle does not show here; :func:`~kiokupy.maintenance.fsck` sees it in current records.

    :param size: how much of the file counts, if it is open and may grow meanwhile.
    :raises StoreUnreadable: it cannot be read, or is no FileStorage.
    """
    place = Path(path)
    try:
        with place.open("rb") as file:
            head = file.read(len(_MAGIC))
            if not head:  # a store that nobody has written to
                return []
            if head != _MAGIC:
                raise StoreUnreadable(str(place), "this is no FileStorage", fix="Give the path of a store's file")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return list(_File(place, file, content, len(content) if size is None else size).check(progress))
    except OSError as error:
        raise StoreUnreadable(str(place), f"the file cannot be read ({error.strerror})") from error


class _File:
    def __init__(self, path: Path, file: BinaryIO, content: mmap.mmap, size: int) -> None:
        self._path, self._file, self._content, self._size = path, file, content, size

    def check(self, progress: Progress) -> Iterator[Finding]:
        position, last, done = len(_MAGIC), z64, 0
        while position < self._size:
            done += 1
            if done % _BETWEEN_STEPS == 0:
                progress(Step("check the file", position, self._size))
            try:
                end, tid = self._transaction(position)
            except _DAMAGE as error:
                end = self._next_sound(position)
                yield self._damaged(position, end, str(error))
            else:
                if tid <= last:
                    yield self._out_of_order(position)
                last = tid
            position = end
        progress(Step("check the file", self._size, self._size))

    def _transaction(self, position: int) -> tuple[int, bytes]:
        """Return where the transaction at a position ends, and its tid."""
        self._file.seek(position)
        end, tid = check_trec(str(self._path), self._file, position, z64, self._size)
        return end, tid

    def _next_sound(self, position: int) -> int:
        """Return where the next sound transaction begins, or the end of the file."""
        for start in self._starts(position):
            with suppress(*_DAMAGE):
                self._transaction(start)
                return start
        return self._size

    def _starts(self, position: int) -> Iterator[int]:
        """Yield where a transaction may begin: behind a pickle, which ends with a full stop, and a likely length."""
        stop = self._content.find(b".", position)
        while 0 <= stop < self._size - _LENGTH - 1:
            start = stop + 1 + _LENGTH
            if u64(self._content[stop + 1 : start]) < start:
                yield start
            stop = self._content.find(b".", stop + 1)

    def _damaged(self, start: int, end: int, problem: str) -> Finding:
        path, new = quote(str(self._path)), quote(f"{self._path}.recovered")
        if end == self._size:
            where = f"from byte {start} to the end, {end - start} bytes"
            fix = f"Make a copy of it, then cut that off: truncate -s {start} {path}"
        else:
            where = f"from byte {start} to {end}, with sound transactions behind"
            fix = (
                "Do not open it for writing, which may cut off all that is behind. Make a copy of it, and if its end "
                "is damaged too, cut that off first, or the next command may never end: "
                f"python -m ZODB.fsrecover {path} {new}. Then check the new file, and the store in it"
            )
        return Finding(Kind.FILE, str(self._path), f"{where}, there is no sound transaction ({problem})", fix)

    def _out_of_order(self, position: int) -> Finding:
        detail = f"the transaction at byte {position} is older than the one before it"
        return Finding(Kind.FILE, str(self._path), detail, "All can be read: dump it, and load that into a new store")
