"""Django's session engine: what Django's own tests of engines (test_django_peers.py) do not ask."""

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import django_site
import pytest
from asgiref.sync import sync_to_async
from conftest import new_place

import kiokupy
from kiokupy.errors import KiokuError, NotStorable, SettingsError

django_site.configure_once()

from django.contrib.sessions.backends.base import CreateError, UpdateError  # noqa: E402
from django.contrib.sessions.exceptions import SessionInterrupted  # noqa: E402
from django.core.checks import run_checks  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.test import Client, RequestFactory, override_settings  # noqa: E402

from kiokupy.web.django import SessionStore  # noqa: E402
from kiokupy.web.django import settings as django_settings  # noqa: E402
from kiokupy.web.django.middleware import SessionMiddleware  # noqa: E402

WEEK = 7 * 24 * 3600


@pytest.fixture(params=["Hash", "SQLite"], autouse=True)
def settings_of(request, tmp_path):
    """The settings of an empty store, which are read when it is first used; it is closed afterwards."""
    with new_place(request.param, tmp_path) as place:
        settings = {"target": place.target}
        with override_settings(SESSION_KIOKUPY=settings):
            yield settings
            django_settings.close()


@pytest.fixture
def clock(settings_of):
    """The time of the manager's policy, which stands still until it is moved."""
    now = [datetime.now(UTC).timestamp()]
    settings_of["clock"] = lambda: now[0]
    return now


def saved(**data):
    store = SessionStore()
    store.update(data)
    store.save()
    return store


def again(store):
    """The session of a store, as another request has it."""
    return SessionStore(store.session_key)


def stored(store):
    return dict(again(store).items())


def principals():
    return sorted(info.principal or "" for info in django_settings.manager().sessions())


def test_a_session_belongs_to_the_user_that_django_put_into_it():
    saved(_auth_user_id="42")
    saved(_auth_user_id=7)  # Django writes a string
    saved(color="red")

    assert principals() == ["", "42", "7"]


def test_all_sessions_of_a_user_can_be_ended():
    mine, other = saved(_auth_user_id="42"), saved(_auth_user_id="7")

    assert len(list(django_settings.manager().sessions("42"))) == 1
    assert django_settings.manager().destroy_all("42") == 1
    assert stored(mine) == {}
    assert stored(other) == {"_auth_user_id": "7"}


def test_a_session_whose_user_is_taken_out_belongs_to_nobody_and_has_another_key():
    store = again(saved(_auth_user_id="42"))
    before = store.session_key
    del store["_auth_user_id"]
    store.save()

    assert principals() == [""]
    assert store.session_key != before
    assert not store.exists(before)


def test_a_change_deep_inside_is_noticed():
    store = again(saved(cart={"items": [1]}))
    assert not store.modified
    store["cart"]["items"].append(2)
    assert store.modified
    store.save()

    assert stored(store) == {"cart": {"items": [1, 2]}}
    assert not store.modified


def test_shared_and_circular_values_keep_their_identity():
    ring = [1]
    ring.append(ring)
    store = again(saved(ring=ring, same=ring))

    assert store["ring"][1] is store["ring"] is store["same"]


def test_modified_can_be_set_as_in_django():
    store = again(saved(cart=[1]))
    store["cart"].append(2)
    store.modified = False
    assert not store.modified
    store["other"] = 1
    assert store.modified
    store = again(store)
    store.modified = True
    assert store.modified


def test_looking_for_what_is_not_there_modifies_nothing_and_does_not_hide_changes():
    store = again(saved(cart=[1]))
    assert store.pop("nothing", None) is None
    assert not store.modified
    store["cart"].append(2)
    assert store.modified


def test_a_store_that_nobody_looked_into_is_not_modified_and_opens_nothing():
    django_settings.close()
    store = SessionStore("a" * 43)

    assert (store.modified, store.accessed) == (False, False)
    assert django_settings._slots == {}


