"""Lifecycle: a session is begun, found again, changed, moved, emptied, ended."""

from __future__ import annotations

import pytest

from kiokupy.sessions.manager import SessionManager
from kiokupy.testing.adapters.browser import Browser
from kiokupy.testing.adapters.world import Clock, Listening, stored
from kiokupy.testing.capabilities import AdapterCapability, needs
from kiokupy.web.cookies import Cookie


class Lifecycle:
    """Tests of what a visitor sees of its session."""

    def test_a_request_that_does_not_touch_its_session_stores_nothing_and_sets_no_cookie(
        self, browser: Browser, manager: SessionManager
    ) -> None:
        assert browser.get("/untouched").header("Set-Cookie") == []
        assert stored(manager) == 0

    def test_reading_stores_nothing_and_sets_no_cookie(self, browser: Browser, manager: SessionManager) -> None:
        page = browser.get("/get", key="a")
        assert (page.status, page.value) == (200, None)
        assert page.header("Set-Cookie") == []
        assert stored(manager) == 0

    def test_what_is_set_is_there_in_the_next_request(self, browser: Browser) -> None:
        browser.get("/set", key="a", value="1")
        browser.get("/set", key="b", value="2")
        assert [browser.get("/get", key=key).value for key in "abc"] == ["1", "2", None]

    def test_a_session_that_is_changed_keeps_its_id(
        self, browser: Browser, cookie: Cookie, manager: SessionManager
    ) -> None:
        browser.get("/set", key="a", value="1")
        id = browser.cookies[cookie.name]
        for path in ("/set", "/append"):
            browser.get(path, key=path, value="2")
        assert browser.cookies == {cookie.name: id}
        assert stored(manager) == 1

    def test_reading_does_not_send_the_cookie_again(self, browser: Browser) -> None:
        browser.get("/set", key="a", value="1")
        for path in ("/untouched", "/get"):
            assert browser.get(path, key="a").header("Set-Cookie") == []

    def test_a_request_that_does_not_touch_its_session_leaves_it_as_it_is(self, browser: Browser) -> None:
        browser.get("/set", key="a", value="1")
        browser.get("/untouched")
        assert browser.get("/get", key="a").value == "1"

    @needs(AdapterCapability.LAZY)
    def test_a_request_that_does_not_touch_its_session_does_not_ask_the_store(
        self, browser: Browser, listening: Listening
    ) -> None:
        browser.get("/set", key="a", value="1")
        listening.heard.clear()
        browser.get("/untouched")
        assert listening.heard == []

    def test_a_change_inside_a_value_is_saved(self, browser: Browser) -> None:
        for value in "123":
            browser.get("/append", key="a", value=value)
        assert browser.get("/get", key="a").value == ["1", "2", "3"]

    def test_two_browsers_have_two_sessions(self, browser: Browser, url: str, cookie: Cookie) -> None:
        other = Browser(url)
        browser.get("/set", key="a", value="mine")
        other.get("/set", key="a", value="theirs")
        assert browser.get("/get", key="a").value == "mine"
        assert other.get("/get", key="a").value == "theirs"
        assert browser.cookies[cookie.name] != other.cookies[cookie.name]

    def test_a_key_can_be_taken_out(self, browser: Browser) -> None:
        browser.get("/set", key="a", value="1")
        browser.get("/set", key="b", value="2")
        browser.get("/delete", key="a")
        assert [browser.get("/get", key=key).value for key in "ab"] == [None, "2"]

    def test_everything_can_be_taken_out(self, browser: Browser) -> None:
        browser.get("/set", key="a", value="1")
        browser.get("/clear")
        assert browser.get("/get", key="a").value is None
        browser.get("/set", key="b", value="2")
        assert [browser.get("/get", key=key).value for key in "ab"] == [None, "2"]

    def test_a_moved_session_has_its_data_under_a_new_id_and_the_old_one_is_dead(
        self, browser: Browser, cookie: Cookie, manager: SessionManager
    ) -> None:
        browser.get("/set", key="a", value="1")
        thief = browser.copy()
        browser.get("/rotate")
        assert browser.cookies[cookie.name] != thief.cookies[cookie.name]
        assert browser.get("/get", key="a").value == "1"
        assert thief.get("/get", key="a").value is None
        assert stored(manager) == 1

    def test_a_message_is_shown_once(self, browser: Browser) -> None:
        browser.get("/flash", message="saved")
        browser.get("/flash", message="sent")
        assert browser.get("/flashes").value == ["saved", "sent"]
        assert browser.get("/flashes").value == []

    def test_a_session_that_is_not_used_ends_and_its_cookie_goes(self, browser: Browser, clock: Clock) -> None:
        browser.get("/set", key="a", value="1")
        clock.forward(30 * 60 + 1)
        page = browser.get("/get", key="a")
        assert page.value is None
        assert browser.cookies == {}

    def test_a_session_that_has_ended_is_not_gone_on_with(self, browser: Browser, clock: Clock, cookie: Cookie) -> None:
        browser.get("/set", key="a", value="1")
        old = browser.cookies[cookie.name]
        clock.forward(30 * 60 + 1)
        browser.get("/set", key="b", value="2")
        assert browser.cookies[cookie.name] != old
        assert [browser.get("/get", key=key).value for key in "ab"] == [None, "2"]

    def test_a_session_in_use_lives_on_until_its_absolute_end(self, browser: Browser, clock: Clock) -> None:
        browser.get("/set", key="a", value="1")
        for _ in range(12 * 3 - 1):
            clock.forward(20 * 60)
            assert browser.get("/get", key="a").value == "1"
        clock.forward(20 * 60)
        assert browser.get("/get", key="a").value is None

    @pytest.mark.parametrize("method", ["HEAD", "GET"])
    def test_head_does_what_get_does_and_has_no_body(self, browser: Browser, method: str) -> None:
        page = browser.get("/set", method=method, key="a", value="1")
        assert page.status == 200
        assert (page.body == b"") == (method == "HEAD")
        assert browser.get("/get", key="a").value == "1"
