"""Logins: what changes when somebody proves who it is, and when it goes."""

from __future__ import annotations

from kiokupy.sessions.manager import SessionManager
from kiokupy.testing.adapters.browser import Browser
from kiokupy.testing.adapters.world import stored
from kiokupy.web.cookies import Cookie


class Logins:
    """Tests of login, logout and revocation."""

    def test_a_login_is_known_in_the_next_request(self, browser: Browser, manager: SessionManager) -> None:
        assert browser.get("/who").value is None
        browser.get("/login", user="ada")
        assert browser.get("/who").value == "ada"
        assert [info.principal for info in manager.sessions("ada")] == ["ada"]

    def test_a_login_moves_the_session_and_the_old_id_is_dead(self, browser: Browser, cookie: Cookie) -> None:
        browser.get("/set", key="basket", value="1")
        attacker = browser.copy()
        browser.get("/login", user="ada")
        assert browser.cookies[cookie.name] != attacker.cookies[cookie.name]
        assert browser.get("/get", key="basket").value == "1"
        assert attacker.get("/who").value is None
        assert attacker.get("/get", key="basket").value is None

    def test_each_login_moves_the_session(self, browser: Browser, cookie: Cookie, manager: SessionManager) -> None:
        ids = set()
        for _ in range(3):
            browser.get("/login", user="ada")
            ids.add(browser.cookies[cookie.name])
        assert len(ids) == 3
        assert stored(manager) == 1

    def test_a_login_of_somebody_else_drops_the_data(self, browser: Browser) -> None:
        browser.get("/login", user="ada")
        browser.get("/set", key="diary", value="private")
        browser.get("/login", user="bob")
        assert browser.get("/who").value == "bob"
        assert browser.get("/get", key="diary").value is None

    def test_a_logout_takes_the_session_out_of_the_store_and_deletes_the_cookie(
        self, browser: Browser, manager: SessionManager
    ) -> None:
        browser.get("/login", user="ada")
        thief = browser.copy()
        browser.get("/logout")
        assert browser.cookies == {}
        assert stored(manager) == 0
        assert thief.get("/who").value is None

    def test_after_a_logout_there_is_no_cookie_until_there_is_something_to_keep(
        self, browser: Browser, cookie: Cookie
    ) -> None:
        browser.get("/login", user="ada")
        old = browser.cookies[cookie.name]
        browser.get("/logout")
        for path in ("/untouched", "/get", "/logout"):
            assert browser.get(path, key="a").header("Set-Cookie") == []
        browser.get("/set", key="a", value="1")
        assert browser.cookies[cookie.name] != old
        assert browser.get("/who").value is None

    def test_a_session_can_be_ended_and_begun_in_one_request(
        self, browser: Browser, cookie: Cookie, manager: SessionManager
    ) -> None:
        browser.get("/login", user="ada")
        browser.get("/set", key="a", value="1")
        thief = browser.copy()
        browser.get("/restart", key="b", value="2")
        assert browser.cookies[cookie.name] != thief.cookies[cookie.name]
        assert [browser.get("/get", key=key).value for key in "ab"] == [None, "2"]
        assert browser.get("/who").value is None
        assert thief.get("/who").value is None
        assert stored(manager) == 1

    def test_a_revocation_is_seen_by_the_next_request(
        self, browser: Browser, url: str, manager: SessionManager
    ) -> None:
        phone, bob = Browser(url), Browser(url)
        for each, user in ((browser, "ada"), (phone, "ada"), (bob, "bob")):
            each.get("/login", user=user)
        assert manager.destroy_all("ada") == 2
        assert [each.get("/who").value for each in (browser, phone, bob)] == [None, None, "bob"]
        assert (browser.cookies, phone.cookies) == ({}, {})

    def test_one_of_several_sessions_can_be_ended(self, browser: Browser, url: str, manager: SessionManager) -> None:
        phone = Browser(url)
        phone.get("/login", user="ada")
        (info,) = manager.sessions("ada")
        browser.get("/login", user="ada")
        assert manager.end("ada", info.handle)
        assert (browser.get("/who").value, phone.get("/who").value) == ("ada", None)
