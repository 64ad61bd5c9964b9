"""What is said to an SQL database, and that nothing is lost by saying less."""

import contextlib
import random
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
import servers
from conftest import new_place
from graph_stores import put
from psycopg2.extensions import TRANSACTION_STATUS_INTRANS
from relstorage.storage.tpc import vote
from transaction.interfaces import TransientError
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError, POSKeyError
from ZODB.tests.MinPO import MinPO
from ZODB.tests.StorageTestBase import zodb_pickle
from ZODB.utils import p64, u64, z64

import kiokupy
from kiokupy.backends import pgadapter
from kiokupy.errors import StoreUnreachable, StoreUnreadable
from kiokupy.maintenance import fsck


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def directory(request, tmp_path):
    with new_place(request.param, tmp_path) as place, place.connect() as directory:
        yield directory


@pytest.fixture
def new_storage(directory):
    """Give storages that belong to no connection of ZODB, and are begun."""

    def new_storage():
        instance = directory._database._db.storage.new_instance()
        instance.poll_invalidations()
        return instance

    return new_storage


def text_of(directory, key):
    return directory.read(lambda unit: unit.root["entries"][key].record.state.decode())


def store(storage, *changes, deleted=()):
    """Commit objects: their ids, what they were made from, and their values; return the transaction."""
    transaction = TransactionMetaData()
    storage.tpc_begin(transaction)
    for oid, serial, value in changes:
        storage.store(oid, serial, zodb_pickle(MinPO(value)), "", transaction)
    for oid, serial in deleted:
        storage.deleteObject(oid, serial, transaction)
    try:
        storage.tpc_vote(transaction)
        return storage.tpc_finish(transaction)
    except BaseException:
        storage.tpc_abort(transaction)
        raise


def execute(url, statements):
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statements)


def loaded(storage, oid):
    storage.sync()
    storage.poll_invalidations()
    return storage.load(oid)


