"""Settings: a session manager and its cookie from names and values, as each framework's configuration has them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from kiokupy import backends, suggestion
from kiokupy.backends import dsn
from kiokupy.errors import SettingsError, TargetError
from kiokupy.opening import connect
from kiokupy.sessions.manager import SessionManager
from kiokupy.sessions.policy import SessionPolicy
from kiokupy.sessions.settings import BACKEND, OPTIONS
from kiokupy.typemap import Allowed
from kiokupy.web.cookies import Cookie

_COOKIE = "cookie_"
_NONE = ("", "none")
_TOO_LONG = 1e9  # seconds; a thread cannot wait for so long

Reader = Callable[[Any], Any]


class Configured(NamedTuple):
    """What settings describe; the manager's directory is open."""

    manager: SessionManager
    cookie: Cookie


class Prepared(NamedTuple):
    """What settings describe, checked; nothing is open before ``connect()``, which raises as :func:`configured`."""

    connect: Callable[[], SessionManager]
    cookie: Cookie


def configured(
    settings: Mapping[str, Any],
    *,
    allow_classes: tuple[Allowed, ...] = (),
    clock: Callable[[], float] | None = None,
    also: Collection[str] = (),
) -> Configured:
    """Open the directory that settings name, and make its session manager and cookie.

    A value is a string, as in an ``.ini`` file, or has its type already. ``target`` is any target of
    :func:`kiokupy.connect`; instead of it the seed's ``kiokudb_backend`` and ``kiokudb_backend_opts`` (a mapping, JSON,
    or ``name=value;name=value``) can stand. ``allow_modules`` names modules whose classes may be stored, in a list or
    with spaces between them. Each field of :class:`SessionPolicy` (``idle``, ``absolute``, ...; but for ``clock``) and
    of :class:`Cookie` (``cookie_name``, ``cookie_secure``, ...) is a setting. Times are seconds or a ``timedelta``;
    where ``None`` is possible, ``none`` and an empty string mean it. ``sweep_every`` has a thread of this process take
    expired sessions out of the store, once in so many seconds.

    :param allow_classes: further classes that may be stored.
    :param clock: the policy's clock.
    :param also: names that the caller reads itself; they are passed over here.
    :raises SettingsError: a setting is unknown or malformed, or two contradict each other; nothing is opened.
    :raises TargetError: the target is unknown or malformed.
    :raises StoreError: the store cannot be opened.
    """
    ready = prepared(settings, allow_classes=allow_classes, clock=clock, also=also)
    return Configured(ready.connect(), ready.cookie)


def prepared(
    settings: Mapping[str, Any],
    *,
    allow_classes: tuple[Allowed, ...] = (),
    clock: Callable[[], float] | None = None,
    also: Collection[str] = (),
) -> Prepared:
    """Check the settings of :func:`configured` and open nothing yet: for what must not hold a store that it never uses.

    :raises SettingsError: as :func:`configured`.
    :raises TargetError: as :func:`configured`.
    """
    read = {name: _read(name, value, also) for name, value in settings.items() if name not in also}
    if "target" in read and (seeds := [name for name in (BACKEND, OPTIONS) if name in read]):
        raise SettingsError(f"target stands beside {' and '.join(seeds)}", target="target", fix="Give one of them")
    chosen = {name: read[name] for name in _POLICY if name in read}
    if clock is not None:
        chosen["clock"] = clock
    policy = SessionPolicy(**chosen)
    cookie = Cookie(**{name.removeprefix(_COOKIE): read[name] for name in _COOKIES if name in read})
    allowed = (*read.get("allow_modules", ()), *allow_classes)
    if "target" in read:
        backends.resolve(read["target"])

    def open_manager() -> SessionManager:
        if "target" in read:
            manager = SessionManager(connect(read["target"], allow_classes=allowed), policy)
        else:
            seed = {name: read[name] for name in (BACKEND, OPTIONS) if name in read}
            manager = SessionManager.from_settings(seed, allow_classes=allowed, policy=policy)
        if "sweep_every" in read:
            manager.start_sweeper(read["sweep_every"])
        return manager

    return Prepared(open_manager, cookie)


def _read(name: str, value: Any, also: Collection[str]) -> Any:
    reader = _READERS.get(name)
    if reader is None:
        known = sorted([*_READERS, *also])
        near = suggestion.nearest(name, known, 1)
        fix = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(known)}"
        raise SettingsError(f"there is no setting {name!r}", target=name, fix=fix)
    try:
        return reader(value)
    except (ValueError, OverflowError) as error:
        # Of the backend's options nothing is shown: a password may be among them.
        problem = "malformed" if name == OPTIONS else repr(value)
        raise SettingsError(f"the setting {name} is {problem} ({error})", target=name) from error


def _options(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return json.loads(value) if value.lstrip().startswith("{") else dsn.pairs(value)


def _modules(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        return tuple(value.split())
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(value)
    raise ValueError("it is a list of names")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it is a string")
    return value


def _truth(value: Any) -> bool:
    try:
        return dsn.flag("here", value)
    except TargetError as error:
        raise ValueError("it is true or false") from error


def _number(kind: type[int] | type[float], value: Any) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("it is a number")
    try:
        number = kind(value)
    except ValueError as error:
        raise ValueError("it is a whole number" if kind is int else "it is a number, of seconds for a time") from error
    if not isinstance(value, str) and number != value:
        raise ValueError("it is a whole number")
    return number


_TYPES: dict[str, Reader] = {
    "str": _text,
    "bool": _truth,
    "int": lambda value: _number(int, value),
    "float": lambda value: _number(float, value),
}


def _reader(annotation: str) -> Reader:
    read = _TYPES[annotation.removesuffix(" | None")]
    if not annotation.endswith(" | None"):
        return read

    def read_or_none(value: Any) -> Any:
        absent = value is None or (isinstance(value, str) and value.strip().lower() in _NONE)
        return None if absent else read(value)

    return read_or_none


def _period(value: Any) -> float:
    seconds = _number(float, value)
    if not 0 < seconds < _TOO_LONG:
        raise ValueError("it is a number of seconds above 0")
    return seconds


_POLICY = {field.name: _reader(str(field.type)) for field in dataclasses.fields(SessionPolicy) if field.name != "clock"}
_COOKIES = {f"{_COOKIE}{field.name}": _reader(str(field.type)) for field in dataclasses.fields(Cookie)}
_READERS: dict[str, Reader] = {
    "target": lambda value: value,
    BACKEND: _text,
    OPTIONS: _options,
    "allow_modules": _modules,
    "sweep_every": _period,
    **_POLICY,
    **_COOKIES,
}
