"""Sessions in Pyramid: a real application under waitress, and a client that keeps cookies."""

import contextlib
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from pyramid.config import Configurator
from pyramid.csrf import SessionCSRFStoragePolicy, check_csrf_token, get_csrf_token, new_csrf_token
from pyramid.httpexceptions import HTTPFound, HTTPServiceUnavailable
from pyramid.interfaces import ISession
from pyramid.response import Response
from serving import served
from zope.interface.verify import verifyObject

import kiokupy
from kiokupy import SessionGone, SessionManager, SessionPolicy, SettingsError
from kiokupy.web.cookies import Cookie
from kiokupy.web.pyramid import PyramidSession, session_factory, set_up

GONE = "Your session ended while this request was under way. Please try again.\n"
PLAIN = {"kiokupy.cookie_secure": "false"}


def count(request):
    request.session["n"] = request.session.get("n", 0) + 1
    return request.session["n"]


def show(request):
    return f"{request.session.get('n')} {request.session.principal} {sorted(request.session)}"


@contextlib.contextmanager
def application(configure, views, settings=PLAIN):
    """Serve an application whose views are functions of the request; a view's body is what its function returns."""
    with Configurator(settings=dict(settings)) as config:
        configure(config)
        for name, view in views.items():
            config.add_view(answering(view), name=name)
    app = config.make_wsgi_app()
    with served(app) as url, httpx.Client(base_url=url) as browser:
        yield browser, app


def answering(view):
    def answer(context, request):
        result = view(request)
        return result if isinstance(result, Response) else Response(str(result), content_type="text/plain")

    return answer


@pytest.fixture
def manager():
    with kiokupy.connect("Hash") as directory:
        yield SessionManager(directory)


@pytest.fixture
def serve(manager):
    """Serve views with sessions of the manager."""
    with contextlib.ExitStack() as stack:

        def serve(configure=lambda config: None, manager=manager, **views):
            def configured(config):
                config.set_session_factory(session_factory(manager, Cookie(secure=False)))
                configure(config)

            return stack.enter_context(application(configured, views))[0]

        yield serve


def stored(manager):
    with manager.directory.new_unit() as unit:
        return list(unit.root["sessions"])


class TestInterface:
    def test_a_session_provides_pyramids_interface_whole(self, manager):
        session = manager.open(kind=PyramidSession)

        assert ISession.providedBy(session)
        assert verifyObject(ISession, session)

    def test_it_is_a_mapping(self, manager):
        session = manager.open(kind=PyramidSession)
        session.update(a=1, b=2)
        del session["a"]

        assert (dict(session), len(session), "a" in session, session.pop("b"), session) == ({"b": 2}, 1, False, 2, {})

    def test_it_was_created_at_a_whole_second_and_is_new_until_it_is_stored(self):
        with kiokupy.connect() as directory:
            session = SessionManager(directory, SessionPolicy(clock=lambda: 1000.75)).open(kind=PyramidSession)

            assert (session.created, type(session.created), session.new) == (1000, int, True)
            session.flush()
            assert not session.new

    def test_an_invalidated_session_goes_on_as_a_new_one(self, manager):
        session = manager.open(kind=PyramidSession)
        session["a"], old = 1, session.id
        session.invalidate()

        assert (dict(session), session.new, session.id == old) == ({}, True, False)
        session["b"] = 2
        session.flush()
        assert (manager.retrieve(old), dict(manager.retrieve(session.id))) == (None, {"b": 2})

    def test_a_nested_change_is_saved_with_or_without_changed(self, manager):
        for tells in (False, True):
            session = manager.open(kind=PyramidSession)
            session["cart"] = []
            session.flush()
            session["cart"].append("tea")
            session.changed() if tells else None
            session.flush()

            assert manager.retrieve(session.id)["cart"] == ["tea"]


def test_a_session_goes_from_request_to_request(serve):
    browser = serve(count=count)

    assert [browser.get("/count").text for _ in range(3)] == ["1", "2", "3"]


def test_an_untouched_session_asks_the_store_nothing_and_sets_no_cookie(serve, manager):
    browser = serve(asks=lambda request: type(request.session).__name__, static=lambda request: "hello")
    manager.close()
    browser.cookies["session"] = "A" * 43

    for path in ("/static", "/asks"):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert not {"set-cookie", "vary", "cache-control"} & set(answer.headers)


def test_the_cookie_and_the_caches(serve):
    browser = serve(count=count, show=show)
    first, reading = browser.get("/count"), browser.get("/show")

    assert first.headers["set-cookie"].endswith("; Path=/; HttpOnly; SameSite=Lax")
    assert (first.headers["vary"], first.headers["cache-control"]) == ("Cookie", "no-store")
    assert reading.headers["vary"] == "Cookie"
    assert "set-cookie" not in reading.headers