def test_what_is_loaded_is_unpickled_by_whoever_loads_it():
    assert again(saved(a=1)).load().held.data == {"a": 1}


def test_requests_at_the_same_time_are_merged_by_key():
    first = saved(n=0)
    one, two = again(first), again(first)
    one["one"], two["two"] = 1, 2
    one.save()
    two.save()

    assert stored(first) == {"n": 0, "one": 1, "two": 2}
    assert two["one"] == 1


def test_a_key_that_two_requests_count_up_loses_nothing():
    first = saved(n=1)
    one, two = again(first), again(first)
    one.kiokupy.increment("n")
    two.kiokupy.increment("n")
    assert one.modified
    one.save()
    two.save()

    assert stored(first) == {"n": 3}


def test_clear_takes_out_what_is_stored():
    store = again(saved(a=1, b=2))
    store.clear()
    assert store.modified
    store.save()

    assert stored(store) == {}
    assert store.exists(store.session_key)


def test_a_session_is_deleted_by_its_key():
    mine, other = saved(a=1), saved(a=2)
    mine.delete(other.session_key)
    SessionStore().delete()  # there is none to end

    assert (stored(mine), stored(other)) == ({"a": 1}, {})


def test_flush_ends_the_session_and_what_is_put_in_then_is_a_new_one():
    first = saved(secret=1)
    store = again(first)
    store.flush()
    assert (store.session_key, store.modified, store.is_empty()) == (None, True, True)
    store["mine"] = 2
    store.save()

    assert stored(first) == {}
    assert stored(store) == {"mine": 2}


def test_flush_of_what_is_not_stored_writes_nothing():
    store = SessionStore("a" * 43)
    store.flush()

    assert list(django_settings.manager().sessions()) == []


def test_a_key_can_be_cycled_before_anything_was_stored():
    store = SessionStore()
    store.cycle_key()

    assert store.exists(store.session_key)


def test_cycling_the_key_of_a_session_that_was_ended_does_not_bring_it_back():
    first = saved(secret=1)
    store = again(first)
    assert store["secret"] == 1
    first.delete()
    with pytest.raises(SessionInterrupted):
        store.cycle_key()
    assert list(django_settings.manager().sessions()) == []


def test_create_gives_a_stored_session_another_key():
    first = saved(a=1)
    store = again(first)
    assert store["a"] == 1
    store.create()

    assert store.session_key != first.session_key
    assert stored(store) == {"a": 1}
    assert stored(first) == {}


def test_a_new_session_that_is_saved_by_hand_gets_its_cookie():
    store = SessionStore()
    store.save()

    assert store.modified


def test_a_session_that_is_stored_cannot_be_created_again():
    with pytest.raises(CreateError):
        saved(a=1).save(must_create=True)


def test_a_save_that_the_type_map_refuses_names_what_it_refuses():
    store = SessionStore()
    store["cart"] = {"lock": threading.Lock()}
    with pytest.raises(NotStorable, match=r"session\['cart'\]\['lock'\]"):
        store.save()


@pytest.mark.parametrize(
    "key", ["A" * 43, "short", "../../../../etc/passwd", "'; DROP TABLE object_state; --", "", None]
)
def test_a_planted_key_is_not_adopted(key):
    store = SessionStore(key)
    store["a"] = 1
    store.save()

    assert store.session_key != key
    assert not store.exists(key)


def test_an_unknown_key_stores_nothing_where_every_request_saves():
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        assert SessionStore("A" * 43).is_empty()
        assert SessionStore().is_empty()
        assert not again(saved(a=1)).is_empty()


def test_a_session_lives_as_long_after_its_last_change_as_django_says(clock):
    store = saved(a=1)
    clock[0] += 2 * WEEK - 2
    assert stored(store) == {"a": 1}  # reading is no use in Django's terms
    clock[0] += 4
    assert stored(store) == {}


