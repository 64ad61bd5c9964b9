"""Sessions that meet: threads, processes and transactions that overlap. Nothing is lost, and nothing dead comes back."""

import contextlib
import json
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from conftest import new_place
from session_races import (
    IDLE,
    LIMIT,
    MERGES,
    START,
    Clock,
    Halting,
    check_indexes,
    check_nothing_is_left,
    in_threads,
    shelf_of,
)
from ZODB.ActivityMonitor import ActivityMonitor

import kiokupy
from kiokupy import SessionGone, SessionManager, SessionPolicy
from kiokupy.errors import SettingsError, TooManySessions
from kiokupy.sessions.sweeping import Sweeper

HOME = Path(__file__).parent


class Shop:
    """A store and its managers: one that can be stopped halfway, one for who acts meanwhile, one that sweeps."""

    def __init__(self, directory, **limits):
        self.directory, self.clock = directory, Clock()
        self.policy = SessionPolicy(idle=IDLE, absolute=10 * IDLE, resolution=60, clock=self.clock, **limits)
        self.halting = Halting(directory, self.policy)
        self.manager = SessionManager(directory, self.policy)

    def overlap(self, first, second):
        """Do the first while nothing is committed of it yet do the second, and return what they returned or raised."""
        answers = []
        self.halting.meanwhile = lambda: answers.append(outcome(second))
        answers.insert(0, outcome(first))
        assert len(answers) == 2, "nothing happened in the first one's transaction"
        return tuple(answers)


def outcome(act):
    try:
        return act()
    except kiokupy.KiokuError as error:
        return type(error)


@pytest.fixture
def shop(place):
    with place.connect() as directory:
        yield Shop(directory)


@pytest.fixture
def hash_shop():
    with kiokupy.connect() as directory:
        yield Shop(directory)


# What two requests do that have one session in hand. Saves of data say what they saved.


def flush(shop, manager, session, name):
    session[name] = 1
    session.increment("count")
    session.flush()


def login(shop, manager, session, name):
    session[name] = 1
    session.login("alice")


def regenerate(shop, manager, session, name):
    session[name] = 1
    session.regenerate()


def set_lifetime(shop, manager, session, name):
    session.set_lifetime(idle=2 * IDLE)
    session.flush()


def destroy(shop, manager, session, name):
    return session.destroy()


def destroy_all(shop, manager, session, name):
    return manager.destroy_all("alice")


def end(shop, manager, session, name):
    (handle,) = [info.handle for info in manager.sessions("alice")] or ["0"]
    return manager.end("alice", handle)


def sweep(shop, manager, session, name):
    sweeper = Halting(shop.directory, SessionPolicy(clock=lambda: START + IDLE))
    if manager is shop.halting:
        sweeper.meanwhile, manager.meanwhile = manager.meanwhile, None
    return sweeper.sweep()


SAVES = [flush, login, regenerate, set_lifetime]
MOVES = [login, regenerate]
ENDS = [destroy, destroy_all, end, sweep]


def expected(first, second):
    """Return what the first answers that is committed after the second, and how many sessions there are then."""
    if first in SAVES:
        return (SessionGone, 0 if second in ENDS else 1) if second in ENDS + MOVES else (None, 1)
    if second in ENDS or first is sweep:  # what was saved meanwhile lives on
        return 0, 0 if second in ENDS else 1
    if second in MOVES and first in (destroy, end):
        return (False, 1)
    return (1, 0)


def meet(shop, first, second):
    """Let two requests that have one session in hand overlap, the first one's commit being the later."""
    session = shop.manager.create()
    session.login("alice")
    shop.clock.now = START + IDLE - 1
    one, two = shop.halting.retrieve(session.id), shop.manager.retrieve(session.id)
    act_one = partial(first, shop, shop.halting, one, "one")
    answers = shop.overlap(act_one, partial(second, shop, shop.manager, two, "two"))
    return session, one, two, answers


