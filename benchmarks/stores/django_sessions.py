"""Django's own session engines. Settings are the process's, so there is one contestant of these in a process."""

from __future__ import annotations

import datetime
import importlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.stores.contract import BATCH, LIFETIME, Data, Store

_WAL = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"


class Django(Store):
    """A SessionStore for each verb, as Django's middleware makes one for each request.

    :param engine: ``file``, ``db`` or ``cache``; the cache is locmem.
    :param is_wal: whether SQLite has a write-ahead log, synced at each commit.
    """

    def __init__(self, folder: Path, engine: str, is_wal: bool = False) -> None:
        super().__init__(folder)
        import django  # noqa: PLC0415  # it may not be there
        from django.conf import settings  # noqa: PLC0415
        from django.core.management import call_command  # noqa: PLC0415

        options = {"timeout": 60, "init_command": _WAL} if is_wal else {"timeout": 60}
        name = str(folder / "db.sqlite3")
        locmem = "django.core.cache.backends.locmem.LocMemCache"
        if not settings.configured:  # else the store is opened again
            settings.configure(
                DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options}},
                CACHES={"default": {"BACKEND": locmem, "OPTIONS": {"MAX_ENTRIES": 10_000_000}}},
                INSTALLED_APPS=["django.contrib.sessions"],
                SECRET_KEY=__name__,
                SESSION_COOKIE_AGE=LIFETIME,
                SESSION_FILE_PATH=str(folder),
                USE_TZ=True,
            )
        django.setup()
        self._engine = importlib.import_module(f"django.contrib.sessions.backends.{engine}")
        if engine == "db":
            call_command("migrate", verbosity=0)

    def _new(self, data: Data) -> Any:
        session = self._engine.SessionStore()
        session.update(data)
        session.save()
        return session

    def create(self, data: Data) -> str:
        return str(self._new(data).session_key)

    def retrieve(self, id: str) -> Mapping[str, Any]:
        session = self._engine.SessionStore(id)
        session["cart"]
        found: Mapping[str, Any] = session
        return found

    def misses(self, id: str) -> bool:
        return "cart" not in self._engine.SessionStore(id)

    def change(self, id: str, number: int) -> None:
        session = self._engine.SessionStore(id)
        session["n"] = number
        session.save()

    def destroy(self, id: str) -> None:
        self._engine.SessionStore(id).delete()

    def fill(self, count: int, data: Data, *, age: float = 0) -> list[str]:
        if self._engine.__name__.endswith("db"):
            return self._insert(count, data, age)
        sessions = [self._new(data) for _ in range(count)]
        if age:
            used = time.time() - age
            for session in sessions:
                os.utime(session._key_to_file(), (used, used))
        return [str(session.session_key) for session in sessions]

    def _insert(self, count: int, data: Data, age: float) -> list[str]:
        store = self._engine.SessionStore()
        model, encoded = store.model, store.encode(data)
        expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=LIFETIME - age)
        rows = [
            model(session_key=store._get_new_session_key(), session_data=encoded, expire_date=expires)
            for _ in range(count)
        ]
        for begin in range(0, count, BATCH):
            model.objects.bulk_create(rows[begin : begin + BATCH])
        return [row.session_key for row in rows]

    def sweep(self) -> None:
        self._engine.SessionStore.clear_expired()

    def leave_thread(self) -> None:
        from django.db import connections  # noqa: PLC0415

        connections.close_all()