def test_a_change_puts_the_end_off(clock):
    store = saved(a=1)
    clock[0] += WEEK
    store["b"] = 2
    store.save()
    clock[0] += 2 * WEEK - 2
    assert stored(store) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("expiry", "alive", "gone"),
    [
        (3600, 3598, 3602),
        (timedelta(hours=1), 3590, 3610),
        (0, 2 * WEEK - 2, 2 * WEEK + 2),
        (None, 2 * WEEK - 2, 2 * WEEK + 2),
    ],
)
def test_a_session_ends_when_set_expiry_says(clock, expiry, alive, gone):
    store = saved(a=1)
    store.set_expiry(60)
    store.save()
    store.set_expiry(expiry)
    store.save()
    clock[0] += alive
    assert stored(store)["a"] == 1
    clock[0] += gone - alive
    assert stored(store) == {}


def test_a_moment_is_not_put_off_by_use(clock):
    store = saved(a=1)
    store.set_expiry(datetime.fromtimestamp(clock[0] + 100, UTC))
    store.save()
    clock[0] += 90
    store["b"] = 1
    store.save()
    clock[0] += 11
    assert stored(store) == {}


def test_what_the_settings_allow_limits_what_django_says(settings_of, clock):
    settings_of.update(idle=100, absolute=250)
    idle, used, asked = saved(a=1), saved(a=1), saved(a=1)
    asked.set_expiry(datetime.fromtimestamp(clock[0] + WEEK, UTC))
    asked.save()
    for _ in range(2):
        clock[0] += 99
        used = again(used)
        assert used["a"] == 1
        assert used.modified  # reading is use here, so the middleware saves
        used.save()
        assert not again(used).modified
    assert (stored(idle), stored(asked)) == ({}, {})
    clock[0] += 53
    assert stored(used) == {}


def test_clearsessions_takes_out_what_has_ended(clock):
    store = saved(a=1)
    saved(a=2).delete()
    clock[0] += WEEK
    other = saved(b=1)
    clock[0] += WEEK + 60
    call_command("clearsessions")

    assert len(list(django_settings.manager().sessions())) == 1
    assert (stored(store), stored(other)) == ({}, {"b": 1})


def test_the_async_methods_do_what_the_others_do():
    async def visit():
        store = SessionStore()
        await store.aset("cart", [1])
        await store.asave()
        first = store.session_key
        await store.acycle_key()
        (await store.aget("cart")).append(2)
        assert store.modified
        await store.asave()
        assert not await store.aexists(first)
        assert await store.apop("cart") == [1, 2]
        assert await store.apop("cart", None) is None
        await store.aflush()
        assert (await store.aexists(store.session_key), store.session_key) == (False, None)
        await store.acreate()
        await store.adelete()
        await SessionStore.aclear_expired()
        with pytest.raises(UpdateError):
            await store.asave()

    asyncio.run(visit())


def test_a_session_is_read_and_saved_while_the_thread_of_djangos_database_is_busy():
    store, gate = saved(a=1), threading.Event()

    async def visit():
        query = asyncio.create_task(sync_to_async(gate.wait)(30))  # as an ORM query that takes long
        other = again(store)
        await other.aset("b", 2)
        await other.asave()
        gate.set()
        assert await query

    asyncio.run(visit())
    assert stored(store) == {"a": 1, "b": 2}


def test_the_event_loop_goes_on_while_a_session_is_read_and_saved(settings_of):
    store, threads = SessionStore(), set()
    settings_of["clock"] = lambda: threads.add(threading.get_ident()) or time.time()

    async def visit():
        await store.aset("a", 1)
        await store.asave()
        await again(store).aload()
        await store.acycle_key()
        await store.aflush()
        return threading.get_ident()

    assert asyncio.run(visit()) not in threads
    assert threads


def respond(request, view):
    """Let the middleware answer a request with a view."""
    return SessionMiddleware(view)(request)


