"""Flask's sessions: its own names and habits, with its test client; Flask-Login and Flask-WTF on top of them."""

import copy
import logging
import uuid
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import flask
import pytest
from flask import Flask
from flask_wtf.csrf import CSRFProtect, generate_csrf
from markupsafe import Markup
from werkzeug.middleware.proxy_fix import ProxyFix

import kiokupy
from kiokupy import NotStorable, SessionManager, SessionPolicy, SettingsError, StoreNotFound, TargetError
from kiokupy.sessions.facts import Device
from kiokupy.web.flask import KiokuSessions, scope, session

HTTPS = {"base_url": "https://localhost"}


@pytest.fixture
def manager():
    with kiokupy.connect("Hash") as directory:
        yield SessionManager(directory)


@pytest.fixture
def make_app():
    """Make an application with the views given, by their names; what it opens is closed."""
    made = []

    def make_app(*views, manager=None, join=None, allow_classes=(), **config):
        app = Flask("shop")
        app.config.from_mapping(config)
        KiokuSessions(app, manager, join=join, allow_classes=allow_classes)
        for view in views:
            app.add_url_rule(f"/{view.__name__}", view_func=view)
        made.append(app)
        return app

    yield make_app
    for app in made:
        app.extensions["kiokupy"].close()


@pytest.fixture
def client(make_app, manager):
    """Return a client of an application with the views given."""
    return lambda *views, **config: make_app(*views, manager=manager, **config).test_client()


def count():
    session["n"] = session.get("n", 0) + 1
    return str(session["n"])


def untouched():
    return "hello"


def keys():
    return " ".join(sorted(session))


def stored(manager):
    with manager.directory.new_unit() as unit:
        return list(unit.root["sessions"])


def cookie_of(response):
    """Return the attributes of the cookie that a response sets."""
    name, _, rest = response.headers["Set-Cookie"].partition("=")
    return {"name": name, "rest": rest.partition("; ")[2]}


# The session as Flask has it


def test_a_session_goes_from_request_to_request(client):
    browser = client(count)

    assert [browser.get("/count").text for _ in range(3)] == ["1", "2", "3"]


def test_an_untouched_session_asks_the_store_nothing_and_says_nothing(client, manager):
    browser = client(untouched)
    browser.set_cookie("__Host-session", "A" * 43)
    manager.close()
    response = browser.get("/untouched")

    assert response.text == "hello"
    assert not {"Set-Cookie", "Vary", "Cache-Control"} & set(response.headers.keys())


def test_to_set_permanent_before_each_request_is_not_to_touch_the_session(make_app, manager):
    app = make_app(untouched, manager=manager)

    @app.before_request
    def stay():
        session.permanent = True

    browser = app.test_client()
    browser.set_cookie("__Host-session", "A" * 43)
    manager.close()

    assert "Vary" not in browser.get("/untouched").headers


def test_a_session_that_stays_empty_is_not_stored(client, manager):
    def look():
        session.permanent = True
        return str(session.get("n"))

    response = client(look).get("/look")

    assert (response.headers["Vary"], response.headers.get("Set-Cookie"), stored(manager)) == ("Cookie", None, [])


def test_the_headers_of_a_response_that_depends_on_the_session(client):
    def varied():
        session["n"] = 1
        return "", 200, {"Vary": "Accept-Language", "Cache-Control": "max-age=60", "X-Mine": "1"}

    def reading():
        return str(session.get("n")), 200, {"Cache-Control": "private"}

    browser = client(varied, reading)
    writing = browser.get("/varied").headers

    assert (writing["Vary"], writing["Cache-Control"], writing["X-Mine"]) == (
        "Accept-Language, Cookie",
        "no-store",
        "1",
    )
    assert browser.get("/reading").headers["Cache-Control"] == "private"


