"""Litestar with our sessions, under uvicorn: what its handlers do with ``request.session`` and the place of it."""

import contextlib
from dataclasses import dataclass
from typing import Any

import pytest
from asgi_servers import browsing, serving
from litestar import Litestar, Request, WebSocket, get, websocket
from litestar.exceptions import NotAuthorizedException
from litestar.middleware import DefineMiddleware
from websockets.sync.client import connect

import kiokupy
from kiokupy import SessionManager
from kiokupy.web.asgi import SessionMiddleware
from kiokupy.web.cookies import Cookie


@pytest.fixture
def manager():
    with kiokupy.connect("Hash") as directory:
        yield SessionManager(directory)


def litestar(manager, *handlers):
    session = DefineMiddleware(SessionMiddleware, manager=manager, cookie=Cookie(secure=False), exclude=["/schema"])
    return Litestar(handlers, middleware=[session], openapi_config=None, logging_config=None)


@pytest.fixture
def serve(manager):
    with contextlib.ExitStack() as stack:
        yield lambda *handlers: stack.enter_context(browsing(litestar(manager, *handlers)))


def stored(manager):
    with manager.directory.new_unit() as unit:
        return list(unit.root["sessions"])


@get("/hello", sync_to_thread=False)
def hello() -> str:
    return "hello"


@get("/count")
async def count(request: Request[Any, Any, Any]) -> str:
    request.session["n"] = request.session.get("n", 0) + 1
    return str(request.session["n"])


@get("/show")
async def show(request: Request[Any, Any, Any]) -> str:
    return str(sorted(request.session.items()))


@get("/set")
async def set_all(request: Request[Any, Any, Any]) -> str:
    request.set_session({"user": "alice"})
    return str(request.session["user"])


@get("/clear")
async def clear(request: Request[Any, Any, Any]) -> str:
    request.clear_session()
    return "bye"


def test_a_session_goes_from_request_to_request(serve):
    browser = serve(count)

    assert [browser.get("/count").text for _ in range(3)] == ["1", "2", "3"]


def test_an_untouched_request_sets_no_cookie_and_stores_nothing(serve, manager):
    answer = serve(hello).get("/hello", headers={"Cookie": f"session={'A' * 43}"})

    assert answer.text == "hello"
    assert "set-cookie" not in answer.headers
    assert stored(manager) == []


def test_an_unknown_id_is_never_adopted(serve, manager):
    answer = serve(count).get("/count", headers={"Cookie": f"session={'A' * 43}"})

    assert answer.cookies["session"] != "A" * 43
    assert manager.retrieve("A" * 43) is None


def test_a_plain_handler_in_a_thread_has_the_session(serve, manager):
    @get("/login", sync_to_thread=True)
    def login(request: Request[Any, Any, Any]) -> str:
        request.session["user"] = "alice"
        request.session.regenerate()
        return "welcome"

    browser = serve(count, login)
    browser.get("/count")
    planted = browser.cookies["session"]

    assert browser.get("/login").text == "welcome"
    assert manager.retrieve(planted) is None
    assert dict(manager.retrieve(browser.cookies["session"])) == {"n": 1, "user": "alice"}


def test_set_session_replaces_the_data(serve, manager):
    browser = serve(count, set_all, show)
    browser.get("/count")
    id = browser.cookies["session"]

    assert browser.get("/set").text == "alice"
    assert browser.get("/show").text == "[('user', 'alice')]"
    assert browser.cookies["session"] == id


def test_set_session_begins_one(serve, manager):
    browser = serve(set_all, show)
    browser.get("/set")

    assert browser.get("/show").text == "[('user', 'alice')]"


def test_clear_session_ends_it(serve, manager):
    browser = serve(count, clear, show)
    browser.get("/count")

    assert "Max-Age=0" in browser.get("/clear").headers["set-cookie"]
    assert stored(manager) == []
    assert browser.get("/show").text == "[]"


def test_clear_session_of_a_visitor_without_one_stores_nothing(serve, manager):
    assert "set-cookie" not in serve(clear).get("/clear").headers
    assert stored(manager) == []


def test_a_model_as_session_is_refused_by_name(serve, manager, caplog):
    @dataclass
    class Visitor:
        name: str

    @get("/model")
    async def model(request: Request[Any, Any, Any]) -> str:
        request.set_session(Visitor("alice"))
        return "never"

    assert serve(model).get("/model").status_code == 500
    assert "session cannot be stored: its data is to be a mapping, not a " in caplog.text
    assert "Visitor" in caplog.text
    assert stored(manager) == []


@pytest.mark.parametrize(("error", "status"), [(RuntimeError, 500), (NotAuthorizedException, 401)])
def test_an_error_saves_only_what_is_below_500(serve, manager, error, status):
    @get("/fail")
    async def fail(request: Request[Any, Any, Any]) -> str:
        request.session["failed"] = True
        raise error

    browser = serve(count, fail)
    browser.get("/count")

    assert browser.get("/fail").status_code == status
    assert ("failed" in manager.retrieve(browser.cookies["session"])) == (status == 401)


def test_a_websocket_has_the_session(manager):
    session = manager.create()

    @websocket("/ws")
    async def handler(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        socket.session["heard"] = await socket.receive_text()
        await socket.close()

    with serving(litestar(manager, handler)) as address:
        headers = {"Cookie": f"session={session.id}"}
        with connect(f"ws://{address}/ws", additional_headers=headers) as connection:
            connection.send("hello")
            assert list(connection) == []

    assert dict(manager.retrieve(session.id)) == {"heard": "hello"}
