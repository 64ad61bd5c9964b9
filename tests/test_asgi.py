"""The ASGI middleware: Starlette under uvicorn, and an application called as a server calls it."""

import asyncio
import contextlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import httpx
import pytest
from asgi_servers import Call, browsing, serving
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import kiokupy
from kiokupy import SessionGone, SessionManager, SessionPolicy, SettingsError
from kiokupy.backends.synced import SyncedFileStorage
from kiokupy.web.asgi import SessionMiddleware
from kiokupy.web.cookies import Cookie

GONE = "Your session ended while this request was under way. Please try again.\n"


@pytest.fixture
def manager():
    with kiokupy.connect("Hash") as directory:
        yield SessionManager(directory)


@pytest.fixture
def file_manager(file_place):
    with file_place.connect() as directory:
        yield SessionManager(directory)


def starlette(manager, *views, **options):
    """Return an application of views, each at its own name; those that begin with ``ws`` are websockets."""
    routes = [(WebSocketRoute if view.__name__[:2] == "ws" else Route)(f"/{view.__name__}", view) for view in views]
    session = Middleware(SessionMiddleware, manager=manager, cookie=Cookie(secure=False), **options)
    return Starlette(routes=routes, middleware=[session])


@pytest.fixture
def serve(manager):
    with contextlib.ExitStack() as stack:
        yield lambda *views, **options: stack.enter_context(browsing(starlette(manager, *views, **options)))


def wrapped(app, manager, **options):
    return SessionMiddleware(app, manager, Cookie(secure=False), **options)


def cookie_of(session):
    return {"headers": [("cookie", f"session={session.id}")]}


def stored(manager):
    with manager.directory.new_unit() as unit:
        return list(unit.root["sessions"])


class Friend:
    def __init__(self, name):
        self.name = name


async def hello(request):
    return PlainTextResponse("hello")


async def count(request):
    request.session["n"] = request.session.get("n", 0) + 1
    return PlainTextResponse(str(request.session["n"]))


async def show(request):
    return PlainTextResponse(str(sorted(request.session)))