@pytest.mark.parametrize(
    "value",
    [
        ("a", 1, (2,)),
        b"\x00\xff",
        Markup("<b>bold</b>"),
        uuid.UUID(int=7),
        datetime(2026, 11, 25, 12, 0, 1),
        datetime(2026, 11, 25, 12, 0, tzinfo=UTC),
        date(2026, 11, 25),
        {1, 2},
        {"nested": [1, {"deep": None}]},
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("own_manager", [True, False])
def test_what_flask_keeps_in_a_session_comes_back_as_it_was(make_app, manager, value, own_manager):
    def put():
        session["value"] = value
        return ""

    def get():
        found = session["value"]
        return f"{found == value} {type(found) is type(value)}"

    browser = make_app(put, get, manager=manager if own_manager else None, TESTING=True).test_client()
    browser.get("/put")

    assert browser.get("/get").text == "True True"


def test_an_objects_class_can_be_allowed(make_app):
    class_ = type("Basket", (), {"__module__": __name__, "__qualname__": "Basket"})
    globals()["Basket"] = class_

    def put():
        session["basket"] = Basket()  # noqa: F821  # made above
        return ""

    def get():
        return type(session["basket"]).__name__

    browser = make_app(put, get, allow_classes=[class_], TESTING=True).test_client()
    browser.get("/put")

    assert browser.get("/get").text == "Basket"


def test_changes_deep_inside_a_value_are_saved_without_saying_so(client):
    def put():
        session["cart"] = {"lines": []}
        return ""

    def add():
        session["cart"]["lines"].append("tea")
        return str(session.modified)

    def show():
        return f"{session['cart']} {session.modified}"

    browser = client(put, add, show)
    browser.get("/put")

    assert browser.get("/add").text == "True"
    assert browser.get("/show").text == "{'lines': ['tea']} False"


def test_to_set_modified_does_no_harm(client):
    def mark():
        session.modified = True
        return ""

    assert "Set-Cookie" not in client(mark).get("/mark").headers


def test_a_session_is_new_until_it_is_stored(client):
    def look():
        session["n"] = 1
        return f"{session.new} {session.accessed}"

    browser = client(look)

    assert [browser.get("/look").text for _ in range(2)] == ["True True", "False True"]


def test_the_session_has_the_kept_ones_names_as_well(client):
    def look():
        assert session is flask.session
        assert isinstance(session._get_current_object(), MutableMapping)
        assert not hasattr(session, "unheard_of")
        assert repr(copy.copy(session._get_current_object())) == repr(session.kept)
        session.principal = "ada"
        return f"{session.principal} {session.created == session.kept.created} {len(session.id)} {session!r}"

    assert client(look).get("/look").text == "ada True 43 <Session, new>"


def test_a_session_outside_of_a_served_request_is_not_saved(make_app, manager):
    app = make_app(manager=manager)
    with app.test_request_context():
        session["n"] = 1
        assert session["n"] == 1

    assert stored(manager) == []


def test_messages_are_flashed_once(client):
    def say():
        flask.flash(Markup("<b>saved</b>"), "info")
        flask.flash("twice")
        return ""

    def hear():
        return str(flask.get_flashed_messages(with_categories=True))

    browser = client(say, hear)
    browser.get("/say")

    assert browser.get("/hear").text == "[('info', Markup('<b>saved</b>')), ('message', 'twice')]"
    assert browser.get("/hear").text == "[]"


def test_messages_of_two_requests_at_the_same_time_are_both_heard(client, manager):
    def say():
        other = manager.retrieve(session.id)
        other["_flashes"] = [("message", "theirs")]
        flask.flash("mine")
        other.flush()
        return ""

    def hear():
        return str(flask.get_flashed_messages())

    browser = client(count, say, hear)
    browser.get("/count")
    browser.get("/say")

    assert browser.get("/hear").text == "['theirs', 'mine']"


def test_the_test_clients_session_transaction(client):
    browser = client(count)
    with browser.session_transaction() as transaction:
        transaction["n"] = 41

    assert browser.get("/count").text == "42"
    with browser.session_transaction() as transaction:
        assert transaction["n"] == 42


def test_the_test_client_can_look_at_the_session_after_a_request(client):
    with client(count) as browser:
        browser.get("/count")

        assert session["n"] == 1


def test_a_template_reads_the_session_and_its_token(make_app, manager):
    def form():
        session["name"] = "Ada"
        return flask.render_template_string("{{ session.name }} {{ session.csrf_token() }}")

    def check():
        return str([session.check_csrf(flask.request.args["token"]), session.check_csrf("other")])

    browser = make_app(form, check, manager=manager).test_client()
    name, token = browser.get("/form").text.split()

    assert name == "Ada"
    assert browser.get("/check", query_string={"token": token}).text == "[True, False]"


def test_a_template_that_shows_no_session_does_not_touch_it(client):
    def page():
        return flask.render_template_string("{{ 1 + 1 }}")

    assert "Vary" not in client(page).get("/page").headers


def test_flask_wtf_keeps_its_token_in_the_session(make_app, manager):
    def form():
        return generate_csrf()

    app = make_app(form, manager=manager, SECRET_KEY="signs Flask-WTF's tokens")
    CSRFProtect(app)
    app.add_url_rule("/post", view_func=lambda: "posted", endpoint="post", methods=["POST"])
    browser = app.test_client()
    token = browser.get("/form").text

    assert browser.post("/post").status_code == 400
    assert browser.post("/post", data={"csrf_token": token}).text == "posted"


# Its end


def test_clear_ends_the_session_in_the_store_and_in_the_browser(client, manager):
    def leave():
        session.clear()
        return ""

    browser = client(count, leave)
    browser.get("/count")
    left = browser.get("/leave")

    assert "Max-Age=0" in left.headers["Set-Cookie"]
    assert stored(manager) == []


def test_clear_before_login_gives_a_new_id_and_the_old_one_is_dead(client, manager):
    def login():
        session.clear()
        session["user_id"] = 7
        return ""

    browser = client(count, login, keys)
    browser.get("/count")
    planted = browser.get_cookie("__Host-session").value
    browser.get("/login")

    assert browser.get("/keys").text == "user_id"
    assert len(stored(manager)) == 1
    browser.set_cookie("__Host-session", planted)
    assert browser.get("/keys").text == ""


@pytest.mark.parametrize("id", ["A" * 43, "../../etc/passwd", "x" * 4000])
def test_an_id_that_the_client_made_up_is_not_adopted(client, id):
    browser = client(count)
    browser.set_cookie("__Host-session", id)

    assert browser.get("/count").text == "1"
    assert browser.get_cookie("__Host-session").value != id


# How long it lives


class Clock:
    """Days and minutes pass when a test says so."""

    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now

    def pass_(self, **times):
        self.now += timedelta(**times).total_seconds()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def timed(make_app, clock):
    """Return a client whose sessions live by the clock; they are counted at /count, and permanent with ?permanent=1."""
    with kiokupy.connect("Hash") as directory:
        manager = SessionManager(directory, SessionPolicy(clock=clock))

        def timed(**config):
            def permanent():
                session.permanent = flask.request.args["is"] == "yes"
                return f"{count()} {session.permanent}"

            return make_app(count, permanent, is_permanent, manager=manager, **config).test_client()

        yield timed


def is_permanent():
    return str(session.permanent)


def test_a_session_ends_with_the_browser_and_by_the_policys_clocks(timed, clock):
    browser = timed()
    assert "Max-Age" not in browser.get("/count").headers["Set-Cookie"]
    assert browser.get("/is_permanent").text == "False"
    clock.pass_(minutes=29)
    assert browser.get("/count").text == "2"
    clock.pass_(minutes=31)

    assert browser.get("/count").text == "1"


def test_a_permanent_session_lives_by_flasks_setting(timed, clock):
    browser = timed(PERMANENT_SESSION_LIFETIME=timedelta(days=7))
    first = browser.get("/permanent?is=yes")
    assert (first.text, "; Max-Age=604800; " in first.headers["Set-Cookie"]) == ("1 True", True)
    for number in range(2, 9):
        clock.pass_(days=6)
        response = browser.get("/count")
        assert (response.text, "; Max-Age=604800; " in response.headers["Set-Cookie"]) == (str(number), True)
    assert browser.get("/is_permanent").text == "True"
    clock.pass_(days=8)

    assert browser.get("/count").text == "1"


def test_a_permanent_session_that_is_not_refreshed_ends_a_fixed_time_after_it_began(timed, clock):
    browser = timed(PERMANENT_SESSION_LIFETIME=timedelta(days=7), SESSION_REFRESH_EACH_REQUEST=False)
    browser.get("/permanent?is=yes")
    clock.pass_(days=6)
    assert "; Max-Age=86400; " in browser.get("/count").headers["Set-Cookie"]
    clock.pass_(days=2)

    assert browser.get("/count").text == "1"


def test_new_sessions_are_permanent_if_the_application_says_so(timed):
    browser = timed(SESSION_PERMANENT=True)

    assert "; Max-Age=2678400; " in browser.get("/count").headers["Set-Cookie"]
    assert browser.get("/permanent?is=no").text == "2 False"
    assert browser.get("/is_permanent").text == "False"


def test_a_session_that_is_permanent_no_more_lives_by_the_policy(timed, clock):
    browser = timed()
    browser.get("/permanent?is=yes")
    assert "Max-Age" not in browser.get("/permanent?is=no").headers["Set-Cookie"]
    clock.pass_(minutes=31)

    assert browser.get("/count").text == "1"


def test_to_say_not_permanent_gives_a_session_no_limits_of_its_own(make_app, clock):
    def brief():
        session.permanent = False
        return count()

    with kiokupy.connect("Hash") as directory:
        short, long = (SessionManager(directory, SessionPolicy(clock=clock, idle=idle)) for idle in (600, 6000))
        browser = make_app(brief, manager=short).test_client()
        later = make_app(brief, manager=long).test_client()
        browser.get("/brief")
        later.set_cookie("__Host-session", browser.get_cookie("__Host-session").value)
        clock.pass_(seconds=500)
        assert later.get("/brief").text == "2"
        clock.pass_(seconds=5000)
        assert later.get("/brief").text == "3"


def test_to_say_permanent_again_is_no_change(timed):
    browser = timed()
    browser.get("/permanent?is=yes")

    def again():
        session.permanent = True
        return str(session["n"])

    browser.application.view_functions["is_permanent"] = again

    assert "Set-Cookie" not in browser.get("/is_permanent").headers


# What fails


def raise_after():
    session["n"] = -1
    raise RuntimeError("as asked")


def answer_503():
    session["n"] = -1
    return "later", 503


def abort_404():
    session["n"] = 404
    flask.abort(404)


@pytest.mark.parametrize("view", [raise_after, answer_503])
def test_a_request_that_fails_saves_nothing(client, view):
    browser = client(count, view)
    browser.get("/count")
    response = browser.get(f"/{view.__name__}")

    assert response.status_code >= 500
    assert "Set-Cookie" not in response.headers
    assert browser.get("/count").text == "2"


def test_an_error_that_goes_through_to_the_server_saves_nothing(client):
    browser = client(count, raise_after, TESTING=True)
    browser.get("/count")
    with pytest.raises(RuntimeError, match="as asked"):
        browser.get("/raise_after")

    assert browser.get("/count").text == "2"


def test_a_page_that_is_not_found_saves_what_was_changed(client):
    browser = client(count, abort_404)
    browser.get("/abort_404")

    assert browser.get("/count").text == "405"


def put_what_cannot_be_stored():
    session["n"], session["lock"] = -1, logging.getLogger()
    return "hello"


def test_what_cannot_be_stored_is_an_error_of_the_request(client, caplog):
    browser = client(count, put_what_cannot_be_stored)
    browser.get("/count")
    response = browser.get("/put_what_cannot_be_stored")

    assert response.status_code == 500
    assert "session" in str(caplog.records[-1].exc_info[1])
    assert browser.get("/count").text == "2"


def test_what_cannot_be_stored_is_raised_in_tests(client):
    with pytest.raises(NotStorable, match="lock"):
        client(put_what_cannot_be_stored, TESTING=True).get("/put_what_cannot_be_stored")


@pytest.fixture
def outlived(make_app, manager):
    """Return the response to a request whose session another one ends meanwhile, and the application."""

    def outlived(answer, handler=None, method="GET", **config):
        def ended():
            session["n"] = 2
            manager.destroy(session.id)
            return answer()

        app = make_app(count, ended, manager=manager, **config)
        if handler is not None:
            app.register_error_handler(400, handler)
        browser = app.test_client()
        browser.get("/count")
        return browser.open("/ended", method=method)

    return outlived


def test_a_request_that_outlives_its_session_is_told_so(outlived, manager):
    response = outlived(lambda: flask.make_response("done", 200, {"Set-Cookie": "a=b"}))

    assert (response.status_code, "ended while this request was under way" in response.text) == (400, True)
    assert (response.headers["Vary"], response.headers["Cache-Control"]) == ("Cookie", "no-store")
    assert "Set-Cookie" not in response.headers
    assert stored(manager) == []


def test_the_application_says_it_in_its_own_words(outlived):
    response = outlived(lambda: "done", lambda error: (f"Sorry: {error.description}", 400))

    assert response.status_code == 400
    assert response.text.startswith("Sorry: Your session ended")


def test_a_streamed_answer_whose_session_is_gone_is_closed_unread(outlived):
    seen = []

    def answer():
        def lines():
            try:
                yield "never"
            finally:
                seen.append("closed")

        chunks = lines()
        next(chunks)
        return flask.Response(chunks)

    response = outlived(answer)

    assert (response.status_code, "never" in response.text, seen) == (400, False, ["closed"])


def test_a_file_whose_session_is_gone_is_not_sent(outlived, tmp_path):
    (tmp_path / "file.txt").write_text("secret")
    response = outlived(lambda: flask.send_file(tmp_path / "file.txt"))

    assert (response.status_code, "secret" in response.text) == (400, False)


def test_a_head_request_that_outlives_its_session_has_no_body(outlived):
    response = outlived(lambda: "done", method="HEAD")

    assert (response.status_code, response.data) == (400, b"")


def test_an_applications_answer_that_fails_itself_is_a_failed_request(outlived):
    def fail(error):
        raise RuntimeError

    assert outlived(lambda: "done", fail).status_code == 500


# What is streamed


def test_a_streamed_response_reads_its_session_and_saves_what_it_changes(client):
    def stream():
        session["n"] = 0

        def lines():
            for _ in range(3):
                session["n"] += 1
                yield f"{session['n']} "

        return flask.stream_with_context(lines())

    browser = client(count, stream)

    assert browser.get("/stream").text == "1 2 3 "
    assert browser.get("/count").text == "4"


def test_a_stream_that_breaks_saves_nothing_of_what_it_changed(client):
    def stream():
        def lines():
            session["n"] = -1
            yield "one"
            raise RuntimeError("as asked")

        return flask.stream_with_context(lines())

    browser = client(count, stream)
    browser.get("/count")
    with pytest.raises(RuntimeError, match="as asked"):
        browser.get("/stream").text  # noqa: B018  # reads it

    assert browser.get("/count").text == "2"


def test_a_session_begun_too_late_for_its_cookie_is_named_in_the_log(client, caplog, manager):
    def stream():
        def lines():
            session["n"] = 1
            yield "one"

        return flask.stream_with_context(lines())

    assert client(stream).get("/stream").text == "one"

    assert "after the headers had left" in caplog.text
    assert stored(manager) == []


def test_an_asynchronous_view_has_its_session(client):
    async def count_soon():
        return count()

    browser = client(count_soon)

    assert [browser.get("/count_soon").text for _ in range(2)] == ["1", "2"]


# The cookie


SAFE = "Path=/; Secure; HttpOnly; SameSite=Lax"


@pytest.mark.parametrize(
    ("config", "name", "rest"),
    [
        ({}, "__Host-session", SAFE),
        ({"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_HTTPONLY": True}, "__Host-session", SAFE),
        ({"SESSION_COOKIE_NAME": "sid"}, "sid", SAFE),
        ({"SESSION_COOKIE_PATH": "/shop"}, "__Secure-session", SAFE.replace("=/", "=/shop")),
        ({"APPLICATION_ROOT": "/shop"}, "__Secure-session", SAFE.replace("=/", "=/shop")),
        ({"APPLICATION_ROOT": "/shop", "SESSION_KIOKUPY": {"cookie_path": "/"}}, "__Host-session", SAFE),
        ({"SESSION_COOKIE_DOMAIN": "localhost"}, "__Secure-session", SAFE.replace("=/", "=/; Domain=localhost")),
        ({"SESSION_COOKIE_HTTPONLY": False}, "__Host-session", SAFE.replace("HttpOnly; ", "")),
        ({"SESSION_COOKIE_SAMESITE": "Strict"}, "__Host-session", SAFE.replace("Lax", "Strict")),
        ({"SESSION_COOKIE_SAMESITE": "None"}, "__Host-session", SAFE.replace("Lax", "None")),
        ({"SESSION_COOKIE_PARTITIONED": True}, "__Host-session", SAFE.replace("; Same", "; Partitioned; Same")),
        ({"SESSION_KIOKUPY": {"cookie_secure": False}}, "session", SAFE.replace("Secure; ", "")),
        ({"SESSION_KIOKUPY": {"cookie_max_age": "60"}}, "__Host-session", f"Max-Age=60; {SAFE}"),
        ({"DEBUG": True}, "session", SAFE.replace("Secure; ", "")),
        ({"DEBUG": True, "SESSION_COOKIE_SECURE": True}, "__Host-session", SAFE),
        ({"DEBUG": True, "SESSION_KIOKUPY": {"cookie_secure": True}}, "__Host-session", SAFE),
    ],
    ids=str,
)
def test_the_cookie_is_as_flasks_configuration_says_and_safe_where_it_says_nothing(make_app, config, name, rest):
    response = make_app(count, **config).test_client().get("/shop/count" if "/shop" in rest else "/count", **HTTPS)
    if response.status_code == 404:
        response = make_app(count, **config).test_client().get("/count", **HTTPS)

    assert cookie_of(response) == {"name": name, "rest": rest}


def test_debug_may_be_switched_on_after_the_application_was_made(make_app, manager):
    app = make_app(count, manager=manager)
    app.debug = True

    assert "Secure" not in app.test_client().get("/count").headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"SESSION_COOKIE_NAME": "a", "SESSION_KIOKUPY": {"cookie_name": "b"}}, "Give one of them"),
        ({"SESSION_COOKIE_SAMESITE": "lax"}, "one of Lax, Strict, None"),
        ({"SESSION_COOKIE_SAMESITE": "None", "DEBUG": True}, "None needs secure"),
        ({"SESSION_COOKIE_NAME": "__Host-a", "SESSION_COOKIE_DOMAIN": "a.example"}, "no domain"),
        ({"SESSION_COOKIE_DOMAIN": False}, "it is a string"),
        ({"SESSION_KIOKUPY": {"idel": 60}}, "Did you mean 'idle'"),
        ({"SESSION_KIOKUPY": {"joyn": True}}, "Did you mean 'join'"),
        ({"SESSION_KIOKUPY": 7}, "a target or a mapping, not a int"),
        ({"SESSION_KIOKUPY": {"exclude": ["static"]}}, "paths that begin with /"),
        ({"SESSION_KIOKUPY": {"exclude": [7]}}, "paths that begin with /"),
        ({"SESSION_KIOKUPY": {"join": "perhaps"}}, "join"),
        ({"SESSION_KIOKUPY": {"principal_key": 7}}, "a key of the session, or None"),
        ({"PERMANENT_SESSION_LIFETIME": 0}, "PERMANENT_SESSION_LIFETIME is a number of seconds above 0"),
        ({"SESSION_KIOKUPY": "sqlit:///a"}, "sqlit"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_when_the_application_is_made(make_app, config, words):
    with pytest.raises((SettingsError, TargetError), match=words):
        make_app(**config)


def test_a_store_is_described_once(make_app, manager):
    with pytest.raises(SettingsError, match=r"allow_classes stands beside a manager\. Give them to kiokupy\.connect"):
        make_app(manager=manager, allow_classes=[Order])
    with pytest.raises(SettingsError, match=r"'target', and there is a manager already\. Build the manager with it"):
        make_app(manager=manager, SESSION_KIOKUPY="Hash")
    assert make_app(manager=manager, SESSION_KIOKUPY={"cookie_name": "a", "join": "no"}).extensions["kiokupy"]


def test_an_application_has_its_sessions_once(make_app, manager):
    app = make_app(manager=manager)
    with pytest.raises(SettingsError, match="once"):
        KiokuSessions(app)


def test_a_manager_is_a_manager():
    with pytest.raises(SettingsError, match=r"not a Directory\. For example"), kiokupy.connect("Hash") as directory:
        KiokuSessions(manager=directory)


# Plain HTTP


@pytest.mark.parametrize(
    "case",
    [
        ({}, "http://localhost", 1),
        ({}, "https://localhost", 0),
        ({"DEBUG": True}, "http://localhost", 0),
        ({"TESTING": True}, "http://localhost", 0),
        ({"SESSION_KIOKUPY": {"cookie_secure": False}}, "http://localhost", 0),
    ],
    ids=str,
)
def test_a_cookie_that_may_not_come_back_is_named_in_the_log_once(make_app, manager, caplog, case):
    config, address, warnings = case
    app = make_app(count, keys, untouched, manager=manager, **config)
    for path in ("/untouched", "/keys", "/count", "/count"):
        app.test_client().get(path, base_url=address)

    assert sum("plain HTTP" in record.getMessage() for record in caplog.records) == warnings


def test_another_cookie_is_no_reason_to_warn(client, caplog):
    def other():
        response = flask.make_response(str(session.get("n")))
        response.set_cookie("theme", "dark")
        return response

    client(other).get("/other")

    assert "plain HTTP" not in caplog.text


def test_a_proxy_that_ends_tls_is_believed_when_flask_believes_it(make_app, manager, caplog):
    app = make_app(count, manager=manager)
    app.wsgi_app = ProxyFix(app.wsgi_app)
    app.test_client().get("/count", headers={"X-Forwarded-Proto": "https"})

    assert "plain HTTP" not in caplog.text


# The store


def test_sessions_in_memory_are_named_in_the_log(make_app, caplog, tmp_path):
    for config in ({}, {"SESSION_KIOKUPY": f"file:path={tmp_path}/s.fs"}, {"TESTING": True}):
        make_app(count, **config).test_client().get("/count", **HTTPS)

    assert [record.getMessage() for record in caplog.records] == [
        "SESSION_KIOKUPY does not say where to keep sessions: they end with this process"
    ]


def test_the_store_is_opened_by_the_first_request(make_app, tmp_path):
    store = tmp_path / "s.fs"
    app = make_app(count, SESSION_KIOKUPY=f"file:path={store}")
    assert not store.exists()
    browser = app.test_client()
    browser.get("/count", **HTTPS)
    assert store.exists()
    app.extensions["kiokupy"].close()

    assert browser.get("/count", **HTTPS).text == "2"


def test_first_requests_at_the_same_time_open_it_once(make_app, tmp_path):
    app = make_app(count, TESTING=True, SESSION_KIOKUPY=f"file:path={tmp_path}/s.fs")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: app.test_client().get("/count").text, range(8)))

    assert answers == ["1"] * 8


