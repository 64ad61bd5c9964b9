"""The site: the application that an adapter serves in the suite's tests, as one function of a session and a path.

Pages, with what they take in the query; each answers a value as JSON:

``/untouched``                 nothing is done with the session
``/get?key=``                  reads a key
``/set?key=&value=``           sets a key; with ``status=`` the answer has that one
``/delete?key=``               takes a key out
``/append?key=&value=``        appends to a list in the session; the session itself is not told
``/clear``                     takes everything out
``/who``                       reads the principal
``/login?user=``, ``/logout``  begins and ends a visitor's stay
``/rotate``                    gives the session another id
``/restart?key=&value=``       logs out, and sets a key in the same request
``/flash?message=``            keeps a message for the next page
``/flashes``                   takes the messages out
``/fail?key=&value=``          sets a key, and raises
``/slow?key=&value=``          sets a key, and waits until the test lets it go
``/stream?key=&value=``        sets a key, and waits in the middle of its body

With ``public=1`` an answer says that caches may keep it, and sets a cookie of its own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

#: Seconds that a request waits at the gate, and for how long a test waits for it to come there.
_PATIENCE, _WAY = 30.0, 10.0

#: What an answer to ``public=1`` says.
PUBLIC = [("Cache-Control", "public, max-age=60"), ("Vary", "Accept-Language"), ("Set-Cookie", "theme=dark; Path=/")]


class Failed(Exception):
    """What ``/fail`` raises."""


class Answer(NamedTuple):
    """What the adapter's application answers."""

    status: int
    body: bytes
    #: ``Content-Type``, and others that the application sets itself
    headers: list[tuple[str, str]]
    #: with ``AdapterCapability.STREAMING``: the body in its place, chunk by chunk, if it is not ``None``
    stream: Iterator[bytes] | None = None

    @property
    def status_line(self) -> str:
        """The status as WSGI has it."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"


class Gate:
    """Holds up a request until the test lets it go."""

    def __init__(self) -> None:
        self._arrived, self._opened = threading.Event(), threading.Event()

    def wait(self) -> None:
        """Be held up."""
        self._arrived.set()
        if not self._opened.wait(_PATIENCE):
            raise TimeoutError("no test opened the gate")

    def expect(self) -> None:
        """Wait until a request is held up."""
        assert self._arrived.wait(_WAY), "no request came to the gate"

    def open(self) -> None:
        """Let it go."""
        self._opened.set()


class Site:
    """Answers requests.

    A subclass has other words for what is done to a session, where the framework's session is not kiokupy's:
    :meth:`login`, :meth:`principal`, :meth:`logout`, :meth:`rotate`, :meth:`clear`, :meth:`flash`, :meth:`flashes`.
    """

    def __init__(self) -> None:
        #: Where ``/slow`` and ``/stream`` wait.
        self.gate = Gate()
        self._pages: dict[str, Callable[[Any, dict[str, str]], object]] = {
            "/untouched": lambda session, asked: None,
            "/get": lambda session, asked: session.get(asked["key"]),
            "/set": _set,
            "/delete": lambda session, asked: session.pop(asked["key"]),
            "/append": _append,
            "/clear": lambda session, asked: self.clear(session),
            "/who": lambda session, asked: self.principal(session),
            "/login": lambda session, asked: self.login(session, asked["user"]),
            "/logout": lambda session, asked: self.logout(session),
            "/rotate": lambda session, asked: self.rotate(session),
            "/restart": self._restart,
            "/flash": lambda session, asked: self.flash(session, asked["message"]),
            "/flashes": lambda session, asked: self.flashes(session),
            "/fail": _fail,
            "/slow": self._slow,
            "/stream": _set,
        }

    def answer(self, session: Any, path: str, query: str = "") -> Answer:
        """Do what a path says to a request's session, and return the answer.

        It may take long: an asynchronous application calls it in a thread.

        :param query: what stands behind the ``?`` of the URL.
        """
        asked = dict(parse_qsl(query, keep_blank_values=True))
        page = self._pages.get(path)
        headers = [("Content-Type", "application/json"), *(PUBLIC if "public" in asked else [])]
        if page is None:
            return Answer(404, b'"there is no such page"', headers)
        body = json.dumps(page(session, asked)).encode()
        stream = self._stream(body) if path == "/stream" else None
        return Answer(int(asked.get("status", 200)), body, headers, stream)

    def login(self, session: Any, user: str) -> None:
        """Note that a user has proved who it is."""
        session.login(user)

    def principal(self, session: Any) -> str | None:
        """Return who the session belongs to."""
        principal: str | None = session.principal
        return principal

    def logout(self, session: Any) -> None:
        """End the session; what comes after it is a new one."""
        session.invalidate()

    def rotate(self, session: Any) -> None:
        """Give the session another id."""
        session.regenerate()

    def clear(self, session: Any) -> None:
        """Take everything out of the session."""
        session.clear()

    def flash(self, session: Any, message: str) -> None:
        """Keep a message for the next page that shows it."""
        session.flash(message)

    def flashes(self, session: Any) -> list[str]:
        """Return the messages, and take them out."""
        messages: list[str] = session.pop_flash()
        return messages

    def _restart(self, session: Any, asked: dict[str, str]) -> None:
        self.logout(session)
        _set(session, asked)

    def _slow(self, session: Any, asked: dict[str, str]) -> None:
        _set(session, asked)
        self.gate.wait()

    def _stream(self, body: bytes) -> Iterator[bytes]:
        yield body
        self.gate.wait()
        yield b"\n"


def _set(session: Any, asked: dict[str, str]) -> None:
    session[asked["key"]] = asked["value"]


def _append(session: Any, asked: dict[str, str]) -> None:
    if asked["key"] not in session:
        session[asked["key"]] = []
    session[asked["key"]].append(asked["value"])


def _fail(session: Any, asked: dict[str, str]) -> None:
    _set(session, asked)
    raise Failed("as the test asked")
