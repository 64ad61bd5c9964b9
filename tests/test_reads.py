"""Group reads: what threads read together, and that none of them harms or holds up another one."""

import contextlib
import os
import threading
import time
from functools import partial

import psycopg2
import pytest
import servers
from conftest import new_place
from crowds import PATIENCE, Crowd, Interrupt

import kiokupy
from kiokupy import SessionManager, lanes, reads
from kiokupy.connection import GraphConnection
from kiokupy.entry import NEW, Entry, Record
from kiokupy.errors import StoreError, StoreUnreachable


def put(key, text="x"):
    """Return a work that puts a new entry in."""
    return lambda unit: unit.root["entries"].insert(key, Entry(Record("t", None, text.encode(), (), NEW)))


def text_of(key):
    """Return a work that reads an entry, and tells which thread did it."""
    return lambda unit: (unit.root["entries"][key].record.state.decode(), threading.current_thread())


def entry_of(key):
    return lambda unit: unit.root["entries"][key]


def new_session(manager, number):
    """Store a session with a number in it, and return its id."""
    session = manager.create()
    session["n"] = number
    manager.flush(session)
    return session.id


def crowd_of(directory, leading=lambda unit: None):
    """Return threads whose reads wait for one that leads."""
    return Crowd(directory._reads._queue, directory.read, leading)


@pytest.fixture
def patient(monkeypatch):
    """None begins before the one that leads is done, however long that takes."""
    monkeypatch.setattr(reads, "APART", PATIENCE)
    monkeypatch.setattr(reads, "PATIENCE", PATIENCE)


@pytest.fixture
def directory(tmp_path):
    """A directory whose storage has to ask what is newest, with an entry for each digit."""
    with kiokupy.connect(f"sqlite:///{tmp_path}/store") as directory:
        directory.write(lambda unit: [put(key, key)(unit) for key in "0123456789"] and None)
        yield directory


@pytest.mark.parametrize("kind", ["Hash", "File"])
def test_where_none_has_to_be_asked_each_reads_by_itself(kind, tmp_path):
    with new_place(kind, tmp_path) as place, place.connect() as directory:
        crowd = crowd_of(directory)
        for number in range(3):
            crowd.start(number, lambda unit: threading.current_thread())
        crowd.until(lambda: len(crowd.outcomes) == 3)

        assert len(set(crowd.outcomes.values())) == 3
        crowd.go()


