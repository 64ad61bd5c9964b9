"""Beaker's names over kiokupy's sessions: a Bottle application under waitress, moved by its import alone."""

import contextlib
from datetime import UTC, datetime, timedelta

import bottle
import httpx
import pytest
from serving import served

from kiokupy import SettingsError, TargetError
from kiokupy.web.beaker import BeakerSession, SessionMiddleware

GONE = "Your session ended while this request was under way. Please try again.\n"


@pytest.fixture
def serve():
    """Serve functions of the session with Bottle, each at a path of its name."""
    with contextlib.ExitStack() as stack:

        def serve(views, **options):
            app = bottle.Bottle()
            for view in views:
                app.route(f"/{view.__name__}", callback=answering(view))
            middleware = SessionMiddleware(app, {"session.secure": "false", "session.key": "sid", **options})
            stack.callback(middleware.manager.close)
            browser = stack.enter_context(httpx.Client(base_url=stack.enter_context(served(middleware))))
            return browser, middleware.manager

        yield serve


def answering(view):
    return lambda: str(view(bottle.request.environ["beaker.session"]))


def count(session):
    session["n"] = session.get("n", 0) + 1
    session.save()
    return session["n"]


def show(session):
    return dict(session)


def forget(session):
    session["n"] = 99
    session.setdefault("list", []).append(1)


def test_an_application_of_beakers_counts(serve):
    browser, _ = serve([count])

    assert [browser.get("/count").text for _ in range(3)] == ["1", "2", "3"]
    assert set(browser.cookies) == {"sid"}


def test_what_is_not_saved_is_dropped(serve):
    browser, _ = serve([count, forget, show])
    browser.get("/forget")
    assert dict(browser.cookies) == {}
    browser.get("/count")
    browser.get("/forget")

    assert browser.get("/show").text == "{'n': 1}"


def test_with_auto_everything_is_saved_but_an_empty_session(serve):
    browser, _ = serve([forget, show], **{"session.auto": "true"})
    browser.get("/show")
    assert dict(browser.cookies) == {}
    browser.get("/forget")

    assert browser.get("/show").text == "{'n': 99, 'list': [1]}"


def test_an_untouched_session_asks_the_store_nothing(serve):
    def accessed(session):
        return session.accessed()

    browser, manager = serve([accessed])
    manager.close()
    browser.cookies["sid"] = "A" * 43
    answer = browser.get("/accessed")

    assert answer.text == "False"
    assert not {"set-cookie", "vary"} & set(answer.headers)


def test_an_empty_session_is_stored_if_it_is_saved(serve):
    def keep(session):
        session.save()
        return session.id

    browser, manager = serve([keep])

    assert manager.retrieve(browser.get("/keep").text) is not None
    assert browser.get("/keep").text == browser.cookies["sid"]


def test_nothing_is_saved_when_the_application_fails(serve):
    def fail(session):
        count(session)
        bottle.abort(503)

    browser, _ = serve([count, fail, show])
    browser.get("/count")

    assert browser.get("/fail").status_code == 503
    assert browser.get("/show").text == "{'n': 1}"


def test_persist_saves_in_the_middle_of_a_request_what_was_to_be_saved(serve):
    def middle(session):
        session["n"] = 1
        session.persist()
        before = session.is_new
        session.save()
        session.persist()
        return [before, session.is_new, dict(session.get_by_id(session.id))]

    browser, _ = serve([middle])

    assert browser.get("/middle").text == str([True, False, {"n": 1}])


def test_delete_ends_the_session_and_its_cookie(serve):
    def delete(session):
        session.delete()
        return len(session)

    browser, manager = serve([count, delete])
    browser.get("/count")
    old = browser.cookies["sid"]

    assert browser.get("/delete").text == "0"
    assert (dict(browser.cookies), manager.retrieve(old)) == ({}, None)


def test_invalidate_begins_a_new_session(serve):
    def again(session):
        session.invalidate()
        new = session.is_new
        return [new, count(session)]

    browser, manager = serve([count, again])
    browser.get("/count")
    old = browser.cookies["sid"]

    assert browser.get("/again").text == "[True, 1]"
    assert manager.retrieve(old) is None
    assert dict(manager.retrieve(browser.cookies["sid"])) == {"n": 1}


@pytest.mark.parametrize("saves", [False, True])
def test_a_regenerated_session_keeps_its_data_and_its_old_id_is_dead(serve, saves):
    def move(session):
        session.regenerate_id()
        if saves:
            session.save()

    browser, manager = serve([count, move])
    browser.get("/count")
    old = browser.cookies["sid"]
    browser.get("/move")

    assert browser.cookies["sid"] != old
    assert manager.retrieve(old) is None
    assert dict(manager.retrieve(browser.cookies["sid"])) == {"n": 1}


