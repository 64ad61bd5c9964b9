"""Strangers: cookies that no session of ours set."""

from __future__ import annotations

import base64
import hashlib

import pytest

from kiokupy.sessions.manager import SessionManager
from kiokupy.testing.adapters.browser import Browser
from kiokupy.testing.adapters.world import stored
from kiokupy.web.cookies import Cookie

#: Ids that are none: well-formed and unknown, and malformed.
STRANGE = {
    "unknown": b"A" * 43,
    "short": b"A" * 42,
    "long": b"A" * 44,
    "very long": b"A" * 5000,
    "a path": b"../../../../etc/passwd",
    "SQL": b"' OR 1=1 --",
    "escaped": b"%00%0d%0aSet-Cookie:%20x=1",
    "not ASCII": b"\xc3\xa9" * 21 + b"\xff",
    "a tab": b"A" * 21 + b"\t" + b"A" * 21,
    "a pickle": b"gASVHQAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAR0cnVllIWUUpQu",
}


class Strangers:
    """Tests of ids that are not those of a session."""

    @pytest.mark.parametrize("id", STRANGE.values(), ids=STRANGE)
    def test_a_strange_id_is_not_adopted(
        self, browser: Browser, cookie: Cookie, manager: SessionManager, id: bytes
    ) -> None:
        page = browser.get("/set", header=cookie.name.encode() + b"=" + id, key="a", value="1")
        assert page.status == 200
        assert browser.cookies[cookie.name].encode("latin-1") != id
        assert browser.get("/get", key="a").value == "1"
        assert stored(manager) == 1
        assert browser.get("/get", header=cookie.name.encode() + b"=" + id, key="a").value is None

    @pytest.mark.parametrize("id", STRANGE.values(), ids=STRANGE)
    def test_the_cookie_of_a_strange_id_is_deleted_and_nothing_is_stored(
        self, browser: Browser, cookie: Cookie, manager: SessionManager, id: bytes
    ) -> None:
        browser.cookies[cookie.name] = id.decode("latin-1")
        page = browser.get("/get", key="a")
        assert (page.status, page.value) == (200, None)
        assert browser.cookies == {}
        assert stored(manager) == 0

    def test_what_the_store_knows_a_session_by_is_no_id(self, browser: Browser, cookie: Cookie) -> None:
        browser.get("/login", user="ada")
        digest = hashlib.sha256(browser.cookies[cookie.name].encode()).digest()
        for form in (digest.hex(), base64.urlsafe_b64encode(digest).decode().rstrip("=")):
            assert Browser(browser.url, {cookie.name: form}).get("/who").value is None

    def test_an_id_is_the_same_in_capital_letters_only_to_itself(self, browser: Browser, cookie: Cookie) -> None:
        browser.get("/login", user="ada")
        other = browser.cookies[cookie.name].swapcase()
        assert Browser(browser.url, {cookie.name: other}).get("/who").value is None

    def test_a_login_is_not_under_an_id_that_was_planted(self, browser: Browser, cookie: Cookie) -> None:
        planted = "A" * 43
        browser.cookies[cookie.name] = planted
        browser.get("/login", user="ada")
        assert browser.cookies[cookie.name] != planted
        assert Browser(browser.url, {cookie.name: planted}).get("/who").value is None

    def test_any_number_of_unknown_ids_stores_nothing(self, url: str, cookie: Cookie, manager: SessionManager) -> None:
        for number in range(30):
            visitor = Browser(url, {cookie.name: f"{number:043}"})
            for path in ("/untouched", "/get", "/who", "/logout", "/clear"):
                visitor.get(path, key="a")
        assert stored(manager) == 0

    @pytest.mark.parametrize(
        "neighbours",
        [
            b"%s",
            b"theme=dark; %s; lang=en",
            b'broken; =; ;; a="; b={"json": [1, 2]}; %s; c=@:/,',
            b"caf\xc3\xa9=cr\xe8me; %s",
            b"%s;",
            b";%s",
            b"x%s; %s",
        ],
        ids=["alone", "others", "malformed", "not ASCII", "semicolon behind", "semicolon before", "similar name"],
    )
    def test_the_session_is_found_among_other_cookies(
        self, browser: Browser, cookie: Cookie, neighbours: bytes
    ) -> None:
        browser.get("/set", key="a", value="1")
        own = f"{cookie.name}={browser.cookies[cookie.name]}".encode()
        header = neighbours.replace(b"x%s", f"x{cookie.name}=1".encode()).replace(b"%s", own)
        assert browser.get("/get", header=header, key="a").value == "1"
