"""The WSGI middleware, driven by a server in a few lines that keeps to PEP 3333."""

import contextlib
import io
import logging
import sys
from importlib import metadata
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest

import kiokupy
from kiokupy import SessionManager, SettingsError, StoreNotFound
from kiokupy.web.cookies import Cookie
from kiokupy.web.paste import make_filter
from kiokupy.web.wsgi import SessionMiddleware

PLAIN = [("Content-Type", "text/plain")]


@pytest.fixture
def manager():
    with kiokupy.connect("Hash") as directory:
        yield SessionManager(directory)


class Server:
    """Runs an application for one request after another, and keeps cookies as a browser does."""

    def __init__(self, app, *, checked=True):
        self.app = validator(app) if checked else app
        self.cookies = {}
        self.status = self.headers = None
        self.events = []

    def get(self, **environ):
        self.status, self.headers, self.events = None, None, []
        written = []

        def start_response(status, headers, exc_info=None):
            assert self.status is None or exc_info is not None
            self.events.append("start")
            self.status, self.headers = status, headers
            return written.append

        request = {
            "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/", "SERVER_NAME": "localhost", "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr, "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False,
            "QUERY_STRING": "", "wsgi.file_wrapper": FileWrapper, **environ,
        }  # fmt: skip
        if self.cookies:
            request["HTTP_COOKIE"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        result = self.app(request, start_response)
        try:
            for chunk in result:
                assert chunk == b"" or self.status is not None
                written.append(chunk)
        finally:
            if hasattr(result, "close"):
                result.close()
        self._keep_cookies()
        return b"".join(written)

    def header(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def _keep_cookies(self):
        for header in self.header("Set-Cookie"):
            name, _, value = header.partition(";")[0].partition("=")
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name)


@pytest.fixture
def serve(manager):
    def serve(view, *, checked=True, **options):
        """Serve a function of the session and the environ that returns the body."""

        def app(environ, start_response):
            body = view(environ["kiokupy.session"])
            start_response("200 OK", PLAIN)
            return [str(body).encode()]

        return Server(SessionMiddleware(app, manager, Cookie(secure=False), **options), checked=checked)

    return serve


@pytest.fixture
def serve_app(manager):
    def serve_app(app, *, checked=True):
        return Server(SessionMiddleware(app, manager, Cookie(secure=False)), checked=checked)

    return serve_app


def count(session):
    session["n"] = session.get("n", 0) + 1
    return session["n"]


def stored(manager):
    with manager.directory.new_unit() as unit:
        return list(unit.root["sessions"])


def test_a_session_goes_from_request_to_request(serve):
    server = serve(count)

    assert [server.get(), server.get(), server.get()] == [b"1", b"2", b"3"]


def test_an_untouched_session_asks_the_store_nothing_and_sets_no_cookie(serve, manager):
    server = serve(lambda session: "hello")
    manager.close()
    server.cookies["session"] = "A" * 43

    assert server.get() == b"hello"
    assert server.headers == PLAIN


def test_the_name_in_the_environ_can_be_set(manager):
    def app(environ, start_response):
        environ["beaker.session"]["a"] = 1
        start_response("200 OK", PLAIN)
        return [b""]

    server = Server(SessionMiddleware(app, manager, key="beaker.session"))
    server.get()

    assert server.header("Set-Cookie")[0].startswith("__Host-session=")


def test_a_session_that_was_only_read_varies_by_cookie_and_is_not_stored(serve, manager):
    server = serve(lambda session: session.get("a"))
    server.get()

    assert server.header("Vary") == ["Cookie"]
    assert server.header("Set-Cookie") == server.header("Cache-Control") == []
    assert stored(manager) == []


def test_a_response_that_sets_a_cookie_is_kept_by_no_cache(manager, serve_app):
    def app(environ, start_response):
        environ["kiokupy.session"]["a"] = 1
        start_response("200 OK", [*PLAIN, ("cache-control", "public, max-age=60"), ("vary", "Accept")])
        return [b""]

    server = serve_app(app)
    server.get()

    assert server.header("Cache-Control") == ["no-store"]
    assert server.header("Vary") == ["Accept, Cookie"]


@pytest.mark.parametrize("vary", ["*", "Accept, COOKIE"])
def test_a_response_that_varies_by_cookie_already_is_left_alone(serve_app, vary):
    def app(environ, start_response):
        environ["kiokupy.session"].get("a")
        start_response("200 OK", [*PLAIN, ("Vary", vary)])
        return [b""]

    server = serve_app(app)
    server.get()

    assert server.header("Vary") == [vary]


def test_an_unknown_id_is_not_adopted_and_its_cookie_goes(serve):
    server = serve(lambda session: session.get("a"))
    server.cookies["session"] = "A" * 43
    server.get()

    assert server.cookies == {}
    server = serve(count)
    server.cookies["session"] = "A" * 43
    server.get()
    assert server.cookies["session"] != "A" * 43


def test_a_destroyed_session_has_its_cookie_deleted(serve):
    login = serve(count)
    login.get()
    logout = serve(lambda session: session.destroy())
    logout.cookies = dict(login.cookies)
    logout.get()

    assert logout.cookies == {}
    assert "Max-Age=0" in logout.header("Set-Cookie")[0]
    assert login.get() == b"1"


def test_a_session_can_be_destroyed_and_begun_in_one_request(serve, manager):
    server = serve(count)
    server.get()
    old = server.cookies["session"]

    def again(session):
        session.invalidate()
        return count(session)

    server.app = serve(again).app

    assert server.get() == b"1"
    assert manager.retrieve(old) is None
    assert manager.retrieve(server.cookies["session"]) is not None


def test_a_regenerated_session_is_sent_under_its_new_id(serve, manager):
    server = serve(count)
    server.get()
    old = server.cookies["session"]
    server.app = serve(lambda session: session.regenerate() and session["n"]).app

    assert server.get() == b"1"
    assert server.cookies["session"] != old
    assert manager.retrieve(old) is None


def test_the_session_is_saved_before_the_headers_leave(serve_app, manager):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        environ["kiokupy.session"]["early"] = 1
        assert stored(manager) == []
        yield b""
        assert stored(manager) == []
        yield b"first"
        assert len(stored(manager)) == 1

    server = serve_app(app)

    assert server.get() == b"first"
    assert server.events == ["start"]
    assert manager.retrieve(server.cookies["session"])["early"] == 1


def test_an_empty_chunk_is_passed_on_once_the_headers_have_left(manager):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        yield from (b"", b"a", b"", b"b")

    with contextlib.closing(SessionMiddleware(app, manager)({}, lambda status, headers: None)) as body:
        assert list(body) == [b"a", b"", b"b"]


@pytest.mark.parametrize("written", [b"", b"written "])
def test_the_middleware_is_a_proper_server_to_the_application(serve_app, manager, written):
    def app(environ, start_response):
        environ["kiokupy.session"]["a"] = 1
        write = start_response("200 OK", PLAIN)
        if written:
            write(written)
        return (chunk for chunk in [b"", b"body"])

    server = serve_app(validator(app))

    assert server.get() == written + b"body"
    assert dict(manager.retrieve(server.cookies["session"])) == {"a": 1}


def test_a_generator_without_output_still_sends_its_headers(serve_app, manager):
    def app(environ, start_response):
        environ["kiokupy.session"]["a"] = 1
        start_response("204 No Content", [])
        yield from ()

    server = serve_app(app)

    assert server.get() == b""
    assert "session" in server.cookies


def test_changes_after_the_headers_are_saved_when_the_client_knows_the_session(serve_app, manager):
    def app(environ, start_response):
        session = environ["kiokupy.session"]
        session["a"] = 1
        start_response("200 OK", PLAIN)
        yield b"first"
        session["late"] = 1
        yield b"second"

    server = serve_app(app)
    server.get()

    assert dict(manager.retrieve(server.cookies["session"])) == {"a": 1, "late": 1}


@pytest.mark.parametrize("known", [False, True])
def test_a_session_begun_or_moved_after_the_headers_is_lost_with_a_warning(serve_app, manager, caplog, known):
    def app(environ, start_response):
        session = environ["kiokupy.session"]
        start_response("200 OK", PLAIN)
        yield b"first"
        session.regenerate()
        session["late"] = 1

    server = serve_app(app)
    if known:
        server.cookies["session"] = manager.create().id
    server.get()

    assert server.header("Set-Cookie") == []
    assert "its cookie was not sent" in caplog.text
    assert "late" not in caplog.text


@pytest.mark.parametrize("known", [False, True])
def test_a_session_only_looked_at_after_the_headers_is_no_matter(serve_app, manager, caplog, known):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        yield b"first"
        environ["kiokupy.session"].get("a")

    server = serve_app(app)
    if known:
        server.cookies["session"] = manager.create().id
    server.get()

    assert caplog.text == ""


def test_a_session_of_the_clients_first_touched_after_the_headers_is_saved(serve_app, manager, caplog):
    id = manager.create().id

    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        yield b"first"
        environ["kiokupy.session"]["late"] = 1

    server = serve_app(app)
    server.cookies["session"] = id
    server.get()

    assert dict(manager.retrieve(id)) == {"late": 1}
    assert caplog.text == ""


def test_a_new_session_with_nothing_but_a_principal_after_the_headers_is_warned_about(serve_app, manager, caplog):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        yield b"first"
        environ["kiokupy.session"].principal = "alice"

    serve_app(app).get()

    assert "its cookie was not sent" in caplog.text
    assert stored(manager) == []


@pytest.mark.parametrize("known", [False, True])
def test_a_session_destroyed_after_the_headers_is_ended_without_a_warning(serve_app, manager, caplog, known):
    def app(environ, start_response):
        session = environ["kiokupy.session"]
        start_response("200 OK", PLAIN)
        yield b"first"
        session["late"] = 1
        session.destroy()

    server = serve_app(app)
    if known:
        server.cookies["session"] = manager.create().id
    server.get()

    assert stored(manager) == []
    assert caplog.text == ""


def test_a_session_ended_elsewhere_after_the_headers_is_warned_about(serve_app, manager, caplog):
    def app(environ, start_response):
        session = environ["kiokupy.session"]
        session["a"] = 1
        start_response("200 OK", PLAIN)
        yield b"first"
        manager.destroy(session.id)
        session["late"] = 1

    with caplog.at_level(logging.WARNING):
        serve_app(app).get()

    assert "was ended meanwhile" in caplog.text
    assert stored(manager) == []


def test_write_sends_the_headers_with_the_session(serve_app, manager):
    def app(environ, start_response):
        write = start_response("200 OK", PLAIN)
        environ["kiokupy.session"]["a"] = 1
        write(b"one ")
        write(b"two ")
        return [b"three"]

    server = serve_app(app)

    assert server.get() == b"one two three"
    assert dict(manager.retrieve(server.cookies["session"])) == {"a": 1}


def test_a_list_and_a_file_are_returned_as_they_are(manager):
    body, wrapper = [b"body"], FileWrapper(io.BytesIO(b"file"))
    for result in (body, wrapper):

        def app(environ, start_response, result=result):
            environ["kiokupy.session"]["a"] = 1
            start_response("200 OK", PLAIN)
            return result

        headers = []
        environ = {"wsgi.file_wrapper": FileWrapper}
        found = SessionMiddleware(app, manager)(environ, lambda status, found, headers=headers: headers.append(found))

        assert found is result
        assert "Set-Cookie" in dict(headers[0])


def test_an_application_that_raises_saves_nothing(serve_app, manager):
    server = serve_app(lambda environ, start_response: environ["kiokupy.session"].update(a=1) or 1 / 0)

    with pytest.raises(ZeroDivisionError):
        server.get()
    assert stored(manager) == []


@pytest.mark.parametrize("chunks", [0, 1])
def test_an_application_that_raises_in_its_body_saves_no_more(serve_app, manager, chunks):
    id = manager.create().id

    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        environ["kiokupy.session"]["early"] = 1
        yield b"x" * chunks
        environ["kiokupy.session"]["late"] = 1
        raise ZeroDivisionError

    server = serve_app(app)
    server.cookies["session"] = id

    with pytest.raises(ZeroDivisionError):
        server.get()
    assert dict(manager.retrieve(id)) == ({"early": 1} if chunks else {})


def test_an_error_page_started_with_exc_info_saves_nothing(serve_app, manager):
    def app(environ, start_response):
        environ["kiokupy.session"]["a"] = 1
        start_response("200 OK", PLAIN)
        try:
            raise ValueError
        except ValueError:
            start_response("400 Bad Request", PLAIN, sys.exc_info())
        return [b"sorry"]

    server = serve_app(app)

    assert server.get() == b"sorry"
    assert server.status == "400 Bad Request"
    assert server.header("Vary") == ["Cookie"]
    assert stored(manager) == []


def test_exc_info_after_the_headers_raises_again(serve_app):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)(b"x")
        try:
            raise ValueError("late")
        except ValueError:
            start_response("500 Error", PLAIN, sys.exc_info())
        return []

    with pytest.raises(ValueError, match="late"):
        serve_app(app).get()


