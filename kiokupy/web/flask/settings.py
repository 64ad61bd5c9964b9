"""Flask's configuration: what ``SESSION_KIOKUPY`` and ``SESSION_COOKIE_*`` say together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from kiokupy.backends import dsn
from kiokupy.errors import SettingsError
from kiokupy.sessions.manager import SessionManager
from kiokupy.sessions.policy import check_limit
from kiokupy.typemap import Allowed
from kiokupy.web.settings import Prepared, prepared

if TYPE_CHECKING:
    from flask import Flask

NAME = "SESSION_KIOKUPY"

_OWN = ("join", "exclude", "principal_key")
_COOKIE = ("name", "domain", "path", "secure", "httponly", "samesite", "partitioned")
_TARGETS = ("target", "kiokudb_backend")


@dataclass(frozen=True)
class Own:
    """The settings of this adapter alone; see :class:`kiokupy.web.flask.KiokuSessions`."""

    join: bool
    exclude: tuple[str, ...]
    principal_key: str | None

    def excludes(self, path: str) -> bool:
        """Tell whether a request's path is to be without a session."""
        return any(path == start or path.startswith(start.rstrip("/") + "/") for start in self.exclude)


def own(app: Flask, join: bool | None = None) -> Own:
    """Read this adapter's own settings, and look at Flask's.

    :param join: what the application's code says about it.
    """
    given = _given(app)
    if join is None:
        join = dsn.flag("join", given.get("join", False))
    exclude = given.get("exclude", ())
    exclude = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    if wrong := [path for path in exclude if not (isinstance(path, str) and path.startswith("/"))]:
        raise SettingsError(
            f"exclude has {wrong[0]!r}", target="exclude", fix="It is a list of paths that begin with /"
        )
    principal_key = given.get("principal_key", "_user_id")
    if not isinstance(principal_key, str | None):
        fix = "It is a key of the session, or None"
        raise SettingsError(f"principal_key is {principal_key!r}", target="principal_key", fix=fix)
    check_limit("PERMANENT_SESSION_LIFETIME", app.permanent_session_lifetime.total_seconds())
    return Own(join, exclude, principal_key)


def prepare(app: Flask, manager: SessionManager | None, allow_classes: tuple[Allowed, ...]) -> Prepared:
    """Read the rest of the settings; nothing is open yet.

    :param manager: the application's own, which the settings must not describe then.
    """
    given = _given(app)
    if manager is None:
        return prepared(_with_cookie(app, given), allow_classes=(Markup, *allow_classes), also=_OWN)
    if allow_classes:
        fix = "Give them to kiokupy.connect()"
        raise SettingsError("allow_classes stands beside a manager", target="allow_classes", fix=fix)
    for name in given:
        if name not in _OWN and not name.startswith("cookie_"):
            fix = "Build the manager with it, or leave the manager out"
            raise SettingsError(f"{NAME} has {name!r}, and there is a manager already", target=name, fix=fix)
    manager.directory.typemap.allow(Markup)
    return Prepared(lambda: manager, prepared(_with_cookie(app, given), also=_OWN).cookie)


def is_in_memory(app: Flask) -> bool:
    """Tell whether nothing was said about where sessions are kept."""
    return not any(name in _given(app) for name in _TARGETS)


def _given(app: Flask) -> Mapping[str, Any]:
    given = app.config.get(NAME, {})
    if isinstance(given, str):
        return {"target": given}
    if not isinstance(given, Mapping):
        fix = f"For example: {NAME} = 'sqlite:///sessions.sqlite'"
        raise SettingsError(f"{NAME} is a target or a mapping, not a {type(given).__name__}", target=NAME, fix=fix)
    return given


def _with_cookie(app: Flask, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with what Flask's own configuration says about the cookie.

    A value that is Flask's default says nothing: ours are the safer ones, and Flask cannot tell who set it.
    """
    said = {}
    for name in _COOKIE:
        flasks = f"SESSION_COOKIE_{name.upper()}"
        if app.config.get(flasks) != app.default_config.get(flasks):
            said[f"cookie_{name}"] = app.config[flasks]
            if f"cookie_{name}" in given:
                problem = f"{flasks} stands beside {NAME}['cookie_{name}']"
                raise SettingsError(problem, target=flasks, fix="Give one of them")
    fallback = {"cookie_path": app.config["APPLICATION_ROOT"] or "/"}
    if app.debug:
        fallback["cookie_secure"] = False
    return {**fallback, **said, **given}
