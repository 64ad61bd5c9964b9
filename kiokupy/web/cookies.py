"""Cookies: the session cookie's attributes, how it is read and written (RFC 6265 and its successor draft)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kiokupy.errors import SettingsError

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ATTRIBUTE = re.compile(r"[\x20-\x3a\x3c-\x7e]+")  # no control character, no semicolon
_SPACE = " \t"
_SAME_SITE = ("Lax", "Strict", "None")
_LONGEST = 4096  # RFC 6265bis, 5.6: name and value
_LONGEST_NAME = _LONGEST - 44
_PAST = "Thu, 01 Jan 1970 00:00:00 GMT"


@dataclass(frozen=True)
class Cookie:
    """The session cookie's attributes; the defaults are the safe ones.

    :param name: by default ``__Host-session`` where browsers accept that prefix (secure, path ``/``, no domain), else
        ``__Secure-session``, and ``session`` without ``secure``.
    :param secure: send it over HTTPS only. ``secure=False`` is the one switch for development over plain HTTP.
    :param samesite: ``Lax``, ``Strict`` or ``None`` (which needs ``secure``).
    :param max_age: seconds that the browser keeps it; ``None``: until the browser ends, or for as long as a session
        lives that is to outlive it.
    :raises SettingsError: an attribute is malformed, or two contradict each other.
    """

    name: str = ""
    path: str = "/"
    domain: str | None = None
    secure: bool = True
    httponly: bool = True
    samesite: str = "Lax"
    max_age: int | None = None
    partitioned: bool = False

    def __post_init__(self) -> None:
        host_only = self.secure and self.path == "/" and self.domain is None
        if not self.name:
            prefix = "__Host-" if host_only else "__Secure-" if self.secure else ""
            object.__setattr__(self, "name", f"{prefix}session")
        self._check("name", _fits(_TOKEN, self.name), "It is made of letters, digits and -_.")
        prefix = self.name.lower()  # browsers mind the prefixes in any case
        self._check("name", len(self.name) <= _LONGEST_NAME, f"Browsers keep {_LONGEST} bytes, with the id")
        self._check("name", host_only or not prefix.startswith("__host-"), "__Host- needs secure, path / and no domain")
        self._check("name", self.secure or not prefix.startswith("__secure-"), "__Secure- needs secure")
        for switch in ("secure", "httponly", "partitioned"):
            self._check(switch, isinstance(getattr(self, switch), bool), "It is True or False")
        self._check("path", _fits(_ATTRIBUTE, self.path) and self.path[0] == "/", "It begins with /")
        self._check("domain", self.domain is None or _fits(_ATTRIBUTE, self.domain), "It is a host name")
        self._check("samesite", self.samesite in _SAME_SITE, f"It is one of {', '.join(_SAME_SITE)}")
        self._check("samesite", self.secure or self.samesite != "None", "None needs secure")
        whole = type(self.max_age) is int and self.max_age > 0
        self._check("max_age", self.max_age is None or whole, "It is a whole number of seconds above 0")
        self._check("partitioned", self.secure or not self.partitioned, "It needs secure")

    def read(self, header: str | None) -> str | None:
        """Return the session id in a ``Cookie`` header, or ``None``.

        Other cookies in it may be malformed: the standard library's parser would give up on all of them then.
        """
        for pair in (header or "").split(";"):
            name, equals, value = pair.partition("=")
            # Only what RFC 6265 calls white space: a bare strip() takes off U+00A0 as well, and would read a cookie
            # named "\xa0__Host-session", which a browser lets any subdomain set, as ours.
            if equals and name.strip(_SPACE) == self.name:
                return value.strip(_SPACE).strip('"')
        return None

    def sent(self, id: str, max_age: int | None = None) -> str:
        """Return the ``Set-Cookie`` header that gives the browser a session id.

        :param max_age: seconds that the browser keeps it, unless the cookie's own ``max_age`` says so;
            ``None``: until the browser ends.
        """
        max_age = max_age if self.max_age is None else self.max_age
        return self._header(id, "" if max_age is None else f"; Max-Age={max_age}")

    def deleted(self) -> str:
        """Return the ``Set-Cookie`` header that has the browser drop the cookie."""
        return self._header("", f"; Max-Age=0; Expires={_PAST}")

    def _header(self, value: str, lifetime: str) -> str:
        parts = [f"{self.name}={value}{lifetime}; Path={self.path}"]
        if self.domain is not None:
            parts.append(f"Domain={self.domain}")
        switches = {"Secure": self.secure, "HttpOnly": self.httponly, "Partitioned": self.partitioned}
        parts += [name for name, on in switches.items() if on]
        return "; ".join([*parts, f"SameSite={self.samesite}"])

    def _check(self, attribute: str, right: bool, fix: str) -> None:
        if not right:
            value = getattr(self, attribute)
            raise SettingsError(f"the cookie's {attribute} is {value!r}", target=attribute, fix=fix)


def cookie_or_default(cookie: Cookie | None) -> Cookie:
    """Return the cookie that an adapter was given, or the default one.

    :raises SettingsError: it is none.
    """
    if not isinstance(cookie, Cookie | None):
        fix = "For example: Cookie(secure=False)"
        raise SettingsError(f"the cookie is described by a Cookie, not by a {type(cookie).__name__}", fix=fix)
    return Cookie() if cookie is None else cookie


def _fits(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
