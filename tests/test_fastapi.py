"""FastAPI with our sessions, under uvicorn: dependencies, plain and asynchronous views."""

import contextlib
from typing import Annotated

import pytest
from asgi_servers import browsing
from fastapi import Depends, FastAPI, HTTPException, Request

import kiokupy
from kiokupy import SessionManager
from kiokupy.web.asgi import SessionMiddleware
from kiokupy.web.asgi.session import AsyncSession
from kiokupy.web.cookies import Cookie


@pytest.fixture
def manager():
    with kiokupy.connect("Hash") as directory:
        yield SessionManager(directory)


async def current(request: Request) -> AsyncSession:
    return request.scope["session"]


Current = Annotated[AsyncSession, Depends(current)]


@pytest.fixture
def browser(manager):
    app = FastAPI()
    app.add_middleware(SessionMiddleware, manager=manager, cookie=Cookie(secure=False))

    @app.get("/hello")
    def hello():
        return "hello"

    @app.get("/count")
    async def count(request: Request):
        request.session["n"] = request.session.get("n", 0) + 1
        return request.session["n"]

    @app.get("/plain")
    def plain(session: Current):
        session["n"] = session.get("n", 0) + 1
        session.regenerate()
        return session["n"]

    @app.get("/async")
    async def asynchronous(session: Current):
        await session.aregenerate()
        return session["n"]

    @app.get("/fail/{status}")
    def fail(status: int, session: Current):
        session["failed"] = True
        raise HTTPException(status)

    with contextlib.closing(manager), browsing(app) as browser:
        yield browser


def test_a_session_goes_from_request_to_request(browser):
    assert [browser.get("/count").json() for _ in range(3)] == [1, 2, 3]


def test_an_untouched_request_sets_no_cookie(browser, manager):
    answer = browser.get("/hello", headers={"Cookie": f"session={'A' * 43}"})

    assert not {"set-cookie", "vary", "cache-control"} & set(answer.headers)


def test_an_unknown_id_is_never_adopted(browser, manager):
    answer = browser.get("/count", headers={"Cookie": f"session={'A' * 43}"})

    assert answer.cookies["session"] != "A" * 43
    assert manager.retrieve("A" * 43) is None


def test_a_plain_view_and_an_asynchronous_one_share_a_session(browser, manager):
    browser.get("/count")
    planted = browser.cookies["session"]
    assert browser.get("/plain").json() == 2
    moved = browser.cookies["session"]
    assert browser.get("/async").json() == 2

    assert manager.retrieve(planted) is manager.retrieve(moved) is None
    assert dict(manager.retrieve(browser.cookies["session"])) == {"n": 2}


@pytest.mark.parametrize("status", [403, 503])
def test_an_error_saves_only_what_is_below_500(browser, manager, status):
    browser.get("/count")

    assert browser.get(f"/fail/{status}").status_code == status
    assert ("failed" in manager.retrieve(browser.cookies["session"])) == (status == 403)
