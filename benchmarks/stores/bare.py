"""Bare ZODB: a PersistentMapping in an OOBTree for each session, as one would write it by hand."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transaction
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from psycopg2.extensions import make_dsn, parse_dsn
from relstorage.adapters.postgresql.adapter import PostgreSQLAdapter
from relstorage.adapters.sqlite.adapter import Sqlite3Adapter
from relstorage.options import Options
from relstorage.storage import RelStorage
from ZODB import DB
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import ConflictError

from benchmarks import services
from benchmarks.stores.contract import BATCH, Data, Store
from kiokupy import backends

_ROOT = "sessions"


class Bare(Store):
    """One transaction on a pooled connection for each verb; it is done again after a conflict.

    :param storage: ``FileStorage``, ``MappingStorage``, ``ZEO``, or ``SQLite`` or ``PostgreSQL`` for RelStorage with
        its own adapters, history-free and durable.
    :param cache_size: how many records each connection keeps in memory; as many as kiokupy does.
    """

    def __init__(self, folder: Path, storage: str, cache_size: int = 20_000) -> None:
        super().__init__(folder)
        self._servers, self._url = [os.getpid()], ""
        self._db = DB(self._storage(storage), cache_size=cache_size, pool_size=64)
        self.stack.callback(self._db.close)
        with self._db.transaction() as connection:
            if _ROOT not in connection.root():
                connection.root()[_ROOT] = OOBTree()

    def _storage(self, name: str) -> Any:
        if name == "FileStorage":
            return FileStorage(f"{self.folder}/store.fs")
        if name == "MappingStorage":
            return MappingStorage()
        if name == "ZEO":
            target, server = services.zeo(self.stack, self.folder)
            self._servers.append(server)
            return backends.resolve(target).backend().open(create=True, readonly=False)
        options = Options(keep_history=False)
        if name == "SQLite":
            adapter = Sqlite3Adapter(f"{self.folder}/store.sqlite", {"synchronous": "FULL"}, options=options)
        else:
            self._url = services.postgresql(self.folder)
            adapter = PostgreSQLAdapter(make_dsn(**parse_dsn(self._url)), options=options)
        return RelStorage(adapter, options=options)

    @contextmanager
    def _sessions(self) -> Iterator[Any]:
        manager = transaction.TransactionManager(explicit=True)
        manager.begin()
        connection = self._db.open(manager)
        try:
            yield connection.root()[_ROOT]
            manager.commit()
        except BaseException:
            manager.abort()
            raise
        finally:
            connection.close()

    def create(self, data: Data) -> str:
        [id] = self.fill(1, data)
        return id

    def retrieve(self, id: str) -> Mapping[str, Any]:
        with self._sessions() as tree:
            session = tree[id]
            session["cart"]
            found: Mapping[str, Any] = session
        return found

    def misses(self, id: str) -> bool:
        with self._sessions() as tree:
            return tree.get(id) is None

    def change(self, id: str, number: int) -> None:
        def work(tree: Any) -> None:
            tree[id]["n"] = number

        self._retried(work)

    def destroy(self, id: str) -> None:
        self._retried(lambda tree: tree.pop(id))

    def fill(self, count: int, data: Data, *, age: float = 0) -> list[str]:
        if age:
            raise NotImplementedError
        ids = [secrets.token_hex(32) for _ in range(count)]
        for begin in range(0, count, BATCH):
            batch = ids[begin : begin + BATCH]
            self._retried(lambda tree, batch=batch: tree.update({id: PersistentMapping(data) for id in batch}))
        return ids

    def _retried(self, work: Any) -> None:
        while True:
            try:
                with self._sessions() as tree:
                    work(tree)
                return
            except ConflictError:
                continue

    def pack(self) -> None:
        self._db.pack(time.time())

    def pids(self) -> list[int]:
        return self._servers

    def shared_pids(self) -> list[int]:
        return services.backends_of(self._url) if self._url else []
