"""Answers: the cookie's attributes, and what caches are told."""

from __future__ import annotations

import pytest

from kiokupy.sessions.manager import SessionManager
from kiokupy.testing.adapters.browser import Browser, SetCookie
from kiokupy.testing.adapters.site import PUBLIC
from kiokupy.testing.capabilities import AdapterCapability, needs
from kiokupy.web.cookies import Cookie

#: The cookies that the tests ask an adapter to send.
COOKIES = {
    "over HTTPS": Cookie(),
    "over plain HTTP": Cookie(secure=False),
    "of a domain": Cookie("sid", domain="example.org", samesite="Strict"),
    "below a path": Cookie("sid", path="/app", httponly=False, secure=False),
    "that lasts": Cookie(max_age=3600),
    "for other sites": Cookie(samesite="None"),
}
PARTITIONED = Cookie(samesite="None", partitioned=True)
_BROWSERS_LIMIT = 4096


class Answers:
    """Tests of the headers."""

    @pytest.mark.parametrize("cookie", COOKIES.values(), ids=COOKIES)
    def test_the_cookie_has_the_attributes_that_were_asked_for(self, browser: Browser, cookie: Cookie) -> None:
        (sent,) = browser.get("/set", key="a", value="1").cookies
        assert sent.name == cookie.name
        assert len(sent.name + sent.value) < _BROWSERS_LIMIT
        assert _attributes(sent) == _wanted(cookie)

    @pytest.mark.parametrize("cookie", COOKIES.values(), ids=COOKIES)
    def test_the_cookie_is_deleted_where_it_was_set(self, browser: Browser, cookie: Cookie) -> None:
        browser.get("/login", user="ada")
        (sent,) = browser.get("/logout").cookies
        assert sent.is_deletion
        assert (sent.name, sent.value) == (cookie.name, "")
        assert sent.attributes.get("path") == cookie.path
        assert sent.attributes.get("domain") == cookie.domain
        if cookie.name.startswith("__Host-"):  # else a browser refuses it
            assert "secure" in sent.attributes

    @needs(AdapterCapability.PARTITIONED)
    @pytest.mark.parametrize("cookie", [PARTITIONED])
    def test_the_cookie_can_be_partitioned(self, browser: Browser, cookie: Cookie) -> None:
        browser.get("/login", user="ada")
        for path in ("/rotate", "/logout"):
            (sent,) = browser.get(path).cookies
            assert {"secure", "partitioned"} <= sent.attributes.keys()

    def test_an_answer_that_has_nothing_of_the_session_is_left_alone(self, browser: Browser) -> None:
        page = browser.get("/untouched", public="1")
        assert [value for name, value in PUBLIC if page.header(name) != [value]] == []
        assert browser.get("/untouched").header("Vary") == []
        assert browser.get("/untouched").header("Cache-Control") == []

    def test_an_answer_to_which_the_session_was_read_varies_by_cookie(self, browser: Browser) -> None:
        for path in ("/get", "/who", "/flashes"):
            page = browser.get(path, key="a")
            assert "cookie" in page.fields("Vary")
        browser.get("/set", key="a", value="1")
        assert "cookie" in browser.get("/get", key="a").fields("Vary")

    def test_what_the_application_says_of_its_answer_stays(self, browser: Browser) -> None:
        page = browser.get("/get", key="a", public="1")
        assert page.fields("Vary") == {"accept-language", "cookie"}
        assert page.header("Cache-Control") == ["public, max-age=60"]
        browser.get("/set", key="a", value="1", public="1")
        assert browser.cookies["theme"] == "dark"
        assert browser.get("/get", key="a").value == "1"

    @pytest.mark.parametrize("path", ["/set", "/login", "/rotate", "/restart", "/logout"])
    def test_an_answer_that_sets_or_deletes_the_cookie_is_kept_by_no_cache(
        self, browser: Browser, cookie: Cookie, path: str
    ) -> None:
        if path != "/set":
            browser.get("/set", key="a", value="1")
        page = browser.get(path, key="a", value="2", user="ada", public="1")
        assert [sent.name for sent in page.cookies if sent.name == cookie.name] == [cookie.name]
        assert page.header("Cache-Control") == ["no-store"]
        assert "cookie" in page.fields("Vary")

    @pytest.mark.parametrize("path", ["/get", "/set"])
    def test_an_answer_that_deletes_or_replaces_a_strange_cookie_is_kept_by_no_cache(
        self, browser: Browser, cookie: Cookie, manager: SessionManager, path: str
    ) -> None:
        browser.cookies[cookie.name] = "A" * 43
        page = browser.get(path, key="a", value="1", public="1")
        assert page.header("Cache-Control") == ["no-store"]
        assert "cookie" in page.fields("Vary")


def _attributes(sent: SetCookie) -> dict[str, str]:
    """Return a cookie's attributes without ``Expires``, which says what ``Max-Age`` says, to older browsers."""
    return {name: value for name, value in sent.attributes.items() if name != "expires"}


def _wanted(cookie: Cookie) -> dict[str, str]:
    found = {"path": cookie.path, "samesite": cookie.samesite}
    if cookie.domain is not None:
        found["domain"] = cookie.domain
    if cookie.max_age is not None:
        found["max-age"] = str(cookie.max_age)
    switches = {"secure": cookie.secure, "httponly": cookie.httponly, "partitioned": cookie.partitioned}
    return {**found, **{name: "" for name, on in switches.items() if on}}
