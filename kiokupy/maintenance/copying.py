"""Copying: all that a store holds, into another one on any backend.

The records of ZODB are copied as they are and under the oids they have: entries, sessions, indexes and Persistent
objects alike. None is opened, so no class is needed. Only what the root reaches is copied, as it is now; the past of a
store that keeps history stays behind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from BTrees.QQBTree import QQTreeSet
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import POSKeyError
from ZODB.serialize import referencesf
from ZODB.utils import u64, z64

from kiokupy import backends
from kiokupy.database import UNFINISHED, Database, Unit
from kiokupy.directory import Directory
from kiokupy.errors import StoreError, StoreReadOnly, TargetError
from kiokupy.inspection import find_inert
from kiokupy.maintenance.progress import Progress, Step, silent

_MOST_RECORDS, _MOST_BYTES = 1000, 8 << 20  # of one transaction


class Copied(NamedTuple):
    """What a copy came to."""

    #: how many records of ZODB the copy has
    records: int
    #: how many of them were written by this call; the others were there from one that was interrupted
    written: int
    #: SHA-256 over all records, the same for the source and, read back, for the copy
    digest: str


def copy(source: Directory, target: Any, *, progress: Progress = silent, **options: Any) -> Copied:
    """Copy all that a store holds, as it is when the call begins; others may go on working with the source.

    Until it is finished, :func:`kiokupy.connect` refuses the target and names the fix: the same call again, which goes
    on where the interrupted one stopped, and takes over what changed in the source meanwhile.

    :param target: what :func:`kiokupy.connect` takes, with the backend's ``options``; or an open directory that is
        empty and that nobody else uses meanwhile, as it has to be for Hash: ``copy(source, connect("Hash"))``.
    :raises StoreError: something is in the target already (it is not touched then), what was read back differs, or
        the disk is full.
    :raises ConflictError: another writer is at work in the target.
    :raises StoreReadOnly: the target was opened for reading.
    :raises TargetError: as for :func:`kiokupy.connect`.
    """
    with source.new_unit() as reading, _opened(target, options) as writing:
        copying = _Copying(reading, writing, progress)
        copying.claim(source.location)
        copying.write()
        copying.verify()
        copying.publish()
        return Copied(copying.read, copying.written, copying.digest)


@contextmanager
def _opened(target: Any, options: dict[str, Any]) -> Iterator[Unit]:
    if not isinstance(target, Directory):
        with closing(_database(target, options)) as database, database.open() as unit:
            yield unit
        return
    if options:
        raise TargetError("a directory that is open takes no options", target=target.location)
    if target.readonly:
        raise StoreReadOnly(target.location)
    with target.new_unit() as unit:
        try:
            yield unit
        finally:
            _let_go_of_the_others(unit.connection.db())
            unit.abort()
            unit.connection.forget()


def _let_go_of_the_others(db: Any) -> None:
    """Release the connections in a pool: each has ghosts of what was there, and on SQL a stock of oids of its own."""
    size = db.getPoolSize()
    db.setPoolSize(0)
    db.setPoolSize(size)


def _database(target: Any, options: dict[str, Any]) -> Database:
    resolved = backends.resolve(target, **options)
    if resolved.name == "Hash":
        fix = "Open it first: memory = connect('Hash'), then copy(source, memory)"
        raise TargetError("a copy into a Hash store that is not open would end with the call", target="Hash", fix=fix)
    backend = resolved.backend()
    if resolved.readonly:
        raise StoreReadOnly(backend.location)
    return Database(
        backend.open(create=resolved.create, readonly=False),
        backend.location,
        find_inert,
        create=True,
        readonly=False,
        cache_size=100,
        prepare=False,
    )


class _Copying:
    def __init__(self, reading: Unit, writing: Unit, progress: Progress) -> None:
        self._reading, self._writing, self._progress = reading, writing, progress
        self._target = writing.connection.records
        self._has_records, self._root, self._highest = False, b"", 0
        self.read, self.written, self.digest = 0, 0, ""

    def claim(self, source: str) -> None:
        """Mark the target as a copy that is not finished, if it may become one."""
        with self._writing.database.translated():
            root = self._writing.connection.root()
            found = root.get("kiokupy")
            if root.keys() - {"kiokupy"} or (found is not None and UNFINISHED not in found and not _is_empty(found)):
                raise StoreError(
                    self._writing.database.location,
                    "there is something in it, so nothing was copied",
                    fix="Copy into a new place, or clear this one first",
                )
        self._has_records = found is not None
        root["kiokupy"] = {UNFINISHED: source}
        self._writing.commit()
        self._writing.begin()

    def write(self) -> None:
        """Write all records but the root, which makes the copy one that can be opened."""
        digest, batch, size = hashlib.sha256(), list[tuple[bytes, bytes, bytes]](), 0
        for oid, data in _walk(self._load_source):
            _add(digest, oid, data)
            self.read += 1
            self._highest = max(self._highest, u64(oid))
            if oid == z64:
                self._root = data
                continue
            serial = self._serial(oid, data)
            if serial is not None:
                batch.append((oid, serial, data))
                size += len(data)
            if len(batch) >= _MOST_RECORDS or size >= _MOST_BYTES:
                self._write(batch)
                batch, size = [], 0
                self._progress(Step("copy", self.read, None))
        self._write(batch)
        self.digest = digest.hexdigest()
        self._progress(Step("copy", self.read, self.read))

    def verify(self) -> None:
        """Read the copy back.

        :raises StoreError: it is not what was read from the source.
        """
        digest, count = hashlib.sha256(), 0
        with self._writing.database.translated():
            self._target.poll_invalidations()  # what another writer did meanwhile is to be seen
        for oid, data in _walk(lambda oid: self._root if oid == z64 else self._load_target(oid)):
            _add(digest, oid, data)
            count += 1
            if count % _MOST_RECORDS == 0:
                self._progress(Step("verify", count, self.read))
        if (count, digest.hexdigest()) != (self.read, self.digest):
            raise StoreError(
                self._writing.database.location,
                f"{count} records were read back that differ from the {self.read} of the source",
                fix="Check the disk and run the same copy again",
            )
        self._progress(Step("verify", count, self.read))

    def publish(self) -> None:
        """Write the root, and see to it that new objects get oids that the copy has not."""
        with self._writing.database.translated():
            while u64(self._target.new_oid()) <= self._highest:
                pass  # a client of ZEO has a stock of them
            self._write([(z64, self._target.load(z64)[1], self._root)])

    def _load_source(self, oid: bytes) -> bytes:
        with self._reading.database.translated():
            data: bytes = self._reading.connection.records.load(oid)[0]
        return data

    def _load_target(self, oid: bytes) -> bytes:
        with self._writing.database.translated():
            data: bytes = self._target.load(oid)[0]
        return data

    def _serial(self, oid: bytes, data: bytes) -> bytes | None:
        """Return the transaction that wrote what the target has under an oid; ``None`` if it has these very data."""
        if not self._has_records:
            return bytes(z64)
        with self._writing.database.translated():
            try:
                found, serial = self._target.load(oid)
            except POSKeyError:
                return bytes(z64)
        return None if found == data else bytes(serial)

    def _write(self, batch: list[tuple[bytes, bytes, bytes]]) -> None:
        if not batch:
            return
        try:
            self._store(batch)
        except OSError as error:
            problem = f"the copy is not finished, the file system refused ({error.strerror})"
            fix = "Make room on the disk and run the same copy again"
            raise StoreError(self._writing.database.location, problem, fix=fix) from error
        self.written += len(batch)

    def _store(self, batch: list[tuple[bytes, bytes, bytes]]) -> None:
        transaction = TransactionMetaData(description="kiokupy: copy")
        with self._writing.database.translated():
            self._target.tpc_begin(transaction)
            try:
                for oid, serial, data in batch:
                    self._target.store(oid, serial, data, "", transaction)
                self._target.tpc_vote(transaction)
                self._target.tpc_finish(transaction)
            except BaseException:
                self._target.tpc_abort(transaction)
                raise
            self._target.poll_invalidations()


def _is_empty(root: Any) -> bool:
    return not root["entries"] and not root["sessions"]


def _walk(load: Callable[[bytes], bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield every record that the root reaches, in an order that depends on the records alone."""
    seen, pending = QQTreeSet([u64(z64)]), [z64]
    while pending:
        oid = pending.pop()
        data = load(oid)
        yield oid, data
        pending += [found for found in referencesf(data) if seen.insert(u64(found))]


def _add(digest: Any, oid: bytes, data: bytes) -> None:
    digest.update(oid + len(data).to_bytes(8, "big") + data)