def test_settings_come_from_the_environment(make_app, monkeypatch, tmp_path):
    monkeypatch.setenv("FLASK_SESSION_KIOKUPY__target", f"file:path={tmp_path}/s.fs")
    monkeypatch.setenv("FLASK_SESSION_KIOKUPY__idle", "90")
    config = flask.Config(tmp_path)
    config.from_prefixed_env()
    app = make_app(count, **config)
    app.test_client().get("/count", **HTTPS)

    assert (tmp_path / "s.fs").exists()
    assert app.extensions["kiokupy"].manager.policy.idle == 90


def test_a_store_that_cannot_be_opened_fails_the_request(make_app, tmp_path):
    app = make_app(count, TESTING=True, SESSION_KIOKUPY=f"file:path={tmp_path}/s.fs;create=0")

    with pytest.raises(StoreNotFound):
        app.test_client().get("/count")


def test_of_a_store_that_cannot_be_opened_nothing_else_is_logged(make_app, tmp_path, caplog):
    app = make_app(count, SESSION_KIOKUPY=f"file:path={tmp_path}/s.fs;create=0")

    assert app.test_client().get("/count").status_code == 500
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [StoreNotFound]


def test_applications_in_one_process_have_their_own_sessions_or_share_a_manager(make_app, manager):
    own = [make_app(count, TESTING=True) for _ in range(2)]
    shared = [make_app(count, manager=manager) for _ in range(2)]
    browsers = [app.test_client() for app in own + shared]
    browsers[0].get("/count")
    browsers[2].get("/count")
    for giver, taker in ((0, 1), (2, 3)):
        browsers[taker].set_cookie("__Host-session", browsers[giver].get_cookie("__Host-session").value)

    assert [browser.get("/count").text for browser in browsers] == ["2", "1", "2", "3"]


