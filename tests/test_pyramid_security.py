"""Pyramid's security over sessions: its own remember(), forget() and permissions."""

import httpx
import pytest
from pyramid.authorization import Allow, Authenticated, Everyone
from pyramid.config import Configurator
from pyramid.interfaces import ISecurityPolicy
from pyramid.response import Response
from pyramid.security import forget, remember
from serving import served
from zope.interface.verify import verifyObject

import kiokupy
from kiokupy import SessionManager
from kiokupy.web.cookies import Cookie
from kiokupy.web.pyramid import set_up
from kiokupy.web.pyramid.security import SessionSecurityPolicy


class Root:
    __acl__ = ((Allow, Everyone, "see"), (Allow, Authenticated, "write"), (Allow, "alice", "rule"))

    def __init__(self, request):
        pass


def login(context, request):
    headers = remember(request, request.params["user"], lasting="lasting" in request.params)
    return Response(headerlist=headers)


def logout(context, request):
    return Response(headerlist=forget(request))


def who(context, request):
    return Response(f"{request.identity} {request.authenticated_userid} {request.is_authenticated}")


@pytest.fixture
def manager():
    with kiokupy.connect("Hash") as directory:
        yield SessionManager(directory)


@pytest.fixture
def browser(manager):
    with Configurator(root_factory=Root) as config:
        set_up(config, manager, Cookie(secure=False))
        config.set_security_policy(SessionSecurityPolicy())
        for view in (login, logout, who):
            config.add_view(view, name=view.__name__)
        for permission in ("see", "write", "rule"):
            config.add_view(lambda context, request: Response("yes"), name=permission, permission=permission)
    with served(config.make_wsgi_app()) as url, httpx.Client(base_url=url) as browser:
        yield browser


def test_it_provides_pyramids_interface_whole():
    assert verifyObject(ISecurityPolicy, SessionSecurityPolicy())


def test_who_is_remembered_is_logged_in_under_a_new_id_until_it_is_forgotten(browser, manager):
    assert browser.get("/who").text == "None None False"
    browser.get("/login", params={"user": "bob"})
    first = browser.cookies["session"]
    assert browser.get("/who").text == "bob bob True"

    browser.get("/login", params={"user": "bob"})
    assert browser.cookies["session"] != first
    assert manager.retrieve(first) is None

    browser.get("/logout")
    assert browser.get("/who").text == "None None False"
    assert list(manager.sessions("bob")) == []


def test_a_login_may_outlive_the_browser(browser):
    assert "Max-Age" not in browser.get("/login", params={"user": "bob"}).headers["set-cookie"]
    assert "Max-Age" in browser.get("/login", params={"user": "bob", "lasting": ""}).headers["set-cookie"]


@pytest.mark.parametrize(
    ("user", "allowed"), [(None, ["see"]), ("bob", ["see", "write"]), ("alice", ["see", "write", "rule"])]
)
def test_the_acl_decides_what_is_allowed(browser, user, allowed):
    if user is not None:
        browser.get("/login", params={"user": user})

    assert [name for name in ("see", "write", "rule") if browser.get(f"/{name}").status_code == 200] == allowed
