"""What opening a store does, and how it fails."""

import contextlib
import ctypes
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
import servers
from graph_stores import put

import kiokupy
from kiokupy.errors import (
    StoreDenied,
    StoreError,
    StoreLocked,
    StoreNotFound,
    StoreReadOnly,
    StoreTooNew,
    StoreUnreachable,
    StoreUnreadable,
    TargetError,
)
from kiokupy.maintenance import pack

_LINUX_CAPABILITY_VERSION_3, _IGNORES_MODES = 0x20080522, 0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


@contextlib.contextmanager
def unprivileged():
    """Let the modes of files bind root too, who may read and write everything; what is root's can still be read."""
    if os.geteuid():
        yield
        return
    libc = ctypes.CDLL(None)
    header, held = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, held) == 0
    bound = (ctypes.c_uint32 * 6)(held[0] & ~_IGNORES_MODES, *held[1:])
    assert libc.capset(header, bound) == 0
    try:
        yield
    finally:
        assert libc.capset(header, held) == 0


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_each_hash_store_is_a_new_one():
    with kiokupy.connect("Hash") as one, kiokupy.connect("Hash") as two:
        one.store({}, id="x")
        assert not two.exists("x")


@pytest.mark.parametrize("options", [{"create": 0}, {"readonly": 1}])
def test_a_hash_store_cannot_be_there_already(options):
    with pytest.raises(StoreNotFound, match="lives in the memory"):
        kiokupy.connect("Hash", **options)


@pytest.mark.parametrize("options", [{"create": 0}, {"readonly": 1}])
@pytest.mark.parametrize("target", ["file:path={}/store", "dbi:SQLite:dbname={}/store"])
def test_a_store_on_disk_that_is_not_there_is_not_found_and_nothing_is_made(tmp_path, target, options):
    with pytest.raises(StoreNotFound, match="there is no store here"):
        kiokupy.connect(target.format(tmp_path), **options)

    assert listing(tmp_path) == []


@pytest.mark.parametrize("target", ["file:path={}/gone/store", "dbi:SQLite:dbname={}/gone/store"])
def test_a_missing_folder_is_named_and_not_made(tmp_path, target):
    with pytest.raises(StoreNotFound, match="mkdir -p"):
        kiokupy.connect(target.format(tmp_path))

    assert listing(tmp_path) == []


def test_an_empty_database_of_postgresql_is_no_store_and_stays_empty():
    with servers.new_postgresql() as url:
        with pytest.raises(StoreNotFound, match="there is no store here"):
            kiokupy.connect(url, create=0)
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'public'"
            )
            assert cursor.fetchone() == (0,)


