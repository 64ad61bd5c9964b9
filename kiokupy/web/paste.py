"""Paste: the WSGI middleware from the strings of an ``.ini`` file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kiokupy.web.settings import configured
from kiokupy.web.wsgi import SessionMiddleware

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def make_filter(app: WSGIApplication, global_conf: Any, **settings: str) -> SessionMiddleware:
    """Wrap an application, as ``paste.filter_app_factory`` asks.

    Settings are those of :func:`kiokupy.web.settings.configured`, and ``key``: where in the environ the session is put.

    :raises SettingsError: a setting is unknown or malformed; others as :func:`kiokupy.connect`.
    """
    options = {"key": settings["key"]} if "key" in settings else {}
    manager, cookie = configured(settings, also=("key",))
    return SessionMiddleware(app, manager, cookie, **options)