def test_the_clients_device_is_noted():
    def view(request):
        request.session["a"] = 1
        return HttpResponse()

    respond(RequestFactory().get("/", HTTP_USER_AGENT="Lynx", REMOTE_ADDR="192.0.2.7"), view)
    [info] = django_settings.manager().sessions()

    assert (info.device.user_agent, info.device.address) == ("Lynx", "192.0.2.7")


def test_an_untouched_request_has_no_trace():
    response = respond(RequestFactory().get("/"), lambda request: HttpResponse())

    assert not {"Vary", "Cache-Control", "Set-Cookie"} & set(response.headers)
    assert not response.cookies


def test_a_response_that_sets_the_cookie_is_kept_by_no_cache():
    def view(request):
        request.session["a"] = 1
        return HttpResponse(headers={"Cache-Control": "public, max-age=60"})

    response = respond(RequestFactory().get("/"), view)

    assert (response["Cache-Control"], response["Vary"]) == ("no-store", "Cookie")


def test_the_middleware_wants_this_engine():
    with (
        override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"),
        pytest.raises(ImproperlyConfigured, match=r'SESSION_ENGINE = "kiokupy\.web\.django"'),
    ):
        SessionMiddleware(lambda request: HttpResponse())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "SESSION_KIOKUPY is not set"),
        (["Hash"], "SESSION_KIOKUPY is a list"),
        ({"targt": "Hash"}, "Did you mean 'target'"),
        ({"target": "Hsah"}, "Did you mean 'Hash'"),
        ({"target": "Hash", "idle": -1}, "idle is a number of seconds above 0"),
        ({"target": "Hash", "cookie_name": "s"}, "Set SESSION_COOKIE_NAME"),
        ({"target": "Hash", "overlap": 5}, "Leave it out"),
    ],
)
def test_wrong_settings_name_their_fix(given, words):
    with override_settings(SESSION_KIOKUPY=given):
        [found] = run_checks(tags=["sessions"])
        assert words in found.msg
        with pytest.raises((ImproperlyConfigured, KiokuError), match=words):
            saved(a=1)


def test_right_settings_pass_the_check_while_another_process_has_the_store(tmp_path):
    target = f"file:path={tmp_path}/store.fs"
    with kiokupy.connect(target):
        for given in (target, {"target": target, "idle": 600}, {"kiokudb_backend": "Hash"}):
            with override_settings(SESSION_KIOKUPY=given):
                assert run_checks(tags=["sessions"]) == []


def test_the_store_is_opened_once_by_many_threads(tmp_path):
    with override_settings(SESSION_KIOKUPY=f"file:path={tmp_path}/store.fs"), ThreadPoolExecutor(8) as pool:
        managers = set(pool.map(lambda _: django_settings.manager(), range(64)))
        assert len(managers) == 1
        django_settings.close()


def test_a_changed_setting_closes_the_store_and_opens_another():
    first = django_settings.manager()
    store = saved(a=1)
    with override_settings(SESSION_KIOKUPY="Hash"):
        assert stored(store) == {}
        assert django_settings.manager() is not first
    with override_settings(SESSION_COOKIE_AGE=1):
        second = django_settings.manager()
    assert django_settings.manager() is second


FORKS = """
import os, sys, threading
import django_site

django_site.configure(sys.argv[1], ":memory:")
from kiokupy.web.django import settings as django_settings
from kiokupy.web.django import SessionStore

store = SessionStore()
store["parent"] = 1
store.save()
slot = django_settings._slots[os.getpid()]
with slot.lock:  # as another thread may hold it at that moment
    child = os.fork()
    if child == 0:
        other = SessionStore(store.session_key)
        other["child"] = 2
        other.save()
        os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(sorted(SessionStore(store.session_key).keys()))
"""


