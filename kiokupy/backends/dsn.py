"""Targets: the ways to say which store is meant.

================================================  ==========================================================
``"Hash"``, ``"File"``, ``"DBI"``, ``"ZEO"``      a backend's name; the options come beside it
``"file:path=app.fs;create=0"``                   a DSN: a moniker, and options; a bare word is true
``"dbi:SQLite:dbname=app.sqlite"``                Perl's DSN for SQLite, and ``"dbi:Pg:dbname=…;host=…"``
``"memory://"``                                   Hash
``"file:///srv/app.fs"``                          File, by its absolute path
``"sqlite:///app.sqlite"``                        DBI; a fourth slash makes the path absolute
``"postgresql://user:password@host:5432/app"``    DBI; each part percent-encoded, options as the query
``"zeo://host:8100/storage"``                     ZEO; ``"zeo:///run/zeo.sock"`` for a socket
``{"backend": "File", "path": "app.fs"}``         a mapping; ``{"target": "file:///app.fs"}`` too
``"store.toml"``, ``Path("store.yaml")``          a file that holds such a mapping
================================================  ==========================================================
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from kiokupy import suggestion
from kiokupy.errors import TargetError

Options = dict[str, Any]

_MONIKERS = {"hash": "Hash", "file": "File", "zeo": "ZEO"}
_DRIVERS = {"sqlite": "sqlite", "pg": "postgresql"}
_FILES = (".toml", ".yaml", ".yml")
_FORMS = "Give a backend's name, a DSN such as 'file:path=app.fs', a URL, a mapping, or a .toml or .yaml file"
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def parse(target: Any) -> tuple[str, Options]:
    """Return the backend's name and the options that a target stands for.

    :raises TargetError: it stands for nothing; the error never shows a password.
    """
    if isinstance(target, Mapping):
        return _from_mapping(target)
    if isinstance(target, os.PathLike):
        return _from_mapping(read_file(target))
    if not isinstance(target, str) or not target.strip():
        raise TargetError(f"{target!r:.40} is no target", target=target, fix=_FORMS)
    if "://" in target:
        return _from_url(target)
    if target.endswith(_FILES) and "=" not in target:
        return _from_mapping(read_file(target))
    moniker, colon, rest = target.partition(":")
    if moniker.lower() == "dbi" and colon:
        return _from_dbi(rest)
    name = _MONIKERS.get(moniker, moniker)
    return name, pairs(rest)


def flag(name: str, value: Any) -> bool:
    """Return the truth of an option: a bool, 0 or 1, or a word for either."""
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise TargetError(f"the option {name} is {value!r}", target=name, fix="It is 1 or 0")


def pairs(text: str) -> Options:
    """Return the options in ``name=value;word``; a bare word is true."""
    options: Options = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        name, equals, value = part.partition("=")
        options[name.strip()] = value.strip() if equals else True
    return options


def read_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the mapping in a ``.toml`` or ``.yaml`` file.

    :raises TargetError: there is no such file, it is malformed, or PyYAML is not installed.
    """
    location = Path(path)
    read = _read_toml if location.suffix == ".toml" else _read_yaml if location.suffix in _FILES else None
    if read is None:
        raise TargetError(f"{location} is no settings file", target=path, fix="It is a .toml or .yaml file")
    try:
        with location.open("rb") as stream:
            found = read(stream)
    except OSError as error:
        raise TargetError(f"{location} cannot be read ({error.strerror})", target=path) from error
    except ValueError as error:  # what tomllib and, below, PyYAML raise
        raise TargetError(f"{location} is malformed: {error}", target=path) from error
    if not isinstance(found, dict):
        raise TargetError(f"{location} holds no mapping", target=path)
    return found


def _read_toml(stream: Any) -> Any:
    import tomllib  # noqa: PLC0415  # its patterns take 3 ms of every start, and most targets are no files

    return tomllib.load(stream)


def _read_yaml(stream: Any) -> Any:
    try:
        import yaml  # noqa: PLC0415  # an extra; TOML works without it
    except ImportError as error:
        fix = "Install it with: pip install 'kiokupy[yaml]'"
        raise TargetError("a .yaml file needs PyYAML, which is not installed", fix=fix) from error
    try:
        return yaml.safe_load(stream)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _from_mapping(mapping: Mapping[str, Any]) -> tuple[str, Options]:
    options = dict(mapping)
    target = options.pop("target", None)
    backend = options.pop("backend", None)
    if target is not None and backend is None:
        name, found = parse(target)
        return name, {**found, **options}
    if not isinstance(backend, str) or target is not None:
        raise TargetError(
            "a mapping names its store by 'backend' or by 'target'",
            target=sorted(map(str, mapping)),
            fix="For example: {'backend': 'File', 'path': 'app.fs'}",
        )
    return backend, options


def _from_dbi(rest: str) -> tuple[str, Options]:
    driver, _, text = rest.partition(":")
    options = pairs(text) if "=" in text else {"dbname": text}
    for alias in ("db", "database"):
        if alias in options:
            options["dbname"] = options.pop(alias)
    return "DBI", {"driver": _DRIVERS.get(driver.lower(), driver), **options}


def _from_url(url: str) -> tuple[str, Options]:
    scheme = url.partition("://")[0].lower()
    reader = _SCHEMES.get(scheme)
    if reader is None:
        near = suggestion.nearest(scheme, _SCHEMES, 1)
        guess = f"Did you mean {near[0]}://? " if near else ""
        fix = f"{guess}There are {', '.join(name + '://' for name in _SCHEMES)}"
        raise TargetError(f"there is no URL scheme {scheme!r} for a store", target=scheme, fix=fix)
    try:
        parts = urlsplit(url)
        name, options = reader(parts)
    except ValueError as error:
        raise TargetError(f"the {scheme}:// URL is malformed: {error}", target=scheme) from error
    return name, {**options, **dict(parse_qsl(parts.query, keep_blank_values=True))}


def _memory(parts: SplitResult) -> tuple[str, Options]:
    return "Hash", {}


def _file(parts: SplitResult) -> tuple[str, Options]:
    if parts.netloc not in ("", "localhost"):
        raise ValueError("a file's URL has no host; write three slashes and the absolute path")
    return "File", {"path": unquote(parts.path)}


def _sqlite(parts: SplitResult) -> tuple[str, Options]:
    if parts.netloc:
        raise ValueError("write three slashes and the path, four if it is absolute")
    return "DBI", {"driver": "sqlite", "dbname": unquote(parts.path[1:])}


def _postgresql(parts: SplitResult) -> tuple[str, Options]:
    given = {
        "user": parts.username,
        "password": parts.password,
        "host": parts.hostname,
        "port": parts.port,
        "dbname": parts.path[1:],
    }
    return "DBI", {
        "driver": "postgresql",
        **{name: unquote(str(value)) for name, value in given.items() if value not in (None, "")},
    }


def _zeo(parts: SplitResult) -> tuple[str, Options]:
    if not parts.hostname:
        return "ZEO", {"path": unquote(parts.path)}
    storage = unquote(parts.path[1:])
    return "ZEO", {
        "host": parts.hostname,
        **({"port": parts.port} if parts.port is not None else {}),
        **({"storage": storage} if storage else {}),
    }


_SCHEMES: dict[str, Callable[[SplitResult], tuple[str, Options]]] = {
    "memory": _memory,
    "file": _file,
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "postgres": _postgresql,
    "zeo": _zeo,
}