def test_an_extension_serves_several_applications(manager):
    sessions, apps = KiokuSessions(manager=manager), [Flask("one"), Flask("two")]
    for app in apps:
        sessions.init_app(app)
        with app.app_context():
            assert sessions.manager is manager
        app.extensions["kiokupy"].close()

    assert not manager.destroy("A" * 43)  # it is the caller's to close


# Paths without a session


@pytest.fixture
def excluding(client):
    def touch(path):
        if "permanent" in flask.request.args:
            session.permanent = True
        if "write" in flask.request.args:
            session["n"] = 1
        if "merge" in flask.request.args:
            found = session._get_current_object()
            found |= {"n": 1}
        return f"{session.get('n')} {dict(session)} {session.permanent} {session.principal} {session.modified}"

    browser = client(count, TESTING=True, SESSION_KIOKUPY={"exclude": ["/health", "/assets/"]})
    browser.application.add_url_rule("/<path:path>", view_func=touch)
    browser.get("/count")
    return browser


@pytest.mark.parametrize("path", ["/health", "/health/deep", "/assets/logo.png", "/assets/?permanent=1"])
def test_an_excluded_path_reads_an_empty_session_and_sets_no_cookie(excluding, path):
    response = excluding.get(path)

    assert response.text == f"None {{}} {'permanent' in path} None False"
    assert not {"Set-Cookie", "Vary"} & set(response.headers.keys())


