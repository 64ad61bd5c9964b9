"""Paste: the WSGI middleware from the strings of an ``.ini`` file."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kiokupy.backends import dsn
from kiokupy.errors import SettingsError
from kiokupy.opening import connect
from kiokupy.sessions.manager import SessionManager
from kiokupy.sessions.policy import SessionPolicy
from kiokupy.sessions.settings import BACKEND, OPTIONS
from kiokupy.web.cookies import Cookie
from kiokupy.web.wsgi import SessionMiddleware

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_COOKIE = "cookie_"


def make_filter(app: WSGIApplication, global_conf: Any, **settings: str) -> SessionMiddleware:
    """Wrap an application, as ``paste.filter_app_factory`` asks.

    Settings, all strings: ``target`` (any target of :func:`kiokupy.connect`), or the seed's ``kiokudb_backend`` and
    ``kiokudb_backend_opts`` (JSON, or ``name=value;name=value``); ``allow_modules`` (names of modules whose classes
    may be stored); ``idle``, ``absolute``, ``resolution`` (seconds); ``key`` (of the environ); ``cookie_name``,
    ``cookie_path``, ``cookie_domain``, ``cookie_secure``, ``cookie_httponly``, ``cookie_samesite``,
    ``cookie_max_age``, ``cookie_partitioned``.

    :raises SettingsError: a setting is unknown or malformed; others as :func:`kiokupy.connect`.
    """
    for name in settings:
        if name not in _READERS:
            near = difflib.get_close_matches(name, _READERS, 1)
            fix = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(sorted(_READERS))}"
            raise SettingsError(f"there is no setting {name!r}", target=name, fix=fix)
    read = {name: _read(name, value) for name, value in settings.items()}
    policy = SessionPolicy(**{name: read[name] for name in _POLICY if name in read})
    cookie = Cookie(**{name.removeprefix(_COOKIE): value for name, value in read.items() if name.startswith(_COOKIE)})
    allowed = tuple(read.get("allow_modules", ()))
    seeds = {name: read[name] for name in (BACKEND, OPTIONS) if name in read}
    if "target" in read and seeds:
        raise SettingsError(f"target stands beside {' and '.join(seeds)}", target="target", fix="Give one of them")
    if "target" in read:
        manager = SessionManager(connect(read["target"], allow_classes=allowed), policy)
    else:
        manager = SessionManager.from_settings(seeds, allow_classes=allowed, policy=policy)
    return SessionMiddleware(app, manager, cookie, **({"key": read["key"]} if "key" in read else {}))


def _read(name: str, value: str) -> Any:
    try:
        return _READERS[name](value)
    except ValueError as error:
        raise SettingsError(f"the setting {name} is {value!r} ({error})", target=name) from error


def _options(text: str) -> Any:
    return json.loads(text) if text.lstrip().startswith("{") else dsn.pairs(text)


def _truth(text: str) -> bool:
    return dsn.flag("here", text)


_POLICY = ("idle", "absolute", "resolution")
_TYPES: dict[str, Callable[[str], Any]] = {"bool": _truth, "int | None": int}
_READERS: dict[str, Callable[[str], Any]] = {
    "target": str,
    BACKEND: str,
    OPTIONS: _options,
    "allow_modules": str.split,
    "key": str,
    **dict.fromkeys(_POLICY, float),
    **{f"{_COOKIE}{field.name}": _TYPES.get(str(field.type), str) for field in dataclasses.fields(Cookie)},
}