@pytest.mark.usefixtures("patient")
class TestTogether:
    def test_those_that_wait_are_read_by_one_of_them(self, directory):
        crowd = crowd_of(directory)
        for key in "0123":
            crowd.start(key, text_of(key))
        outcomes = crowd.go()

        assert outcomes.pop("leader") is None
        assert {key: text for key, (text, _) in outcomes.items()} == {key: key for key in "0123"}
        assert len({thread for _, thread in outcomes.values()}) == 1

    def test_each_sees_what_was_committed_before_it_came(self, directory):
        crowd = crowd_of(directory)
        directory.write(put("new", "new"))
        crowd.start("new", text_of("new"))
        crowd.start("other", text_of("new"))
        outcomes = crowd.go()

        assert [outcomes[name][0] for name in ("new", "other")] == ["new", "new"]

    def test_a_transaction_takes_so_many_and_no_more(self, directory, monkeypatch):
        monkeypatch.setattr(reads, "MOST", 3)
        crowd = crowd_of(directory)
        for key in "0123456":
            crowd.start(key, text_of(key))
        threads = [thread for _, thread in (crowd.go()[key] for key in "0123456")]

        assert [threads.count(thread) for thread in dict.fromkeys(threads)] == [3, 3, 1]

    def test_a_failing_one_gets_its_error_and_the_others_read(self, directory):
        crowd = crowd_of(directory)
        crowd.start("0", text_of("0"))
        crowd.start("unknown", text_of("unknown"))
        crowd.start("1", text_of("1"))
        outcomes = crowd.go()

        assert isinstance(outcomes["unknown"], KeyError)
        assert [outcomes[key][0] for key in "01"] == ["0", "1"]

    def test_one_whose_object_cannot_be_told_ahead_reads_nevertheless(self, directory):
        crowd = Crowd(directory._reads._queue, partial(directory.read, ahead=entry_of("unknown")), lambda unit: None)
        for key in "01":
            crowd.start(key, text_of(key))
        outcomes = crowd.go()

        assert [outcomes[key][0] for key in "01"] == ["0", "1"]

    def test_what_they_need_and_is_not_in_memory_comes_at_once(self, directory, tmp_path, monkeypatch):
        asked, prefetch = [], GraphConnection.prefetch
        monkeypatch.setattr(
            GraphConnection, "prefetch", lambda self, found: (asked.append(list(found)), prefetch(self, found))
        )
        with kiokupy.connect(f"sqlite:///{tmp_path}/store") as other:
            for number in range(2):
                crowd = crowd_of(other)
                for key in "012":
                    crowd.do = partial(other.read, ahead=entry_of(key) if key != "2" else lambda unit: None)
                    crowd.start(key, text_of(key))
                crowd.go()
                assert [len(found) for found in asked] == [2], number

    @pytest.mark.parametrize("kind", ["PostgreSQL", "ZEO"])
    def test_it_is_so_on_a_server(self, kind, tmp_path):
        with new_place(kind, tmp_path) as place, place.connect() as directory, place.connect() as other:
            other.write(lambda unit: [put(key, key)(unit) for key in "012"] and None)
            crowd = crowd_of(directory)
            for key in "012":
                crowd.do = partial(directory.read, ahead=entry_of(key))
                crowd.start(key, text_of(key))
            outcomes = crowd.go()

            assert {key: outcomes[key][0] for key in "012"} == {key: key for key in "012"}
            assert len({outcomes[key][1] for key in "012"}) == 1

    def test_where_the_connection_of_one_is_lost_the_others_read_on_theirs(self):
        with servers.new_postgresql() as url, kiokupy.connect(url) as directory:
            directory.write(lambda unit: [put(key, key)(unit) for key in "012"] and None)

            def lose(unit):
                pid = unit.connection.records._load_connection.connection.get_backend_pid()
                with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
                unit.connection.records.load(b"\0\0\0\0\0\0\xff\xff")

            crowd = crowd_of(directory)
            crowd.start("lost", lose)
            for key in "012":
                crowd.start(key, text_of(key))
            outcomes = crowd.go()

            assert isinstance(outcomes["lost"], StoreUnreachable)
            assert [outcomes[key][0] for key in "012"] == ["0", "1", "2"]

    def test_where_no_transaction_can_be_begun_who_leads_is_told_and_the_others_try_it(self, directory, monkeypatch):
        crowd, begin = crowd_of(directory), lanes.Lane.begin

        def fail_once(lane):
            monkeypatch.setattr(lanes.Lane, "begin", begin)
            raise OSError(5, "Input/output error")

        for key in "012":
            crowd.start(key, text_of(key))
        monkeypatch.setattr(lanes.Lane, "begin", fail_once)
        outcomes = crowd.go()

        assert isinstance(outcomes["0"], OSError)
        assert [outcomes[key][0] for key in "12"] == ["1", "2"]

    def test_closing_ends_those_that_wait_with_an_error(self, directory):
        crowd, closed = crowd_of(directory), []
        for key in "01":
            crowd.start(key, text_of(key))
        closing = threading.Thread(target=lambda: closed.append(directory.close()))
        closing.start()
        crowd.until(lambda: directory._database._closed)
        outcomes = crowd.go()
        closing.join(PATIENCE)

        assert ["closed" in str(outcomes[key]) for key in "01"] == [True, True]
        assert closed == [None]

    def test_listeners_hear_of_a_session_in_the_thread_that_opened_it(self, directory):
        heard, manager = [], SessionManager(directory)
        ids = [new_session(manager, number) for number in range(3)]
        told = SessionManager(directory, listeners=[lambda event: heard.append(threading.current_thread())])
        crowd, opened = crowd_of(directory), {}

        def open_session(id):
            opened[id] = threading.current_thread()
            return told.open(id)["n"]

        crowd.do = open_session
        for id in ids:
            crowd.start(id, id)
        outcomes = crowd.go()

        assert [outcomes[id] for id in ids] == [0, 1, 2]
        assert set(heard) == set(opened.values())