@pytest.mark.parametrize("how", ["write", "merge"])
def test_to_write_in_an_excluded_path_is_an_error_that_names_the_setting(excluding, how):
    with pytest.raises(RuntimeError, match=r"at /health: SESSION_KIOKUPY\['exclude'\] names this path"):
        excluding.get(f"/health?{how}=1")


def test_other_paths_have_their_session(excluding):
    assert excluding.get("/healthy").text.startswith("1 ")


def test_an_excluded_path_can_be_one_string(make_app):
    app = make_app(count, TESTING=True, SESSION_KIOKUPY={"exclude": "/count"})

    with pytest.raises(RuntimeError, match="Take it out there"):
        app.test_client().get("/count")


# Whose session it is


def test_a_key_says_whose_session_it_is(client, manager):
    def become():
        name = flask.request.args.get("name")
        session["user"] = int(name) if name else None
        return str(session.principal)

    def leave():
        session.pop("user")
        return str(session.principal)

    browser = client(become, leave, SESSION_KIOKUPY={"principal_key": "user"})

    assert browser.get("/become?name=7").text == "7"
    assert browser.get("/leave").text == "None"
    assert [browser.get("/become?name=8").text, browser.get("/become").text] == ["8", "None"]


def test_without_a_principal_key_no_key_says_it(client):
    def become():
        session["_user_id"] = "7"
        session.pop("_user_id")
        return str(session.principal)

    assert client(become, SESSION_KIOKUPY={"principal_key": None}).get("/become").text == "None"


