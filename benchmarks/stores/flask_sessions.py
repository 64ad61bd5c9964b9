"""Flask-Session: what its session interfaces do in a request, without the request around it."""

from __future__ import annotations

import datetime
import secrets
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import services
from benchmarks.stores.caches import Redis
from benchmarks.stores.contract import LIFETIME, Data, Store

_LIFETIME = datetime.timedelta(seconds=LIFETIME)


class FlaskSession(Store):
    """Its interface's verbs on a stored session, in an application's context. A session's own cost is left out.

    :param store: ``redis``, ``files``, ``SQLite`` or ``PostgreSQL``.
    :param appendfsync: as in :class:`~benchmarks.stores.caches.Redis`.
    """

    def __init__(self, folder: Path, store: str, appendfsync: str = "") -> None:
        super().__init__(folder)
        from flask import Flask  # noqa: PLC0415  # it may not be there

        self._app = Flask(__name__)
        self._below: Store | None = None
        self._url = ""
        make = {"redis": self._redis, "files": self._files}.get(store, self._sql)
        self._interface = make(appendfsync or store)
        self._new_session = self._interface.session_class

    def _redis(self, appendfsync: str) -> Any:
        from flask_session.redis import RedisSessionInterface  # noqa: PLC0415

        self._below = below = Redis(self.folder, appendfsync)
        self.stack.callback(below.close)
        return RedisSessionInterface(self._app, client=below.client)

    def _files(self, _: str) -> Any:
        from cachelib import FileSystemCache  # noqa: PLC0415
        from flask_session.cachelib import CacheLibSessionInterface  # noqa: PLC0415

        return CacheLibSessionInterface(self._app, client=FileSystemCache(str(self.folder), threshold=0))

    def _sql(self, database: str) -> Any:
        from flask_session.sqlalchemy import SqlAlchemySessionInterface  # noqa: PLC0415
        from flask_sqlalchemy import SQLAlchemy  # noqa: PLC0415

        options: dict[str, Any] = {"pool_size": 40}
        if database == "PostgreSQL":
            self._url = services.postgresql(self.folder)
            uri = self._url.replace("postgresql://", "postgresql+psycopg2://")
        else:
            uri = f"sqlite:///{self.folder}/sessions.sqlite"
            options["connect_args"] = {"timeout": 60}
        self._app.config["SQLALCHEMY_DATABASE_URI"] = uri
        self._app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return SqlAlchemySessionInterface(self._app, client=SQLAlchemy(self._app))

    def create(self, data: Data) -> str:
        id = secrets.token_urlsafe(32)
        with self._app.app_context():
            self._interface._upsert_session(_LIFETIME, self._new_session(data), id)
        return id

    def retrieve(self, id: str) -> Mapping[str, Any]:
        with self._app.app_context():
            found: Mapping[str, Any] = self._new_session(self._interface._retrieve_session_data(id))
        return found

    def misses(self, id: str) -> bool:
        with self._app.app_context():
            return self._interface._retrieve_session_data(id) is None

    def change(self, id: str, number: int) -> None:
        with self._app.app_context():
            session = self._new_session(self._interface._retrieve_session_data(id))
            session["n"] = number
            self._interface._upsert_session(_LIFETIME, session, id)

    def destroy(self, id: str) -> None:
        with self._app.app_context():
            self._interface._delete_session(id)

    def pids(self) -> list[int]:
        return super().pids() if self._below is None else self._below.pids()

    def shared_pids(self) -> list[int]:
        return services.backends_of(self._url) if self._url else []