class Relay:
    """Stands before the server of PostgreSQL, and counts what is said to it."""

    def __init__(self, url):
        parts = urlsplit(url)
        self._server = parts.hostname, parts.port or 5432
        self._listener = socket.create_server(("127.0.0.1", 0))
        user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        self.url = urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{self._listener.getsockname()[1]}"))
        self.count = self.bytes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, server = self._listener.accept()[0], socket.create_connection(self._server)
                threading.Thread(target=self._pass_on, args=(client, server, 1), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(server, client, 0), daemon=True).start()

    def _pass_on(self, source, target, counted):
        with source, target, contextlib.suppress(OSError):
            while data := source.recv(1 << 20):
                self.count += counted
                self.bytes += counted * len(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._listener.close()


class TestSQLite:
    @pytest.fixture
    def directory(self, tmp_path):
        with kiokupy.connect(f"sqlite:///{tmp_path}/store") as directory:
            directory.write(put("a", "1"))
            directory.write(put("a", "2"))
            yield directory

    @contextlib.contextmanager
    def said(self, connection):
        """Give the first word of each statement."""
        words = []
        connection.set_trace_callback(lambda statement: words.append(statement.split()[0]))
        yield words
        connection.set_trace_callback(None)

    def test_to_read_what_is_in_memory_is_to_begin_to_look_what_changed_and_to_end(self, directory):
        assert text_of(directory, "a") == "2"
        load = directory.read(lambda unit: unit.connection._storage._load_connection.connection)
        with self.said(load) as words:
            assert text_of(directory, "a") == "2"

        assert words == ["BEGIN", "SELECT", "ROLLBACK"]

    def test_a_change_is_written_once(self, directory):
        [pooled] = directory._database._db.storage._store_connection_pool._connections
        with self.said(pooled.connection) as words:
            directory.write(put("a", "3"))

        # Of the selects one is for the object, and one for the newest transaction.
        assert words == ["BEGIN", "SELECT", "SELECT", "INSERT", "COMMIT"]

    def test_who_votes_has_the_database_for_itself(self, tmp_path):
        """What was looked at before the lock was there may have changed meanwhile."""
        with kiokupy.connect(f"sqlite:///{tmp_path}/impatient?commit_lock_timeout=0") as directory:
            one, other = (directory._database._db.storage.new_instance() for _ in range(2))
            first, second = TransactionMetaData(), TransactionMetaData()
            for storage, transaction in ((one, first), (other, second)):
                storage.poll_invalidations()
                storage.tpc_begin(transaction)
                storage.store(storage.new_oid(), z64, zodb_pickle(MinPO(1)), "", transaction)
            one.tpc_vote(first)
            with pytest.raises(ConflictError):
                other.tpc_vote(second)
            one.tpc_finish(first)

    def test_who_copies_a_transaction_has_the_database_for_itself(self, tmp_path):
        with kiokupy.connect(f"sqlite:///{tmp_path}/impatient?commit_lock_timeout=0") as directory:
            one, other = (directory._database._db.storage.new_instance() for _ in range(2))
            for storage in (one, other):
                storage.poll_invalidations()
            copied = TransactionMetaData()
            one.tpc_begin(copied, p64(u64(one.lastTransaction()) + 1))
            with pytest.raises(ConflictError):
                store(other, (other.new_oid(), z64, 1))
            one.tpc_abort(copied)

    def test_a_full_disk_is_an_error_and_the_store_stays_whole(self, tmp_path):
        with kiokupy.connect(f"sqlite:///{tmp_path}/full?max_page_count=60") as directory:
            directory.store({"n": 1}, id="a")
            with pytest.raises(kiokupy.StoreError) as full:
                directory.store(["x" * 1_000_000], id="b")
            assert str(full.value).endswith(
                "full: the database refuses (database or disk is full). Make room on the disk, and try again"
            )
            assert fsck(directory).ok
            directory.store({"n": 2}, id="c")
        with kiokupy.connect(f"sqlite:///{tmp_path}/full") as directory:
            assert directory.lookup_many("abc") == {"a": {"n": 1}, "c": {"n": 2}}

    def test_a_lock_that_does_not_come_is_no_conflict(self, tmp_path):
        """It would be waited for again and again."""
        with kiokupy.connect(f"sqlite:///{tmp_path}/locked?commit_lock_timeout=0") as directory:
            directory.write(put("a", "1"))
            with contextlib.closing(sqlite3.connect(tmp_path / "locked" / "main.sqlite3")) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(kiokupy.StoreBusy):
                    directory.write(put("a", "2"))
            assert text_of(directory, "a") == "1"
            directory.write(put("a", "2"))

    def test_a_damaged_database_is_unreadable(self, tmp_path):
        target = f"sqlite:///{tmp_path}/damaged"
        with kiokupy.connect(target) as directory:
            directory.store(["x" * 100_000], id="b")
        with open(tmp_path / "damaged" / "main.sqlite3", "r+b") as file:
            file.seek(4096)
            file.write(b"x" * 100_000)
        with pytest.raises(StoreUnreadable, match="the database is damaged"):
            kiokupy.connect(target)

    def test_a_connection_that_was_closed_is_opened_again(self, directory):
        def close(unit):
            unit.connection._storage._load_connection.connection.close()

        directory.read(close)

        assert text_of(directory, "a") == "2"
        directory.write(put("a", "3"))
        assert text_of(directory, "a") == "3"

    def test_rows_left_unread_do_not_keep_the_past(self, directory):
        """SQLite could not begin its log anew."""

        def leave(unit):
            unit.connection._storage._load_connection.cursor.execute("SELECT zoid FROM object_state")

        directory.write(put("a", "3"))
        directory.read(leave)
        database = directory._database.location.removeprefix("sqlite:")
        with contextlib.closing(sqlite3.connect(f"{database}/main.sqlite3", timeout=0)) as connection:
            [is_busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

        assert not is_busy


class TestPostgreSQL:
    @pytest.fixture
    def url(self):
        with servers.new_postgresql() as url:
            yield url

    @pytest.fixture
    def directory(self, url):
        with kiokupy.connect(url) as directory:
            yield directory

    def test_to_read_takes_two_round_trips_and_to_change_four(self, url):
        with Relay(url) as relay, kiokupy.connect(relay.url) as directory:
            for text in "12":
                directory.write(put("a", text))
                text_of(directory, "a")
            count = relay.count
            assert text_of(directory, "a") == "2"
            assert relay.count - count == 2
            directory.write(put("a", "3"))
            assert relay.count - count == 2 + 4

    def test_connections_that_the_server_closed_are_opened_again(self, url, directory):
        def end_them(name):
            with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = %s",
                    (name,),
                )

        directory.write(put("a", "1"))
        with directory.new_unit() as unit:
            end_them("RS: Store")
            put("a", "2")(unit)
            unit.commit()
        end_them("RS: Load")
        assert text_of(directory, "a") == "2"

    @pytest.mark.parametrize("most", [-1, 1 << 20])
    def test_large_transactions_and_small_ones_merge_and_conflict_alike(self, url, directory, monkeypatch, most):
        monkeypatch.setattr(pgadapter, "_MOST_BYTES", most)
        directory.write(put("a", "1"))
        with directory.new_unit() as slow, directory.new_unit() as slower:
            put("b", "2")(slow)
            put("a", "3")(slower)
            directory.write(put("c", "x" * 5_000))  # into the same leaf
            slow.commit()
            directory.write(put("a", "4"))
            with pytest.raises(kiokupy.errors.ConflictError):
                slower.commit()

        with kiokupy.connect(url) as other:  # it has nothing in its cache
            assert [text_of(other, key) for key in "abc"] == ["4", "2", "x" * 5_000]

    @pytest.mark.parametrize("most", [-1, 1 << 20])
    def test_a_server_that_has_no_locks_left_is_no_conflict(self, url, directory, monkeypatch, most):
        """It would be tried again and again; here the server says so, since other tests need its locks."""
        directory.write(put("a", "1"))
        body = "AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'out_of_memory'; END $$ LANGUAGE plpgsql"
        execute(
            url,
            f"CREATE FUNCTION no_locks(bigint[], bigint[], bigint[], bigint[]) RETURNS void {body};"
            "CREATE OR REPLACE FUNCTION"
            " lock_objects_and_detect_conflicts(read_current_oids bigint[], read_current_tids bigint[])"
            f" RETURNS TABLE (zoid bigint, tid bigint, prev_tid bigint, committed_state bytea) {body}",
        )
        monkeypatch.setattr(
            pgadapter, "_LOCK", "SELECT no_locks(%s::BIGINT[], %s::BIGINT[], %s::BIGINT[], %s::BIGINT[])"
        )
        monkeypatch.setattr(pgadapter, "_MOST_BYTES", most)
        with pytest.raises(kiokupy.StoreError, match="raise the server's max_locks_per_transaction"):
            directory.write(put("a", "2"))
        assert text_of(directory, "a") == "1"

    @pytest.mark.parametrize("most", [-1, 1 << 20])
    def test_a_lock_that_does_not_come_is_no_conflict(self, url, monkeypatch, most):
        monkeypatch.setattr(pgadapter, "_MOST_BYTES", most)
        with kiokupy.connect(f"{url}?commit_lock_timeout=1") as directory:
            directory.write(put("a", "1"))
            oid = directory.read(lambda unit: u64(unit.root["entries"]["a"]._p_oid))
            with contextlib.closing(psycopg2.connect(url)) as other, other.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", (oid,))
                with pytest.raises(kiokupy.StoreBusy):
                    directory.write(put("a", "2"))
            assert text_of(directory, "a") == "1"
            directory.write(put("a", "2"))

    @pytest.mark.parametrize(
        ("code", "kind", "words"),
        [
            ("disk_full", kiokupy.StoreError, "the database refuses (oh). Make room on the disk, and try again"),
            ("read_only_sql_transaction", kiokupy.StoreError, "the database refuses (oh)"),
            ("data_corrupted", StoreUnreadable, "the database is damaged (oh)"),
            ("admin_shutdown", StoreUnreachable, "the server does not answer (oh)"),
        ],
    )
    def test_what_the_server_says_to_a_write_is_told_with_what_to_do(self, url, directory, code, kind, words):
        directory.write(put("a", "1"))
        execute(
            url,
            "CREATE FUNCTION refuse() RETURNS trigger AS $$"
            f" BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'oh'; END $$ LANGUAGE plpgsql;"
            "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON object_state EXECUTE FUNCTION refuse()",
        )
        with pytest.raises(kiokupy.StoreError) as refused:
            directory.write(put("a", "2"))
        execute(url, "DROP FUNCTION refuse CASCADE")

        assert type(refused.value) is kind
        assert str(refused.value) == f"{directory._database.location}: {words}"
        assert text_of(directory, "a") == "1"
        directory.write(put("a", "2"))

    def test_a_large_object_is_sent_as_it_is(self, url):
        """As a parameter it would be twice as long."""
        with Relay(url) as relay, kiokupy.connect(relay.url) as directory:
            directory.write(put("a", "1"))
            size = relay.bytes
            directory.write(put("a", "x" * 2_000_000))

            assert 2_000_000 < relay.bytes - size < 2_100_000

    def test_what_another_transaction_is_about_to_change_is_not_held_as_read(self, directory):
        directory.write(put("a", "1"))
        directory.write(put("b", "1"))
        with directory.new_unit() as changer, directory.new_unit() as reader:
            put("a", "2")(changer)
            storage, meta = changer.connection._storage, TransactionMetaData()
            entry = changer.root["entries"]["a"]
            storage.tpc_begin(meta)
            storage.store(entry._p_oid, entry._p_serial, b"whatever", "", meta)
            storage.tpc_vote(meta)
            put("b", "2")(reader)
            held = reader.root["entries"]["a"]
            held._p_activate()
            reader.connection.readCurrent(held)
            with pytest.raises(kiokupy.errors.ConflictError):
                reader.commit()
            storage.tpc_abort(meta)

        assert text_of(directory, "b") == "1"

    def test_a_root_that_two_processes_make_at_once_is_made_once(self, new_storage):
        """The other's, which is empty, would be written over what the first has put into it meanwhile."""
        one, other = new_storage(), new_storage()
        store(one, deleted=[(z64, one.load(z64)[1])])
        first, second = TransactionMetaData(), TransactionMetaData()
        for storage, transaction in ((one, first), (other, second)):
            storage.tpc_begin(transaction)
            storage.store(z64, z64, zodb_pickle(MinPO(1)), "", transaction)
        one.tpc_vote(first)
        with ThreadPoolExecutor() as executor:
            voting = executor.submit(other.tpc_vote, second)
            wait([voting], timeout=0.5)
            one.tpc_finish(first)
            with pytest.raises(TransientError):
                voting.result()
        other.tpc_abort(second)

    def test_a_reader_outside_of_transactions_sees_one_moment(self, new_storage):
        """As psycopg2 would have it, a transaction begins with whatever is said first."""
        reader, writer = new_storage(), new_storage()
        oid = writer.new_oid()
        tid = u64(store(writer, (oid, z64, 1)))
        reader.afterCompletion()
        seen = []
        for _ in range(2):
            cursor = reader._load_connection.cursor
            cursor.execute(
                "SELECT count(*), current_setting('transaction_read_only') FROM object_state WHERE tid > %s", (tid,)
            )
            seen += cursor.fetchall()
            store(writer, (writer.new_oid(), z64, 2))

        assert seen == [(0, "on"), (0, "on")]

    def test_a_cursor_of_the_server_is_in_a_transaction(self, new_storage):
        """Outside of one the server keeps all that it found until somebody has fetched it."""
        storage = new_storage()
        storage.afterCompletion()
        load = storage._load_connection
        with load.server_side_cursor() as cursor:
            cursor.execute("SELECT zoid FROM object_state")
            assert load.connection.get_transaction_status() == TRANSACTION_STATUS_INTRANS

    def test_a_store_with_blobs_is_left_to_relstorage(self, url, tmp_path):
        with kiokupy.connect(url, blob_dir=str(tmp_path)) as directory:
            directory.write(put("a", "1"))
            assert type(directory._database._db.storage).__name__ == "RelStorage"
            assert text_of(directory, "a") == "1"


def test_what_another_thread_saw_since_is_seen_too(new_storage, monkeypatch):
    """One looks, and others commit and look before it has sorted what it saw."""
    reader, other = new_storage(), new_storage()
    first, second = other.new_oid(), other.new_oid()
    store(other, (first, z64, 1))
    look = reader._looker.look

    def look_and_wait(cursor, since):
        monkeypatch.undo()
        is_seen = look(cursor, since)
        store(other, (second, z64, 2))
        other.poll_invalidations()
        return is_seen

    reader.afterCompletion()
    monkeypatch.setattr(reader._looker, "look", look_and_wait)

    assert set(reader.poll_invalidations()) == {first, second}
    assert reader.load(second)[0] == zodb_pickle(MinPO(2))


def test_a_storage_is_not_told_of_its_own_transactions(new_storage):
    storage, other = new_storage(), new_storage()
    oids = [storage.new_oid(), other.new_oid()]
    for instance, oid in zip((storage, other), oids, strict=True):
        store(instance, (oid, z64, 1))

    assert [set(instance.poll_invalidations()) for instance in (other, storage)] == [{oids[0]}, {oids[1]}]


def test_what_a_storage_noted_between_transactions_is_told(new_storage):
    reader, writer = new_storage(), new_storage()
    oid = writer.new_oid()
    store(writer, (oid, z64, 1))
    reader.afterCompletion()
    reader.load(oid)  # it looks by itself what changed
    reader.afterCompletion()

    assert set(reader.poll_invalidations()) == {oid}


def test_a_transaction_that_was_aborted_leaves_nothing_to_the_next(new_storage):
    storage, writer = new_storage(), new_storage()
    one, other = storage.new_oid(), storage.new_oid()
    tid = store(storage, (one, z64, 1), (other, z64, 1))
    assert loaded(storage, one)[1] == tid
    newer = store(writer, (one, tid, 2))
    with pytest.raises(ConflictError):
        store(storage, (one, tid, 3))
    store(storage, deleted=[(other, tid)])

    assert loaded(storage, one) == (zodb_pickle(MinPO(2)), newer)
    with pytest.raises(POSKeyError):
        loaded(storage, other)


def test_a_vote_that_writes_already_is_committed_at_the_end(new_storage, monkeypatch):
    """RelStorage does so if RELSTORAGE_LOCK_EARLY is in the environment."""
    monkeypatch.setattr(vote, "LOCK_EARLY", True)
    storage, other = new_storage(), new_storage()
    oid = storage.new_oid()
    tid = store(storage, (oid, z64, 1))

    assert loaded(other, oid) == (zodb_pickle(MinPO(1)), tid)


def test_a_copy_keeps_its_transactions(new_storage, tmp_path):
    storage, oid = new_storage(), b"\0\0\0\0\0\1\0\0"
    with contextlib.closing(FileStorage(str(tmp_path / "source.fs"))) as source:
        tid = store(source, (oid, z64, 1))
        storage.copyTransactionsFrom(source)

    assert loaded(storage, oid) == (zodb_pickle(MinPO(1)), tid)
    assert oid in [record.oid for transaction in storage.iterator() for record in transaction]


@pytest.fixture(params=["SQLite", "SQLite-history", "PostgreSQL", "PostgreSQL-history"])
def storages(request, tmp_path):
    """Give two storages that share a cache, and one as another process has it."""
    with new_place(request.param, tmp_path) as place, place.connect() as here, place.connect() as elsewhere:
        shared, apart = here._database._db.storage, elsewhere._database._db.storage
        shared._cache.polling_state.detach_all()  # as it does with what was idle for long: it waits for no others
        yield shared.new_instance(), shared.new_instance(), apart.new_instance()


def test_the_cache_forgets_what_is_older_than_what_a_transaction_sees(storages):
    """It finds a state that has lasted without asking for its transaction, and another process made two changes since."""
    early, late, writer = storages
    one, other = writer.new_oid(), writer.new_oid()

    def change(oid, number, readers=(early, late)):
        serial = loaded(writer, oid)[1] if number > 2 else z64
        tid = store(writer, (oid, serial, number))
        for reader in readers:
            reader.poll_invalidations()
        return tid

    change(one, 1)
    loaded(late, one)
    change(other, 2)
    change(other, 3)
    tid = change(one, 4)
    change(other, 5)
    change(one, 6, readers=[early])

    assert late.load(one) == (zodb_pickle(MinPO(4)), tid)


def test_the_cache_keeps_what_is_newer_than_what_it_forgets(storages):
    early, late, writer = storages
    oid, cache = writer.new_oid(), early._cache.local_client
    tid = store(writer, (oid, z64, 1))
    early.poll_invalidations()
    late.poll_invalidations()
    newer = store(early, (oid, tid, 2))
    for _ in range(2):
        early.poll_invalidations()
        late.poll_invalidations()
        store(writer, (writer.new_oid(), z64, 3))
    early.poll_invalidations()

    assert cache[u64(oid), u64(newer)] == (zodb_pickle(MinPO(2)), u64(newer))


def test_the_cache_is_empty_where_it_is_not_known_what_changed(storages):
    """RelStorage forgets that where it finds itself in contradiction."""
    early, late, writer = storages
    one = writer.new_oid()
    tid = store(writer, (one, z64, 1))
    loaded(early, one)
    for _ in range(3):
        store(writer, (writer.new_oid(), z64, 2))
        late.poll_invalidations()
        early.poll_invalidations()
    store(writer, (one, tid, 3))
    early._cache.polling_state.flush_all()

    assert loaded(early, one)[0] == zodb_pickle(MinPO(3))


@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL", "ZEO"])
def test_a_transaction_sees_one_moment_while_other_processes_write(kind, tmp_path):
    """Each directory here has what a process would have: connections and caches of its own."""
    names, seen, end = [f"account {number}" for number in range(12)], [], time.monotonic() + 6

    def move(scope):
        one, other = random.sample(names, 2)
        scope.get(one)["n"] -= 1
        scope.get(other)["n"] += 1

    def write(directory):
        while time.monotonic() < end:
            directory.txn_do(move, retries=200)

    def read(directory):
        while time.monotonic() < end:
            with directory.new_scope(readonly=True) as scope:
                seen.append(sum(scope.get(name)["n"] for name in random.sample(names, len(names))))

    with new_place(kind, tmp_path) as place, contextlib.ExitStack() as stack:
        directories = [stack.enter_context(place.connect()) for _ in range(3)]
        for name in names:
            directories[0].insert({"n": 0}, id=name)
        threads = [threading.Thread(target=work, args=(one,)) for one in directories for work in (read, write)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert set(seen) == {0}