def test_a_new_principal_means_a_new_id(client, manager):
    def become():
        session["_user_id"] = "ada"
        return ""

    browser = client(count, become)
    browser.get("/count")
    planted = browser.get_cookie("__Host-session").value
    browser.get("/become")

    assert browser.get_cookie("__Host-session").value != planted
    assert manager.retrieve(planted) is None
    assert [info.principal for info in manager.sessions()] == ["ada"]


def test_a_session_says_where_it_is_used(client, manager):
    client(count).get("/count", headers={"User-Agent": "Lynx"}, environ_base={"REMOTE_ADDR": "192.0.2.7"})

    assert [tuple(info.device) for info in manager.sessions()] == [("Lynx", "192.0.2.7")]


def test_a_client_that_does_not_say_what_it_is(client, manager):
    client(count).get("/count", headers={"User-Agent": ""})

    assert [info.device.user_agent for info in manager.sessions()] == [None]


def test_a_view_ends_all_other_sessions_of_its_user(make_app, manager):
    def become():
        session["_user_id"] = "ada"
        return ""

    def leave_others():
        return str(manager.destroy_all("ada", keep=session))

    app = make_app(become, leave_others, keys, manager=manager)
    browsers = [app.test_client() for _ in range(3)]
    for browser in browsers:
        browser.get("/become")

    assert browsers[0].get("/leave_others").text == "2"
    assert [browser.get("/keys").text for browser in browsers] == ["_user_id", "", ""]