@pytest.mark.parametrize("second", SAVES + ENDS, ids=lambda verb: verb.__name__)
@pytest.mark.parametrize("first", SAVES + ENDS, ids=lambda verb: verb.__name__)
class TestTwoThatOverlap:
    def test_end_as_one_after_the_other(self, hash_shop, first, second):
        check_meeting(hash_shop, first, second)
        check_nothing_is_left(hash_shop.directory, START + 100 * IDLE)


def check_meeting(shop, first, second):
    before = len(shelf_of(shop.directory)[0])
    session, one, two, answers = meet(shop, first, second)
    answer, left = expected(first, second)

    assert answers[0] == answer, (first, second)
    assert answers[1] == (None if second in SAVES else 1), (first, second)
    assert len(shelf_of(shop.directory)[0]) - before == left, (first, second)
    check_indexes(shop.directory)
    if left == 0:
        return
    # Whatever was saved and returned is there, under the newest id.
    survivor = one if first in SAVES and answer is None else two
    found = shop.manager.retrieve(survivor.id)
    saved = [
        name for name, verb, said in (("one", first, answer), ("two", second, None)) if verb in SAVES and said is None
    ]
    data = dict(found)
    assert [name for name in saved if name not in data] == [
        name for name, verb in (("one", first), ("two", second)) if name in saved and verb is set_lifetime
    ]
    assert data.get("count", 0) == sum(1 for verb in (first if answer is None else None, second) if verb is flush)
    assert survivor.id == session.id or shop.manager.retrieve(session.id) is None


OTHERS = [
    (flush, flush),
    (flush, destroy),
    (flush, sweep),
    (flush, regenerate),
    (regenerate, flush),
    (login, destroy_all),
]
OTHERS += [
    (destroy_all, login),
    (sweep, flush),
    (sweep, sweep),
    (regenerate, regenerate),
    (destroy, flush),
    (end, login),
]


def test_two_that_overlap_end_as_one_after_the_other_on_every_store(shop):
    for first, second in OTHERS:
        shop.clock.now = START
        check_meeting(shop, first, second)
        shop.manager.destroy_all("alice")


def log_in(session):
    session.login("alice")


class TestLoginsMeetTheEndOfAllSessions:
    def test_a_login_that_comes_first_is_ended_as_well(self, shop):
        shop.manager.create().login("alice")
        new = shop.manager.open()

        assert shop.overlap(lambda: shop.halting.destroy_all("alice"), partial(log_in, new)) == (2, None)
        assert shop.manager.retrieve(new.id) is None
        check_indexes(shop.directory)

    def test_a_login_that_comes_later_stays(self, shop):
        shop.manager.create().login("alice")
        new = shop.halting.open()

        answers = shop.overlap(partial(log_in, new), lambda: shop.manager.destroy_all("alice"))
        assert answers == (None, 1)
        assert [info.principal for info in shop.manager.sessions("alice")] == ["alice"]
        check_indexes(shop.directory)

    def test_the_first_login_of_all_does_not_slip_through(self, shop):
        new = shop.manager.open()

        assert shop.overlap(lambda: shop.halting.destroy_all("alice"), partial(log_in, new)) == (1, None)
        assert shop.manager.retrieve(new.id) is None

    def test_a_login_that_ended_the_session_that_is_kept_does_not_slip_through(self, place):
        with place.connect() as directory:
            shop = Shop(directory, parallel=1)
            for _ in range(2):
                kept = shop.manager.create()
                kept.login("alice")
            new = shop.manager.open()

            answers = shop.overlap(lambda: shop.halting.destroy_all("alice", keep=kept), partial(log_in, new))
            assert answers == (1, None)
            assert list(shop.manager.sessions("alice")) == []
            check_indexes(directory)

    def test_nothing_is_left_of_a_principal_that_has_no_sessions(self, hash_shop):
        hash_shop.manager.create().login("alice")

        assert hash_shop.manager.destroy_all("bob") == 0
        assert hash_shop.manager.end("bob", "0") is False
        assert hash_shop.manager.end("alice", "0") is False
        check_indexes(hash_shop.directory)

    def test_nothing_is_left_of_a_principal_whose_last_sessions_end_at_the_same_time(self, hash_shop):
        for name in ("bob", "carol", "dave"):
            hash_shop.manager.open().login(name)
        one, two, three = (hash_shop.manager.open().login("alice") for _ in range(3))
        destroy = hash_shop.manager.destroy
        hash_shop.overlap(lambda: hash_shop.halting.destroy(one), lambda: (destroy(two), destroy(three)))

        assert hash_shop.manager.stats().alive == 3
        check_indexes(hash_shop.directory)

    def test_the_session_that_is_kept_may_have_moved_meanwhile(self):
        with kiokupy.connect() as directory:
            shop = Shop(directory, overlap=60)
            session = shop.manager.create()
            session.login("alice")
            asking = shop.manager.retrieve(session.id)
            session.regenerate()
            shop.manager.create().login("alice")

            assert shop.manager.destroy_all("alice", keep=asking) == 1
            assert shop.manager.retrieve(session.id) is not None
            assert shop.manager.retrieve(asking.id) is not None