def test_a_response_keeps_its_other_headers(serve):
    def both(request):
        count(request)
        response = Response("x", headers={"Vary": "Accept", "X-Other": "1"})
        response.set_cookie("colour", "red")
        return response

    browser = serve(both=both)
    answer = browser.get("/both")

    assert (answer.headers["vary"], answer.headers["x-other"]) == ("Accept, Cookie", "1")
    assert set(browser.cookies) == {"colour", "session"}


def test_login_moves_the_session_and_logout_ends_it(serve, manager):
    def login(request):
        request.session.login("alice")
        raise HTTPFound("/show")

    browser = serve(count=count, login=login, show=show, logout=lambda request: request.session.invalidate())
    browser.get("/count")
    planted = browser.cookies["session"]
    assert browser.get("/login", follow_redirects=True).text == "1 alice ['n']"
    assert browser.cookies["session"] != planted
    assert manager.retrieve(planted) is None
    mine = browser.cookies["session"]
    browser.get("/logout")
    assert "session" not in browser.cookies
    assert manager.retrieve(mine) is None


@pytest.mark.parametrize("id", ["A" * 43, "../../../etc/passwd", "x" * 5000])
def test_a_planted_id_is_not_adopted(serve, id):
    browser = serve(count=count)
    answer = browser.get("/count", headers={"Cookie": f"session={id}"})

    assert answer.text == "1"
    assert answer.cookies["session"] != id


def test_a_flash_message_is_shown_once_in_its_queue(serve):
    def flash(request):
        for _ in range(2):
            request.session.flash("saved")
            request.session.flash("hot", "warnings", allow_duplicate=False)

    def shows(request):
        session = request.session
        return [session.peek_flash("warnings"), session.pop_flash("warnings"), session.pop_flash("warnings")]

    browser = serve(flash=flash, shows=shows, rest=lambda request: request.session.pop_flash())
    browser.get("/flash")

    assert browser.get("/shows").text == str([["hot"], ["hot"], []])
    assert browser.get("/shows").text == str([[], [], []])
    assert browser.get("/rest").text == str(["saved", "saved"])


@pytest.mark.parametrize("policy", [None, SessionCSRFStoragePolicy()], ids=["default", "session"])
def test_a_forged_request_is_refused_by_pyramids_policies(serve, policy):
    def configure(config):
        if policy is not None:
            config.set_csrf_storage_policy(policy)

    def change(request):
        check_csrf_token(request)
        return "changed"

    browser = serve(configure, token=get_csrf_token, renew=new_csrf_token, change=change)
    token = browser.get("/token").text

    assert browser.get("/token").text == token
    assert browser.post("/change", data={"csrf_token": token}).text == "changed"
    assert browser.post("/change", data={"csrf_token": token.swapcase()}).status_code == 400
    assert browser.post("/change").status_code == 400
    assert browser.get("/renew").text != token
    assert browser.post("/change", data={"csrf_token": token}).status_code == 400


class TestFailures:
    @pytest.fixture
    def views(self):
        def fails(request):
            request.session["n"] = -1
            raise ZeroDivisionError

        def unavailable(request):
            request.session["n"] = -1
            return HTTPServiceUnavailable()

        def raises_unavailable(request):
            request.session["n"] = -1
            raise HTTPServiceUnavailable

        return {
            "count": count, "show": show, "fails": fails, "unavailable": unavailable, "raises": raises_unavailable,
        }  # fmt: skip

    @pytest.mark.parametrize("path", ["fails", "unavailable", "raises"])
    def test_nothing_is_saved(self, serve, views, caplog, path):
        caplog.set_level(logging.CRITICAL, "waitress")
        browser = serve(**views)
        browser.get("/count")

        assert browser.get(f"/{path}").status_code >= 500
        assert browser.get("/show").text == "1 None ['n']"

    def test_nothing_is_saved_of_what_an_exception_view_answers(self, serve, views):
        def configure(config):
            config.add_exception_view(lambda error, request: Response("sorry", status=422), context=ZeroDivisionError)

        browser = serve(configure, **views)
        browser.get("/count")

        assert browser.get("/fails").status_code == 422
        assert browser.get("/show").text == "1 None ['n']"

    def test_an_exception_that_is_a_response_is_an_answer(self, serve, views):
        def found(request):
            count(request)
            raise HTTPFound("/show")

        browser = serve(found=found, **views)

        assert browser.get("/found", follow_redirects=True).text == "1 None ['n']"

    def test_what_was_ended_stays_ended_and_its_cookie_goes(self, serve, manager):
        def fails(request):
            request.session.invalidate()
            return HTTPServiceUnavailable()

        browser = serve(count=count, fails=fails)
        browser.get("/count")
        browser.get("/fails")

        assert stored(manager) == []
        assert dict(browser.cookies) == {}


