"""kiokupy: a session manager on each backend."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kiokupy
from benchmarks import services
from benchmarks.stores.contract import BATCH, LIFETIME, Data, Store
from kiokupy.maintenance.packing import pack


class Kioku(Store):
    """The session manager; every verb is a transaction of its own, durable when it returns.

    :param backend: ``Hash``, ``File``, ``SQLite``, ``PostgreSQL`` or ``ZEO``.
    :param options: for :func:`kiokupy.connect`.
    """

    def __init__(self, folder: Path, backend: str, **options: Any) -> None:
        super().__init__(folder)
        self._servers, self._url = [os.getpid()], ""
        self._age = 0.0
        directory = self.stack.enter_context(kiokupy.connect(self._target(backend), **options))
        policy = kiokupy.SessionPolicy(idle=LIFETIME, absolute=None, clock=lambda: time.time() - self._age)
        self._manager = kiokupy.SessionManager(directory, policy)

    def _target(self, backend: str) -> str:
        if backend == "ZEO":
            url, server = services.zeo(self.stack, self.folder)
            self._servers.append(server)
            return url
        if backend == "PostgreSQL":
            self._url = services.postgresql(self.folder)
            return self._url
        targets = {"File": f"file:path={self.folder}/store.fs", "SQLite": f"sqlite:///{self.folder}/store.sqlite"}
        return targets.get(backend, backend)

    def create(self, data: Data) -> str:
        session = self._manager.open()
        session.update(data)
        session.flush()
        return session.id

    def retrieve(self, id: str) -> Mapping[str, Any]:
        session = self._manager.open(id)
        session["cart"]  # what is in it is unpickled when it is first asked for
        return session

    def misses(self, id: str) -> bool:
        return self._manager.open(id).is_new

    def change(self, id: str, number: int) -> None:
        session = self._manager.open(id)
        session["n"] = number
        session.flush()

    def destroy(self, id: str) -> None:
        self._manager.destroy(id)

    def fill(self, count: int, data: Data, *, age: float = 0) -> list[str]:
        self._age, ids = age, []
        try:
            for begin in range(0, count, BATCH):
                with self._manager.directory.new_scope() as scope:
                    sessions = [self._manager.open(scope=scope) for _ in range(begin, min(begin + BATCH, count))]
                    for session in sessions:
                        session.update(data)
                ids += [session.id for session in sessions]
        finally:
            self._age = 0.0
        return ids

    def sweep(self) -> None:
        self._manager.sweep()

    def pack(self) -> None:
        pack(self._manager.directory)

    def pids(self) -> list[int]:
        return self._servers

    def shared_pids(self) -> list[int]:
        return services.backends_of(self._url) if self._url else []