def test_changes_after_an_exc_info_that_came_too_late_are_not_saved(serve_app, manager):
    id = manager.create().id

    def app(environ, start_response):
        session = environ["kiokupy.session"]
        start_response("200 OK", PLAIN)
        yield b"first"
        session["late"] = 1
        try:
            raise ValueError
        except ValueError:
            with pytest.raises(ValueError, match=r"^$"):
                start_response("500 Error", PLAIN, sys.exc_info())
        yield b"second"

    server = serve_app(app)
    server.cookies["session"] = id

    assert server.get() == b"firstsecond"
    assert dict(manager.retrieve(id)) == {}


def test_a_status_from_500_on_saves_nothing_but_what_was_ended_stays_ended(serve_app, manager):
    id = manager.create().id

    def app(environ, start_response):
        session = environ["kiokupy.session"]
        session["a"] = 1
        session.regenerate() if environ["QUERY_STRING"] == "move" else session.get("b")
        session.destroy() if environ["QUERY_STRING"] == "end" else session.get("b")
        session["b"] = 1
        start_response("503 Service Unavailable", PLAIN)
        return [b""]

    server = serve_app(app)
    server.cookies["session"] = id
    server.get()
    assert dict(manager.retrieve(id)) == {}
    assert server.cookies == {"session": id}

    server.get(QUERY_STRING="move")
    assert manager.retrieve(id) is None
    assert dict(manager.retrieve(server.cookies["session"])) == {"a": 1}

    server.get(QUERY_STRING="end")
    assert server.cookies == {}
    assert stored(manager) == []


