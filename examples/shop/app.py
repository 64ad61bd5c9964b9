"""The shop as a WSGI application; its session comes in the environ."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from examples.shop import pages
from examples.shop.models import PRODUCTS, Cart

_LARGEST_FORM = 10_000
Form = dict[str, str]


def shop(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request."""
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if method in ("GET", "HEAD") and path == "/style.css":
        return _answer(start_response, "200 OK", pages.STYLE, "text/css; charset=utf-8")
    session = environ["kiokupy.session"]
    if method in ("GET", "HEAD") and path == "/":
        session["visits"] = session.get("visits", 0) + 1
        session.setdefault("csrf", secrets.token_urlsafe(16))
        return _answer(start_response, "200 OK", pages.front(session).encode(), "text/html; charset=utf-8")
    if method == "POST" and path in _ACTIONS:
        form = _form(environ)
        expected = session.get("csrf", "")
        if not expected or not hmac.compare_digest(form.get("csrf", "").encode(), expected.encode()):
            return _answer(start_response, "403 Forbidden", b"This form is not from your session.\n", "text/plain")
        _ACTIONS[path](session, form)
        start_response("303 See Other", [("Location", "/"), ("Content-Length", "0")])
        return [b""]
    return _answer(start_response, "404 Not Found", b"There is no such page.\n", "text/plain")


def _add(session: Any, form: Form) -> None:
    product = PRODUCTS.get(form.get("sku", ""))
    if product is not None:
        session.setdefault("cart", Cart()).add(product)


def _remove(session: Any, form: Form) -> None:
    session.setdefault("cart", Cart()).remove(form.get("sku", ""))


def _login(session: Any, form: Form) -> None:
    session.principal = form.get("name", "")[:40] or "nobody"
    session.regenerate()  # an id that somebody planted before is worth nothing now,
    del session["csrf"]  # nor is the token that came with it


def _logout(session: Any, form: Form) -> None:
    session.invalidate()


_ACTIONS = {"/add": _add, "/remove": _remove, "/login": _login, "/logout": _logout}


def _form(environ: dict[str, Any]) -> Form:
    length = min(int(environ.get("CONTENT_LENGTH") or 0), _LARGEST_FORM)
    fields = parse_qs(environ["wsgi.input"].read(length).decode("utf-8", "replace"))
    return {name: values[0] for name, values in fields.items()}


def _answer(start_response: Callable[..., Any], status: str, body: bytes, kind: str) -> list[bytes]:
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