def test_a_child_opens_the_store_for_itself_after_a_fork(tmp_path):
    script = [sys.executable, "-c", FORKS, f"sqlite:///{tmp_path}/forked.sqlite"]
    done = subprocess.run(script, check=False, capture_output=True, text=True, cwd=Path(__file__).parent, timeout=60)

    assert (done.stdout, done.stderr) == ("['child', 'parent']\n", "")


def test_a_scope_is_there_only_where_it_is_joined():
    with pytest.raises(SettingsError, match="join"):
        SessionStore().scope  # noqa: B018  # the question is the act


@pytest.fixture
def joined(settings_of):
    settings_of["join"] = True


def cookie_of(response):
    return response.cookies["sessionid"].value


def request_with(key=None):
    request = RequestFactory().get("/")
    if key is not None:
        request.COOKIES["sessionid"] = key
    return request


def note(request):
    """Store an object and refer to it from the session, as a view does."""
    order = [request.session.get("n", 0)]
    request.session.scope.store(order, id=f"order {order[0]}")
    request.session["n"] = order[0] + 1
    request.session["order"] = order
    return HttpResponse()


def lookup(id):
    return django_settings.manager().directory.lookup(id)


@pytest.mark.usefixtures("joined")
def test_a_joined_session_and_its_objects_are_committed_together():
    first = respond(request_with(), note)
    second = respond(request_with(cookie_of(first)), note)

    assert cookie_of(first) == cookie_of(second)
    assert (lookup("order 0"), lookup("order 1")) == ([0], [1])
    assert dict(SessionStore(cookie_of(first)).items()) == {"n": 2, "order": [1]}


@pytest.mark.usefixtures("joined")
def test_a_joined_session_is_saved_where_the_scope_was_not_needed():
    def view(request):
        request.session["a"] = 1
        return HttpResponse()

    assert dict(SessionStore(cookie_of(respond(request_with(), view))).items()) == {"a": 1}


@pytest.mark.usefixtures("joined")
def test_objects_are_committed_where_the_session_did_not_change():
    def view(request):
        request.session.scope.store(["alone"], id="alone")
        return HttpResponse()

    response = respond(request_with(), view)

    assert lookup("alone") == ["alone"]
    assert not response.cookies
    assert list(django_settings.manager().sessions()) == []


@pytest.mark.usefixtures("joined")
@pytest.mark.parametrize("status", [500, 503])
def test_neither_is_kept_after_a_server_error(status):
    first = respond(request_with(), note)
    request = request_with(cookie_of(first))

    def view(request):
        note(request)
        request.session.cycle_key()
        return HttpResponse(status=status)

    response = respond(request, view)

    assert lookup("order 1") is None
    assert SessionStore(cookie_of(first))["n"] == 1
    assert not response.cookies
    assert (request.session.session_key, request.session["n"]) == (cookie_of(first), 1)


@pytest.mark.usefixtures("joined")
def test_neither_is_kept_where_django_makes_a_response_of_a_views_exception():
    response = Client().get("/note?text=lost&touch=1&missing")

    assert (response.status_code, dict(response.cookies)) == (404, {})
    assert lookup("notes") is None
    assert list(django_settings.manager().sessions()) == []


@pytest.mark.usefixtures("joined")
@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_neither_is_kept_where_an_exception_passes_the_middleware(kind):
    request = request_with()

    def view(request):
        note(request)
        raise kind

    with pytest.raises(kind):
        respond(request, view)
    assert not request.session.is_joined
    assert lookup("order 0") is None
    assert request.session.session_key is None
    assert list(django_settings.manager().sessions()) == []


@pytest.mark.usefixtures("joined")
def test_neither_is_kept_where_a_task_was_cancelled():
    async def view(request):
        await request.session.aset("n", 1)
        request.session.scope.store([0], id="order 0")
        raise asyncio.CancelledError

    async def visit():
        await SessionMiddleware(view)(request_with())

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(visit())
    assert lookup("order 0") is None