def slow_logout(manager, kind):
    """Return an application whose session is ended by another request meanwhile."""
    closed = []

    class Body(list):
        def close(self):
            closed.append(True)

    def app(environ, start_response):
        session = environ["kiokupy.session"]
        manager.destroy(environ["HTTP_COOKIE"].partition("=")[2])
        session["user"] = "bob"
        write = start_response("200 OK", PLAIN)
        if kind == "write":
            write(b"written")
        return Body([b"welcome bob"]) if kind != "generator" else (chunk for chunk in [b"welcome ", b"bob"])

    return app, closed


@pytest.mark.parametrize("kind", ["list", "write", "generator"])
def test_a_request_whose_session_was_ended_meanwhile_is_answered_with_400(serve_app, manager, kind):
    app, closed = slow_logout(manager, kind)
    session = manager.create()

    def touching(environ, start_response):
        environ["kiokupy.session"].get("a")
        return app(environ, start_response)

    server = serve_app(touching, checked=False)
    server.cookies["session"] = session.id
    body = server.get()

    assert server.status == "400 Bad Request"
    assert body == b"Your session ended while this request was under way. Please try again.\n"
    assert server.header("Set-Cookie") == []
    assert server.header("Cache-Control") == ["no-store"]
    assert stored(manager) == []
    assert closed == ([True] if kind != "generator" else [])


