"""The session cookie: attributes, reading, writing."""

import pytest

from kiokupy.errors import SettingsError
from kiokupy.web.cookies import Cookie, cookie_or_default

ID = "A" * 43


def test_the_defaults_are_the_safe_ones():
    assert Cookie().sent(ID) == f"__Host-session={ID}; Path=/; Secure; HttpOnly; SameSite=Lax"


def test_one_switch_is_enough_for_plain_http():
    assert Cookie(secure=False).sent(ID) == f"session={ID}; Path=/; HttpOnly; SameSite=Lax"


def test_every_attribute_can_be_set():
    cookie = Cookie("sid", "/app", "example.org", httponly=False, samesite="Strict", max_age=60, partitioned=True)

    assert cookie.sent(ID) == (
        f"sid={ID}; Max-Age=60; Path=/app; Domain=example.org; Secure; Partitioned; SameSite=Strict"
    )


def test_a_deletion_has_the_same_place_and_is_in_the_past():
    assert Cookie(domain="example.org").deleted() == (
        "__Secure-session=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; Domain=example.org; Secure; HttpOnly; "
        "SameSite=Lax"
    )


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (None, None),
        ("", None),
        ("other=1", None),
        ("session", None),
        ("session=x", "x"),
        ('session="x"', "x"),
        ('a="; b=[1; ]=; session = x ; session=y', "x"),
        ("xsession=1; session=", ""),
        ("SESSION=x", None),
        ("\tsession\t=\tx\t", "x"),
        ("\xa0session=x", None),
        ("\x85session=x", None),
        ("session\x1f=x", None),
    ],
)
def test_the_id_is_found_among_other_cookies_and_junk(header, value):
    assert Cookie(secure=False).read(header) == value


@pytest.mark.parametrize(
    ("options", "attribute"),
    [
        ({"name": "a b"}, "name"),
        ({"name": "a;b"}, "name"),
        ({"name": "a\r\nSet-Cookie: x=1"}, "name"),
        ({"name": "__Host-x", "secure": False}, "name"),
        ({"name": "__Host-x", "domain": "example.org"}, "name"),
        ({"name": "__Host-x", "path": "/app"}, "name"),
        ({"name": "__Secure-x", "secure": False}, "name"),
        ({"name": "__host-x", "secure": False}, "name"),
        ({"name": "__SECURE-x", "secure": False}, "name"),
        ({"name": 5}, "name"),
        ({"path": None}, "path"),
        ({"domain": b"example.org"}, "domain"),
        ({"path": "app"}, "path"),
        ({"path": ""}, "path"),
        ({"path": "/; Secure"}, "path"),
        ({"domain": "a\r\nX: y"}, "domain"),
        ({"samesite": "lax"}, "samesite"),
        ({"samesite": "None", "secure": False}, "samesite"),
        ({"max_age": 0}, "max_age"),
        ({"max_age": 1.5}, "max_age"),
        ({"max_age": True}, "max_age"),
        ({"max_age": "60"}, "max_age"),
        ({"secure": "false"}, "secure"),
        ({"httponly": 1}, "httponly"),
        ({"partitioned": True, "secure": False}, "partitioned"),
    ],
)
def test_a_malformed_or_contradictory_attribute_is_refused(options, attribute):
    with pytest.raises(SettingsError, match=f"the cookie's {attribute} is") as caught:
        Cookie(**options)

    assert caught.value.target == attribute


def test_what_is_no_cookie_is_refused():
    with pytest.raises(SettingsError, match="described by a Cookie, not by a dict"):
        cookie_or_default({"secure": False})
