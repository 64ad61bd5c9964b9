"""Failures, and the moment of saving."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from kiokupy.sessions.manager import SessionManager
from kiokupy.testing.adapters.browser import Browser
from kiokupy.testing.adapters.site import Site
from kiokupy.testing.adapters.world import Listening, stored
from kiokupy.testing.capabilities import AdapterCapability, needs
from kiokupy.web.cookies import Cookie

#: Seconds that a session takes to be saved in a test, for the answer's headers to be earlier if they can.
_SAVING = 0.3


class Failures:
    """Tests of requests that fail, and of when the session of one that does not is saved."""

    def test_a_request_that_raises_saves_nothing(self, browser: Browser, manager: SessionManager) -> None:
        assert browser.get("/fail", key="a", value="1").status == 500
        assert (browser.cookies, stored(manager)) == ({}, 0)
        browser.get("/set", key="a", value="1")
        browser.get("/fail", key="a", value="2")
        assert browser.get("/get", key="a").value == "1"

    @pytest.mark.parametrize("status", ["500", "503"])
    def test_an_answer_from_500_on_saves_nothing(self, browser: Browser, manager: SessionManager, status: str) -> None:
        assert browser.get("/set", key="a", value="1", status=status).status == int(status)
        assert (browser.cookies, stored(manager)) == ({}, 0)
        browser.get("/set", key="a", value="1")
        browser.get("/set", key="a", value="2", status=status)
        assert browser.get("/get", key="a").value == "1"

    @pytest.mark.parametrize("status", ["303", "404"])
    def test_any_other_answer_saves(self, browser: Browser, status: str) -> None:
        assert browser.get("/set", key="a", value="1", status=status).status == int(status)
        assert browser.get("/get", key="a").value == "1"

    def test_the_session_is_saved_before_the_headers_leave(
        self, browser: Browser, listening: Listening, url: str
    ) -> None:
        answered, overtaken = threading.Event(), []
        listening.also = lambda event: overtaken.append(answered.wait(_SAVING))
        with ThreadPoolExecutor(1) as pool:
            page = pool.submit(browser.get, "/set", key="a", value="1")
            page.add_done_callback(lambda page: answered.set())
        assert page.result().status == 200
        assert overtaken, "nothing was saved"
        assert not any(overtaken), "the browser had the answer before the session was saved"

    @needs(AdapterCapability.STREAMING)
    def test_the_session_of_a_streamed_answer_is_saved_before_it_begins(
        self, browser: Browser, site: Site, url: str, manager: SessionManager
    ) -> None:
        with ThreadPoolExecutor(1) as pool:
            page = pool.submit(browser.get, "/stream", key="a", value="1")
            try:
                site.gate.expect()
                assert stored(manager) == 1
            finally:
                site.gate.open()
        assert page.result().body == b"null\n"
        assert browser.get("/get", key="a").value == "1"


class Secrecy:
    """Tests of where an id must not be seen."""

    def test_no_id_is_in_the_log(
        self, browser: Browser, cookie: Cookie, manager: SessionManager, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        unknown, ids = "A" * 43, set()
        browser.cookies[cookie.name] = unknown
        for path in ("/set", "/rotate", "/login", "/fail", "/restart", "/logout", "/get"):
            browser.get(path, key="a", value="1", user="ada")
            ids.add(browser.cookies.get(cookie.name, unknown))
        manager.destroy_all("ada")
        assert len(ids) > 3
        assert [id for id in ids if id in caplog.text] == []

    def test_no_id_is_in_an_answer_but_in_its_cookie(self, browser: Browser, cookie: Cookie, site: Site) -> None:
        browser.get("/set", key="a", value="1")
        id = browser.cookies[cookie.name]
        for path in ("/get", "/set", "/fail", "/who"):
            page = browser.get(path, key="a", value="1")
            assert id.encode() not in page.body
            assert id not in str([pair for pair in page.headers if pair[0].lower() != "set-cookie"])
