"""The shop as a WSGI application; its session comes in the environ."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from examples.shop import pages
from examples.shop.models import PRODUCTS, Cart
from kiokupy import Session, SessionManager

_LARGEST_FORM = 10_000
Form = dict[str, str]


def shop(manager: SessionManager, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request."""
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if method in ("GET", "HEAD") and path == "/style.css":
        return _answer(start_response, "200 OK", pages.STYLE, "text/css; charset=utf-8")
    session = environ["kiokupy.session"]
    if method in ("GET", "HEAD") and path == "/":
        session["visits"] = session.get("visits", 0) + 1
        elsewhere = sum(1 for _ in manager.sessions(session.principal)) - 1 if session.principal else 0
        page = pages.front(session, max(elsewhere, 0)).encode()
        return _answer(start_response, "200 OK", page, "text/html; charset=utf-8")
    if method == "POST" and path in _ACTIONS:
        form = _form(environ)
        if not session.check_csrf(form.get("csrf")):
            return _answer(start_response, "403 Forbidden", b"This form is not from your session.\n", "text/plain")
        _ACTIONS[path](manager, session, form)
        start_response("303 See Other", [("Location", "/"), ("Content-Length", "0")])
        return [b""]
    return _answer(start_response, "404 Not Found", b"There is no such page.\n", "text/plain")


def _add(manager: SessionManager, session: Session, form: Form) -> None:
    product = PRODUCTS.get(form.get("sku", ""))
    if product is not None:
        session.setdefault("cart", Cart()).add(product)


def _remove(manager: SessionManager, session: Session, form: Form) -> None:
    session.setdefault("cart", Cart()).remove(form.get("sku", ""))


def _login(manager: SessionManager, session: Session, form: Form) -> None:
    session.login(form.get("name", "")[:40] or "nobody")


def _logout(manager: SessionManager, session: Session, form: Form) -> None:
    session.invalidate()


def _end_others(manager: SessionManager, session: Session, form: Form) -> None:
    if session.principal is not None:
        manager.destroy_all(session.principal, keep=session)


_ACTIONS = {"/add": _add, "/remove": _remove, "/login": _login, "/logout": _logout, "/end-others": _end_others}


def _form(environ: dict[str, Any]) -> Form:
    length = min(int(environ.get("CONTENT_LENGTH") or 0), _LARGEST_FORM)
    fields = parse_qs(environ["wsgi.input"].read(length).decode("utf-8", "replace"))
    return {name: values[0] for name, values in fields.items()}


def _answer(start_response: Callable[..., Any], status: str, body: bytes, kind: str) -> list[bytes]:
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