async def plain(scope, send, *chunks, status=200, headers=()):
    """Be the end of a bare application: answer."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    for chunk in chunks[:-1]:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": chunks[-1] if chunks else b""})


class TestRequests:
    def test_a_session_goes_from_request_to_request(self, serve):
        browser = serve(count)

        assert [browser.get("/count").text for _ in range(3)] == ["1", "2", "3"]

    def test_an_untouched_session_sets_no_cookie_and_is_not_stored(self, serve, manager):
        answer = serve(hello).get("/hello")

        assert not {"set-cookie", "vary", "cache-control"} & set(answer.headers)
        assert stored(manager) == []

    def test_an_untouched_session_of_the_clients_is_left_as_it_is(self, serve, manager):
        session = manager.create()
        answer = serve(hello).get("/hello", headers={"Cookie": f"session={session.id}"})

        assert not {"set-cookie", "vary", "cache-control"} & set(answer.headers)
        assert manager.retrieve(session.id).expires == session.expires

    def test_a_request_without_the_cookie_asks_the_store_nothing(self, serve, manager):
        browser = serve(hello, show)
        manager.close()

        assert browser.get("/hello").text == "hello"
        assert browser.get("/show").text == "[]"

    def test_a_session_that_was_only_read_varies_by_cookie_and_is_not_stored(self, serve, manager):
        answer = serve(show).get("/show")

        assert answer.headers["vary"] == "Cookie"
        assert not {"set-cookie", "cache-control"} & set(answer.headers)
        assert stored(manager) == []

    def test_a_response_that_sets_a_cookie_is_kept_by_no_cache(self, serve):
        answer = serve(count).get("/count")

        assert answer.headers["set-cookie"].endswith("; Path=/; HttpOnly; SameSite=Lax")
        assert (answer.headers["vary"], answer.headers["cache-control"]) == ("Cookie", "no-store")

    @pytest.mark.parametrize("id", ["A" * 43, "../../../etc/passwd", "x" * 5000, "'; DROP TABLE object_state; --"])
    def test_an_unknown_id_is_never_adopted(self, serve, manager, id):
        browser, planted = serve(hello, show, count), {"Cookie": f"session={id}"}
        assert "set-cookie" not in browser.get("/hello", headers=planted).headers
        assert "Max-Age=0" in browser.get("/show", headers=planted).headers["set-cookie"]
        assert stored(manager) == []

        answer = browser.get("/count", headers=planted)

        assert answer.text == "1"
        assert answer.cookies["session"] != id
        assert len(stored(manager)) == 1
        assert manager.retrieve(id) is None

    def test_a_change_deep_inside_is_saved(self, serve):
        async def deep(request):
            request.session.setdefault("cart", {"items": []})["items"].append("book")
            return PlainTextResponse(str(len(request.session["cart"]["items"])))

        browser = serve(deep)

        assert [browser.get("/deep").text for _ in range(3)] == ["1", "2", "3"]

    def test_requests_at_the_same_time_lose_nothing(self, serve, manager):
        async def keep(request):
            await anyio.sleep(0)
            request.session[request.query_params["key"]] = True
            return PlainTextResponse("kept")

        browser, session = serve(keep), manager.create()
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(
                    lambda n: browser.get(f"/keep?key=k{n}", headers={"Cookie": f"session={session.id}"}).status_code,
                    range(40),
                )
            )

        assert set(answers) == {200}
        assert set(manager.retrieve(session.id)) == {f"k{n}" for n in range(40)}

    def test_the_session_is_saved_before_the_headers_leave(self, manager):
        async def app(scope, receive, send):
            scope["session"]["a"] = 1
            await plain(scope, send, b"body")

        found = []
        call = Call(wrapped(app, manager), on_send=lambda message: found.append(len(stored(manager)))).run()

        assert found == [1, 1]
        assert call.body == b"body"

    def test_an_application_that_raises_saves_nothing(self, serve, manager):
        async def fail(request):
            request.session["n"] = -1
            raise RuntimeError("as asked")

        browser = serve(count, fail)
        browser.get("/count")

        assert browser.get("/fail").status_code == 500
        assert browser.get("/count").text == "2"

    def test_a_status_from_500_on_saves_nothing_but_what_was_ended_stays_ended(self, serve, manager):
        async def fail(request):
            request.session["a"] = 1
            if "move" in request.query_params:
                await request.session.aregenerate()
            request.session["b"] = 1
            return PlainTextResponse("sorry", 503)

        browser = serve(count, fail)
        browser.get("/count")
        old = browser.cookies["session"]
        browser.get("/fail")
        assert dict(manager.retrieve(old)) == {"n": 1}

        browser.get("/fail?move=1")

        assert manager.retrieve(old) is None
        assert dict(manager.retrieve(browser.cookies["session"])) == {"n": 1, "a": 1}

    def test_the_place_in_the_scope_can_be_set(self, manager):
        async def app(scope, receive, send):
            scope["our.session"]["a"] = 1
            await plain(scope, send)

        assert Call(wrapped(app, manager, key="our.session")).run().header("set-cookie")

    @pytest.mark.parametrize("exclude", ["/static", ["/static/", "/health"]])
    def test_excluded_paths_get_no_session(self, manager, exclude):
        seen = {}

        async def app(scope, receive, send):
            seen[scope["path"]] = "session" in scope

        for path in ("/static", "/static/app.css", "/statics", "/"):
            Call(wrapped(app, manager, exclude=exclude), path=path).run()

        assert seen == {"/static": False, "/static/app.css": False, "/statics": True, "/": True}

    def test_a_cookie_header_in_several_fields_is_read_whole(self, manager):
        session = manager.create()

        async def app(scope, receive, send):
            assert scope["session"].id == session.id
            await plain(scope, send)

        fields = [("cookie", "a=1"), ("cookie", f"session={session.id}"), ("cookie", "b=\xe9")]
        assert Call(wrapped(app, manager), headers=fields).run().status == 200

    def test_headers_go_through_as_they_are(self, manager):
        async def app(scope, receive, send):
            scope["session"].get("a")
            await plain(scope, send, headers=[(b"X-Caf\xe9", b"\xff\x80"), (b"x-two", b"1"), (b"x-two", b"2")])

        call = Call(wrapped(app, manager)).run()

        assert call.sent[0]["headers"] == [
            (b"x-caf\xe9", b"\xff\x80"),
            (b"x-two", b"1"),
            (b"x-two", b"2"),
            (b"vary", b"Cookie"),
        ]

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_both_event_loops_are_served(self, manager, backend):
        session = manager.create()

        async def app(scope, receive, send):
            scope["session"]["a"] = 1
            await scope["session"].aflush()
            await plain(scope, send)

        Call(wrapped(app, manager), **cookie_of(session)).run(backend)

        assert dict(manager.retrieve(session.id)) == {"a": 1}

    def test_what_is_neither_request_nor_websocket_is_passed_on(self, manager):
        seen = []

        @contextlib.asynccontextmanager
        async def lifespan(app):
            seen.append("up")
            yield
            seen.append("down")

        app = starlette(manager, hello)
        app.router.lifespan_context = lifespan
        with browsing(app) as browser:
            assert browser.get("/hello").text == "hello"
            assert seen == ["up"]
        assert seen == ["up", "down"]

    @pytest.mark.filterwarnings("ignore:Using `httpx`")  # its next version has a client of its own
    def test_the_frameworks_own_test_client_keeps_the_cookie(self, manager):
        from starlette.testclient import TestClient

        app = Starlette(routes=[Route("/", count)], middleware=[Middleware(SessionMiddleware, manager=manager)])
        with TestClient(app, base_url="https://testserver") as client:
            assert [client.get("/").text for _ in range(2)] == ["1", "2"]
            assert list(client.cookies) == ["__Host-session"]

    def test_a_middleware_without_a_manager_is_refused(self):
        with pytest.raises(SettingsError, match="takes a session manager, not a str"):
            SessionMiddleware(hello, "Hash")

    def test_an_excluded_path_without_a_slash_is_refused(self, manager):
        with pytest.raises(SettingsError, match=r"exclude has 'static'\. Paths begin with /"):
            SessionMiddleware(hello, manager, exclude=["/a", "static"])

    def test_where_a_session_is_used_is_noted(self, serve, manager):
        browser = serve(alogin)
        browser.get("/alogin", headers={"User-Agent": "Testfox\xe9".encode("latin-1")})

        (found,) = manager.sessions("alice")
        assert (found.device.user_agent, found.device.address) == ("Testfox\xe9", "127.0.0.1")

    def test_where_it_is_used_need_not_be_known(self, manager):
        async def app(scope, receive, send):
            scope["session"]["a"] = 1
            await plain(scope, send)

        Call(wrapped(app, manager)).run()

        (found,) = manager.sessions()
        assert (found.device.user_agent, found.device.address) == (None, None)

    def test_data_that_cannot_be_loaded_are_a_matter_for_who_looks_at_them(self, file_place, caplog):
        with file_place.connect(allow_classes=[Friend]) as directory:
            session = SessionManager(directory).create()
            session["friend"] = Friend("Ada")
            session.flush()
        with file_place.connect() as directory, browsing(starlette(SessionManager(directory), hello, show)) as browser:
            cookie = {"Cookie": f"session={session.id}"}
            assert browser.get("/hello", headers=cookie).text == "hello"
            assert browser.get("/show", headers=cookie).status_code == 500
        assert "NotLoadable" in caplog.text


class TestLogin:
    def test_it_moves_the_session_and_says_whose_it_is(self, serve, manager):
        browser = serve(count, alogin)
        browser.get("/count")
        planted = browser.cookies["session"]

        answer = browser.get("/alogin")

        assert "; Max-Age=" in answer.headers["set-cookie"]
        assert manager.retrieve(planted) is None
        session = manager.retrieve(browser.cookies["session"])
        assert (session.principal, dict(session)) == ("alice", {"n": 1})

    def test_a_principal_that_a_view_sets_moves_the_session_when_it_is_saved(self, serve, manager):
        async def login(request):
            request.session.principal = "alice"
            return PlainTextResponse("welcome")

        browser = serve(count, login)
        browser.get("/count")
        planted = browser.cookies["session"]
        browser.get("/login")

        assert manager.retrieve(planted) is None
        assert manager.retrieve(browser.cookies["session"]).principal == "alice"


class TestSessionsThatEnd:
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_a_request_whose_session_was_ended_meanwhile_is_answered_with_400(self, serve, manager, method):
        session = manager.create()

        async def slow(request):
            request.session["user"] = "bob"
            manager.destroy(session.id)
            return PlainTextResponse("welcome bob")

        answer = serve(slow).request(method, "/slow", headers={"Cookie": f"session={session.id}"})

        assert answer.status_code == 400
        assert answer.text == (GONE if method == "GET" else "")
        assert "set-cookie" not in answer.headers
        assert (answer.headers["vary"], answer.headers["cache-control"]) == ("Cookie", "no-store")
        assert stored(manager) == []

    def test_an_endless_stream_after_that_is_stopped(self, manager, caplog):
        session, ended = manager.create(), threading.Event()

        async def endless(request):
            request.session["user"] = "bob"
            manager.destroy(session.id)

            async def numbers():
                while True:
                    yield b"1 "
                    await anyio.sleep(0)

            return StreamingResponse(numbers())

        inner = starlette(manager, endless)

        async def app(scope, receive, send):
            await inner(scope, receive, send)
            ended.set()

        with browsing(app) as browser:
            answer = browser.get("/endless", headers={"Cookie": f"session={session.id}"})
            assert (answer.status_code, answer.text) == (400, GONE)
            assert ended.wait(10)
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []

    def test_a_stream_that_does_not_listen_is_stopped_at_its_next_chunk(self, manager):
        session, sent = manager.create(), []

        async def app(scope, receive, send):
            scope["session"]["user"] = "bob"
            manager.destroy(session.id)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for number in range(100):
                sent.append(number)
                await send({"type": "http.response.body", "body": b"x", "more_body": True})

        call = Call(wrapped(app, manager), **cookie_of(session)).run()

        assert call.body.decode() == GONE
        assert sent == [0]

    def test_a_cancellation_after_that_is_not_swallowed(self, manager):
        session = manager.create()

        async def app(scope, receive, send):
            scope["session"]["user"] = "bob"
            manager.destroy(session.id)
            with contextlib.suppress(OSError):
                await plain(scope, send, b"1", b"2")
            raise asyncio.CancelledError

        call = Call(wrapped(app, manager), **cookie_of(session))

        async def main():
            with pytest.raises(asyncio.CancelledError):
                await call()

        asyncio.run(main())
        assert call.status == 400

    def test_what_the_application_sends_in_one_piece_after_that_is_dropped(self, manager):
        session = manager.create()

        async def app(scope, receive, send):
            scope["session"]["user"] = "bob"
            manager.destroy(session.id)
            await plain(scope, send, b"welcome bob")

        call = Call(wrapped(app, manager), **cookie_of(session)).run()

        assert call.body.decode() == GONE
        assert [message["type"] for message in call.sent] == ["http.response.start", "http.response.body"]

    def test_logging_out_deletes_the_cookie(self, serve, manager):
        async def leave(request):
            await request.session.adestroy()
            return PlainTextResponse("bye")

        browser = serve(count, leave)
        browser.get("/count")

        assert "Max-Age=0" in browser.get("/leave").headers["set-cookie"]
        assert "session" not in browser.cookies
        assert stored(manager) == []


class TestLateChanges:
    def test_those_of_a_streamed_body_are_saved_before_its_end(self, manager):
        session = manager.create()

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            scope["session"]["late"] = 1
            await send({"type": "http.response.body", "body": b"last"})

        found = []
        Call(
            wrapped(app, manager),
            on_send=lambda message: found.append(dict(manager.retrieve(session.id))),
            **cookie_of(session),
        ).run()

        assert found == [{}, {}, {"late": 1}]

    def test_those_of_a_session_begun_in_this_request_are_saved(self, serve, manager):
        async def stream(request):
            request.session["early"] = 1

            async def chunks():
                yield b"first"
                request.session["late"] = 1
                yield b"second"

            return StreamingResponse(chunks())

        browser = serve(stream)
        browser.get("/stream")

        assert dict(manager.retrieve(browser.cookies["session"])) == {"early": 1, "late": 1}

    def test_those_of_a_background_task_are_saved(self, manager):
        async def task(request):
            request.session["task"] = "done"

        async def begin(request):
            request.session["task"] = "begun"
            return PlainTextResponse("begun", background=BackgroundTask(task, request))

        session = manager.create()
        Call(starlette(manager, begin), path="/begin", query_string=b"", **cookie_of(session)).run()

        assert dict(manager.retrieve(session.id)) == {"task": "done"}

    def test_where_there_are_none_the_session_is_written_once(self, file_place):
        with file_place.connect() as directory:
            events = []
            manager = SessionManager(directory, SessionPolicy(resolution=0), listeners=[events.append])
            session = manager.create()
            events.clear()

            async def app(scope, receive, send):
                scope["session"]["a"] = 1
                await plain(scope, send, b"1", b"2")

            Call(wrapped(app, manager), **cookie_of(session)).run()

        assert [str(event.kind) for event in events] == ["loaded", "saved"]

    def test_those_of_a_session_begun_after_the_headers_are_lost_with_a_warning(self, manager, caplog):
        async def app(scope, receive, send):
            await plain(scope, send, b"x")
            scope["session"]["late"] = 1

        Call(wrapped(app, manager)).run()

        assert "its cookie was not sent" in caplog.text
        assert stored(manager) == []

    def test_those_of_an_application_that_raises_then_are_not_saved(self, manager):
        session = manager.create()

        async def app(scope, receive, send):
            scope["session"]["early"] = 1
            await plain(scope, send, b"x")
            scope["session"]["late"] = 1
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            Call(wrapped(app, manager), **cookie_of(session)).run()

        assert dict(manager.retrieve(session.id)) == {"early": 1}

    def test_those_of_a_session_ended_elsewhere_are_warned_about(self, manager, caplog):
        session = manager.create()

        async def app(scope, receive, send):
            await plain(scope, send, b"x")
            scope["session"]["late"] = 1
            manager.destroy(session.id)

        Call(wrapped(app, manager), **cookie_of(session)).run()

        assert "was ended meanwhile" in caplog.text
        assert session.id not in caplog.text

    def test_those_of_an_application_that_never_answers_are_not_saved(self, manager):
        session = manager.create()

        async def app(scope, receive, send):
            scope["session"]["a"] = 1

        assert Call(wrapped(app, manager), **cookie_of(session)).run().sent == []
        assert dict(manager.retrieve(session.id)) == {}


@pytest.fixture
def slow_store(monkeypatch):
    """A File store whose commits, once ``closed``, wait for ``gate``; ``waiting`` tells that one does."""

    class Slow:
        waiting, gate, closed = threading.Event(), threading.Event(), False

    slow, vote, load = Slow(), SyncedFileStorage.tpc_vote, SyncedFileStorage.loadBefore

    def wait():
        if slow.closed:
            slow.waiting.set()
            assert slow.gate.wait(30)

    monkeypatch.setattr(SyncedFileStorage, "tpc_vote", lambda self, txn: (wait(), vote(self, txn))[1])
    monkeypatch.setattr(SyncedFileStorage, "loadBefore", lambda self, oid, tid: (wait(), load(self, oid, tid))[1])
    yield slow
    slow.gate.set()


async def alogin(request):
    await request.session.alogin("alice", remember=True)
    return PlainTextResponse("welcome")


async def aregenerate(request):
    await request.session.aregenerate()
    return PlainTextResponse("moved")


async def alogout(request):
    await request.session.adestroy()
    return PlainTextResponse("bye")


async def ainvalidate(request):
    await request.session.ainvalidate()
    return PlainTextResponse("bye")


async def aflush(request):
    request.session["early"] = 1
    await request.session.aflush()
    return PlainTextResponse("saved")


async def late(request):
    async def chunks():
        yield b"first"
        request.session["late"] = 1
        yield b"second"

    return StreamingResponse(chunks())


class TestTheEventLoop:
    """While the store takes its time over one request, the loop answers others: nothing holds it up."""

    @pytest.mark.parametrize("view", [count, alogin, aregenerate, alogout, ainvalidate, aflush, late, show])
    def test_it_goes_on_while_the_store_is_slow(self, slow_store, file_manager, view):
        id = file_manager.create().id
        file_manager.directory._database._db.cacheMinimize()  # so that reading asks the storage, too
        with browsing(starlette(file_manager, view, hello)) as browser, ThreadPoolExecutor(1) as pool:
            slow_store.closed = True
            headers = {"Cookie": f"session={id}"}
            slow = pool.submit(httpx.get, f"{browser.base_url}/{view.__name__}", headers=headers, timeout=30)
            try:
                assert slow_store.waiting.wait(10)
                for _ in range(3):
                    assert browser.get("/hello", timeout=5).text == "hello"
                assert not slow.done()
            finally:
                slow_store.gate.set()
            assert slow.result().status_code == 200

    def test_what_a_session_refers_to_is_loaded_beforehand(self, slow_store, file_place):
        async def friend(request):
            return PlainTextResponse(request.session["friend"].name)

        with file_place.connect(allow_classes=[Friend]) as directory:
            manager, ada = SessionManager(directory), Friend("Ada")
            directory.store(ada)
            session = manager.create()
            session["friend"] = ada
            session.flush()
            with browsing(starlette(manager, friend, hello)) as browser, ThreadPoolExecutor(1) as pool:
                directory._database._db.cacheMinimize()
                slow_store.closed = True
                slow = pool.submit(
                    httpx.get, f"{browser.base_url}/friend", headers={"Cookie": f"session={session.id}"}, timeout=30
                )
                try:
                    assert slow_store.waiting.wait(10)
                    assert browser.get("/hello", timeout=5).text == "hello"
                finally:
                    slow_store.gate.set()
                assert slow.result().text == "Ada"

    def test_the_view_asks_the_store_nothing_for_what_was_loaded(self, monkeypatch, file_place):
        async def friend(request):
            monkeypatch.setattr(SyncedFileStorage, "loadBefore", None)
            name = request.session["friend"].name
            monkeypatch.undo()
            return PlainTextResponse(name)

        with file_place.connect(allow_classes=[Friend]) as directory:
            manager, ada = SessionManager(directory), Friend("Ada")
            directory.store(ada)
            session = manager.create()
            session["friend"] = ada
            session.flush()
            with browsing(starlette(manager, friend)) as browser:
                directory._database._db.cacheMinimize()
                assert browser.get("/friend", headers={"Cookie": f"session={session.id}"}).text == "Ada"

    def test_plain_views_that_hold_all_threads_of_the_framework_do_not_hold_up_sessions(self, manager):
        gate, inside = threading.Event(), threading.Semaphore(0)

        def hold(request):
            inside.release()
            gate.wait(30)
            return PlainTextResponse("held")

        with browsing(starlette(manager, hold, count)) as browser, ThreadPoolExecutor(40) as pool:
            try:
                held = [pool.submit(httpx.get, f"{browser.base_url}/hold", timeout=30) for _ in range(40)]
                for _ in held:
                    assert inside.acquire(timeout=30)
                assert [browser.get("/count", timeout=5).text for _ in range(2)] == ["1", "2"]
            finally:
                gate.set()


class TestCancellation:
    @pytest.mark.parametrize("native", [True, False], ids=["task.cancel", "cancel scope"])
    def test_a_save_under_way_is_done_to_its_end(self, slow_store, file_manager, native):
        session = file_manager.create()

        async def app(scope, receive, send):
            scope["session"].update(a=1, b=2)
            await plain(scope, send)

        call = Call(wrapped(app, file_manager), **cookie_of(session))
        self.cancelled(call, slow_store, native)
        file_manager.create()  # it waits for the commit under way

        assert dict(file_manager.retrieve(session.id)) == {"a": 1, "b": 2}

    @staticmethod
    def cancelled(call, slow_store, native):
        """Run a call and cancel it while it waits for the store."""

        async def main():
            async with anyio.create_task_group() as group:
                if native:
                    task = asyncio.create_task(call())
                else:
                    group.start_soon(call)
                await anyio.to_thread.run_sync(slow_store.waiting.wait)
                task.cancel() if native else group.cancel_scope.cancel()
                slow_store.gate.set()
            if native:
                with pytest.raises(asyncio.CancelledError):
                    await task

        slow_store.closed = True
        anyio.run(main)

    def test_a_verb_waits_for_one_whose_awaiting_was_given_up(self, manager):
        begun, gate, order = threading.Event(), threading.Event(), []

        def first():
            begun.set()
            gate.wait(30)
            order.append("first")

        async def app(scope, receive, send):
            session = scope["session"]
            given_up = asyncio.create_task(session.in_thread(first))
            await anyio.to_thread.run_sync(begun.wait)
            given_up.cancel()
            second = asyncio.create_task(session.in_thread(order.append, "second"))
            await asyncio.wait([second], timeout=0.2)
            gate.set()
            await second

        Call(wrapped(app, manager)).run()

        assert order == ["first", "second"]

    def test_a_client_that_goes_while_its_answer_streams_loses_no_early_change(self, serve, manager):
        async def stream(request):
            request.session["early"] = 1

            async def numbers():
                while True:
                    yield b"1 " * 1000
                    await anyio.sleep(0)

            return StreamingResponse(numbers())

        browser = serve(stream)
        with browser.stream("GET", "/stream") as answer:
            id = answer.cookies["session"]

        assert dict(manager.retrieve(id)) == {"early": 1}


class TestWebsockets:
    @pytest.fixture
    def dial(self, manager):
        with contextlib.ExitStack() as stack:

            def dial(view, session=None, **options):
                address = stack.enter_context(serving(starlette(manager, view, **options)))
                headers = {} if session is None else {"Cookie": f"session={session.id}"}
                return connect(f"ws://{address}/{view.__name__}", additional_headers=headers)

            yield dial

    @staticmethod
    def id_in(connection):
        return connection.response.headers["Set-Cookie"].partition("=")[2].partition(";")[0]

    def test_the_session_is_there_when_the_client_connects(self, dial, manager):
        session = manager.create()
        session["user"] = "alice"
        session.flush()

        async def ws(websocket):
            await websocket.accept()
            await websocket.send_text(websocket.session["user"])
            await websocket.close()

        with dial(ws, session) as connection:
            assert connection.recv() == "alice"
            assert "Set-Cookie" not in connection.response.headers

    def test_a_session_begun_before_the_connection_is_accepted_is_sent_along(self, dial, manager):
        async def ws(websocket):
            websocket.session["early"] = 1
            await websocket.accept(headers=[(b"x-more", b"1")])
            websocket.session["late"] = 1
            await websocket.close()

        with dial(ws) as connection:
            assert connection.response.headers["X-More"] == "1"
            id = self.id_in(connection)
            with pytest.raises(ConnectionClosed):
                connection.recv()

        assert dict(manager.retrieve(id)) == {"early": 1, "late": 1}

    def test_changes_are_saved_before_the_close_leaves(self, manager):
        session = manager.create()

        async def app(scope, receive, send):
            await send({"type": "websocket.accept"})
            scope["session"]["late"] = 1
            await send({"type": "websocket.close"})

        found = []
        Call(
            wrapped(app, manager),
            type="websocket",
            on_send=lambda message: found.append(dict(manager.retrieve(session.id))),
            **cookie_of(session),
        ).run()

        assert found == [{}, {"late": 1}]

    def test_changes_are_saved_when_the_client_leaves_and_the_application_does_not_mind(self, manager):
        session = manager.create()

        async def ws(websocket):
            await websocket.accept()
            while True:
                websocket.session["last"] = await websocket.receive_text()

        received = [{"type": "websocket.connect"}, *({"type": "websocket.receive", "text": text} for text in "ab")]
        app = starlette(manager, ws)
        with contextlib.suppress(Exception):
            Call(app, type="websocket", path="/ws", query_string=b"", received=received, **cookie_of(session)).run()

        assert dict(manager.retrieve(session.id)) == {"last": "b"}

    def test_changes_can_be_saved_at_once(self, dial, manager):
        session = manager.create()

        async def ws(websocket):
            await websocket.accept()
            websocket.session["now"] = 1
            await websocket.session.aflush()
            await websocket.send_text("saved")
            await websocket.receive_text()

        with dial(ws, session) as connection:
            assert connection.recv() == "saved"
            assert dict(manager.retrieve(session.id)) == {"now": 1}
            connection.send("go on")

    def test_a_session_ended_meanwhile_is_noticed_at_the_next_save(self, dial, manager):
        session = manager.create()

        async def ws(websocket):
            await websocket.accept()
            websocket.session["now"] = 1
            await websocket.receive_text()
            try:
                await websocket.session.aflush()
            except SessionGone:
                await websocket.send_text("gone")
            await websocket.close()

        with dial(ws, session) as connection:
            manager.destroy(session.id)
            connection.send("go on")
            assert connection.recv() == "gone"

    def test_a_session_ended_before_the_accept_is_logged_and_the_connection_goes_on(self, manager, caplog):
        session = manager.create()

        async def app(scope, receive, send):
            scope["session"]["a"] = 1
            manager.destroy(session.id)
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "hello"})

        call = Call(wrapped(app, manager), type="websocket", **cookie_of(session)).run()

        assert call.sent == [{"type": "websocket.accept"}, {"type": "websocket.send", "text": "hello"}]
        assert "was ended while its websocket was being accepted" in caplog.text
        assert session.id not in caplog.text
        assert stored(manager) == []

    def test_a_refused_connection_keeps_its_changes_if_the_client_has_the_session(self, dial, manager):
        session = manager.create()

        async def ws(websocket):
            websocket.session["refused"] = 1
            await websocket.close()

        with pytest.raises(InvalidStatus):
            dial(ws, session)

        assert dict(manager.retrieve(session.id)) == {"refused": 1}

    def test_a_session_begun_on_a_refused_connection_is_lost_with_a_warning(self, dial, manager, caplog):
        async def ws(websocket):
            websocket.session["refused"] = 1
            await websocket.close()

        with pytest.raises(InvalidStatus):
            dial(ws)

        assert "its cookie was not sent" in caplog.text
        assert stored(manager) == []

    def test_a_refusal_with_a_response_carries_its_session(self, dial, manager):
        async def ws(websocket):
            websocket.session["refused"] = 1
            await websocket.send_denial_response(PlainTextResponse("sorry", 403))

        with pytest.raises(InvalidStatus) as refusal:
            dial(ws)

        assert refusal.value.response.body == b"sorry"
        assert dict(manager.retrieve(self.id_in(refusal.value))) == {"refused": 1}

    def test_a_refusal_whose_session_was_ended_meanwhile_says_so(self, dial, manager):
        session = manager.create()

        async def ws(websocket):
            websocket.session["refused"] = 1
            manager.destroy(session.id)
            await websocket.send_denial_response(PlainTextResponse("sorry", 403))

        with pytest.raises(InvalidStatus) as refusal:
            dial(ws, session)

        assert (refusal.value.response.status_code, refusal.value.response.body.decode()) == (400, GONE)


class TestScopes:
    """``join=True``: the session and the application's objects are saved in one transaction."""

    @staticmethod
    def store(session, name):
        session["last"] = name
        session.scope.store(Friend(name), id=name)

    @pytest.fixture
    def joined(self):
        with kiokupy.connect("Hash", allow_classes=[Friend]) as directory:
            yield SessionManager(directory)

    @pytest.fixture
    def views(self):
        def plainly(request):
            self.store(request.session, "ada")
            return PlainTextResponse("stored")

        async def asynchronously(request):
            await request.session.in_thread(self.store, request.session, "grace")
            return PlainTextResponse("stored")

        async def badly(request):
            await request.session.in_thread(self.store, request.session, "charles")
            return PlainTextResponse("sorry", int(request.query_params["status"]))

        return plainly, asynchronously, badly, hello, show

    def test_objects_and_session_are_saved_together_whatever_the_store(self, place, views):
        with place.connect(allow_classes=[Friend]) as directory:
            manager = SessionManager(directory)
            with browsing(starlette(manager, *views, join=True)) as browser:
                assert browser.get("/plainly").text == "stored"
                assert directory.get("ada").name == "ada"
                assert browser.get("/asynchronously").text == "stored"
                assert directory.get("grace").name == "grace"
                assert dict(manager.retrieve(browser.cookies["session"])) == {"last": "grace"}

    @pytest.mark.parametrize("status", [403, 503])
    def test_or_neither_is(self, joined, views, status):
        with browsing(starlette(joined, *views, join=True)) as browser:
            browser.get("/plainly")
            assert browser.get(f"/badly?status={status}").status_code == status

        assert joined.directory.exists("charles") == (status == 403)
        last = {403: "charles", 503: "ada"}[status]
        assert dict(joined.retrieve(browser.cookies["session"])) == {"last": last}

    @pytest.mark.parametrize("known", [True, False])
    @pytest.mark.parametrize("status", [200, 404, 503, None])
    def test_the_scope_is_closed_at_the_end_whatever_happens(self, joined, known, status):
        scopes = []

        async def app(scope, receive, send):
            scopes.append(scope["session"].scope)
            if status is None:
                raise ZeroDivisionError
            await plain(scope, send, b"1", b"2", status=status)

        call = Call(wrapped(app, joined, join=True), **(cookie_of(joined.create()) if known else {}))
        with contextlib.suppress(ZeroDivisionError):
            call.run()

        assert [scope.is_open for scope in scopes] == [False]

    @pytest.mark.parametrize("native", [True, False], ids=["task.cancel", "cancel scope"])
    def test_the_scope_is_closed_also_when_the_request_is_cancelled(self, joined, native):
        scopes, inside = [], anyio.Event()

        async def app(scope, receive, send):
            scopes.append(scope["session"].scope)
            inside.set()
            await anyio.sleep_forever()

        async def main():
            call = Call(wrapped(app, joined, join=True))
            async with anyio.create_task_group() as group:
                task = asyncio.create_task(call()) if native else group.start_soon(call)
                await inside.wait()
                task.cancel() if native else group.cancel_scope.cancel()
            if native:
                with pytest.raises(asyncio.CancelledError):
                    await task

        anyio.run(main)
        assert [scope.is_open for scope in scopes] == [False]

    def test_a_request_that_asks_for_no_scope_opens_none(self, joined, views):
        app = starlette(joined, *views, join=True)
        joined.close()
        with browsing(app) as browser:
            assert browser.get("/hello").text == "hello"
            assert browser.get("/show").text == "[]"

    @pytest.mark.parametrize("known", [True, False])
    def test_the_event_loop_opens_no_scope(self, joined, monkeypatch, known):
        new_scope, openers = joined.directory.new_scope, []
        monkeypatch.setattr(
            joined.directory, "new_scope", lambda: (openers.append(threading.current_thread()), new_scope())[1]
        )

        async def app(scope, receive, send):
            scope["session"]["a"] = 1
            await plain(scope, send)

        Call(wrapped(app, joined, join=True), **(cookie_of(joined.create()) if known else {})).run()

        assert len(openers) == len(stored(joined)) == 1
        assert openers != [threading.current_thread()]

    def test_a_session_that_expired_meanwhile_takes_the_objects_with_it(self):
        now = [1e9]
        with kiokupy.connect("Hash", allow_classes=[Friend]) as directory:
            manager = SessionManager(directory, SessionPolicy(idle=60, resolution=0, clock=lambda: now[0]))
            session = manager.create()

            async def app(scope, receive, send):
                await scope["session"].in_thread(self.store, scope["session"], "ada")
                now[0] += 61
                await plain(scope, send, b"welcome")

            call = Call(wrapped(app, manager, join=True), **cookie_of(session)).run()

            assert (call.status, call.body.decode()) == (400, GONE)
            assert not directory.exists("ada")

    def test_a_session_ended_meanwhile_is_not_brought_back(self, joined):
        session = joined.create()

        async def app(scope, receive, send):
            await scope["session"].in_thread(self.store, scope["session"], "ada")
            joined.destroy(session.id)
            await plain(scope, send, b"as if it had come before")

        Call(wrapped(app, joined, join=True), **cookie_of(session)).run()

        assert stored(joined) == []

    def test_changes_after_the_scope_was_committed_are_lost_with_a_warning(self, joined, caplog):
        session = joined.create()

        async def app(scope, receive, send):
            scope["session"]["early"] = 1
            await plain(scope, send, b"x")
            scope["session"]["late"] = 1

        Call(wrapped(app, joined, join=True), **cookie_of(session)).run()

        assert dict(joined.retrieve(session.id)) == {"early": 1}
        assert "its scope was committed then" in caplog.text

    def test_a_websocket_is_in_no_scope(self, joined):
        session = joined.create()

        async def app(scope, receive, send):
            await send({"type": "websocket.accept"})
            scope["session"]["late"] = 1
            with pytest.raises(SettingsError, match="this session is in no scope"):
                _ = scope["session"].scope

        Call(wrapped(app, joined, join=True), type="websocket", **cookie_of(session)).run()

        assert dict(joined.retrieve(session.id)) == {"late": 1}