# In one transaction with the application's objects


class Order:
    def __init__(self, article):
        self.article = article


@pytest.fixture
def shop(make_app):
    scopes = []

    def order(article):
        scopes.append(scope._get_current_object())
        session["orders"] = [*session.get("orders", []), article]
        scope.store(Order(article), id=article)
        if article == "moon":
            flask.abort(500)
        if article == "lock":
            session["lock"] = logging.getLogger()
        if article == "bang":
            raise RuntimeError("as asked")
        return ""

    def look(article):
        return f"{scope.exists(article)} {session.get('orders')}"

    def leave(article):
        scope.store(Order(article), id=article)
        session.clear()
        return ""

    def stream(article):
        def lines():
            yield session["orders"][0]

        session.scope.store(Order(article), id=article)
        return flask.stream_with_context(lines())

    app = make_app(untouched, join=True, allow_classes=[Order], TESTING=True, PROPAGATE_EXCEPTIONS=False)
    for view in (order, look, leave, stream):
        app.add_url_rule(f"/{view.__name__}/<article>", view_func=view)
    yield app
    assert [scope.is_open for scope in scopes] == [False] * len(scopes)


def test_objects_and_session_are_saved_together(shop):
    browser = shop.test_client()
    browser.get("/order/tea")

    assert browser.get("/look/tea").text == "True ['tea']"