class TestLimit:
    @pytest.mark.parametrize("limit", [1, 2])
    def test_the_limit_is_exact_when_logins_overlap(self, place, limit):
        with place.connect() as directory:
            shop = Shop(directory, parallel=limit)
            for _ in range(3):
                one, two = shop.halting.open(), shop.manager.open()
                assert shop.overlap(partial(log_in, one), partial(log_in, two)) == (
                    None,
                    None,
                )
                assert shop.manager.retrieve(one.id) is not None
                check_indexes(directory)
            assert len(list(shop.manager.sessions("alice"))) == limit

    def test_the_later_of_two_logins_is_refused(self, place):
        with place.connect() as directory:
            shop = Shop(directory, parallel=1, at_limit="refuse")
            one, two = shop.halting.open(), shop.manager.open()

            answers = shop.overlap(partial(log_in, one), partial(log_in, two))
            assert answers == (TooManySessions, None)
            assert len(shelf_of(directory)[0]) == 1
            check_indexes(directory)

    def test_a_session_whose_login_was_refused_is_as_it_was(self):
        with kiokupy.connect() as directory:
            shop = Shop(directory, parallel=1, at_limit="refuse")
            log_in(shop.manager.open())
            session = shop.manager.create()
            session["cart"] = 1
            session.login("bob")
            id = session.id
            with pytest.raises(TooManySessions):
                log_in(session)

            assert (session.id, session.principal, dict(session)) == (id, "bob", {"cart": 1})
            shop.manager.conclude(session)
            assert shop.manager.retrieve(id).principal == "bob"

    def test_a_damaged_session_does_not_keep_its_principal_out(self):
        with kiokupy.connect() as directory:
            shop = Shop(directory, parallel=1)
            log_in(shop.manager.open())
            with directory.new_unit() as unit:
                (entry,) = unit.root["sessions"].values()
                entry.record = entry.record._replace(head=b"nonsense")
                unit.commit()
            session = shop.manager.open()
            log_in(session)

            assert [info.principal for info in shop.manager.sessions()] == ["alice"]
            assert (shop.manager.stats().alive, shop.manager.stats().expired) == (1, 0)
            assert shop.manager.destroy_all("alice") == 2
            check_indexes(directory)

    def test_threads_that_log_in_stay_within_the_limit(self, place):
        with place.connect() as directory:
            shop = Shop(directory, parallel=LIMIT)

            def log_in_again_and_again():
                for _ in range(3):
                    log_in(shop.manager.open())

            in_threads(*[log_in_again_and_again] * 4)
            assert len(list(shop.manager.sessions("alice"))) == len(shelf_of(directory)[0]) == LIMIT
            check_indexes(directory)