def test_the_answer_to_head_about_an_ended_session_has_no_body(serve_app, manager):
    app, _ = slow_logout(manager, "list")

    def touching(environ, start_response):
        environ["kiokupy.session"].get("a")
        return app(environ, start_response)

    server = serve_app(touching, checked=False)
    server.cookies["session"] = manager.create().id

    assert server.get(REQUEST_METHOD="HEAD") == b""
    assert server.status == "400 Bad Request"


@pytest.mark.parametrize("kind", [list, object])
def test_a_store_that_fails_at_the_end_fails_the_request_and_closes_the_body(serve_app, kind):
    closed = []

    class Body(kind):
        def __iter__(self):
            yield b"x"

        def close(self):
            closed.append(True)

    def app(environ, start_response):
        environ["kiokupy.session"]["a"] = open
        start_response("200 OK", PLAIN)
        return Body()

    with pytest.raises(kiokupy.NotStorable):
        serve_app(app, checked=False).get()
    assert closed == [True]


def test_start_response_twice_without_exc_info_is_an_error(serve_app):
    def app(environ, start_response):
        start_response("200 OK", PLAIN)
        start_response("200 OK", PLAIN)

    with pytest.raises(AssertionError, match="called start_response twice"):
        serve_app(app, checked=False).get()


def test_an_application_that_never_starts_a_response_is_an_error(serve_app):
    with pytest.raises(AssertionError, match="did not call start_response"):
        serve_app(lambda environ, start_response: [b"x"], checked=False).get()


def test_a_client_that_goes_before_any_output_saves_nothing(manager):
    def app(environ, start_response):
        environ["kiokupy.session"]["a"] = 1
        start_response("200 OK", PLAIN)
        yield b"x"

    SessionMiddleware(app, manager)({}, None).close()

    assert stored(manager) == []


def test_the_client_is_noted_with_its_session(serve, manager):
    server = serve(count)
    server.get(HTTP_USER_AGENT="Lynx", REMOTE_ADDR="192.0.2.1")

    assert manager.retrieve(server.cookies["session"]).device == ("Lynx", "192.0.2.1")