class TestEndings:
    def test_a_session_touched_by_a_later_response_callback_is_saved(self, serve, manager):
        def late(request):
            def touch(request, response):
                request.session["late"] = 1

            request.session["n"] = 1
            request.add_response_callback(touch)

        browser = serve(late=late)
        browser.get("/late")

        assert dict(manager.retrieve(browser.cookies["session"])) == {"n": 1, "late": 1}

    def test_a_session_is_saved_before_the_headers_leave(self, serve, manager):
        seen = []

        def streams(request):
            request.session["n"] = 1

            def body():
                seen.extend(stored(manager))
                yield b"x"

            return Response(app_iter=body())

        serve(streams=streams).get("/streams")

        assert len(seen) == 1

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_a_request_that_outlives_its_session_is_told_and_does_not_bring_it_back(self, serve, manager, method):
        def slow(request):
            request.session["n"] = 5
            manager.destroy(request.session.id)
            response = Response("welcome", headers={"X-Secret": "1"})
            response.set_cookie("other", "1")
            return response

        browser = serve(count=count, slow=slow)
        browser.get("/count")
        answer = browser.request(method, "/slow")

        assert (answer.status_code, answer.text) == (400, GONE if method == "GET" else "")
        assert (answer.headers["cache-control"], answer.headers["vary"]) == ("no-store", "Cookie")
        assert not {"set-cookie", "x-secret"} & set(answer.headers)
        assert stored(manager) == []

    def test_an_application_may_answer_that_itself(self, serve, manager):
        def configure(config):
            config.add_exception_view(lambda error, request: Response("again", status=409), context=SessionGone)

        def slow(request):
            request.session["n"] = 5
            manager.destroy(request.session.id)

        browser = serve(configure, count=count, slow=slow)
        browser.get("/count")
        answer = browser.get("/slow")

        assert (answer.status_code, answer.text) == (409, "again")

    def test_requests_at_the_same_time_lose_nothing(self, serve, manager):
        gate = threading.Barrier(2, timeout=30)

        def put(request):
            request.session.get("n")
            gate.wait()
            request.session[request.params["key"]] = 1

        browser = serve(count=count, put=put)
        browser.get("/count")
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda key: browser.get("/put", params={"key": key}), "ab"))

        assert dict(manager.retrieve(browser.cookies["session"])) == {"n": 1, "a": 1, "b": 1}

    def test_a_subrequest_shares_the_stored_session(self, serve):
        def outer(request):
            request.session["outer"] = 1
            request.session.flush()
            inner = request.blank("/count", cookies=dict(request.cookies))
            return request.invoke_subrequest(inner).text

        browser = serve(count=count, outer=outer, show=show)
        browser.get("/count")

        assert browser.get("/outer").text == "2"
        assert browser.get("/show").text == "2 None ['n', 'outer']"


def test_a_factory_without_a_manager_is_refused():
    with pytest.raises(SettingsError, match="takes a session manager, not a str"):
        session_factory("Hash")