@pytest.mark.parametrize("options", [{"create": 0}, {"readonly": 1}])
def test_a_store_in_sql_that_is_open_and_not_used_holds_no_snapshot(tmp_path, options):
    """It would keep PostgreSQL from cleaning up, and SQLite's journal from being emptied."""
    with servers.new_postgresql() as url:
        kiokupy.connect(url).close()
        with kiokupy.connect(url, **options), closing(psycopg2.connect(url)) as connection:
            cursor = connection.cursor()
            cursor.execute(
                "SELECT state FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            assert {state for (state,) in cursor.fetchall()} == {"idle"}
    target = f"sqlite:///{tmp_path}/s"
    with kiokupy.connect(target) as writer, kiokupy.connect(target, **options):
        writer.store({}, id="x")
        with closing(sqlite3.connect(tmp_path / "s" / "main.sqlite3")) as connection:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0


def test_a_store_without_kiokupys_record_is_not_found_unless_it_may_be_made(file_place):
    import ZODB  # this test alone makes a database that is not kiokupy's

    ZODB.DB(str(file_place.options["path"])).close()

    for options in ({"create": 0}, {"readonly": 1}):
        with pytest.raises(StoreNotFound):
            file_place.connect(**options)
    file_place.connect().close()
    file_place.connect(create=0).close()


def test_the_second_process_that_opens_a_file_is_told_who_holds_it(file_place):
    holder = (
        f"import kiokupy, sys; d = kiokupy.connect('File', path={str(file_place.options['path'])!r});"
        "print('open', flush=True); sys.stdin.read(); d.close()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "open\n"
        with pytest.raises(StoreLocked) as caught:
            file_place.connect()
        process.communicate("")

    assert caught.value.pid == process.pid
    assert f"process {process.pid} holds this store" in str(caught.value)
    assert all(way in str(caught.value) for way in ("readonly=1", "DBI", "ZEO"))
    file_place.connect().close()


def test_a_lock_file_that_says_nothing_leaves_the_holder_unknown(file_place):
    with file_place.connect():
        lock = file_place.options["path"].with_name("store.fs.lock")
        lock.write_text("")
        with pytest.raises(StoreLocked, match="another process"):
            file_place.connect()
        lock.unlink()
        lock.mkdir()
        with pytest.raises(StoreUnreadable):
            file_place.connect()
        lock.rmdir()


def test_a_file_can_be_read_beside_the_process_that_writes_it(file_place):
    with file_place.connect() as writer:
        writer.store({"a": 1}, id="x")
        with file_place.connect(readonly=1) as reader:
            assert reader.lookup("x") == {"a": 1}
            with pytest.raises(StoreReadOnly):
                reader.store({}, id="y")


def test_a_new_file_is_readable_by_its_owner_only(file_place):
    file_place.connect().close()

    assert stat.S_IMODE(file_place.options["path"].stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_what_stands_beside_a_file_is_readable_by_no_others(file_place, mode):
    """What is being written, what was packed, what it was before, and what was cut off."""
    path = file_place.options["path"]
    beside = path.with_name(f"{path.name}.tmp")
    beside.touch(mode=0o644)
    file_place.connect().close()
    path.chmod(mode)
    with path.open("ab") as file:
        file.write(b"torn" * 10)
    with file_place.connect() as directory:
        directory.store({}, id="x")
        directory.delete("x")
        pack(directory)
    found = {each.suffix: stat.S_IMODE(each.stat().st_mode) for each in path.parent.glob(f"{path.name}*")}

    of_no_secret = {end: found.pop(end) for end in (".lock", ".index")}
    assert found == dict.fromkeys([path.suffix, ".old", ".tmp", ".tr0"], mode), of_no_secret


def test_a_new_sqlite_store_is_readable_by_its_owner_only(tmp_path):
    kiokupy.connect(f"sqlite:///{tmp_path}/s").close()

    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [b"\x89PNG and so on", b"F", b"FS99 is another version, and it is long enough"])
def test_a_file_that_is_no_filestorage_is_refused_and_left_as_it_is(tmp_path, content):
    path = tmp_path / "picture.png"
    path.write_bytes(content)

    with pytest.raises(StoreUnreadable):
        kiokupy.connect("File", path=path)

    assert path.read_bytes() == content
    assert listing(tmp_path) in (["picture.png"], ["picture.png", "picture.png.lock"])


def test_a_folder_is_no_file_store(tmp_path):
    with pytest.raises(StoreUnreadable, match="this is a folder"):
        kiokupy.connect("File", path=tmp_path)


@pytest.mark.parametrize("case", ["file", "database"])
def test_what_is_no_sqlite_store_is_refused(tmp_path, case):
    if case == "file":
        place = tmp_path / "app.sqlite"
        place.write_bytes(b"SQLite format 3\x00")
    else:
        place = tmp_path / "folder"
        place.mkdir()
        (place / "main.sqlite3").write_bytes(b"this is no database at all, and long enough to tell" * 30)

    with pytest.raises(StoreUnreadable):
        kiokupy.connect(f"sqlite:///{place}")


def test_a_sqlite_database_of_another_kind_is_no_store_and_not_touched(tmp_path):
    with closing(sqlite3.connect(tmp_path / "main.sqlite3")) as connection:
        connection.execute("CREATE TABLE mine (x)")

    with pytest.raises(StoreNotFound):
        kiokupy.connect(f"sqlite:///{tmp_path}", create=0)


def test_a_sqlite_database_that_cannot_be_opened_is_denied(tmp_path):
    (tmp_path / "main.sqlite3").mkdir()

    with pytest.raises(StoreDenied):
        kiokupy.connect(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize("target", ["file:path={}/closed/store", "dbi:SQLite:dbname={}/closed/store"])
@pytest.mark.parametrize("mode", [0o500, 0])
def test_a_folder_that_may_not_be_written_is_denied(tmp_path, target, mode):
    with unprivileged():
        (tmp_path / "closed").mkdir(mode=mode)
        with pytest.raises(StoreDenied):
            kiokupy.connect(target.format(tmp_path))


def test_a_file_that_may_not_be_read_is_denied(tmp_path):
    path = tmp_path / "store.fs"
    with unprivileged():
        kiokupy.connect("File", path=path).close()
        path.chmod(0)
        with pytest.raises(StoreDenied):
            kiokupy.connect("File", path=path)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_other_keep_history_setting_is_refused_with_the_right_one(tmp_path, kind):
    with servers.new_postgresql() as postgresql:
        url = postgresql if kind == "postgresql" else f"sqlite:///{tmp_path}/s"
        kiokupy.connect(url, keep_history=1).close()

        with pytest.raises(StoreError, match="keep_history=1"):
            kiokupy.connect(url)


def test_relstorages_options_are_passed_on(tmp_path):
    with kiokupy.connect(
        f"sqlite:///{tmp_path}/s?temp_store=2&pack_gc=0&commit_lock_timeout=7", cache_local_mb=3
    ) as directory:
        directory.store({}, id="x")
        with directory.new_unit() as unit:
            options = unit.connection.db().storage._options
        assert (options.pack_gc, options.commit_lock_timeout, options.cache_local_mb) == (False, 7, 3)


def test_sqlite_syncs_each_commit_to_disk(tmp_path):
    from kiokupy.backends.dbi import DBI  # the extra may be missing elsewhere

    with closing(DBI(driver="sqlite", dbname=tmp_path / "s").open(create=True, readonly=False)) as storage:
        connection, cursor = storage._adapter.connmanager.open_for_store()
        assert cursor.execute("PRAGMA synchronous").fetchone() == (2,)
        storage._adapter.connmanager.close(connection, cursor)


def test_a_database_that_the_server_does_not_have_is_not_found():
    servers.skip_without_postgresql()
    url = urlunsplit(urlsplit(servers.POSTGRESQL)._replace(path="/kiokupy_no_such_database"))

    with pytest.raises(StoreNotFound, match="createdb"):
        kiokupy.connect(url)


def test_a_user_that_the_server_refuses_is_denied_and_the_password_not_shown():
    servers.skip_without_postgresql()
    parts = urlsplit(servers.POSTGRESQL)
    url = urlunsplit(parts._replace(netloc=f"kiokupy_nobody:se%40cret@{parts.hostname}:{parts.port}"))

    with pytest.raises(StoreDenied) as caught:
        kiokupy.connect(url)

    assert "se@cret" not in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("target", ["postgresql://127.0.0.1:{}/app", "zeo://127.0.0.1:{}?wait_timeout=0.2"])
def test_a_server_that_is_down_is_unreachable(target):
    with pytest.raises(StoreUnreachable) as caught:
        kiokupy.connect(target.format(servers.free_port()))

    assert caught.value.__cause__ is not None


def test_a_store_is_closed_when_it_cannot_be_opened(file_place):
    with file_place.connect() as directory, directory.new_unit() as unit:
        unit.root["format"] = 99
        unit.commit()
    with pytest.raises(StoreTooNew):
        file_place.connect()

    with pytest.raises(StoreTooNew):  # and not that it is locked
        file_place.connect()


def test_processes_that_make_a_store_at_the_same_time_share_it():
    with servers.new_postgresql() as url:
        kiokupy.connect(url).close()
        with kiokupy.connect(url) as directory, directory.new_unit() as unit:
            del unit.connection.root()["kiokupy"]
            unit.commit()
        together = threading.Barrier(4)
        opened, failed = [], []

        def connect():
            together.wait()
            try:
                opened.append(kiokupy.connect(url))
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=connect) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        for number, directory in enumerate(opened):
            directory.store({"n": number}, id=str(number))
        assert opened[0].lookup_many("0123").keys() == set("0123")
        for directory in opened:
            directory.close()


@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL"])
def test_processes_that_find_no_store_and_make_one_share_it(kind, tmp_path):
    """As the workers of a server do when it is started for the first time."""
    program = (
        "import sys, kiokupy; print('ready', flush=True); sys.stdin.readline();"
        "directory = kiokupy.connect(sys.argv[1]); directory.store([1], id=sys.argv[2]); directory.close()"
    )
    with contextlib.ExitStack() as places:
        is_folder = kind == "SQLite"
        target = f"sqlite:///{tmp_path}/store" if is_folder else places.enter_context(servers.new_postgresql())
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", program, target, str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(4)
        ]
        for worker in workers:
            worker.stdout.readline()
        for worker in workers:
            worker.stdin.write("\n")
            worker.stdin.flush()
        assert [worker.communicate()[1] for worker in workers] == [""] * 4
        with kiokupy.connect(target) as directory:
            assert directory.lookup_many("0123").keys() == set("0123")


def test_a_zeo_server_behind_a_unix_socket_is_reached(tmp_path):
    import ZEO  # the extra may be missing elsewhere

    address, stop = ZEO.server(str(tmp_path / "zeo.fs"), port=str(tmp_path / "socket"))
    try:
        with kiokupy.connect(f"zeo://{address}") as directory:
            directory.store({"a": 1}, id="x")
            assert directory.lookup("x") == {"a": 1}
    finally:
        stop()


def test_an_option_that_is_no_number_is_refused():
    with pytest.raises(TargetError, match="port is 'x'"):
        kiokupy.connect("ZEO", port="x")


def test_a_hash_store_does_not_grow_with_every_write(monkeypatch):
    """Old revisions, and what nothing refers to any more, are let go."""
    monkeypatch.setattr("kiokupy.backends.hash._KEEP_SECONDS", -1)
    monkeypatch.setattr("kiokupy.backends.hash._FEW_RECORDS", 100)
    with kiokupy.connect("Hash") as directory:
        manager = kiokupy.SessionManager(directory)
        kept = manager.create()
        for number in range(500):
            kept["n"] = number
            kept.flush()
            manager.create().destroy()
        with directory.new_unit() as unit:
            storage = unit.connection.db().storage
        assert sum(map(len, storage._data.values())) < 300
        assert manager.retrieve(kept.id)["n"] == 499


def test_a_hash_store_keeps_what_a_transaction_under_way_may_read(monkeypatch):
    monkeypatch.setattr("kiokupy.backends.hash._FEW_RECORDS", 10)
    with kiokupy.connect("Hash") as directory:
        directory.store({"n": 0}, id="x")
        with directory.new_scope() as early:
            for number in range(1, 100):
                directory.txn_do(lambda scope, number=number: scope.get("x").update(n=number))
            assert early.get("x") == {"n": 0}


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        ('FATAL:  password authentication failed for user "me"', StoreDenied, "password authentication failed"),
        ("fe_sendauth: no password supplied", StoreDenied, "wants a password. Give it in the target"),
        ('FATAL:  no pg_hba.conf entry for host "h", user "me"', StoreDenied, "no pg_hba.conf entry"),
        ('FATAL:  database "app" does not exist', StoreNotFound, "createdb"),
        ("FATAL:  sorry, too many clients already", StoreUnreachable, "too many clients"),
        ("connection refused", StoreUnreachable, "does not answer"),
    ],
)
def test_what_a_server_of_postgresql_says_becomes_the_right_error(words, kind, message):
    """These are its own words; the server of the tests asks for no password, so not all can be provoked there."""
    from kiokupy.backends.postgresql import PostgreSQL  # the extra may be missing elsewhere

    error = PostgreSQL(dbname="app")._refused(
        psycopg2.OperationalError(f'connection to server at "h" failed: {words}\n')
    )

    assert type(error) is kind
    assert message in str(error)


@pytest.mark.parametrize("target", ["Hash", "File"])
def test_a_connection_that_is_new_in_the_midst_of_a_commit_is_not_left_behind(target, tmp_path, monkeypatch):
    """It came too late to be told what changes; did it not wait for the end, it would keep old states for ever."""
    options = {"path": tmp_path / "store.fs"} if target == "File" else {}
    with kiokupy.connect(target, **options) as directory:
        directory.write(put("a", "1"))
        adapter, units, seen = directory._database._db._mvcc_storage, [], []
        told = adapter._invalidate_finish

        def read():
            units.append(directory.new_unit())
            seen.append(units[0].root["entries"]["a"].record.state)

        def tell(*args):
            told(*args)
            reader.start()
            reader.join(0.1)

        reader = threading.Thread(target=read)
        with directory.new_unit() as writer:
            put("a", "2")(writer)
            with monkeypatch.context() as patch:
                patch.setattr(adapter, "_invalidate_finish", tell)
                writer.commit()
        reader.join()
        with units[0] as unit:
            unit.abort()
            unit.begin()
            seen.append(unit.root["entries"]["a"].record.state)

    assert seen[-1] == b"2"