@pytest.mark.parametrize("article", ["moon", "lock", "bang"])
@pytest.mark.parametrize("propagate", [True, False])
def test_of_a_request_that_fails_neither_is_saved(shop, article, propagate):
    shop.config["PROPAGATE_EXCEPTIONS"] = propagate
    browser = shop.test_client()
    browser.get("/order/tea")
    if propagate and article != "moon":
        with pytest.raises((RuntimeError, NotStorable)):
            browser.get(f"/order/{article}")
    else:
        assert browser.get(f"/order/{article}").status_code == 500

    assert browser.get(f"/look/{article}").text == "False ['tea']"


def test_a_logout_is_in_the_transaction_too(shop):
    browser = shop.test_client()
    browser.get("/order/tea")
    browser.get("/leave/farewell")

    assert browser.get("/look/farewell").text == "True None"
    assert list(shop.extensions["kiokupy"].manager.sessions()) == []


def test_of_a_request_that_outlives_its_session_neither_is_saved(shop):
    def ended(article):
        scope.store(Order(article), id=article)
        shop.extensions["kiokupy"].manager.destroy(session.id)
        session["n"] = 1
        return ""

    shop.add_url_rule("/ended/<article>", view_func=ended)
    browser = shop.test_client()
    browser.get("/order/tea")

    assert browser.get("/ended/milk").status_code == 400
    assert browser.get("/look/milk").text == "False None"


def test_a_stream_reads_a_joined_session_after_its_transaction(shop):
    browser = shop.test_client()
    browser.get("/order/tea")

    assert browser.get("/stream/milk").text == "tea"  # the second teardown finds the scope closed
    assert browser.get("/look/milk").text == "True ['tea']"


def test_an_untouched_joined_session_opens_no_scope(shop):
    shop.test_client().get("/look/tea")
    shop.extensions["kiokupy"].manager.close()

    assert shop.test_client().get("/untouched").text == "hello"


def test_a_session_transaction_is_joined_as_well(shop):
    browser = shop.test_client()
    with browser.session_transaction() as transaction:
        transaction["orders"] = []
        transaction.scope.store(Order("milk"), id="milk")

    assert browser.get("/look/milk").text == "True []"


def test_without_join_there_is_no_scope_and_the_error_says_how_to_have_one(client):
    def look():
        return str(scope.exists("tea"))

    with pytest.raises(SettingsError, match="join=True"):
        client(look, TESTING=True).get("/look")


# The command line


@pytest.fixture
def run(make_app, manager):
    """Run ``flask kiokupy ...``; return its status and what it printed."""
    app = make_app(manager=manager)

    def run(*words):
        result = app.test_cli_runner().invoke(args=["kiokupy", *words])
        return result.exit_code, result.output

    return run


@pytest.fixture
def sessions_of_two(manager):
    for principal in ("ada", "ada", "charles", None):
        session = manager.open(device=Device(address="192.0.2.7") if principal else None)
        session["n"] = 1
        if principal:
            session.login(principal)
        session.flush()


@pytest.mark.usefixtures("sessions_of_two")
def test_the_command_that_lists_sessions_shows_no_id(run, manager):
    status, output = run("list")
    handles = {info.handle for info in manager.sessions()}

    assert (status, len(output.splitlines())) == (0, 4)
    assert {line.split()[0] for line in output.splitlines()} == handles
    assert sorted(line.split()[1] for line in output.splitlines()) == ["'ada'", "'ada'", "'charles'", "-"]
    assert [line.split()[1] for line in run("list", "--principal", "charles")[1].splitlines()] == ["'charles'"]


@pytest.mark.usefixtures("sessions_of_two")
def test_the_command_that_ends_all_sessions_of_a_principal(run):
    assert run("revoke", "ada") == (0, "2 sessions ended\n")
    assert run("stats") == (0, "2 alive\n0 expired, for the next sweep\n")


@pytest.mark.usefixtures("sessions_of_two")
def test_the_command_that_ends_one_session(run, manager):
    (info,) = manager.sessions("charles")

    assert run("end", "ada", info.handle) == (1, "Error: there is no such session\n")
    assert run("end", "charles", info.handle) == (0, "the session is ended\n")
    assert list(manager.sessions("charles")) == []


def test_the_commands_that_count_and_sweep(make_app, clock):
    with kiokupy.connect("Hash") as directory:
        manager = SessionManager(directory, SessionPolicy(clock=clock))
        for _ in range(3):
            manager.create()
        clock.pass_(days=1)
        runner = make_app(manager=manager).test_cli_runner()

        def run(*words):
            return runner.invoke(args=["kiokupy", *words]).output

        assert run("stats") == "0 alive\n3 expired, for the next sweep\n"
        assert run("sweep", "--limit", "2") == "2 expired sessions taken out\n"
        assert run("sweep") == "1 expired sessions taken out\n"


def test_a_command_says_in_a_line_what_is_wrong_with_the_store(make_app, tmp_path):
    app = make_app(SESSION_KIOKUPY=f"file:path={tmp_path}/s.fs;create=0")
    result = app.test_cli_runner().invoke(args=["kiokupy", "stats"])

    assert (result.exit_code, len(result.output.splitlines())) == (1, 1)
    assert "there is no store here" in result.output
