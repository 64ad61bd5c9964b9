"""Group commit: what threads write together, and that none of them harms another one."""

import contextlib
import contextvars
import os
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

import pytest
from conftest import new_place
from crowds import PATIENCE, Crowd, Interrupt
from ZODB.Connection import Connection, TransactionMetaData

import kiokupy
from kiokupy import commits, lanes
from kiokupy.directory import Directory
from kiokupy.entry import NEW, Entry, Record
from kiokupy.errors import ConflictError, StoreBusy, StoreError


def put(key, text="x"):
    """Return a work that writes an entry, and returns how many there are then."""

    def work(unit):
        entries = unit.root["entries"]
        record = Record("t", None, text.encode(), (), NEW)
        if key in entries:
            entries[key].record = record
        else:
            entries[key] = Entry(record)
        return len(entries)

    return work


def count_up(key):
    """Return a work that adds one to the number in an entry, and returns it."""

    def work(unit):
        entries = unit.root["entries"]
        number = int(entries[key].record.state) + 1 if key in entries else 1
        put(key, str(number))(unit)
        return number

    return work


def stored(directory):
    def work(unit):
        return {key: entry.record.state.decode() for key, entry in unit.root["entries"].items()}

    return directory.read(work)


def crowd_of(directory, leading=lambda unit: None):
    """Return threads whose writes wait for one that leads, so that they share the next transaction."""
    return Crowd(directory._commits._queue, partial(directory.write, retries=0), leading)


@pytest.fixture
def directory(place):
    with place.connect() as directory:
        yield directory


@pytest.fixture
def memory():
    with kiokupy.connect() as directory:
        yield directory


@pytest.fixture
def counted(tmp_path):
    """A directory on File, and what returns how many transactions were written since it was called last."""
    with kiokupy.connect("File", path=tmp_path / "store.fs") as directory:
        storage = directory._database._db.storage
        seen = [storage.lastTransaction()]

        def count():
            tids = [transaction.tid for transaction in storage.iterator(seen[0])][1:]
            seen[0] = storage.lastTransaction()
            return len(tids)

        yield directory, count


class TestOneThread:
    def test_what_the_work_returned_is_returned_when_it_is_stored(self, directory):
        assert directory.write(put("a")) == 1
        assert stored(directory) == {"a": "x"}

    def test_what_the_work_raises_is_raised_and_nothing_stored(self, directory):
        def work(unit):
            put("a")(unit)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            directory.write(work)
        assert stored(directory) == {}
        assert directory.write(put("b")) == 1

    def test_a_work_may_write_in_a_transaction_of_its_own(self, directory):
        def work(unit):
            directory.write(put("inner"))
            return put("outer")(unit)

        directory.write(work)
        assert stored(directory).keys() == {"inner", "outer"}

    def test_what_was_written_is_on_the_disk_when_the_call_returns(self, tmp_path):
        path, copy = tmp_path / "store.fs", tmp_path / "copy.fs"
        with kiokupy.connect("File", path=path) as directory:
            directory.write(put("a"))
            copy.write_bytes(path.read_bytes())
        with kiokupy.connect("File", path=copy) as directory:
            assert stored(directory) == {"a": "x"}

    def test_nothing_is_written_where_nothing_changed(self, counted):
        directory, count = counted
        directory.write(lambda unit: unit.root["entries"].get("a"))

        assert count() == 0

    def test_a_conflict_is_tried_again(self, directory):
        directory.write(put("a", "0"))
        others = ["1", "2"]

        def work(unit):
            entry = unit.root["entries"]["a"]
            number = int(entry.record.state)
            if others:  # somebody else is quicker
                with directory.new_unit() as unit_of_other:
                    put("a", others.pop(0))(unit_of_other)
                    unit_of_other.commit()
            put("a", str(number + 10))(unit)

        directory.write(work)
        assert stored(directory) == {"a": "12"}

    def test_a_conflict_that_goes_on_is_an_error_in_the_end(self, directory):
        directory.write(put("a"))
        tried = []

        def work(unit):
            tried.append(None)
            with directory.new_unit() as other:
                put("a", f"other {len(tried)}")(other)
                other.commit()
            put("a", "mine")(unit)

        with pytest.raises(ConflictError):
            directory.write(work, retries=2)
        assert len(tried) == 3
        assert stored(directory) == {"a": "other 3"}

    def test_a_closed_directory_is_an_error(self, memory):
        memory.close()
        with pytest.raises(StoreError, match="closed"):
            memory.write(put("a"))
        with pytest.raises(StoreError, match="closed"):
            memory.read(lambda unit: None)

    def test_a_store_that_cannot_write_is_an_error_and_written_to_when_it_can_again(self, tmp_path, monkeypatch):
        with kiokupy.connect("File", path=tmp_path / "store.fs") as directory:
            storage = directory._database._db.storage

            def full(*args):
                raise OSError(28, "No space left on device")

            with monkeypatch.context() as patch:
                patch.setattr(storage, "_file", _Full(storage._file, full))
                with pytest.raises(StoreError, match="No space left"):
                    directory.write(put("a"))
            directory.write(put("b"))
            assert stored(directory) == {"b": "x"}