class TestFarAway:
    """Where a read takes long, others do not wait for its end, but there are only so many at one time."""

    def test_who_is_next_leads_when_it_is_late(self, directory, monkeypatch):
        monkeypatch.setattr(reads, "PATIENCE", PATIENCE)
        monkeypatch.setattr(reads, "APART", 0.01)
        crowd = crowd_of(directory)
        crowd.start("0", text_of("0"))
        crowd.until(lambda: "0" in crowd.outcomes)

        assert crowd.outcomes["0"][0] == "0"
        crowd.go()

    def test_who_comes_when_it_is_late_leads_at_once(self, directory, monkeypatch):
        crowd = crowd_of(directory)
        time.sleep(2 * reads.APART)
        monkeypatch.setattr(reads, "PATIENCE", PATIENCE)
        begun = directory._reads._began
        thread = threading.current_thread()

        assert directory.read(text_of("0")) == ("0", thread)
        assert directory._reads._began > begun
        crowd.go()

    def test_there_are_so_many_and_no_more(self, directory, monkeypatch):
        monkeypatch.setattr(reads, "PATIENCE", PATIENCE)
        monkeypatch.setattr(reads, "GROUPS", 2)
        crowd, goes = crowd_of(directory), threading.Event()
        second = threading.Thread(target=directory.read, args=[lambda unit: goes.wait(PATIENCE)])
        second.start()
        crowd.until(lambda: directory._reads._leading == 2)
        crowd.start("waits", text_of("0"))
        crowd.start("waits too", text_of("0"))
        time.sleep(20 * reads.APART)
        waiting = set(crowd.queue)
        goes.set()
        outcomes = crowd.go()
        second.join(PATIENCE)

        assert len(waiting) == 2
        assert [outcomes[name][0] for name in ("waits", "waits too")] == ["0", "0"]

    def test_none_waits_for_longer_than_its_patience(self, directory, monkeypatch):
        monkeypatch.setattr(reads, "GROUPS", 1)
        monkeypatch.setattr(reads, "PATIENCE", 0.05)
        crowd = crowd_of(directory)
        crowd.start("0", text_of("0"))
        crowd.until(lambda: "0" in crowd.outcomes)

        assert crowd.outcomes["0"][0] == "0"
        assert crowd.queue == {}
        crowd.go()

    def test_a_read_within_a_read_does_not_wait_for_itself(self, directory):
        assert directory.read(lambda unit: directory.read(text_of("0"))[0]) == "0"


@pytest.mark.usefixtures("patient")
class TestCtrlC:
    """Ctrl-C raises KeyboardInterrupt in the main thread, wherever that is."""

    def test_wherever_it_comes_the_others_read(self, directory, monkeypatch):
        monkeypatch.setattr(lanes, "PATIENCE", 0)  # the interrupted threads are gone, and some took no leave
        monkeypatch.setattr(reads, "APART", reads.APART / 1000)
        monkeypatch.setattr(reads, "PATIENCE", 0.1)
        number, interrupted = 0, True
        while interrupted:
            number += 1
            crowd = crowd_of(directory)
            interrupt = Interrupt(number, ("reads.py", "lanes.py", "turns.py"))
            crowd.start("interrupted", text_of("0"), interrupt)
            for key in "123":
                crowd.start(key, text_of(key))
            outcomes = crowd.go()
            interrupted = interrupt.left <= 0
            assert isinstance(outcomes["interrupted"], KeyboardInterrupt) == interrupted
            assert [outcomes[key][0] for key in "123"] == ["1", "2", "3"], number
        assert number > 20

    def test_one_that_leads_leaves_that_to_the_next(self, directory):
        crowd = crowd_of(directory)

        def interrupted(unit):
            raise KeyboardInterrupt

        crowd.start("interrupted", interrupted)
        for key in "012":
            crowd.start(key, text_of(key))
        outcomes = crowd.go()

        assert isinstance(outcomes["interrupted"], KeyboardInterrupt)
        assert [outcomes[key][0] for key in "012"] == ["0", "1", "2"]
        assert directory._reads._leading == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork()")
def test_a_child_process_is_told_to_connect_itself(directory):
    crowd = crowd_of(directory)
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            with pytest.raises(StoreError, match="used in its child"):
                directory.read(lambda unit: None)
            code = 0
        os._exit(code)

    assert os.waitpid(child, 0)[1] == 0
    crowd.go()


@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL", "ZEO"])
def test_many_threads_of_two_processes_worth_see_what_they_wrote_and_never_older_things(kind, tmp_path):
    """Each thread counts in a session of its own, and looks at all the others'; no count that is seen goes back."""
    wrong, rounds, names = [], 10, range(6)
    with new_place(kind, tmp_path) as place, place.connect() as one, place.connect() as two:
        managers = [SessionManager(directory) for directory in (one, two)]
        ids = [new_session(managers[0], 0) for _ in names]

        def count(name):
            manager, seen = managers[name % 2], [0] * len(ids)
            for number in range(1, rounds + 1):
                session = manager.open(ids[name])
                session["n"] += 1
                manager.flush(session)
                for other, id in enumerate(ids):
                    found = manager.open(id)["n"]
                    if found < seen[other] or (other == name and found != number):
                        wrong.append((name, other, seen[other], found))
                    seen[other] = found

        threads = [threading.Thread(target=count, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)

        assert wrong == []
        assert [managers[1].open(id)["n"] for id in ids] == [rounds] * len(ids)