def test_threads_that_add_to_one_session_lose_nothing(place):
    with place.connect() as directory:
        manager = SessionManager(directory, merges=MERGES)
        id = manager.create().id

        def add(name):
            for number in range(5):
                session = manager.retrieve(id)
                session.increment("count", 2)
                session.append("log", f"{name} {number}")
                session["seen"] = [*session.get("seen", []), f"{name} {number}"]
                session.flush()

        in_threads(*[partial(add, name) for name in "abcd"])
        check_additions(manager.retrieve(id), "abcd", 5, count=40)


def check_additions(session, names, times, *, count):
    everything = [f"{name} {number}" for name in names for number in range(times)]
    assert session["count"] == count
    assert sorted(session["log"]) == sorted(session["seen"]) == everything
    for name in names:  # in the order in which they came
        assert [entry for entry in session["log"] if entry.startswith(name)] == [f"{name} {n}" for n in range(times)]


class TestMergesOfWhatWasDoneTwice:
    """What a request does to a key by more than one means, while another one does something to it as well."""

    def meet(self, shop, mine, theirs):
        session = shop.manager.create()
        session.update(count=10, log=["a"])
        session.flush()
        one, two = shop.manager.retrieve(session.id), shop.manager.retrieve(session.id)
        mine(one)
        theirs(two)
        two.flush()
        one.flush()
        return dict(one)

    def test_a_value_that_is_set_after_it_was_added_to_stays(self, hash_shop):
        def mine(session):
            session.increment("count")
            session["count"] = 0
            session.append("log", "b")
            session["log"] = []

        def theirs(session):
            session.increment("count")
            session.append("log", "c")

        assert self.meet(hash_shop, mine, theirs) == {"count": 0, "log": []}

    def test_a_key_that_is_taken_out_after_it_was_added_to_is_gone(self, hash_shop):
        def mine(session):
            session.increment("count")
            del session["count"]

        assert self.meet(hash_shop, mine, lambda session: session.increment("count")) == {"log": ["a"]}

    def test_what_is_appended_in_place_as_well_is_kept(self, hash_shop):
        def mine(session):
            session.append("log", "b")
            session["log"].append("c")

        assert self.meet(hash_shop, mine, lambda session: session.append("log", "d"))["log"] == ["a", "d", "b", "c"]

    def test_what_was_saved_is_not_appended_again(self, hash_shop):
        def mine(session):
            for entry in "bc":
                session.append("log", entry)
                session.increment("count")
                session.flush()
            session.append("log", "d")
            session.increment("count")

        found = self.meet(hash_shop, mine, lambda session: session.append("log", "e"))
        assert found == {"count": 13, "log": ["a", "b", "c", "e", "d"]}

    def test_a_list_that_became_shorter_keeps_what_was_appended(self, hash_shop):
        def mine(session):
            session["log"].clear()
            session.append("log", "b", "c")

        assert self.meet(hash_shop, mine, lambda session: session.append("log", "d"))["log"] == ["a", "d", "b", "c"]


PROCESSES, TIMES = ["a", "b"], 6