class _Full:
    """The storage's file, on a disk that is full."""

    def __init__(self, file, full):
        self._file, self.write = file, full

    def __getattr__(self, name):
        return getattr(self._file, name)


class TestManyThreads:
    def test_those_that_wait_share_one_transaction(self, counted):
        directory, count = counted
        crowd = crowd_of(directory, put("leader"))
        for number in range(8):
            crowd.start(number, put(str(number)))
        outcomes = crowd.go()

        assert outcomes == {"leader": 1, **{number: number + 2 for number in range(8)}}
        assert len(stored(directory)) == 9
        assert count() == 2

    def test_those_that_get_no_lock_together_do_not_wait_for_it_apart(self, tmp_path):
        tried = []

        def work(unit):
            tried.append(None)
            put("a")(unit)

        with kiokupy.connect(f"sqlite:///{tmp_path}/store?commit_lock_timeout=1") as directory:
            crowd = crowd_of(directory)
            for number in range(5):
                crowd.start(number, work)
            with contextlib.closing(sqlite3.connect(tmp_path / "store" / "main.sqlite3")) as other:
                other.execute("BEGIN IMMEDIATE")
                outcomes = crowd.go()

            assert [type(outcomes[number]) for number in range(5)] == [StoreBusy] * 5
            assert len(tried) == 5
            directory.write(work)
            assert stored(directory) == {"a": "x"}

    def test_each_sees_what_those_before_it_wrote_on_every_store(self, directory):
        directory.write(put("n", "0"))

        def add(unit):
            number = int(unit.root["entries"]["n"].record.state) + 1
            put("n", str(number))(unit)
            return number

        crowd = crowd_of(directory)
        for number in range(8):
            crowd.start(number, add)
        outcomes = crowd.go()

        assert [outcomes[number] for number in range(8)] == list(range(1, 9))
        assert stored(directory) == {"n": "8"}

    def test_a_failing_one_gets_its_error_and_the_others_are_stored(self, directory):
        def fail(unit):
            put("failing")(unit)
            raise ZeroDivisionError

        crowd = crowd_of(directory)
        for number in range(3):
            crowd.start(number, put(str(number)))
        crowd.start("failing", fail)
        crowd.start(3, put("3"))
        outcomes = crowd.go()

        assert isinstance(outcomes.pop("failing"), ZeroDivisionError)
        assert not any(isinstance(outcome, BaseException) for outcome in outcomes.values())
        assert stored(directory).keys() == {"0", "1", "2", "3"}

    def test_one_that_fails_before_anything_was_changed_does_not_part_the_others(self, counted):
        directory, count = counted

        def fail(unit):
            raise ZeroDivisionError

        crowd = crowd_of(directory)
        crowd.start("failing", fail)
        for number in range(4):
            crowd.start(number, put(str(number)))
        outcomes = crowd.go()

        assert isinstance(outcomes["failing"], ZeroDivisionError)
        assert count() == 1

    def test_what_one_saw_of_another_that_was_not_stored_does_not_count(self, directory):
        def insert_and_fail(unit):
            put("a")(unit)
            raise ZeroDivisionError

        def check(unit):
            if "a" in unit.root["entries"]:
                raise KeyError("a")
            return put("b")(unit)

        crowd = crowd_of(directory)
        crowd.start("failing", insert_and_fail)
        crowd.start("checking", check)
        outcomes = crowd.go()

        assert outcomes["checking"] == 1
        assert stored(directory) == {"b": "x"}

    def test_a_conflict_of_one_with_another_process_leaves_the_others_alone(self, directory):
        directory.write(put("a", "before"))

        def conflict(unit):
            put("a", "mine")(unit)
            with directory.new_unit() as other:
                put("a", "theirs")(other)
                other.commit()

        crowd = crowd_of(directory)
        for number in range(5):
            crowd.start(number, put(str(number)))
        crowd.start("conflicting", conflict)
        outcomes = crowd.go()

        assert isinstance(outcomes["conflicting"], ConflictError)
        assert stored(directory) == {"a": "theirs", **{str(number): "x" for number in range(5)}}

    def test_a_transaction_takes_so_many_and_no_more(self, counted):
        directory, count = counted
        crowd = crowd_of(directory)
        for number in range(commits.MOST + 3):
            crowd.start(number, put(f"{number:03}"))
        outcomes = crowd.go()

        assert count() == 2
        assert [outcomes[number] for number in range(commits.MOST + 3)] == list(range(1, commits.MOST + 4))

    def test_a_work_has_the_context_of_its_own_thread(self, memory):
        variable, seen = contextvars.ContextVar("variable", default="nobody's"), {}
        crowd = crowd_of(memory)

        def write(name):
            variable.set(name)
            memory.write(lambda unit: seen.update({name: (variable.get(), threading.get_ident())}))

        threads = [threading.Thread(target=write, args=(name,)) for name in ("one", "two")]
        for thread in threads:
            thread.start()
        crowd.until(lambda: len(crowd.queue) == 3)  # with the one that leads
        crowd.go()
        for thread in threads:
            thread.join(PATIENCE)

        assert {name: found for name, (found, _) in seen.items()} == {"one": "one", "two": "two"}
        assert len({thread for _, thread in seen.values()}) == 1

    def test_threads_that_write_and_fail_at_random_lose_nothing(self, directory):
        failures = []

        def act(name):
            for number in range(6):
                key = f"{name}-{number}"

                def work(unit, key=key, fails=number % 3 == 0):
                    put(key)(unit)
                    if fails:
                        raise ZeroDivisionError

                with contextlib.suppress(ZeroDivisionError):
                    directory.write(work, retries=50)
                    if number % 3 == 0:
                        failures.append(key)

        threads = [threading.Thread(target=act, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)

        assert failures == []
        assert stored(directory).keys() == {
            f"{name}-{number}" for name in range(4) for number in range(6) if number % 3
        }

    @pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL", "ZEO"])
    def test_two_directories_on_one_store_lose_nothing(self, kind, tmp_path):
        def add(unit):
            entries = unit.root["entries"]
            put("n", str(int(entries["n"].record.state) + 1))(unit)

        with new_place(kind, tmp_path) as place, place.connect() as one, place.connect() as two:
            one.write(put("n", "0"))
            threads = [
                threading.Thread(target=lambda d=d: [d.write(add, retries=100) for _ in range(5)])
                for d in (one, two) * 3
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)

            assert stored(one) == stored(two) == {"n": "30"}


class TestCtrlC:
    """Ctrl-C raises KeyboardInterrupt in the main thread, wherever that is."""

    def test_wherever_it_comes_the_others_are_stored_once_or_told(self, monkeypatch):
        monkeypatch.setattr(lanes, "PATIENCE", 0)  # the interrupted threads are gone, and some took no leave
        number, interrupted = 0, True
        with kiokupy.connect() as directory:
            while interrupted:
                number += 1
                crowd = crowd_of(directory)
                interrupt = Interrupt(number, ("commits.py", "lanes.py", "turns.py"))
                crowd.start("interrupted", count_up(f"interrupted {number}"), interrupt)
                names = [f"{number} {other}" for other in range(3)]
                for name in names:
                    crowd.start(name, count_up(name))
                outcomes = crowd.go()
                counts = stored(directory)
                interrupted = interrupt.left <= 0
                assert isinstance(outcomes.pop("interrupted"), KeyboardInterrupt) == interrupted
                for name in names:
                    assert outcomes[name] == 1 or "may have been written" in str(outcomes[name])
                    assert counts.get(name) == "1" or isinstance(outcomes[name], StoreError)
        assert number > 20

    def test_one_that_waits_is_withdrawn(self, memory):
        crowd = crowd_of(memory, put("leader"))

        def interrupt():
            crowd.until(lambda: len(crowd.queue) == 2)  # with the one that leads
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
        try:
            interrupting = threading.Thread(target=interrupt)
            interrupting.start()
            with pytest.raises(KeyboardInterrupt):
                memory.write(put("interrupted"))
            interrupting.join(PATIENCE)
        finally:
            signal.signal(signal.SIGINT, before)
        crowd.start("other", put("other"))
        crowd.go()

        assert stored(memory).keys() == {"leader", "other"}

    def test_one_that_leads_leaves_that_to_the_next(self, memory):
        crowd = crowd_of(memory, lambda unit: _raise(KeyboardInterrupt))
        for number in range(3):
            crowd.start(number, put(str(number)))
        outcomes = crowd.go()

        assert isinstance(outcomes.pop("leader"), KeyboardInterrupt)
        assert outcomes == {0: 1, 1: 2, 2: 3}
        assert memory.write(put("next")) == 4

    def test_one_that_leads_puts_those_it_had_taken_back(self, memory):
        crowd = crowd_of(memory)
        tried = []

        def interrupted(unit):
            tried.append(put("interrupted")(unit))
            raise KeyboardInterrupt

        crowd.start("interrupted", interrupted)
        for number in range(3):
            crowd.start(number, put(str(number)))
        outcomes = crowd.go()

        assert isinstance(outcomes["interrupted"], KeyboardInterrupt)
        assert tried == [1]
        assert stored(memory).keys() == {"0", "1", "2"}

    def test_those_whose_commit_was_interrupted_are_told_so(self, memory, monkeypatch):
        crowd = crowd_of(memory)
        crowd.start("leads then", put("a"))
        crowd.start("waits", put("b"))
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "tpc_vote", lambda self, transaction: _raise(KeyboardInterrupt))
            outcomes = crowd.go()

        assert isinstance(outcomes["leads then"], KeyboardInterrupt)
        assert str(outcomes["waits"]) == (
            "memory: a commit was interrupted (KeyboardInterrupt()), and may have been written or not. "
            "Read again what is there now"
        )
        assert isinstance(outcomes["waits"].__cause__, KeyboardInterrupt)
        assert isinstance(outcomes["waits"], StoreError)
        assert memory.write(put("next")) == 1


