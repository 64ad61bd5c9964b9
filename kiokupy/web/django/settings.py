"""Django's settings: the session manager that ``SESSION_KIOKUPY`` describes, opened once in each process."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

from django.conf import settings as django
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from kiokupy import backends
from kiokupy.errors import KiokuError, SettingsError
from kiokupy.sessions.manager import SessionManager
from kiokupy.sessions.settings import BACKEND, OPTIONS
from kiokupy.web.settings import configured

NAME = "SESSION_KIOKUPY"

_JOIN, _CLOCK = _OURS = ("join", "clock")
#: Django says how long a session lives, unless these are set as well.
_UNLIMITED = {"idle": None, "absolute": None}


class _Slot:
    """A process's manager, when it is open."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.manager: SessionManager | None = None


#: By process id: a child that was forked has no use of what its parent opened, nor of a lock that its parent held.
_slots: dict[int, _Slot] = {}


def manager() -> SessionManager:
    """Return this process's session manager; the first call opens the store.

    :raises ImproperlyConfigured: ``SESSION_KIOKUPY`` is not set, or is no mapping.
    :raises SettingsError: a setting in it is unknown or malformed; others as :func:`kiokupy.connect`.
    """
    slot = _slots.setdefault(os.getpid(), _Slot())
    with slot.lock:
        if slot.manager is None:
            given = _given()
            slot.manager = configured(given, also=_OURS, clock=given.get(_CLOCK)).manager
        return slot.manager


def is_joined() -> bool:
    """Tell whether sessions are to be saved in one transaction with the application's objects."""
    return bool(_given().get(_JOIN))


def close() -> None:
    """Close this process's manager, if it is open; the next use opens it again."""
    slot = _slots.pop(os.getpid(), None)
    if slot is not None and slot.manager is not None:
        slot.manager.close()


def check(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Check ``SESSION_KIOKUPY`` for ``manage.py check``; the store is not opened, another process may hold it."""
    try:
        given = _given()
        if "target" in given:
            backends.resolve(given["target"]).backend()
            given["target"] = "Hash"
        else:
            given = {name: value for name, value in given.items() if name not in (BACKEND, OPTIONS)}
        configured(given, also=_OURS).manager.close()
    except (ImproperlyConfigured, KiokuError) as error:
        return [checks.Error(str(error), obj=NAME, id="kiokupy.E001")]
    return []


def _given() -> dict[str, Any]:
    given = getattr(django, NAME, None)
    if isinstance(given, str):
        given = {"target": given}
    if not isinstance(given, Mapping):
        problem = "is not set" if given is None else f"is a {type(given).__name__}"
        example = f'{NAME} = {{"target": "sqlite:////srv/app/sessions.sqlite"}}'
        raise ImproperlyConfigured(f"{NAME} {problem}. It says where sessions are kept, for example: {example}")
    if given.get("overlap"):
        fix = "Leave it out: Django moves a session to a new key at login, and the old key must be dead then"
        raise SettingsError("sessions of Django have no overlap", target="overlap", fix=fix)
    for name in given:
        if str(name).startswith("cookie_"):
            fix = f"Set SESSION_{str(name).upper()}, beside {NAME}"
            raise SettingsError(f"the cookie is Django's, so {name} is no setting here", target=name, fix=fix)
    return {**_UNLIMITED, **given}


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == NAME:
        close()


checks.register(check, "sessions")
setting_changed.connect(_forget)