def test_login_is_at_hand(serve):
    def login(session):
        session.login("alice")

    def who(session):
        return session.principal

    browser, _ = serve([count, login, who])
    browser.get("/count")
    old = browser.cookies["sid"]
    browser.get("/login")

    assert browser.get("/who").text == "alice"
    assert browser.cookies["sid"] != old


def test_revert_drops_what_changed(serve):
    def revert(session):
        forget(session)
        session.revert()
        session["m"] = 2
        session.save()

    browser, _ = serve([count, revert, show])
    browser.get("/count")
    browser.get("/revert")

    assert browser.get("/show").text == "{'n': 1, 'm': 2}"


def test_load_reads_what_others_saved(serve):
    def load(session):
        forget(session)
        other = session.get_by_id(session.id)
        other["other"] = 1
        other.save()
        session.load()
        return dict(session)

    def load_new(session):
        session["a"] = 1
        session.load()
        return dict(session)

    browser, _ = serve([count, load, load_new])
    assert browser.get("/load_new").text == "{}"
    browser.get("/count")

    assert browser.get("/load").text == "{'n': 1, 'other': 1}"


def test_an_unknown_id_gives_no_session(serve):
    def unknown(session):
        return session.get_by_id("A" * 43)

    assert serve([unknown])[0].get("/unknown").text == "None"


def test_a_planted_id_is_not_adopted(serve):
    browser, _ = serve([count])
    browser.get("/count", headers={"Cookie": f"sid={'A' * 43}"})

    assert browser.cookies["sid"] != "A" * 43


def test_a_request_that_outlives_its_session_is_told_and_does_not_bring_it_back(serve):
    def slow(session):
        count(session)
        session.get_by_id(session.id).delete()
        return "welcome"

    browser, _ = serve([count, slow])
    browser.get("/count")
    answer = browser.get("/slow")

    assert (answer.status_code, answer.text) == (400, GONE)


class TestSession:
    @pytest.fixture
    def manager(self):
        middleware = SessionMiddleware(None)
        yield middleware.manager
        middleware.manager.close()

    def test_it_tells_its_times_as_numbers(self, manager):
        session = BeakerSession(manager.create(), manager, auto=False)
        inner = manager.retrieve(session.id)

        assert session.created == session["_creation_time"] == inner.created.timestamp()
        assert session.last_accessed == session["_accessed_time"] == inner.used.timestamp()
        assert "_creation_time" in session
        assert list(session) == []

    def test_a_new_one_was_not_accessed_before(self, manager):
        session = BeakerSession(manager.open(), manager, auto=False)

        assert (session.is_new, session.last_accessed) == (True, None)

    def test_it_is_a_mapping(self, manager):
        session = BeakerSession(manager.open(lazy=True), manager, auto=False)
        assert not session.accessed()
        session.update(a=1, b=2)
        del session["a"]

        assert (dict(session), len(session), session.has_key("a"), session.has_key("b")) == ({"b": 2}, 1, False, True)
        assert (session.accessed(), session.dirty()) == (True, False)
        session.save()
        assert session.dirty()

    def test_its_id_is_not_shown(self, manager):
        assert repr(BeakerSession(manager.create(), manager, auto=False)) == "<Session, stored>"

    def test_a_misspelt_attribute_is_an_error_in_reading_and_writing(self, manager):
        session = BeakerSession(manager.create(), manager, auto=False)

        with pytest.raises(AttributeError):
            getattr(session, "usr")  # noqa: B009  # the value is not wanted
        with pytest.raises(AttributeError):
            session.usr = "alice"


@pytest.fixture
def configure():
    """Make a middleware of settings, and close what it opened."""
    opened = []

    def configure(config=None, **options):
        middleware = SessionMiddleware(None, config, **options)
        opened.append(middleware.manager)
        return middleware

    yield configure
    for manager in opened:
        manager.close()


def cookie_of(config):
    """Return the cookie that a middleware sets, without its id."""

    def app(environ, start_response):
        count(environ["beaker.session"])
        start_response("200 OK", [])
        return []

    middleware = SessionMiddleware(app, config)
    sent = []
    middleware({}, lambda status, headers, exc_info=None: sent.extend(headers))
    middleware.manager.close()
    name, _, rest = dict(sent)["Set-Cookie"].partition("=")
    return f"{name}={rest[43:]}"