@pytest.fixture(scope="module", params=["PostgreSQL", "SQLite", "ZEO"])
def shared(request, tmp_path_factory):
    """A store that several processes worked on at the same time, and the session that they shared."""
    with new_place(request.param, tmp_path_factory.mktemp("shared")) as place, place.connect() as directory:
        manager = SessionManager(directory)
        session = manager.create()
        script = [sys.executable, str(HOME / "session_races.py")]
        with contextlib.ExitStack() as stack:
            running = []
            for name in PROCESSES:
                told = json.dumps([place.target, place.options, session.id, name, TIMES])
                process = subprocess.Popen([*script, told], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                running.append(stack.enter_context(process))
                stack.callback(process.kill)
            for process in running:
                assert process.stdout.readline() == "ready\n"
            for process in running:
                process.stdin.write("go\n")
                process.stdin.close()
            assert [process.wait(60) for process in running] == [0] * len(running)
        yield directory, manager.retrieve(session.id)


class TestProcesses:
    def test_what_they_add_to_one_session_is_all_there(self, shared):
        check_additions(shared[1], PROCESSES, TIMES, count=len(PROCESSES) * TIMES)

    def test_their_own_keys_are_all_there(self, shared):
        assert {name: shared[1][name] for name in PROCESSES} == dict.fromkeys(PROCESSES, TIMES - 1)

    def test_their_messages_are_all_there(self, shared):
        assert sorted(shared[1].peek_flash()) == [f"{name} {number}" for name in PROCESSES for number in range(TIMES)]

    def test_their_logins_stay_within_the_limit(self, shared):
        directory, _ = shared

        assert len(list(SessionManager(directory).sessions("alice"))) == LIMIT
        assert len(shelf_of(directory)[0]) == LIMIT + 1
        check_indexes(directory)


class TestSweeps:
    def test_sweepers_and_requests_at_the_same_time_lose_nothing_that_lives(self, place):
        with place.connect() as directory:
            shop = Shop(directory)
            dead = [shop.manager.create() for _ in range(30)]
            shop.clock.now += IDLE / 2
            alive = [shop.manager.create() for _ in range(10)]
            shop.clock.now += IDLE / 2
            swept, made = [], []

            def sweep():
                while (done := shop.manager.sweep(limit=7)) > 0:
                    swept.append(done)

            def serve():
                for session in alive:
                    again = shop.manager.retrieve(session.id)
                    again.increment("count")
                    again.flush()
                    made.append(shop.manager.create())

            in_threads(sweep, sweep, serve, serve)
            assert sum(swept) == len(dead)
            assert [shop.manager.retrieve(session.id)["count"] for session in alive] == [2] * len(alive)
            assert all(shop.manager.retrieve(session.id) is not None for session in made)
            assert len(shelf_of(directory)[0]) == len(alive) + len(made)
            check_indexes(directory)
            check_nothing_is_left(directory, START + 100 * IDLE)

    def test_a_session_whose_life_was_made_shorter_is_swept_at_its_end(self, hash_shop):
        session = hash_shop.manager.create()
        session.set_lifetime(idle=120)
        session.flush()
        hash_shop.clock.now += 120

        assert hash_shop.manager.sweep() == 1

    def test_a_session_without_an_end_is_never_swept_until_it_has_one(self, hash_shop):
        session = hash_shop.manager.create()
        session.set_lifetime(idle=None, absolute=None)
        session.flush()
        hash_shop.clock.now += 100 * IDLE
        assert hash_shop.manager.sweep() == 0
        session.set_lifetime(idle=IDLE)
        session.flush()
        hash_shop.clock.now += IDLE

        assert hash_shop.manager.sweep() == 1
        assert shelf_of(hash_shop.directory) == ({}, set(), set())

    def test_a_session_that_ends_later_in_the_same_minute_stays(self, hash_shop):
        hash_shop.clock.now = START + 30
        session = hash_shop.manager.create()
        hash_shop.clock.now += IDLE - 1

        assert hash_shop.manager.sweep() == 0
        assert hash_shop.manager.retrieve(session.id) is not None
        hash_shop.clock.now += 1
        assert hash_shop.manager.sweep() == 1

    def test_a_damaged_session_is_left_to_fsck(self, hash_shop):
        hash_shop.manager.create()
        with hash_shop.directory.new_unit() as unit:
            (entry,) = unit.root["sessions"].values()
            entry.record = entry.record._replace(head=b"nonsense")
            unit.commit()
        hash_shop.clock.now += IDLE

        assert [hash_shop.manager.sweep() for _ in range(2)] == [0, 0]
        with hash_shop.directory.new_unit() as unit:
            assert len(unit.root["sessions"]) == 1

    def test_old_ids_lead_to_a_session_over_a_few_moves_and_end_it(self):
        with kiokupy.connect() as directory:
            shop = Shop(directory, overlap=60)
            session = shop.manager.create()
            ids = [session.id]
            for _ in range(12):
                ids.append(session.regenerate())
            assert [shop.manager.retrieve(id) is not None for id in ids] == [False] * 3 + [True] * 10
            shop.clock.now += 60
            assert shop.manager.destroy(ids[-2]) is False
            session.regenerate()
            assert shop.manager.destroy(ids[-1]) is True

            assert shop.manager.retrieve(session.id) is None
            with pytest.raises(SessionGone):
                session.regenerate()
            check_nothing_is_left(directory, START + 100 * IDLE)

    def test_an_id_that_leads_to_another_for_a_while_is_no_session(self):
        with kiokupy.connect() as directory:
            shop = Shop(directory, overlap=60)
            shop.manager.create().regenerate()
            counts = [(shop.manager.stats().alive, shop.manager.stats().expired)]
            shop.clock.now += 120
            counts.append((shop.manager.stats().alive, shop.manager.stats().expired))

            assert counts == [(1, 0), (1, 0)]
            assert shop.manager.sweep() == 0
            assert len(shelf_of(directory)[0]) == 1
            check_nothing_is_left(directory, START + 100 * IDLE)

    def test_a_limited_sweep_ends_so_many_and_the_next_one_the_others(self, hash_shop):
        for _ in range(5):
            hash_shop.manager.create()
        hash_shop.clock.now += IDLE

        assert [hash_shop.manager.sweep(limit=limit) for limit in (0, 2, 5, None)] == [0, 2, 3, 0]

    def test_a_sweep_of_more_than_a_transaction_holds_ends_all(self, hash_shop):
        for _ in range(1020):
            hash_shop.manager.create()
        hash_shop.clock.now += IDLE

        assert hash_shop.manager.sweep(limit=1010) == 1010
        assert hash_shop.manager.sweep() == 10
        assert shelf_of(hash_shop.directory) == ({}, set(), set())


class TestSweeper:
    """What a manager's thread does; in a process of its own, for it is about processes."""

    def run(self, script, *args):
        prelude = (
            "import os, sys, threading, time, kiokupy\n"
            "from kiokupy import SessionManager, SessionPolicy\n"
            "from kiokupy.sessions.events import EventKind\n"
            "expired, now = threading.Semaphore(0), [1000.0]\n"
            "listeners = [lambda event: event.kind is EventKind.EXPIRED and expired.release()]\n"
            "policy = SessionPolicy(clock=lambda: now[0])\n"
            "def sweeper_threads():\n"
            "    return [thread for thread in threading.enumerate() if thread.name == 'kiokupy-sweeper']\n"
        )
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", prelude + script, *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def check(self, done):
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_it_survives_a_fork_and_the_child_has_none(self):
        self.check(
            self.run(
                "manager = SessionManager(kiokupy.connect(), policy, listeners=listeners)\n"
                "manager.start_sweeper(0.01)\n"
                "child = os.fork()\n"
                "if not child:\n"
                "    begun = time.monotonic()\n"
                "    manager.close()\n"
                "    os._exit(sweeper_threads() != [] or time.monotonic() - begun > 5)\n"
                "assert os.waitpid(child, 0)[1] == 0\n"
                "manager.create()\n"
                "now[0] += 1800\n"
                "assert expired.acquire(timeout=30)\n"
                "manager.close()\n"
                "assert sweeper_threads() == []\n"
            )
        )

    def test_a_child_can_start_one_of_its_own(self):
        self.check(
            self.run(
                "manager = SessionManager(kiokupy.connect(), policy)\n"
                "manager.start_sweeper(1000)\n"
                "child = os.fork()\n"
                "if not child:\n"
                "    manager = SessionManager(kiokupy.connect(), policy, listeners=listeners)\n"
                "    manager.start_sweeper(0.01)\n"
                "    manager.create()\n"
                "    now[0] += 1800\n"
                "    assert expired.acquire(timeout=30)\n"
                "    manager.close()\n"
                "    os._exit(0)\n"
                "assert os.waitpid(child, 0)[1] == 0\n"
            )
        )

    def test_it_ends_with_the_process_and_leaves_the_store_whole(self, tmp_path):
        path = tmp_path / "store.fs"
        self.check(
            self.run(
                "manager = SessionManager(kiokupy.connect('File', path=sys.argv[1]), policy, listeners=listeners)\n"
                "manager.start_sweeper(0.0001)\n"
                "for _ in range(20):\n"
                "    manager.create()\n"
                "    now[0] += 1800\n"
                "assert expired.acquire(timeout=30)\n",
                str(path),
            )
        )
        with kiokupy.connect("File", path=path) as directory:
            check_indexes(directory)

    def test_it_goes_on_after_a_sweep_that_failed(self, hash_shop, caplog):
        tried = threading.Semaphore(0)

        def fail():
            tried.release()
            raise RuntimeError("no luck")

        sweeper = Sweeper(fail, 0.001)
        sweeper.start()
        assert tried.acquire(timeout=30)
        assert tried.acquire(timeout=30)
        sweeper.stop()
        sweeper.stop()

        assert not sweeper.is_running
        assert "a sweep failed; the next one comes" in caplog.text

    def test_it_is_started_once(self, hash_shop):
        sweeper = Sweeper(hash_shop.manager.sweep, 1000)
        before = threading.active_count()
        sweeper.start()
        sweeper.start()

        assert (threading.active_count(), sweeper.is_running) == (before + 1, True)
        sweeper.stop()

    def test_a_manager_has_one_at_a_time_and_keeps_it_if_the_next_one_makes_no_sense(self, hash_shop):
        before = threading.active_count()
        hash_shop.manager.start_sweeper(1000)
        hash_shop.manager.start_sweeper(2000)
        with pytest.raises(SettingsError, match="every is a number of seconds above 0"):
            hash_shop.manager.start_sweeper(0)

        assert threading.active_count() == before + 1
        hash_shop.manager.close()
        assert threading.active_count() == before

    def test_it_can_be_stopped_by_what_it_does(self):
        done = threading.Semaphore(0)

        def once():
            sweeper.stop()
            done.release()

        sweeper = Sweeper(once, 0.001)
        sweeper.start()
        assert done.acquire(timeout=30)
        assert not done.acquire(timeout=0.05)


class Loads:
    """Counts the records that connections of a directory load from now on, with nothing in their caches."""

    def __init__(self, directory):
        with directory.new_unit() as unit:
            database = unit.connection.db()
        database.cacheMinimize()
        self._monitor = ActivityMonitor()
        database.setActivityMonitor(self._monitor)

    def count(self):
        return sum(step["loads"] for step in self._monitor.getActivityAnalysis(divisions=1))


class TestCostOfASweep:
    def test_it_loads_what_has_expired_and_not_the_others(self, hash_shop):
        many, few = 600, 20
        for number in range(many + few):
            if number == few:
                hash_shop.clock.now += IDLE / 2
            hash_shop.manager.create()
        hash_shop.clock.now = START + IDLE
        loads = Loads(hash_shop.directory)

        assert hash_shop.manager.sweep() == few
        # Of each its entry and the leaf of the tree of sessions that it stands in, and the way to them.
        assert few <= loads.count() < 3 * few

    def test_it_looks_at_a_session_in_use_once_in_an_idle_time(self, hash_shop):
        session, costs = hash_shop.manager.create(), []
        for _ in range(4 * IDLE // 60):
            hash_shop.clock.now += 60
            hash_shop.manager.retrieve(session.id).flush()
            loads = Loads(hash_shop.directory)
            assert hash_shop.manager.sweep() == 0
            costs.append(loads.count())

        # Otherwise it loads the leaf of the marks, and the way to that.
        assert sum(1 for cost in costs if cost > min(costs)) == 4
