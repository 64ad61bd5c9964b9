"""kiokupy's own web adapters pass the suite that it ships for everyone's."""

import dataclasses
import os
import sys

import asgi_servers
import django_site
import flask
import pytest
import serving
import starlette.responses
from pyramid.config import Configurator
from pyramid.response import Response
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from kiokupy.testing import AdapterCapability, AdapterSuite, Site
from kiokupy.web import asgi, beaker, wsgi
from kiokupy.web.flask import KiokuSessions
from kiokupy.web.pyramid import session_factory

django_site.configure_once()

from django.contrib.auth import SESSION_KEY  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.http import HttpResponse, StreamingHttpResponse  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.urls import re_path  # noqa: E402

from kiokupy.web.django import settings as django_settings  # noqa: E402


def all_but(*names):
    return tuple(capability for capability in AdapterCapability if capability not in names)


class TestWSGI(AdapterSuite):
    capabilities = tuple(AdapterCapability)

    @pytest.fixture
    def url(self, site, manager, cookie):
        def app(environ, start_response):
            answer = site.answer(environ["kiokupy.session"], environ["PATH_INFO"], environ["QUERY_STRING"])
            if answer.stream is not None:
                start_response(answer.status_line, answer.headers)
                return answer.stream
            start_response(answer.status_line, [*answer.headers, ("Content-Length", str(len(answer.body)))])
            return [answer.body] if environ["REQUEST_METHOD"] != "HEAD" else []

        with serving.served(wsgi.SessionMiddleware(app, manager, cookie, join=self.join)) as url:
            yield url

    join = False


class TestWSGIJoined(TestWSGI):
    capabilities = all_but("merging")
    join = True


class TestBeaker(AdapterSuite):
    capabilities = tuple(AdapterCapability)

    @pytest.fixture
    def url(self, site, manager, cookie):
        def app(environ, start_response):
            answer = site.answer(environ["beaker.session"], environ["PATH_INFO"], environ["QUERY_STRING"])
            start_response(answer.status_line, answer.headers)
            return [] if environ["REQUEST_METHOD"] == "HEAD" else answer.stream or [answer.body]

        middleware = beaker.SessionMiddleware(app, {"session.auto": True})
        middleware.manager.close()  # made of the settings, which say nothing of listeners
        middleware.manager = manager
        with serving.served(wsgi.SessionMiddleware(middleware._answer, manager, cookie, key="kiokupy.session")) as url:
            yield url


class TestASGI(AdapterSuite):
    """It loads the session before an asynchronous view begins, so it is not lazy."""

    capabilities = all_but("lazy")
    join = False

    @pytest.fixture
    def url(self, site, manager, cookie):
        def view(request):
            answer = site.answer(request.session, request.url.path, request.url.query)
            kind = starlette.responses.Response if answer.stream is None else starlette.responses.StreamingResponse
            response = kind(answer.stream or answer.body, answer.status)
            for name, value in answer.headers:
                response.headers.append(name, value)
            return response

        sessions = Middleware(asgi.SessionMiddleware, manager=manager, cookie=cookie, join=self.join)
        app = Starlette(routes=[Route("/{path:path}", view)], middleware=[sessions])
        with asgi_servers.serving(app) as address:
            yield f"http://{address}"


class TestASGIJoined(TestASGI):
    capabilities = all_but("lazy", "merging")
    join = True


class FlaskSite(Site):
    def flash(self, session, message):
        flask.flash(message)

    def flashes(self, session):
        return flask.get_flashed_messages()


class TestFlask(AdapterSuite):
    capabilities = tuple(AdapterCapability)
    site_class = FlaskSite
    join = False

    @pytest.fixture
    def url(self, site, manager, cookie):
        app = flask.Flask(__name__)
        given = {f"cookie_{name}": value for name, value in dataclasses.asdict(cookie).items() if value is not None}
        app.config["SESSION_KIOKUPY"] = given
        KiokuSessions(app, manager, join=self.join)

        @app.get("/<path:path>")
        def view(path):
            answer = site.answer(flask.session, flask.request.path, flask.request.query_string.decode())
            return flask.Response(answer.stream or answer.body, answer.status, answer.headers)

        with serving.served(app) as url:
            yield url