class TestSettings:
    def test_without_settings_the_cookie_is_the_safe_one(self):
        assert cookie_of({}) == "__Host-session=; Path=/; Secure; HttpOnly; SameSite=Lax"

    def test_beakers_names_of_the_cookie_are_understood(self):
        config = {
            "session.key": "sid", "session.cookie_domain": "example.org", "session.cookie_path": "/app",
            "session.secure": False, "session.httponly": "false", "session.samesite": "Strict", "session.type": "memory",
            "cache.type": "file",
        }  # fmt: skip

        assert cookie_of(config) == "sid=; Path=/app; Domain=example.org; SameSite=Strict"

    @pytest.mark.parametrize(
        ("expires", "max_age"),
        [
            (True, ""), ("true", ""), (None, ""), (300, "; Max-Age=300"), ("300", "; Max-Age=300"),
            (timedelta(minutes=5), "; Max-Age=300"), (False, "; Max-Age=34560000"), ("no", "; Max-Age=34560000"),
        ],
    )  # fmt: skip
    def test_cookie_expires_says_how_long_the_browser_keeps_the_cookie(self, expires, max_age):
        config = {"session.cookie_expires": expires}

        assert cookie_of(config) == f"__Host-session={max_age}; Path=/; Secure; HttpOnly; SameSite=Lax"

    @pytest.mark.parametrize(("timeout", "idle"), [(600, 600), ("600", 600), (None, None)])
    def test_timeout_is_the_idle_time(self, configure, timeout, idle):
        assert configure({"session.timeout": timeout}).manager.policy.idle == idle

    def test_the_target_and_other_settings_stand_beside_beakers(self, configure, tmp_path):
        middleware = configure({
            "beaker.session.target": f"file:path={tmp_path}/store.fs", "session.absolute": "none",
            "session.save_accessed_time": "true", "session.lock_dir": None, "session.type": None,
        })  # fmt: skip

        assert (tmp_path / "store.fs").exists()
        assert middleware.manager.policy.absolute is None

    def test_settings_may_be_keywords(self, configure):
        assert configure(timeout=600).manager.policy.idle == 600
        assert configure({"session.timeout": 60}, **{"session.timeout": 700}).manager.policy.idle == 700

    def test_beakers_old_prefix_is_understood_with_a_warning(self, configure):
        with pytest.warns(DeprecationWarning, match=r"write session.timeout instead of session_timeout") as caught:
            middleware = SessionMiddleware(None, session_timeout=600)
        middleware.manager.close()

        assert middleware.manager.policy.idle == 600
        assert caught[0].filename == __file__

    def test_the_name_in_the_environ_can_be_set(self, configure):
        assert configure(environ_key="session").environ_key == "session"

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"session.type": "file"}, r"'file' is no store here. Say instead session.target = file:path="),
            ({"session.type": "ext:database"}, "Say instead session.target = sqlite:///"),
            ({"session.type": "ext:redis"}, "Say instead session.target = postgresql://"),
            ({"session.type": "cookie"}, "what a session holds stays on the server"),
            ({"session.type": "file", "session.target": "Hash"}, "session.type: Remove it"),
            ({"session.type": "memory", "session.target": "Hash"}, "'memory' contradicts session.target"),
            ({"session.data_dir": "/srv/s"}, "Say instead session.target = file:path=/srv/s/sessions.fs"),
            ({"session.encrypt_key": "hush"}, "session.encrypt_key: Remove it: an id is random"),
            ({"session.secret": "hush"}, "session.secret: Remove it: an id is random"),
            ({"session.data_serializer": "json"}, "session.data_serializer: Remove it: .* session.allow_modules"),
            ({"session.url": "postgresql://user:hush@host/db"}, "session.url: Give it as session.target"),
            ({"session.sa.pool_size": "5"}, "session.sa.pool_size: Remove it"),
            ({"session.save_accessed_time": False}, "session.resolution says how often"),
            ({"session.cookie_expires": datetime.now(UTC)}, "a date would end the cookies of all sessions"),
            ({"session.key": "a", "session.cookie_name": "b"}, "the same as session.cookie_name. Give one of them"),
            ({"session.timout": 5}, "Did you mean 'timeout'"),
            ({"session.timeout": "soon"}, "the setting idle is 'soon'"),
            ({"session.cookie_expires": "soon"}, "the setting cookie_max_age is 'soon'"),
            ({"session.auto": "perhaps"}, "the option session.auto is 'perhaps'"),
            ({"type": "memory"}, "Their names begin with session."),
        ],
    )
    def test_what_has_no_meaning_is_refused_with_the_fix(self, config, message):
        with pytest.raises(TargetError, match=message) as caught:
            SessionMiddleware(None, config)

        assert "hush" not in str(caught.value)

    def test_all_that_has_no_meaning_is_named_at_once(self):
        config = {"session.type": "file", "session.data_dir": "./data", "session.secret": "x", "session.key": "sid"}

        with pytest.raises(SettingsError) as caught:
            SessionMiddleware(None, config)
        assert str(caught.value).partition("here. ")[2] == (
            "session.type: Remove it. session.data_dir: Say instead session.target = file:path=./data/sessions.fs. "
            "session.secret: Remove it: an id is random and means nothing but a row of the store, so nothing is signed "
            "or encrypted"
        )
