"""A bound: the pickle is appended to a file, with one fsync, and its place is kept in a dict. No store can do less."""

from __future__ import annotations

import os
import pickle
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.stores.contract import Data, Store


class Appended(Store):
    """Nothing but the disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._file = os.open(folder / "appended", os.O_CREAT | os.O_RDWR | os.O_APPEND)
        self.stack.callback(os.close, self._file)
        self._lock, self._places, self._end = threading.Lock(), dict[str, tuple[int, int]](), 0

    def create(self, data: Data) -> str:
        id = secrets.token_urlsafe(32)
        self._append(id, data)
        return id

    def retrieve(self, id: str) -> Mapping[str, Any]:
        data: Data = self._load(id)
        return data

    def misses(self, id: str) -> bool:
        return id not in self._places or self._load(id) is None

    def change(self, id: str, number: int) -> None:
        data = self._load(id)
        data["n"] = number
        self._append(id, data)

    def destroy(self, id: str) -> None:
        self._append(id, None)

    def _load(self, id: str) -> Any:
        begin, length = self._places[id]
        return pickle.loads(os.pread(self._file, length, begin))

    def _append(self, id: str, data: Data | None) -> None:
        record = pickle.dumps(data, pickle.HIGHEST_PROTOCOL)
        with self._lock:
            os.write(self._file, record)
            os.fsync(self._file)
            self._places[id] = self._end, len(record)
            self._end += len(record)