class TestFlaskJoined(TestFlask):
    capabilities = all_but("merging")
    join = True


class TestPyramid(AdapterSuite):
    capabilities = tuple(AdapterCapability)

    @pytest.fixture
    def url(self, site, manager, cookie):
        def view(request):
            answer = site.answer(request.session, request.path, request.query_string)
            body = {"body": answer.body} if answer.stream is None else {"app_iter": answer.stream}
            return Response(status=answer.status, headerlist=answer.headers, **body)

        with Configurator() as config:
            config.set_session_factory(session_factory(manager, cookie))
            config.add_route("all", "/*path")
            config.add_view(view, route_name="all")
        with serving.served(config.make_wsgi_app()) as url:
            yield url


class DjangoSite(Site):
    """Does what Django's ``login()`` and ``logout()`` do to a session."""

    def login(self, session, user):
        session.flush() if session.get(SESSION_KEY, user) != user else session.cycle_key()
        session[SESSION_KEY] = user

    def principal(self, session):
        return session.get(SESSION_KEY)

    def logout(self, session):
        session.flush()

    def rotate(self, session):
        session.cycle_key()

    def flash(self, session, message):
        session.kiokupy.flash(message)

    def flashes(self, session):
        return session.kiokupy.pop_flash()


def without_bodies_to_head(app):
    """Do what other servers than waitress do, on which Django relies."""

    def answer(environ, start_response):
        result = app(environ, start_response)
        if environ["REQUEST_METHOD"] != "HEAD":
            return result
        result.close()
        return []

    return answer


class TestDjango(AdapterSuite):
    """The cookie is Django's own, which it does not partition."""

    capabilities = all_but("partitioned")
    site_class = DjangoSite
    join = False

    @pytest.fixture
    def url(self, site, manager, cookie, monkeypatch):
        def view(request):
            answer = site.answer(request.session, request.path, request.META["QUERY_STRING"])
            kind = HttpResponse if answer.stream is None else StreamingHttpResponse
            response = kind(answer.stream or answer.body, status=answer.status)
            for name, value in answer.headers:
                if name == "Set-Cookie":
                    response.set_cookie(*value.partition(";")[0].split("="))
                else:
                    response[name] = value
            return response

        slot = django_settings._Slot()
        slot.manager = manager  # Django makes its own of the settings, which say nothing of listeners
        monkeypatch.setattr(sys.modules[__name__], "urlpatterns", [re_path("", view)], raising=False)
        django_settings.close()
        with override_settings(
            ROOT_URLCONF=__name__,
            MIDDLEWARE=["kiokupy.web.django.middleware.SessionMiddleware"],
            SESSION_KIOKUPY={"target": "Hash", "join": self.join},
            SESSION_COOKIE_NAME=cookie.name,
            SESSION_COOKIE_PATH=cookie.path,
            SESSION_COOKIE_DOMAIN=cookie.domain,
            SESSION_COOKIE_SECURE=cookie.secure,
            SESSION_COOKIE_HTTPONLY=cookie.httponly,
            SESSION_COOKIE_SAMESITE=cookie.samesite,
            SESSION_COOKIE_AGE=cookie.max_age or 14 * 24 * 3600,
            SESSION_EXPIRE_AT_BROWSER_CLOSE=cookie.max_age is None,
        ):
            monkeypatch.setitem(django_settings._slots, os.getpid(), slot)
            with serving.served(without_bodies_to_head(WSGIHandler())) as url:
                yield url
            monkeypatch.undo()


class TestDjangoJoined(TestDjango):
    capabilities = all_but("partitioned", "merging")
    join = True