@pytest.mark.usefixtures("joined")
def test_a_scope_is_closed_that_a_thread_opens_for_a_task_that_is_cancelled(settings_of):
    first = respond(request_with(), note)
    django_settings.close()
    entered, gate, request = threading.Event(), threading.Event(), request_with(cookie_of(first))
    settings_of["clock"] = lambda: (entered.set(), gate.wait(30), time.time())[-1]

    async def view(request):
        await request.session.aget("n")

    async def visit():
        task = asyncio.create_task(SessionMiddleware(view)(request))
        assert await asyncio.to_thread(entered.wait, 30)
        task.cancel()
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(visit())
    assert (request.session.is_joined, request.session._loaded) == (False, None)


@pytest.mark.usefixtures("joined")
def test_neither_is_kept_where_the_session_was_ended_meanwhile():
    first = respond(request_with(), note)

    def view(request):
        note(request)
        django_settings.manager().destroy(cookie_of(first))
        return HttpResponse()

    with pytest.raises(SessionInterrupted):
        respond(request_with(cookie_of(first)), view)
    assert lookup("order 1") is None


@pytest.mark.usefixtures("joined")
def test_objects_are_not_kept_where_a_session_was_ended_whose_use_is_to_be_noted(clock):
    first = respond(request_with(), note)
    clock[0] += 3600

    def view(request):
        request.session.scope.store(["alone"], id="alone")
        django_settings.manager().destroy(cookie_of(first))
        return HttpResponse()

    with pytest.raises(SessionInterrupted):
        respond(request_with(cookie_of(first)), view)
    assert lookup("alone") is None


@pytest.mark.usefixtures("joined")
def test_a_joined_session_is_flushed_with_the_objects():
    first = respond(request_with(), note)

    def view(request):
        request.session.scope.store(["last"], id="last")
        request.session.flush()
        return HttpResponse()

    response = respond(request_with(cookie_of(first)), view)

    assert lookup("last") == ["last"]
    assert cookie_of(response) == ""
    assert list(django_settings.manager().sessions()) == []


@pytest.mark.usefixtures("joined")
def test_a_joined_session_whose_key_is_cycled_has_the_new_one_in_the_view_and_afterwards():
    first = respond(request_with(), note)
    seen = []

    def view(request):
        request.session["_auth_user_id"] = "42"
        request.session.cycle_key()
        seen.append(request.session.session_key)
        return HttpResponse()

    response = respond(request_with(cookie_of(first)), view)

    assert seen == [cookie_of(response)] != [cookie_of(first)]
    assert stored(SessionStore(cookie_of(first))) == {}
    assert SessionStore(cookie_of(response))["n"] == 1
    assert principals() == ["42"]


@pytest.mark.usefixtures("joined")
def test_a_joined_session_that_gets_a_user_without_a_login_has_another_key_and_its_cookie():
    first = respond(request_with(), note)

    def view(request):
        request.session["_auth_user_id"] = "42"
        return HttpResponse()

    response = respond(request_with(cookie_of(first)), view)

    assert cookie_of(response) != cookie_of(first)
    assert SessionStore(cookie_of(response))["n"] == 1
    assert not SessionStore().exists(cookie_of(first))


@pytest.mark.usefixtures("joined")
def test_a_joined_session_that_is_empty_can_be_created_and_is_stored_at_the_end():
    def view(request):
        request.session.create()
        return HttpResponse()

    response = respond(request_with(), view)

    assert SessionStore().exists(cookie_of(response))


@pytest.mark.usefixtures("joined")
def test_a_joined_session_can_be_looked_at_after_the_response():
    request = request_with()
    respond(request, note)

    assert request.session["order"] == [0]
    assert request.session.session_key is not None


@pytest.mark.usefixtures("joined")
def test_a_store_of_its_own_is_in_no_scope():
    assert stored(saved(a=1)) == {"a": 1}