class TestSettings:
    @staticmethod
    def include(config):
        config.include("kiokupy.web.pyramid")

    def test_sessions_are_set_up_from_an_ini_file(self, tmp_path):
        from pyramid.paster import get_appsettings

        ini = tmp_path / "app.ini"
        ini.write_text(
            "[app:main]\nuse = call:builtins:dict\nkiokupy.target = file:path=%(here)s/store.fs\nkiokupy.idle = 90\n"
            "kiokupy.cookie_name = sid\nkiokupy.cookie_secure = false\nkiokupy.absolute = none\npyramid.reload = 0\n"
        )
        with application(self.include, {"count": count}, get_appsettings(str(ini))) as (browser, app):
            assert [browser.get("/count").text for _ in range(2)] == ["1", "2"]
            assert set(browser.cookies) == {"sid"}
            policy = app.registry["kiokupy.manager"].policy
            assert (policy.idle, policy.absolute) == (90, None)
        app.registry["kiokupy.manager"].close()
        assert (tmp_path / "store.fs").exists()

    def test_the_manager_is_at_hand_in_views(self):
        def views(request):
            return request.kiokupy_manager.retrieve(request.cookies["session"])["n"]

        with application(self.include, {"count": count, "views": views}) as (browser, app):
            browser.get("/count")
            assert browser.get("/views").text == "1"
        app.registry["kiokupy.manager"].close()

    def test_a_session_ended_in_a_view_is_answered_with_400(self):
        def slow(request):
            request.session["n"] = 5
            request.kiokupy_manager.destroy(request.session.id)
            request.session.flush()

        def catch_all(config):
            config.include("kiokupy.web.pyramid")
            config.add_exception_view(lambda error, request: Response("sorry", status=500), context=Exception)

        with application(catch_all, {"count": count, "slow": slow}) as (browser, app):
            browser.get("/count")
            answer = browser.get("/slow")
            assert (answer.status_code, answer.text) == (400, GONE)
        app.registry["kiokupy.manager"].close()

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"kiokupy.taget": "Hash"}, "Did you mean 'target'"),
            ({"kiokupy.jon": "true"}, "Did you mean 'join'"),
            ({"kiokupy.idle": "soon"}, "the setting idle is 'soon'"),
            ({"kiokupy.cookie_samesite": "Loose"}, "the cookie's samesite is 'Loose'"),
            ({"kiokupy.join": "perhaps"}, "the option kiokupy.join is 'perhaps'"),
        ],
    )
    def test_a_wrong_setting_is_refused(self, settings, message):
        with pytest.raises(kiokupy.TargetError, match=message):
            Configurator(settings=settings).include("kiokupy.web.pyramid")


class Page:
    """What the application keeps beside the session."""

    def __init__(self):
        self.hits = 0