def _raise(error):
    raise error


class TestLanes:
    def test_a_connection_serves_one_after_the_other(self, memory):
        seen = {memory.read(lambda unit: id(unit.connection)) for _ in range(3)}
        seen |= {memory.write(lambda unit: id(unit.connection)) for _ in range(3)}

        assert len(seen) == 1

    def test_a_read_sees_what_was_committed_before_it_began(self, directory):
        for number in range(3):
            with directory.new_unit() as unit:
                put("a", str(number))(unit)
                unit.commit()
            assert stored(directory) == {"a": str(number)}

    def test_each_connection_sees_what_was_committed_through_another_one(self, directory):
        def text(unit):
            return unit.root["entries"]["a"].record.state

        for number in range(3):
            directory.write(put("a", str(number)))

            assert directory.read(lambda unit: [text(unit), directory.read(text)]) == [str(number).encode()] * 2

    def test_a_read_begins_where_it_was_if_nothing_was_committed(self, directory):
        directory.write(put("a"))
        directory.read(put("a", "dropped"))
        directory.write(lambda unit: None)

        assert [stored(directory), stored(directory)] == [{"a": "x"}] * 2

    @pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL", "ZEO"])
    def test_a_read_sees_what_another_directory_committed(self, kind, tmp_path):
        with new_place(kind, tmp_path) as place, place.connect() as one, place.connect() as two:
            for number in range(5):
                two.write(put("a", str(number)))

                assert stored(one) == {"a": str(number)}

    def test_a_connection_that_is_opened_while_a_commit_is_told_hears_of_it(self, directory):
        for text in ("old", "new"):
            directory.write(put("a", text))
        oid, serial = directory.read(
            lambda unit: (unit.root["entries"]["a"]._p_oid, unit.root["entries"]["a"]._p_serial)
        )
        database, is_over = directory._database, threading.Event()
        storage, meta = database._db._mvcc_storage.new_instance(), TransactionMetaData()
        storage.poll_invalidations()
        newer = storage.load(oid)[0].replace(b"new", b"yet")
        storage.tpc_begin(meta)
        storage.store(oid, serial, newer, "", meta)
        storage.tpc_vote(meta)

        def look():
            with database.open() as unit:  # a new connection: the others are in use
                before = unit.root["entries"]["a"].record.state
                assert is_over.wait(PATIENCE)
                unit.abort()
                unit.begin()
                return before, unit.root["entries"]["a"].record.state

        with ThreadPoolExecutor() as executor:
            looking = []

            def tell(tid):
                looking.append(executor.submit(look))
                wait(looking, timeout=0.3)

            storage.tpc_finish(meta, tell)
            is_over.set()
            before, after = looking[0].result(PATIENCE)
        assert before in (b"new", b"yet")
        assert after == b"yet"

    def test_what_a_read_changes_is_dropped(self, directory):
        directory.read(put("a"))

        assert stored(directory) == {}

    def test_a_connection_that_nobody_uses_does_not_count_as_open(self, memory):
        database = memory._database._db
        memory.write(put("a"))

        assert [info["opened"] for info in database.connectionDebugInfo()] == [None] * len(
            database.connectionDebugInfo()
        )

    def test_a_connection_whose_transaction_cannot_be_ended_is_not_used_again(self, memory, monkeypatch):
        first = memory.read(lambda unit: unit.connection)
        with monkeypatch.context() as patch:
            patch.setattr(first, "cacheGC", lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                memory.read(lambda unit: None)

        assert memory.read(lambda unit: unit.connection) is not first or first.opened is None

    def test_a_commit_that_cannot_be_undone_either_says_why_it_failed(self, memory, monkeypatch, caplog):
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "tpc_vote", lambda self, transaction: _raise(ZeroDivisionError))
            patch.setattr(memory.read(lambda unit: unit.connection), "abort", lambda transaction: _raise(KeyError))
            with pytest.raises(ZeroDivisionError):
                memory.write(put("a"))

        assert "could not be undone" in caplog.text

    def test_a_commit_that_fails_at_its_very_end_is_an_error(self, memory, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "tpc_finish", lambda self, transaction: _raise(ZeroDivisionError))
            with pytest.raises(ZeroDivisionError):
                memory.write(put("a"))

        assert memory.write(put("b")) == 1

    def test_of_many_whose_commit_fails_at_its_very_end_none_is_written_twice(self, memory, monkeypatch):
        crowd = crowd_of(memory)
        for name in ("0", "1", "2"):
            crowd.start(name, count_up(name))
        finish = Connection.tpc_finish

        def finish_and_fail(connection, transaction):
            finish(connection, transaction)
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(Connection, "tpc_finish", finish_and_fail)
            outcomes = crowd.go()

        assert all("may have been written" in str(outcomes[name]) for name in ("0", "1", "2"))
        assert stored(memory) == {"0": "1", "1": "1", "2": "1"}

    def test_where_none_is_left_to_try_again_an_error_of_the_connection_is_nobodys(self, memory, monkeypatch):
        def fail(unit):
            monkeypatch.setattr(Connection, "afterCompletion", lambda self, transaction: _raise(KeyError))
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            memory.write(fail)

    def test_a_connection_whose_changes_cannot_be_dropped_is_let_go_and_says_why(self, memory, monkeypatch):
        first = memory.read(lambda unit: unit.connection)
        with monkeypatch.context() as patch:
            patch.setattr(first, "abort", lambda transaction: _raise(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                memory.read(put("a"))

        assert memory.read(lambda unit: unit.connection) is not first

    @pytest.mark.parametrize("verb", [Directory.read, Directory.write])
    def test_a_server_that_is_gone_is_an_error_of_ours_also_within_a_work(self, tmp_path, verb):
        def lose(unit):
            unit.connection._storage.load(b"\xff" * 8)

        with (
            kiokupy.connect("File", path=tmp_path / "store.fs") as directory,
            pytest.raises(StoreError, match="missing"),
        ):
            verb(directory, lose)

    def test_closing_waits_for_those_that_write(self, directory):
        crowd, closed = crowd_of(directory, put("leader")), []
        crowd.start("waits", put("waits"))
        closing = threading.Thread(target=lambda: closed.append(directory.close()))
        closing.start()
        crowd.until(lambda: directory._database._closed)
        outcomes = crowd.go()
        closing.join(PATIENCE)

        assert outcomes["leader"] == 1
        assert "closed" in str(outcomes["waits"])
        assert closed == [None]

    def test_closing_within_a_work_does_not_wait_for_that(self, memory):
        with pytest.raises(StoreError, match="closed"):
            memory.write(lambda unit: (memory.close(), memory.read(lambda unit: None)))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork()")
    def test_a_child_process_is_told_to_connect_itself(self, memory):
        memory.write(put("a"))
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                for verb in (memory.read, memory.write):
                    with pytest.raises(StoreError, match="used in its child"):
                        verb(lambda unit: None)
                code = 0
            os._exit(code)

        assert os.waitpid(child, 0)[1] == 0
