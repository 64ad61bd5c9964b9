"""Overlaps: several requests about one session at the same time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kiokupy.sessions.manager import SessionManager
from kiokupy.testing.adapters.browser import Browser
from kiokupy.testing.adapters.site import Site
from kiokupy.testing.adapters.world import Clock, stored, under_way
from kiokupy.testing.capabilities import AdapterCapability, needs
from kiokupy.web.cookies import Cookie

_GONE = 400

#: What ends a session, or the id that a request under way came with.
ENDINGS: dict[str, Callable[[Browser, SessionManager, Clock], object]] = {
    "a logout": lambda browser, manager, clock: browser.get("/logout"),
    "a revocation": lambda browser, manager, clock: manager.destroy_all("ada"),
    "a login": lambda browser, manager, clock: browser.get("/login", user="ada"),
    "its expiry": lambda browser, manager, clock: clock.forward(13 * 60 * 60),
}


class Overlaps:
    """Tests of a slow request, and of what others do meanwhile."""

    @pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
    def test_a_request_whose_session_was_ended_is_answered_with_400_and_does_not_bring_it_back(
        self,
        browser: Browser,
        site: Site,
        manager: SessionManager,
        clock: Clock,
        ending: Callable[[Browser, SessionManager, Clock], object],
    ) -> None:
        browser.get("/login", user="ada")
        thief = browser.copy()
        with under_way(browser, site, key="slow", value="1") as slow:
            ending(browser, manager, clock)
            before = stored(manager)
            site.gate.open()
            page = slow.result()
        assert page.status == _GONE
        assert [sent for sent in page.cookies if not sent.is_deletion] == []
        assert thief.get("/who").value is None
        assert thief.get("/get", key="slow").value is None
        assert stored(manager) == before

    def test_the_answer_about_an_ended_session_is_kept_by_no_cache_and_shows_nothing(
        self, browser: Browser, site: Site, manager: SessionManager, cookie: Cookie
    ) -> None:
        browser.get("/login", user="ada")
        id = browser.cookies[cookie.name]
        with under_way(browser, site, key="slow", value="secret", public="1") as slow:
            manager.destroy_all("ada")
            site.gate.open()
            page = slow.result()
        assert page.status == _GONE
        assert "public, max-age=60" not in page.header("Cache-Control")
        assert id.encode() not in page.body
        assert b"secret" not in page.body

    def test_the_answer_to_head_about_an_ended_session_has_no_body(
        self, browser: Browser, site: Site, manager: SessionManager
    ) -> None:
        browser.get("/login", user="ada")
        with under_way(browser, site, method="HEAD", key="slow", value="1") as slow:
            manager.destroy_all("ada")
            site.gate.open()
            page = slow.result()
        assert (page.status, page.body) == (_GONE, b"")

    @needs(AdapterCapability.MERGING)
    def test_two_requests_that_change_different_keys_both_count(self, browser: Browser, site: Site) -> None:
        browser.get("/set", key="a", value="1")
        with under_way(browser, site, key="slow", value="1") as slow:
            browser.get("/set", key="quick", value="2")
            browser.get("/append", key="list", value="3")
            site.gate.open()
            assert slow.result().status == 200
        values = [browser.get("/get", key=key).value for key in ("a", "slow", "quick", "list")]
        assert values == ["1", "1", "2", ["3"]]

    def test_two_first_requests_at_the_same_time_have_a_session_each(
        self, browser: Browser, site: Site, manager: SessionManager, cookie: Cookie
    ) -> None:
        other = browser.copy()
        with under_way(other, site, key="a", value="theirs") as slow:
            browser.get("/set", key="a", value="mine")
            site.gate.open()
            (sent,) = slow.result().cookies
        assert sent.value != browser.cookies[cookie.name]
        assert browser.get("/get", key="a").value == "mine"
        assert stored(manager) == 2
