"""A backend for kiokupy from another hand: a store in memory that is played from a journal, one line of JSON a commit."""

import json
import os
from base64 import b64decode, b64encode
from pathlib import Path

from zc.lockfile import LockError, LockFile
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import ReadOnlyError
from ZODB.utils import u64

from kiokupy.backends.hash import HashStorage
from kiokupy.errors import StoreLocked, StoreNotFound


class JournalStorage(HashStorage):
    """Plays the journal at a path, and appends what is committed to it."""

    def __init__(self, path, readonly):
        super().__init__()
        self._lock_file = None if readonly else LockFile(f"{path}.lock")
        self._journal = None
        if path.exists():
            for line in path.read_text().splitlines():
                self._play(json.loads(line))
        self._journal = None if readonly else path.open("a")
        self._readonly = readonly

    _readonly = False

    def isReadOnly(self):
        return self._readonly

    def tpc_begin(self, transaction, tid=None):
        if self._readonly:
            raise ReadOnlyError
        super().tpc_begin(transaction, tid)

    def tpc_finish(self, transaction, func=lambda tid: None):
        if self._journal is not None:
            records = {oid.hex(): b64encode(data).decode() for oid, data in self._tdata.items()}
            print(json.dumps({"tid": self._tid.hex(), "records": records}), file=self._journal, flush=True)
            os.fsync(self._journal.fileno())
        return super().tpc_finish(transaction, func)

    def close(self):
        super().close()
        if self._journal is not None:
            self._journal.close()
            self._lock_file.close()

    def _play(self, line):
        transaction = TransactionMetaData()
        self.tpc_begin(transaction, bytes.fromhex(line["tid"]))
        self._tdata = {bytes.fromhex(oid): b64decode(data) for oid, data in line["records"].items()}
        self._oid = max([self._oid, *map(u64, self._tdata)])
        self.tpc_finish(transaction)


class Toy:
    """Opens the journal at ``path``."""

    def __init__(self, path):
        self._path = Path(path)
        self.location = f"toy:{path}"

    def open(self, *, create, readonly):
        if not self._path.exists() and (readonly or not create):
            raise StoreNotFound(self.location)
        try:
            return JournalStorage(self._path, readonly)
        except LockError as error:
            raise StoreLocked(self.location) from error
