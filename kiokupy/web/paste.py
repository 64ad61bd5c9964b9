"""Paste: the WSGI middleware from the strings of an ``.ini`` file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kiokupy.backends import dsn
from kiokupy.web.settings import configured
from kiokupy.web.wsgi import SessionMiddleware

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def make_filter(app: WSGIApplication, global_conf: Any, **settings: str) -> SessionMiddleware:
    """Wrap an application, as ``paste.filter_app_factory`` asks.

    Settings are those of :func:`kiokupy.web.settings.configured`, and ``key`` and ``join`` of the middleware.

    :raises SettingsError: a setting is unknown or malformed; others as :func:`kiokupy.connect`.
    """
    key, join = settings.get("key", "kiokupy.session"), dsn.flag("join", settings.get("join", False))
    manager, cookie = configured(settings, also=("key", "join"))
    return SessionMiddleware(app, manager, cookie, key=key, join=join)
