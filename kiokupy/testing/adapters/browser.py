"""The browser: a client that keeps cookies, over real HTTP, with nothing but the standard library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

_PATIENCE = 30.0
_NO_CHUNK = b"0\r\n\r\n"  # waitress ends a chunked body also where there is none


class SetCookie(NamedTuple):
    """A cookie that a response sets."""

    name: str
    value: str
    #: by their names in small letters
    attributes: Mapping[str, str]

    @property
    def is_deletion(self) -> bool:
        """Whether the browser is to forget the cookie."""
        if "max-age" in self.attributes:
            return int(self.attributes["max-age"]) <= 0
        expires = self.attributes.get("expires")
        return expires is not None and parsedate_to_datetime(expires).timestamp() <= 0


class Page(NamedTuple):
    """A response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def value(self) -> Any:
        """What the site answered."""
        return json.loads(self.body)

    def header(self, name: str) -> list[str]:
        """Return the values of a header."""
        return [value for found, value in self.headers if found.lower() == name.lower()]

    def fields(self, name: str) -> set[str]:
        """Return what is listed in a header, in small letters."""
        return {field.strip().lower() for value in self.header(name) for field in value.split(",")}

    @property
    def cookies(self) -> list[SetCookie]:
        """The cookies that it sets."""
        return [_parsed(value) for value in self.header("Set-Cookie")]


class Browser:
    """Gets pages of a site, and keeps the cookies that they set.

    :param url: where the site is, without a slash at the end.
    :param cookies: by name, what it has already.
    """

    def __init__(self, url: str, cookies: Mapping[str, str] | None = None) -> None:
        self.url, self.cookies = url, dict(cookies or {})

    def copy(self) -> Browser:
        """Return another one with the same cookies, as a second tab or as a thief has them."""
        return Browser(self.url, self.cookies)

    def get(self, path: str, *, method: str = "GET", header: bytes | None = None, **query: str) -> Page:
        """Get a page; of an answer to ``HEAD``, the body is what came behind the headers though it should not.

        :param header: the ``Cookie`` header to send instead of one with the cookies that are kept.
        """
        split = urlsplit(self.url)
        target = f"{split.path}{path}" + (f"?{urlencode(query)}" if query else "")
        if header is None:
            header = "; ".join(f"{name}={value}" for name, value in self.cookies.items()).encode("latin-1")
        headers: dict[str, str | bytes] = {"Connection": "close", **({"Cookie": header} if header else {})}
        with closing(HTTPConnection(str(split.hostname), split.port, timeout=_PATIENCE)) as connection:
            connection.request(method, target, headers=headers)
            with connection.getresponse() as response:
                body = response.fp.read().removesuffix(_NO_CHUNK) if method == "HEAD" else response.read()
                page = Page(response.status, response.getheaders(), body)
        for cookie in page.cookies:
            if cookie.is_deletion:
                self.cookies.pop(cookie.name, None)
            else:
                self.cookies[cookie.name] = cookie.value
        return page


def _parsed(header: str) -> SetCookie:
    pair, *attributes = header.split(";")
    name, _, value = pair.partition("=")
    parts = (attribute.partition("=") for attribute in attributes)
    found = {key.strip().lower(): value.strip() for key, _, value in parts}
    return SetCookie(name.strip(), value.strip().strip('"'), found)
