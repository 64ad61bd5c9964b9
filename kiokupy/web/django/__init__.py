"""Django: a session engine. ``SESSION_ENGINE = "kiokupy.web.django"``, ``SESSION_KIOKUPY = {"target": ...}``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted

from kiokupy.errors import SessionGone
from kiokupy.scope import Scope
from kiokupy.sessions.facts import Device
from kiokupy.sessions.session import Session
from kiokupy.web.django.settings import manager

T = TypeVar("T")

_EXPIRY = "_session_expiry"  # where Django's set_expiry() notes it
_AT_ONCE = 1e-6  # seconds; a session whose end was set to the past has ended when it is saved


class SessionStore(SessionBase):  # type: ignore[misc]  # Django has no types
    """A visitor's session for Django: ``request.session``.

    It holds any objects that the type map knows; ``SESSION_SERIALIZER`` is not used. Requests at the same time are
    merged by key, and changes deep inside values are noticed. Whose session it is, is read from what
    :mod:`django.contrib.auth` puts into it.

    :param session_key: the id that the client sent, if any; one that the store does not know is never adopted.
    """

    _session_key: str | None  # Django's, as is session_key for reading

    def __init__(self, session_key: str | None = None) -> None:
        #: What the client says it is, if whoever made the store knows.
        self.device: Device | None = None
        self._told: bool | None = None
        super().__init__(session_key)
        self._told = None  # SessionBase sets modified, which says nothing yet

    @property
    def modified(self) -> bool:
        """Whether there is something to save: what is in the session differs from what is stored, however deep.

        It can be set: to ``True``, and to ``False``, after which only changes of the session's own keys count.
        """
        if self._told is not None:
            return self._told
        session = self._loaded
        if session is None or not manager().is_worth_saving(session):
            return False
        return session.modified or _is_renewal_due(session)

    @modified.setter
    def modified(self, value: bool) -> None:
        self._told = value

    @property
    def kiokupy(self) -> Session:
        """The session as kiokupy has it, with verbs that Django has not, as ``is_fresh()`` and ``increment()``."""
        return self._get_session()

    @property
    def scope(self) -> Scope:
        """The scope that is committed with the session at the end of the request, for the application's objects.

        :raises SettingsError: sessions are not joined: ``SESSION_KIOKUPY`` says so, and this middleware does it.
        """
        return self._get_session().scope

    def pop(self, key: str, *default: Any, **named: Any) -> Any:
        """Take a key out and return its value."""
        if key in self._session:
            self.modified = True
        return self._session.pop(key, *default, **named)

    async def apop(self, key: str, *default: Any, **named: Any) -> Any:
        """As :meth:`pop`."""
        await self._aget_session()
        return self.pop(key, *default, **named)

    def clear(self) -> None:
        """Take out everything."""
        self._session.clear()
        self.modified = True

    def flush(self) -> None:
        """End the session, and go on as a new one that is not stored yet."""
        self._session.invalidate()
        self._session_key = None
        self.modified = True

    def cycle_key(self) -> None:
        """Move the session to a new key; the old one is dead at once.

        :raises SessionInterrupted: the session was ended meanwhile; Django answers with 400.
        """
        try:
            self._session.regenerate()
            self.save()
        except (SessionGone, UpdateError) as error:
            raise SessionInterrupted("the session was ended before it could be given another key") from error
        self.modified = True

    def exists(self, session_key: str | None) -> bool:
        """Tell whether a session is stored under a key."""
        return manager().retrieve(session_key) is not None

    def create(self) -> None:
        """Store what is in here under a new key."""
        session = self._get_session(no_load=True)
        if not session.is_new:
            session.regenerate()
        self.save()

    def save(self, must_create: bool = False) -> None:
        """Save the session, merged by key with what others saved meanwhile.

        :raises CreateError: it ``must_create``, and the session is stored already.
        :raises UpdateError: the session was ended meanwhile.
        :raises NotStorable: the type map refuses something in it; nothing is saved.
        """
        session = self._session
        if must_create and not session.is_new:
            raise CreateError
        self._tell_facts(session)
        try:
            self._write(session)
        except SessionGone as error:
            raise UpdateError from error
        if self.session_key != session.id:
            self._session_key, self.modified = session.id, True  # so that the middleware sends it

    def delete(self, session_key: str | None = None) -> None:
        """End the session of a key, or else this one; ending one that is not there is fine."""
        key, session = session_key or self.session_key, self._loaded
        if key is not None and key == self.session_key and session is not None:
            session.destroy()
        elif key is not None:
            manager().destroy(key)

    def load(self) -> Session:
        """Read the session; its key is ``None`` afterwards if the store does not know it."""
        session = self._opened(self.session_key)
        if session.is_new:
            self._session_key = None
        len(session)  # unpickles the data here, which may be a thread beside the event loop
        return session

    @classmethod
    def clear_expired(cls) -> None:
        """Take the sessions that have ended out of the store; ``manage.py clearsessions`` calls it."""
        manager().sweep()

    def is_empty(self) -> bool:
        """Tell whether there is no key, and nothing in the session that is to be stored."""
        if django_settings.SESSION_SAVE_EVERY_REQUEST and self.session_key is not None:
            self._get_session()  # so that a key which the store does not know is not taken for a session to be saved
        session = self._loaded
        return self.session_key is None and (session is None or not manager().is_worth_saving(session))

    async def aexists(self, session_key: str | None) -> bool:
        """As :meth:`exists`."""
        return await beside(self.exists, session_key)

    async def acreate(self) -> None:
        """As :meth:`create`."""
        await beside(self.create)

    async def asave(self, must_create: bool = False) -> None:
        """As :meth:`save`."""
        await beside(self.save, must_create)

    async def adelete(self, session_key: str | None = None) -> None:
        """As :meth:`delete`."""
        await beside(self.delete, session_key)

    async def aload(self) -> Session:
        """As :meth:`load`."""
        return await beside(self.load)

    async def aflush(self) -> None:
        """As :meth:`flush`."""
        await beside(self.flush)

    async def acycle_key(self) -> None:
        """As :meth:`cycle_key`."""
        await beside(self.cycle_key)

    @classmethod
    async def aclear_expired(cls) -> None:
        """As :meth:`clear_expired`."""
        await beside(cls.clear_expired)

    @property
    def _loaded(self) -> Session | None:
        return self.__dict__.get("_session_cache")  # Django's name for it

    def _get_session(self, no_load: bool = False) -> Session:
        self.accessed = True
        if self._loaded is None:
            self._session_cache = self._opened(None) if no_load or self.session_key is None else self.load()
        session: Session = self._session_cache
        return session

    async def _aget_session(self, no_load: bool = False) -> Session:
        return self._get_session() if self._loaded is not None else await beside(self._get_session, no_load)

    _session = property(lambda self: self._get_session())

    def _opened(self, key: str | None) -> Session:
        return manager().open(key, device=self.device)

    def _write(self, session: Session) -> None:
        session.flush()

    def _tell_facts(self, session: Session) -> None:
        """Tell the store whose session it is and when it ends, which Django keeps in the session's data."""
        user, end = session.get(SESSION_KEY), session.get(_EXPIRY)
        principal = None if user is None else str(user)
        if principal != session.principal:
            session.principal = principal
        policy = manager().policy
        idle, absolute = policy.idle, policy.absolute
        if isinstance(end, str):
            end = datetime.fromisoformat(end)
        if isinstance(end, datetime):
            begun = session.authenticated or session.created
            absolute = _lesser(end.timestamp() - begun.timestamp(), absolute)
        else:
            idle = _lesser(end or self.get_session_cookie_age(), idle)
        session.set_lifetime(idle=idle, absolute=absolute)


def _is_renewal_due(session: Session) -> bool:
    """Tell whether reading counts as use: it does if the settings say ``idle``, and does not in Django's own terms."""
    policy = manager().policy
    return policy.idle is not None and not session.is_new and policy.is_renewal_due(session.held.facts)


def _lesser(seconds: float, limit: float | None) -> float:
    return max(seconds if limit is None else min(seconds, limit), _AT_ONCE)


async def beside(work: Callable[..., T], *args: Any) -> T:
    """Do work in a thread beside the event loop; not in the one that Django's database connections need."""
    return await sync_to_async(work, thread_sensitive=False)(*args)
