"""The suite: what its tests are given, and the tests by theme."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from kiokupy.opening import connect
from kiokupy.sessions.manager import SessionManager
from kiokupy.sessions.policy import SessionPolicy
from kiokupy.testing import leaks
from kiokupy.testing.adapters.answers import Answers
from kiokupy.testing.adapters.browser import Browser
from kiokupy.testing.adapters.failures import Failures, Secrecy
from kiokupy.testing.adapters.lifecycle import Lifecycle
from kiokupy.testing.adapters.logins import Logins
from kiokupy.testing.adapters.overlaps import Overlaps
from kiokupy.testing.adapters.site import Site
from kiokupy.testing.adapters.strangers import Strangers
from kiokupy.testing.adapters.world import Clock, Listening
from kiokupy.testing.capabilities import AdapterCapability, Declaring
from kiokupy.web.cookies import Cookie


class AdapterSuite(Lifecycle, Logins, Strangers, Answers, Failures, Overlaps, Secrecy, Declaring):
    """What a web adapter must pass; see :mod:`kiokupy.testing`.

    A subclass has a fixture ``url`` that takes the fixtures ``site``, ``manager`` and ``cookie``, serves the site with
    the adapter from threads of this process, at least three at a time, and yields where: ``http://127.0.0.1:8080``,
    without a slash at the end.
    """

    known = AdapterCapability

    #: What answers the requests; a subclass of it has the framework's own words.
    site_class: ClassVar[type[Site]] = Site

    @pytest.fixture
    def site(self) -> Site:
        """The application to serve: its view calls ``site.answer(session, path, query)``."""
        return self.site_class()

    @pytest.fixture
    def clock(self) -> Clock:
        """What the sessions' manager takes for the time."""
        return Clock()

    @pytest.fixture
    def listening(self) -> Listening:
        """What hears of the sessions' events."""
        return Listening()

    @pytest.fixture
    def cookie(self) -> Cookie:
        """The cookie to send."""
        return Cookie(secure=False)

    @pytest.fixture
    def manager(self, clock: Clock, listening: Listening) -> Iterator[SessionManager]:
        """The manager to keep the sessions with. After the test, no request may have its store open still."""
        watch = leaks.Watch()
        policy = SessionPolicy(idle=30 * 60, absolute=12 * 60 * 60, clock=clock)
        yield SessionManager(watch.add(connect()), policy, listeners=[listening])
        assert watch.close() == [], "a request left something behind"

    @pytest.fixture
    def browser(self, url: str) -> Browser:
        """Somebody who visits the site."""
        return Browser(url)