class TestJoined:
    """Sessions in pyramid_tm's transactions, together with the application's objects."""

    @pytest.fixture
    def serve(self, tmp_path):
        with contextlib.ExitStack() as stack:

            def serve(*includes, settings=(), errors=(), **views):
                def configure(config):
                    for name in includes:
                        config.include(name)
                    config.include("kiokupy.web.pyramid")
                    for error, view in {ZeroDivisionError: sorry, **dict(errors)}.items():
                        config.add_exception_view(view, context=error)

                settings = {
                    **PLAIN, "kiokupy.join": "true", "kiokupy.target": f"file:path={tmp_path}/s.fs",
                    "kiokupy.allow_modules": __name__, **dict(settings),
                }  # fmt: skip
                browser, app = stack.enter_context(application(configure, {**views, "hits": hits}, settings))
                manager = app.registry["kiokupy.manager"]
                stack.callback(manager.close)
                manager.directory.store(Page(), id="page")
                return browser, manager

            def sorry(error, request):
                return Response(f"sorry {sorted(request.session)}", status=400)

            yield serve

    def test_session_and_objects_are_committed_together(self, serve):
        browser, manager = serve(hit=hit)

        assert [browser.get("/hit").text for _ in range(2)] == ["1 1", "2 2"]
        assert browser.get("/hits").text == "2"
        assert manager.retrieve(browser.cookies["session"])["n"] == 2

    def test_a_session_may_refer_to_an_object_and_finds_the_very_one(self, serve):
        def refer(request):
            request.session["page"] = request.kiokupy_scope.get("page")

        def change(request):
            request.session["page"].hits = 7
            return request.session["page"] is request.kiokupy_scope.get("page")

        browser, _ = serve(refer=refer, change=change)
        browser.get("/refer")

        assert browser.get("/change").text == "True"
        assert browser.get("/hits").text == "7"

    @pytest.mark.parametrize("path", ["raise", "doom", "veto"])
    def test_they_are_dropped_together(self, serve, path):
        def raises(request):
            hit(request)
            raise ZeroDivisionError

        def doom(request):
            hit(request)
            request.tm.doom()

        def veto(request):
            hit(request)
            return Response("no", status=409)

        settings = {"tm.commit_veto": "pyramid_tm.default_commit_veto"}
        browser, _ = serve(hit=hit, settings=settings, **{"raise": raises, "doom": doom, "veto": veto})
        browser.get("/hit")
        answer = browser.get(f"/{path}")

        assert answer.text in ("sorry ['n']", "None", "no")
        assert "set-cookie" not in answer.headers
        assert browser.get("/hit").text == "2 2"

    def test_a_new_session_that_was_dropped_has_no_cookie(self, serve):
        def doom(request):
            hit(request)
            request.session.login("alice")
            request.tm.doom()

        browser, manager = serve(doom=doom)
        browser.get("/doom")

        assert dict(browser.cookies) == {}
        assert stored(manager) == []

    def test_a_login_moves_the_session_with_the_commit(self, serve):
        def login(request):
            hit(request)
            request.session.login("alice")

        browser, manager = serve(hit=hit, login=login, show=show, logout=lambda request: request.session.invalidate())
        browser.get("/hit")
        planted = browser.cookies["session"]
        browser.get("/login")

        assert browser.get("/show").text == "2 alice ['n']"
        assert manager.retrieve(planted) is None
        browser.get("/logout")
        assert dict(browser.cookies) == {}
        assert stored(manager) == []

    def test_a_logout_that_is_dropped_did_not_happen(self, serve):
        def logout(request):
            request.session.invalidate()
            raise ZeroDivisionError

        browser, _ = serve(hit=hit, logout=logout)
        browser.get("/hit")

        assert browser.get("/logout").text == "sorry []"
        assert browser.get("/hit").text == "2 2"

    @pytest.mark.parametrize("manager_hook", ["", "pyramid_tm.explicit_manager"])
    def test_a_request_that_conflicts_is_tried_again_with_a_fresh_session(self, serve, manager_hook):
        attempts = []

        def slow(request):
            attempts.append(request.session["n"])
            text = hit(request)
            if len(attempts) == 1:
                directory.txn_do(lambda scope: setattr(scope.get("page"), "hits", 10))
                other = request.kiokupy_manager.retrieve(request.session.id)
                other["other"] = 1
                other.flush()
            return text

        settings = {"tm.manager_hook": manager_hook} if manager_hook else {}
        browser, manager = serve("pyramid_retry", hit=hit, slow=slow, show=show, settings=settings)
        directory = manager.directory
        browser.get("/hit")

        assert browser.get("/slow").text == "11 2"
        assert attempts == [1, 1]
        assert browser.get("/show").text == "2 None ['n', 'other']"

    def test_a_session_that_is_ended_while_a_request_is_under_way_does_not_come_back(self, serve):
        attempts = []

        def slow(request):
            attempts.append(request.session.principal)
            text = hit(request)
            request.kiokupy_manager.destroy(request.session.client_id)
            return text

        def login(request):
            request.session.login("alice")

        browser, manager = serve("pyramid_retry", login=login, slow=slow)
        browser.get("/login")
        old = browser.cookies["session"]

        assert browser.get("/slow").text == "1 1"
        assert attempts == ["alice", None]
        assert manager.retrieve(old) is None
        assert browser.cookies["session"] != old

    @pytest.mark.parametrize("settings", [{}, {"tm.manager_hook": "pyramid_tm.explicit_manager"}])
    def test_a_session_that_has_expired_at_the_commit_drops_the_objects_too(self, settings):
        now = [1000.0]

        def slow(request):
            hit(request)
            now[0] += 3600

        with kiokupy.connect(allow_classes=[Page]) as directory:
            directory.store(Page(), id="page")
            manager = SessionManager(directory, SessionPolicy(clock=lambda: now[0]))
            views = {"hit": hit, "hits": hits, "slow": slow}
            with application(
                lambda config: set_up(config, manager, Cookie(secure=False), join=True), views, settings
            ) as served:
                browser = served[0]
                browser.get("/hit")
                answer = browser.get("/slow")

                assert (answer.status_code, answer.text) == (400, GONE)
                assert browser.get("/hits").text == "1"

    def test_an_exception_view_for_a_commit_that_failed_sees_the_stored_session(self, serve):
        def unstorable(request):
            hit(request)
            request.session["bad"] = open

        def shown(error, request):
            return Response(f"{sorted(request.session)} {request.session.get_csrf_token() != ''}", status=400)

        browser, _ = serve(hit=hit, unstorable=unstorable, errors={kiokupy.NotStorable: shown})
        browser.get("/hit")

        assert browser.get("/unstorable").text == "['n'] True"
        assert browser.get("/hit").text == "2 2"

    def test_a_request_that_pyramid_tm_does_not_look_after_saves_its_session_by_itself(self, serve):
        def scope(request):
            with pytest.raises(SettingsError, match="outside of a transaction"):
                request.kiokupy_scope.get("page")

        browser, _ = serve(count=count, scope=scope, settings={"tm.activate_hook": f"{__name__}.never"})

        assert [browser.get("/count").text for _ in range(2)] == ["1", "2"]
        assert browser.get("/scope").status_code == 200

    def test_pyramid_tm_is_missed_by_name(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyramid_tm", None)

        with pytest.raises(SettingsError, match="pip install pyramid_tm"):
            Configurator(settings={"kiokupy.join": "true"}).include("kiokupy.web.pyramid")


def hit(request):
    """Count in the session and in an object."""
    page = request.kiokupy_scope.get("page")
    page.hits += 1
    return f"{page.hits} {count(request)}"


def hits(request):
    return request.kiokupy_scope.get("page").hits


def never(request):
    return False