class TestJoined:
    """Session and objects in one transaction."""

    @pytest.fixture
    def serve(self, manager):
        manager.directory.store([0], id="hits")

        def serve(answer):
            def app(environ, start_response):
                session = environ["kiokupy.session"]
                session.scope.get("hits")[0] += 1
                count(session)
                return answer(session, start_response)

            return Server(SessionMiddleware(app, manager, Cookie(secure=False), join=True))

        return serve

    @staticmethod
    def hits(manager):
        return manager.directory.get("hits")[0]

    @pytest.mark.parametrize("kind", [list, iter])
    def test_they_are_saved_together(self, serve, manager, kind):
        def answer(session, start_response):
            start_response("200 OK", PLAIN)
            return kind([str(session["n"]).encode()])

        server = serve(answer)

        assert [server.get(), server.get()] == [b"1", b"2"]
        assert self.hits(manager) == 2

    def test_they_are_dropped_together(self, serve, manager):
        scopes = []

        def fails(session, start_response):
            scopes.append(session.scope)
            raise ZeroDivisionError

        def refuses(session, start_response):
            start_response("503 Service Unavailable", PLAIN)
            return [b"sorry"]

        with pytest.raises(ZeroDivisionError):
            serve(fails).get()
        assert serve(refuses).get() == b"sorry"
        assert (self.hits(manager), stored(manager)) == (0, [])
        assert not scopes[0].is_open

    def test_no_connection_stays_open(self, serve, manager):
        def answer(session, start_response):
            if session["n"] == 1:
                raise ZeroDivisionError
            start_response("500 Sorry" if session["n"] == 2 else "200 OK", PLAIN)
            return [b""]

        server = serve(answer)
        for _ in range(3):
            with contextlib.suppress(ZeroDivisionError):
                server.get()
        with manager.directory.new_unit() as unit:
            opened = [one for one in unit.connection.db().connectionDebugInfo() if one["opened"]]

        assert len(opened) == 1


def test_a_middleware_without_a_manager_is_refused():
    with pytest.raises(SettingsError, match="takes a session manager, not a str"):
        SessionMiddleware(lambda environ, start_response: [], "Hash")


def test_the_cookie_of_a_login_that_is_to_be_remembered_outlives_the_browser(serve_app):
    def app(environ, start_response):
        environ["kiokupy.session"].login("alice", remember=True)
        start_response("200 OK", PLAIN)
        return [b""]

    server = serve_app(app)
    server.get()

    assert f"; Max-Age={14 * 86400};" in server.header("Set-Cookie")[0]


class TestPaste:
    def test_the_filter_is_found_by_its_entry_points(self):
        points = metadata.entry_points(group="paste.filter_app_factory")

        assert {point.name for point in points if point.load() is make_filter} == {"main", "session"}

    def test_a_filter_is_made_of_strings(self, tmp_path):
        settings = {
            "target": f"file:path={tmp_path}/store.fs", "idle": "60", "absolute": "600", "resolution": "5",
            "cookie_secure": "false", "cookie_max_age": "600", "cookie_name": "sid", "key": "the.session",
            "allow_modules": "shop.models  other", "join": "true",
        }  # fmt: skip

        def app(environ, start_response):
            environ["the.session"]["a"] = environ["the.session"].scope.exists("x")
            start_response("200 OK", PLAIN)
            return [b""]

        middleware = make_filter(app, {}, **settings)
        server = Server(middleware)
        server.get()

        assert "; Max-Age=600; Path=/; HttpOnly" in server.header("Set-Cookie")[0]
        assert (middleware.manager.policy.idle, middleware.manager.policy.resolution) == (60, 5)
        middleware.manager.close()

    @pytest.mark.parametrize("opts", ['{{"path": "{}/s.fs", "create": 0}}', "path={}/s.fs;create=0"])
    def test_the_seeds_settings_are_understood(self, tmp_path, opts):
        with pytest.raises(StoreNotFound):
            make_filter(None, {}, kiokudb_backend="File", kiokudb_backend_opts=opts.format(tmp_path))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"taget": "Hash"}, "Did you mean 'target'"),
            ({"colour": "red"}, "There are absolute, allow_modules"),
            ({"idle": "soon"}, "the setting idle is 'soon'"),
            ({"kiokudb_backend_opts": "{"}, "the setting kiokudb_backend_opts is"),
            ({"cookie_secure": "perhaps"}, "the setting cookie_secure is 'perhaps'"),
            ({"cookie_samesite": "Loose"}, "the cookie's samesite is 'Loose'"),
            ({"target": "Hash", "kiokudb_backend": "Hash"}, "target stands beside kiokudb_backend"),
        ],
    )
    def test_a_wrong_setting_is_refused(self, settings, message):
        with pytest.raises(SettingsError, match=message):
            make_filter(None, {}, **settings)
