"""Readers: records of ZODB become Persistent objects, those that hold first-class plain objects too."""

from __future__ import annotations

import io
import pickle
from typing import Any, ClassVar

from ZODB.serialize import ObjectReader

from kiokupy.writers import ENTRY_CLASS, MARK


class Reader(ObjectReader):  # type: ignore[misc]  # ZODB has no annotations
    """Reads what ZODB's own reader reads, in less time."""

    def getState(self, data: bytes) -> Any:  # noqa: N802  # ZODB's name
        """Return the state that a record holds."""
        try:
            if data.startswith(ENTRY_CLASS):
                return _Unpickler(self, data[len(ENTRY_CLASS) :]).load()
            unpickler = _Unpickler(self, data)
            unpickler.load()  # the class
            return unpickler.load()
        except Exception:  # let ZODB find out what is wrong with it, and say so
            return super().getState(data)

    def _load_reference(self, key: bytes, database: str | None = None) -> object:
        if database is None or not database.startswith(MARK):
            return self.load_persistent_weakref(key, database)
        return self._conn.graph.resolve(bytes(key).decode(), database[len(MARK) :])

    loaders: ClassVar = {**ObjectReader.loaders, "w": _load_reference}


class _Unpickler(pickle.Unpickler):
    """Python's own: it takes in all that a buffered file has at once, where ZODB's asks for the bytes of each step."""

    __slots__ = ("_known", "_new_ghost", "_reader")

    def __init__(self, reader: Reader, data: bytes) -> None:
        super().__init__(io.BufferedReader(io.BytesIO(data)))
        self._reader, cache = reader, reader._cache
        self._known, self._new_ghost = cache.get, cache.new_ghost

    def find_class(self, module: str, name: str) -> Any:
        return self._reader._get_class(module, name)

    def persistent_load(self, reference: Any) -> Any:
        if type(reference) is not tuple or type(reference[0]) is not bytes:
            return self._reader._persistent_load(reference)
        oid, cls = reference
        found = self._known(oid)
        if found is None:
            found = cls.__new__(cls)  # of what is no class of records one of these lines raises
            self._new_ghost(oid, found)
        return found
