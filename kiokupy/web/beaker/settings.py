"""Beaker's settings: what a configuration of Beaker says, in kiokupy's words."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from kiokupy.backends import dsn
from kiokupy.errors import SettingsError

_PREFIXES = ("beaker.session.", "session.")
_OLD_PREFIX = "session_"

#: Beaker's name of a setting, and kiokupy's.
_NAMES = {
    "key": "cookie_name",
    "timeout": "idle",
    "cookie_expires": "cookie_max_age",
    "secure": "cookie_secure",
    "httponly": "cookie_httponly",
    "samesite": "cookie_samesite",
}

#: Names of settings that are Beaker's.
NAMES = ("auto", *_NAMES)

_LONGEST = timedelta(days=400)  # browsers cut off what is longer (RFC 6265bis, 5.5)

_NO_KEY = "Remove it: an id is random and means nothing but a row of the store, so nothing is signed or encrypted"
_ALLOWED = "Remove it: sessions hold objects of the classes in session.allow_modules"
_STORE = "Remove it: session.target says all about the store"
_TARGETS = "session.target = postgresql://user@host/app or zeo://host:8100, which processes and machines share"

#: What has no meaning here, and what to do instead.
_FIXES = {
    "secret": _NO_KEY,
    "validate_key": _NO_KEY,
    "encrypt_key": _NO_KEY,
    "encrypt_nonce_bits": _NO_KEY,
    "crypto_type": _NO_KEY,
    "data_serializer": _ALLOWED,
    "data_dir": "Say instead session.target = file:path={}/sessions.fs",
    "url": "Give it as session.target: sqlite:///app.sqlite or postgresql://user@host/app",
    "lock_dir": _STORE,
    "table_name": _STORE,
    "namespace_class": _STORE,
    "session_class": "Remove it: there is one class of sessions",
    "invalidate_corrupt": "Remove it: an id that is unknown or malformed begins a new session",
    "use_cookies": "Remove it; a session without a cookie is what kiokupy.SessionManager gives",
    "log_file": "Remove it: kiokupy writes to the logger kiokupy",
    "webtest_varname": "Remove it",
    "id": "Remove it: ids are chosen by kiokupy",
}

#: Beaker's kinds of stores, and what keeps sessions as well.
_KINDS = {
    "file": "session.target = file:path=sessions.fs",
    "dbm": "session.target = file:path=sessions.fs",
    "ext:database": "session.target = sqlite:///app.sqlite or postgresql://user@host/app",
    "ext:sqla": "session.target = sqlite:///app.sqlite or postgresql://user@host/app",
    "cookie": "session.target = file:path=sessions.fs; what a session holds stays on the server",
}


def translated(config: Mapping[str, Any] | None, options: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return settings for :func:`kiokupy.web.settings.configured`, and Beaker's ``auto``.

    :param config: names that begin with ``session.`` or ``beaker.session.``; others are other components'.
    :param options: the same names, or without a prefix.
    :raises SettingsError: something has no meaning here, or is said twice; the error names all of it, with the fixes.
    """
    given = {**_named(config or {}), **_named(options), **_unnamed(options)}
    if config and not given:
        fix = "Their names begin with session., as in session.target"
        raise SettingsError("there are no settings of sessions among those of the configuration", fix=fix)
    auto = dsn.flag("session.auto", given.pop("auto", None) or False)
    settings: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in given.items():
        problem = _problem(name, value, given)
        if problem is not None:
            problems.append(f"session.{name}: {problem}")
        elif name not in ("type", "save_accessed_time"):
            settings.update(_setting(name, value))
    if problems:
        raise SettingsError(f"settings of Beaker have no meaning here. {'. '.join(problems)}")
    return settings, auto


def _named(source: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in source.items():
        prefix = next((prefix for prefix in (*_PREFIXES, _OLD_PREFIX) if name.startswith(prefix)), None)
        if prefix is not None:
            found[name.removeprefix(prefix)] = value
        if prefix == _OLD_PREFIX:
            warnings.warn(f"write session.{name.removeprefix(prefix)} instead of {name}", DeprecationWarning, 4)
    return found


def _unnamed(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if not name.startswith((*_PREFIXES, _OLD_PREFIX))}


def _problem(name: str, value: Any, given: Mapping[str, Any]) -> str | None:
    """Return why a setting cannot be followed, and what to do; of its value nothing that may be secret."""
    if name.startswith("sa.") or name in ("sa_opts", "optimistic"):
        return _STORE
    if name in _FIXES:
        return None if value is None else _FIXES[name].format(value)
    if name in _NAMES and _NAMES[name] in given:
        return f"it means the same as session.{_NAMES[name]}. Give one of them"
    if name == "save_accessed_time" and value is not None and not dsn.flag("session.save_accessed_time", value):
        return "Remove it: session.resolution says how often use is written down"
    if name == "cookie_expires" and isinstance(value, datetime):
        return "a date would end the cookies of all sessions at once. Give seconds, a timedelta, or true"
    return _problem_of_type(value, given) if name == "type" else None


def _problem_of_type(kind: Any, given: Mapping[str, Any]) -> str | None:
    if kind == "memory":
        return "'memory' contradicts session.target. Remove it" if "target" in given else None
    if kind in (None, "kiokupy"):
        return None
    if "target" in given or (kind in ("file", "dbm") and given.get("data_dir") is not None):
        return "Remove it"
    return f"{kind!r} is no store here. Say instead {_KINDS.get(kind, _TARGETS)}"


def _setting(name: str, value: Any) -> dict[str, Any]:
    if name in _FIXES or (value is None and name != "timeout"):
        return {}  # what Beaker leaves open has kiokupy's default
    return {_NAMES.get(name, name): _max_age(value) if name == "cookie_expires" else value}


def _max_age(value: Any) -> Any:
    """Return how long the cookie lives; Beaker's True means until the browser ends, its False for ever."""
    if isinstance(value, timedelta) or type(value) is int:
        return value
    try:
        return None if dsn.flag("session.cookie_expires", value) else _LONGEST
    except ValueError:
        return value  # a number in a string, or something wrong: the error is to come from where it is read
