"""Stores that take a pickle under a key: redis-py, diskcache, cachelib, shelve; and Beaker's sessions."""

from __future__ import annotations

import os
import pickle
import secrets
import shelve
import threading
import time
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import services
from benchmarks.stores.contract import BATCH, LIFETIME, Data, Store


class Keyed(Store):
    """What can only get and put as a whole is changed by getting and putting."""

    def create(self, data: Data) -> str:
        id = secrets.token_urlsafe(32)
        self.put(id, data)
        return id

    def change(self, id: str, number: int) -> None:
        self.put(id, {**self.retrieve(id), "n": number})

    @abstractmethod
    def put(self, id: str, data: Data) -> None:
        """Store what is in a session."""


class Redis(Keyed):
    """redis-py, with its parser in C, on a server of its own. Redis lets expired keys go by itself.

    :param appendfsync: when the server's log is on the disk: ``always``, ``everysec`` or ``no``.
    """

    def __init__(self, folder: Path, appendfsync: str) -> None:
        super().__init__(folder)
        import redis  # noqa: PLC0415  # it may not be there

        port, self._server = services.redis(self.stack, folder, appendfsync)
        self.client = redis.Redis(port=port)
        while True:
            with suppress(redis.exceptions.BusyLoadingError):  # it reads its log
                self.client.ping()
                break
            time.sleep(0.01)
        self.stack.callback(self.client.shutdown)

    def misses(self, id: str) -> bool:
        return self.client.get(id) is None

    def put(self, id: str, data: Data) -> None:
        self.client.set(id, pickle.dumps(data, pickle.HIGHEST_PROTOCOL), ex=LIFETIME)

    def retrieve(self, id: str) -> Mapping[str, Any]:
        data: Data = pickle.loads(self.client.get(id))
        return data

    def destroy(self, id: str) -> None:
        self.client.delete(id)

    def fill(self, count: int, data: Data, *, age: float = 0) -> list[str]:
        if age:
            raise NotImplementedError
        ids = [secrets.token_urlsafe(32) for _ in range(count)]
        record = pickle.dumps(data, pickle.HIGHEST_PROTOCOL)
        for begin in range(0, count, BATCH):
            pipeline = self.client.pipeline(transaction=False)
            for id in ids[begin : begin + BATCH]:
                pipeline.set(id, record, ex=LIFETIME)
            pipeline.execute()
        return ids

    def pids(self) -> list[int]:
        return [os.getpid(), self._server]


class Disk(Keyed):
    """diskcache.Cache, with its own settings, save that it may grow."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        import diskcache  # noqa: PLC0415  # it may not be there

        self._cache = self.stack.enter_context(diskcache.Cache(str(folder), size_limit=1 << 40))

    def misses(self, id: str) -> bool:
        return self._cache.get(id) is None

    def put(self, id: str, data: Data) -> None:
        self._cache.set(id, data, expire=LIFETIME)

    def retrieve(self, id: str) -> Mapping[str, Any]:
        data: Data = self._cache[id]
        return data

    def destroy(self, id: str) -> None:
        self._cache.delete(id)

    def fill(self, count: int, data: Data, *, age: float = 0) -> list[str]:
        cull_limit = self._cache.cull_limit
        self._cache.reset("cull_limit", 0)  # else what has expired goes while this goes on
        ids = [secrets.token_urlsafe(32) for _ in range(count)]
        for begin in range(0, count, BATCH):
            with self._cache.transact():
                for id in ids[begin : begin + BATCH]:
                    self._cache.set(id, data, expire=LIFETIME - age)
        self._cache.reset("cull_limit", cull_limit)
        return ids

    def sweep(self) -> None:
        self._cache.expire()

    def leave_thread(self) -> None:
        self._cache.close()


class CacheLib(Keyed):
    """cachelib.FileSystemCache, which may grow."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from cachelib import FileSystemCache  # noqa: PLC0415  # it may not be there

        self._cache = FileSystemCache(str(folder), threshold=0, default_timeout=LIFETIME)

    def misses(self, id: str) -> bool:
        return self._cache.get(id) is None

    def put(self, id: str, data: Data) -> None:
        self._cache.set(id, data)

    def retrieve(self, id: str) -> Mapping[str, Any]:
        data: Data = self._cache.get(id)
        return data

    def destroy(self, id: str) -> None:
        self._cache.delete(id)


class Shelf(Keyed):
    """The standard library's shelve, synced after each write; one thread at a time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._lock = threading.Lock()
        shelf = shelve.open(f"{folder}/shelf")  # noqa: SIM115  # the stack closes it
        self._shelf = self.stack.enter_context(shelf)

    def misses(self, id: str) -> bool:
        with self._lock:
            return self._shelf.get(id) is None

    def put(self, id: str, data: Data) -> None:
        with self._lock:
            self._shelf[id] = data
            self._shelf.sync()

    def retrieve(self, id: str) -> Mapping[str, Any]:
        with self._lock:
            data: Data = self._shelf[id]
        return data

    def destroy(self, id: str) -> None:
        with self._lock:
            del self._shelf[id]
            self._shelf.sync()


class Beaker(Store):
    """Beaker's own sessions.

    :param type: ``file`` or ``memory``.
    """

    def __init__(self, folder: Path, type: str) -> None:
        super().__init__(folder)
        from beaker.session import Session  # noqa: PLC0415  # it may not be there

        self._session = Session
        self._options = {"type": type, "use_cookies": False, "data_dir": str(folder / "data"), "timeout": LIFETIME}
        self._options["invalidate_corrupt"] = False

    def _open(self, id: str | None) -> Any:
        return self._session({}, id=id, **self._options)

    def create(self, data: Data) -> str:
        session = self._open(None)
        session.update(data)
        session.save()
        return str(session.id)

    def retrieve(self, id: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._open(id)
        return found

    def misses(self, id: str) -> bool:
        return "cart" not in self._open(id)

    def change(self, id: str, number: int) -> None:
        session = self._open(id)
        session["n"] = number
        session.save()

    def destroy(self, id: str) -> None:
        self._open(id).delete()
