"""When a commit is on the disk, and what is lost when a process is killed, the power fails or the disk refuses.

``os.fsync`` is the system's, and watched: what it was called for is what a power failure keeps at least.
"""

import contextlib
import errno
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
import servers
from persistent.TimeStamp import TimeStamp
from ZODB.Connection import TransactionMetaData

import kiokupy
from kiokupy import ConflictError, StoreError, StoreNotFound, TargetError
from kiokupy.backends import resolve
from kiokupy.maintenance import fsck, pack
from kiokupy.maintenance.files import fsck_file

MODES = ["always", "group:5", "everysec", "never"]
DURABLE = ["always", "group:5"]
PATIENCE = 60


@dataclass
class Disk:
    """What was synced: of each call the thread, the inode and the size that the file had before."""

    calls: list = field(default_factory=list)
    #: raised instead of the next syncs
    error: OSError | None = None
    #: called before each sync
    before: object = lambda descriptor: None

    def fsync(self, descriptor, real=os.fsync):
        self.before(descriptor)
        if self.error is not None:
            raise self.error
        status = os.fstat(descriptor)
        real(descriptor)
        self.calls.append((threading.get_ident(), status.st_ino, status.st_size))

    def syncs_of(self, path):
        return [size for _, inode, size in self.calls if inode == os.stat(path).st_ino]

    def kept_of(self, path):
        """Return how much of a file a power failure keeps at least."""
        return max(self.syncs_of(path), default=0)


@pytest.fixture
def disk(monkeypatch):
    disk = Disk()
    monkeypatch.setattr(os, "fsync", disk.fsync)
    return disk


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.fs"


@pytest.fixture
def connect(path):
    """Open the store; it is closed at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda mode: stack.enter_context(kiokupy.connect("File", path=path, fsync=mode))


@pytest.fixture
def broken(path, connect):
    """Open the store; at the end it is closed, although its disk has failed."""
    opened = []

    def connect(mode):
        opened.append(kiokupy.connect("File", path=path, fsync=mode))
        return opened[-1]

    yield connect
    for directory in opened:
        with contextlib.suppress(StoreError):
            directory.close()


def storage_of(directory):
    return directory._database._db.storage


def numbers_in(directory, count):
    return [number for number in range(count) if directory.exists(str(number))]


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextmanager
def all_done(*threads):
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


class TestTheOption:
    @pytest.mark.parametrize("target", ["File", "file:path={}", "file://{}", {"backend": "File"}])
    def test_it_can_be_said_in_each_form_of_a_target(self, path, disk, target):
        path.touch()
        if isinstance(target, dict):
            target, options = {**target, "path": path, "fsync": "never"}, {}
        elif target == "File":
            options = {"path": path, "fsync": "never"}
        else:
            text = target.format(path)
            target, options = f"{text}{'?' if '//' in text else ';'}fsync=never", {}
        with kiokupy.connect(target, **options):
            assert disk.calls == []

    @pytest.mark.parametrize("word", ["always", " Always", "group:0", "group:2.5", "GROUP:5", "everysec", "never"])
    def test_what_it_can_be(self, path, word):
        kiokupy.connect("File", path=path, fsync=word).close()

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("allways", "the option fsync is 'allways'. Did you mean 'always'? It is 'always', 'group:5' ("),
            ("everysecond", "Did you mean 'everysec'?"),
            ("groups:5", "Did you mean 'group'?"),
            (False, "the option fsync is False. It is 'always', 'group:5' (a number of milliseconds), 'everysec' or"),
            ("", "the option fsync is ''. It is"),
            ("group", "from 0 up: fsync='group:5'"),
            ("group:", "from 0 up: fsync='group:5'"),
            ("group:-1", "from 0 up: fsync='group:5'"),
            ("group:inf", "from 0 up: fsync='group:5'"),
            ("group:nan", "from 0 up: fsync='group:5'"),
            ("group:5ms", "from 0 up: fsync='group:5'"),
            ("always:5", "Write fsync='always'; only 'group' has a number"),
        ],
    )
    def test_what_it_cannot_be_is_refused_with_what_it_can(self, path, word, message):
        with pytest.raises(TargetError) as caught:
            kiokupy.connect("File", path=path, fsync=word)

        assert message in str(caught.value)
        assert caught.value.target == "fsync"
        assert not path.exists()


class TestWhenItIsOnTheDisk:
    @pytest.mark.parametrize("mode", DURABLE)
    def test_a_commit_alone_is_there_when_it_returns_after_one_sync(self, path, disk, connect, mode):
        directory = connect(mode)
        for number in range(3):
            before = len(disk.calls)
            directory.store({}, id=str(number))
            assert len(disk.calls) == before + 1
            assert disk.kept_of(path) == path.stat().st_size

    def test_always_is_the_default(self, path, disk):
        with kiokupy.connect("File", path=path) as directory:
            directory.store({}, id="x")
            assert disk.kept_of(path) == path.stat().st_size

    def test_always_lets_nobody_read_what_is_not_there_yet(self, disk, connect):
        directory, seen = connect("always"), []
        storage = storage_of(directory)
        before = storage.lastTransaction()
        disk.before = lambda _: seen.append(storage.lastTransaction())
        directory.store({}, id="x")

        assert seen == [before]
        assert storage.lastTransaction() > before

    def test_commits_of_a_group_share_a_sync_and_can_be_read_meanwhile(self, path, disk, connect):
        """The first sync waits until all eight can be read, so that at most one other is needed."""
        directory, lost = connect("group:5"), []
        before = len(disk.calls)
        disk.before = lambda _: wait_until(lambda: len(numbers_in(directory, 8)) == 8)

        def store(number):
            directory.txn_do(lambda scope: scope.store({}, id=str(number)) and None, retries=100)
            lost.extend(() if disk.kept_of(path) == path.stat().st_size else (number,))

        with all_done(*(threading.Thread(target=store, args=(number,)) for number in range(8))):
            pass
        assert len(disk.calls) - before <= 2
        assert lost == []

    def test_a_commit_of_a_group_waits_for_one_that_has_begun(self, path, disk, connect):
        """The time to wait is a minute here; without waiting there would be a sync for each."""
        directory = connect("group:60000")
        storage, first, second = storage_of(directory), TransactionMetaData(), TransactionMetaData()
        before = len(disk.calls)
        storage.tpc_begin(first)

        def commit(transaction):
            storage.tpc_begin(transaction)
            storage.tpc_vote(transaction)
            storage.tpc_finish(transaction)

        with all_done(threading.Thread(target=commit, args=(second,))):
            wait_until(lambda: second in storage._syncing._under_way)
            storage.tpc_vote(first)
            storage.tpc_finish(first)
        assert len(disk.calls) == before + 1
        assert disk.kept_of(path) == path.stat().st_size

    def test_a_commit_of_a_group_does_not_wait_for_one_that_gave_up(self, connect):
        """It would wait for an hour."""
        directory = connect("group:3600000")
        directory.store({}, id="x")
        with directory.new_scope() as scope:
            scope.get("x")["n"] = 1
            directory.txn_do(lambda other: other.get("x").update(n=2))
            with pytest.raises(ConflictError):
                scope.commit()
        directory.store({}, id="y")

        assert directory.get("x") == {"n": 2}

    def test_everysec_syncs_by_itself_and_never_in_the_thread_that_commits(self, path, disk, connect):
        path.touch()
        directory = connect("everysec")
        for number in range(2):  # after the first time there was nothing to do, and nobody to do it
            directory.store({}, id=str(number))
            wait_until(lambda: disk.kept_of(path) == path.stat().st_size)
            wait_until(lambda: not sync_threads())
        assert threading.get_ident() not in {thread for thread, *_ in disk.calls}

    def test_everysec_goes_on_while_there_are_commits(self, path, disk, connect):
        directory, during = connect("everysec"), []

        def write(_):
            disk.before = lambda _: None
            directory.store({}, id="y")
            during.append(path.stat().st_size)

        directory.store({}, id="x")
        disk.before = write
        wait_until(lambda: during and disk.kept_of(path) == during[0])
        wait_until(lambda: len(disk.syncs_of(path)) == 2)

    def test_everysec_leaves_no_thread_and_nothing_unsynced_when_it_is_closed(self, path, disk):
        with kiokupy.connect("File", path=path, fsync="everysec") as directory:
            directory.store({}, id="x")
            assert len(sync_threads()) == 1
        assert sync_threads() == []
        assert disk.kept_of(path) == path.stat().st_size

    def test_everysec_syncs_at_once_where_no_thread_can_be_started(self, path, disk, connect, monkeypatch):
        def start(thread):
            raise RuntimeError("can't start new thread")

        directory = connect("everysec")
        wait_until(lambda: not sync_threads())
        monkeypatch.setattr(threading.Thread, "start", start)
        directory.store({}, id="x")
        assert disk.kept_of(path) == path.stat().st_size

    def test_never_syncs_when_it_is_closed(self, path, disk):
        path.touch()
        with kiokupy.connect("File", path=path, fsync="never") as directory:
            directory.store({}, id="x")
            assert disk.calls == []
        assert disk.syncs_of(path) == [path.stat().st_size]

    @pytest.mark.parametrize("mode", MODES)
    def test_a_storage_that_has_closed_itself_can_be_closed(self, connect, mode):
        """FileStorage does so when the last byte of a transaction cannot be written."""
        storage_of(connect(mode)).close()

    def test_the_name_of_a_new_file_is_synced(self, path, disk, connect):
        connect("never")
        assert [inode for _, inode, _ in disk.calls] == [path.parent.stat().st_ino]

    def test_a_folder_that_the_system_does_not_sync_is_no_error(self, path, disk):
        disk.error = OSError(errno.EINVAL, "Invalid argument")
        with kiokupy.connect("File", path=path, fsync="never"):
            disk.error = None
        assert disk.kept_of(path) == path.stat().st_size


def sync_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("kiokupy fsync")]


class TestPacking:
    @pytest.mark.parametrize("mode", MODES)
    def test_the_packed_file_is_on_the_disk_before_it_takes_the_place_of_the_other(self, path, disk, connect, mode):
        directory = connect(mode)
        fill(directory)
        log = []
        disk.before = lambda descriptor: log.append((kind_of(descriptor), path.with_suffix(".fs.pack").exists()))
        pack(directory)
        disk.before = lambda _: None
        after = disk.kept_of(path)

        assert [entry for entry in log if entry[0] != "other"] == [("file", True), ("folder", False)]
        assert after == path.stat().st_size

    @pytest.mark.parametrize("mode", MODES)
    def test_commits_after_it_are_synced_in_the_new_file(self, path, disk, mode):
        with kiokupy.connect("File", path=path, fsync=mode) as directory:
            fill(directory)
            pack(directory)
            directory.store({}, id="after")
            if mode == "everysec":
                wait_until(lambda: disk.kept_of(path) == path.stat().st_size)
            if mode != "never":
                assert disk.kept_of(path) == path.stat().st_size
        assert disk.kept_of(path) == path.stat().st_size

    @pytest.mark.parametrize("mode", MODES)
    def test_a_disk_that_refuses_the_packed_file_leaves_all_as_it_was(self, path, disk, connect, mode):
        directory = connect(mode)
        fill(directory)
        storage_of(directory)._syncing.sync()
        disk.error = OSError(errno.EIO, "Input/output error")
        with pytest.raises(StoreError, match="it is as it was, the file system refused the packed copy"):
            pack(directory)
        disk.error = None

        assert not path.with_suffix(".fs.pack").exists()
        directory.store({}, id="after")
        assert fsck(directory).ok
        pack(directory)
        assert directory.exists("after")

    def test_a_pack_that_is_broken_off_leaves_no_file(self, path, monkeypatch):
        with kiokupy.connect("File", path=path) as directory:
            fill(directory)

            def interrupted(*_):
                raise KeyboardInterrupt

            with monkeypatch.context() as patched:
                patched.setattr("ZODB.FileStorage.fspack.FileStoragePacker.copyToPacktime", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    pack(directory)
            assert not path.with_suffix(".fs.pack").exists()
            pack(directory)
            assert fsck(directory).ok

    @pytest.mark.parametrize("again", [{"days": 0}, {"days": 1}])
    def test_a_store_with_nothing_to_pack_is_not_synced(self, disk, connect, again):
        directory = connect("never")
        fill(directory)
        if not again["days"]:
            pack(directory)
        before = len(disk.calls)
        pack(directory, **again)
        assert len(disk.calls) == before

    def test_a_process_that_ended_while_it_put_the_file_into_place_leaves_no_new_empty_store(self, path):
        with kiokupy.connect("File", path=path) as directory:
            directory.store({}, id="x")
        packed = path.with_suffix(".fs.pack")
        shutil.copy(path, packed)
        path.rename(path.with_suffix(".fs.old"))

        with pytest.raises(StoreNotFound) as caught:
            kiokupy.connect("File", path=path)

        assert not path.exists()
        subprocess.run(str(caught.value).partition("Do that: ")[2], shell=True, check=True)
        with kiokupy.connect("File", path=path) as directory:
            assert directory.exists("x")


def fill(directory):
    """Leave something to pack away."""
    directory.store({}, id="x")
    directory.delete("x")
    directory.store({}, id="y")


def kind_of(descriptor):
    status, names = os.fstat(descriptor), os.readlink(f"/proc/self/fd/{descriptor}")
    return "folder" if stat.S_ISDIR(status.st_mode) else "file" if names.endswith(".pack") else "other"


class TestKilledProcess:
    @pytest.mark.parametrize("mode", MODES)
    def test_no_mode_of_a_file_loses_what_was_told(self, path, mode):
        check_killed(f"file:path={path};fsync={mode}")

    @pytest.mark.parametrize("mode", ["always", "never"])
    def test_no_mode_of_sqlite_loses_what_was_told(self, tmp_path, mode):
        check_killed(f"sqlite:///{tmp_path}/store?fsync={mode}")

    @pytest.mark.parametrize("mode", ["always", "everysec"])
    def test_no_mode_of_postgresql_loses_what_was_told(self, mode):
        with servers.new_postgresql() as url:
            check_killed(f"{url}?fsync={mode}")

    @pytest.mark.parametrize("mode", ["always", "everysec"])
    @pytest.mark.parametrize("end", ["directory.close()", "del directory", "pass"])
    def test_a_forked_child_ends_and_the_parent_goes_on_writing(self, path, mode, end):
        """They share the positions in the files."""
        script = f"""
            import os, sys, kiokupy
            directory = kiokupy.connect("File", path={str(path)!r}, fsync={mode!r})
            closed = kiokupy.connect("File", path={str(path)!r} + ".closed")
            closed.close()
            reading = kiokupy.connect("File", path={str(path)!r}, readonly=1)
            directory.store({{}}, id="x")
            if os.fork() == 0:
                {end}
                sys.exit()
            print(os.wait()[1])
            directory.store({{}}, id="y")
        """
        assert run(script) == "0\n"
        with kiokupy.connect("File", path=path) as directory:
            assert (directory.exists("x"), directory.exists("y")) == (True, True)

    def test_a_child_that_outlives_its_parent_has_no_lock(self, path):
        script = f"""
            import os, signal, kiokupy
            directory = kiokupy.connect("File", path={str(path)!r})
            reading = kiokupy.connect("File", path={str(path)!r}, readonly=1)
            child = os.fork()
            if child == 0:
                os.close(1)
                signal.pause()
            print(child)
        """
        child = int(run(script))
        try:
            with kiokupy.connect("File", path=path) as directory:
                directory.store({}, id="x")
        finally:
            os.kill(child, signal.SIGKILL)

    def test_a_child_leaves_its_parent_the_lock(self, path):
        script = f"""
            import os, kiokupy
            directory = kiokupy.connect("File", path={str(path)!r})
            if os.fork() == 0:
                os._exit(0)
            os.wait()
            try:
                kiokupy.connect("File", path={str(path)!r})
            except kiokupy.StoreLocked:
                print("locked")
        """
        assert run(script) == "locked\n"

    def test_a_process_that_ends_without_closing_waits_for_the_sync_of_everysec(self, path):
        script = f"""
            import os, kiokupy
            directory = kiokupy.connect("File", path={str(path)!r}, fsync="everysec")
            real, path = os.fsync, {str(path)!r}
            def fsync(descriptor):
                real(descriptor)
                print(os.fstat(descriptor).st_size == os.stat(path).st_size, flush=True)
            os.fsync = fsync
            directory.store({{}}, id="x")
        """
        assert run(script) == "True\n"


def run(script):
    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE).stdout


def check_killed(target):
    """Kill a process in which two threads tell each object that they have stored: all of these are there."""
    script = f"""
        import os, threading, kiokupy
        directory = kiokupy.connect({target!r})
        def store(first):
            for number in range(first, 1_000_000, 2):
                directory.txn_do(lambda scope: scope.store({{}}, id=str(number)) and None, retries=1000)
                os.write(1, b"%d\\n" % number)
        for first in range(2):
            threading.Thread(target=store, args=(first,)).start()
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        told = [process.stdout.readline() for _ in range(30)]
        os.kill(process.pid, signal.SIGKILL)
        told += process.stdout.readlines()
    with kiokupy.connect(target, create=0) as directory:
        assert [line for line in told if not directory.exists(line.strip())] == []
        assert fsck(directory).ok


class TestPowerFailure:
    """The file is cut at lengths that a power failure may leave, from what was synced up to all that was written."""

    COUNT = 12

    @pytest.mark.parametrize("mode", MODES)
    def test_what_was_told_and_synced_stays_and_only_the_last_is_lost(self, path, tmp_path, disk, connect, mode):
        directory, ends, kept = connect(mode), [], []
        for number in range(self.COUNT):
            directory.store({"number": number}, id=str(number))
            ends.append(path.stat().st_size)
            kept.append(disk.kept_of(path))
            if number == self.COUNT // 2:
                storage_of(directory)._syncing.sync()

        for told, (end, least) in enumerate(zip(ends, kept, strict=True), 1):
            for cut in {max(least, 4), (least + end) // 2, end - 1, end} - set(range(least)):
                there = self.numbers_after_cut(path, tmp_path / "cut.fs", cut)
                assert there == list(range(len(there)))
                assert len(there) == sum(each <= cut for each in ends)
                assert len(there) >= told or mode not in DURABLE

    def numbers_after_cut(self, path, copy, length):
        copy.write_bytes(path.read_bytes()[:length])
        with kiokupy.connect("File", path=copy) as directory:
            assert fsck(directory).ok
            there = numbers_in(directory, self.COUNT)
            assert [directory.get(str(number)) for number in there] == [{"number": number} for number in there]
        copy.with_suffix(".fs.index").unlink()
        return there

    @pytest.mark.parametrize("count", [1, 22, 23, 5000])
    @pytest.mark.parametrize("readonly", [True, False])
    def test_zeros_where_a_commit_should_be_are_no_more_than_its_loss(self, path, count, readonly):
        """A file system may note the length of a file before it writes what is there."""
        with kiokupy.connect("File", path=path) as directory:
            directory.store({"n": 1}, id="x")
        length = path.stat().st_size
        with path.open("ab") as file:
            file.write(bytes(count))
        with kiokupy.connect("File", path=path, readonly=readonly) as directory:
            assert directory.get("x") == {"n": 1}
        with kiokupy.connect("File", path=path) as directory:
            assert path.stat().st_size == length
            directory.store({"n": 2}, id="y")
            assert fsck(directory).ok
        with kiokupy.connect("File", path=path) as directory:
            assert directory.lookup_many(["x", "y"]) == {"x": {"n": 1}, "y": {"n": 2}}

    @pytest.mark.parametrize("tid", [b"\xff" * 8, b"PK\3\4zzzz", TimeStamp(2001, 1, 1, 0, 0, 0.0).raw()])
    def test_what_a_torn_commit_leaves_is_not_taken_for_the_last_one(self, path, tid):
        """Else it would be of the future, or from before all others, or of no time at all."""
        with kiokupy.connect("File", path=path) as directory:
            directory.store({"n": 1}, id="x")
            last = directory.history("x")[0]
        with path.open("ab") as file:
            file.write(tid + struct.pack(">QcHHH", 9999, b" ", 0, 0, 0) + b"torn")
        with kiokupy.connect("File", path=path) as directory:
            assert storage_of(directory).lastTransaction() == last.tid
            directory.store({"n": 2}, id="y")
            time = directory.history("y")[0].time
            assert last.time < time <= datetime.now(UTC)
            assert fsck(directory).ok

    def test_zeros_alone_are_an_empty_store(self, path):
        path.write_bytes(b"FS30" + bytes(5000))
        with kiokupy.connect("File", path=path) as directory:
            directory.store({"n": 1}, id="x")
            assert directory.get("x") == {"n": 1}

    def test_an_index_that_is_newer_than_the_file_is_not_believed(self, path):
        with kiokupy.connect("File", path=path, fsync="never") as directory:
            for number in range(self.COUNT):
                directory.store({}, id=str(number))
        os.truncate(path, path.stat().st_size // 2)
        with kiokupy.connect("File", path=path) as directory:
            there = numbers_in(directory, self.COUNT)
            assert there == list(range(len(there)))
            assert fsck(directory).ok


def failing():
    return OSError(errno.EIO, "Input/output error")


class TestFailingDisk:
    @pytest.mark.parametrize("mode", DURABLE)
    def test_a_commit_that_cannot_be_synced_is_an_error_that_says_what_to_do(self, disk, broken, mode):
        directory = broken(mode)
        disk.error = failing()
        with pytest.raises(StoreError) as caught:
            directory.store({}, id="x")

        assert "store.fs: the disk refused to keep what was written (Input/output error), so the last" in str(
            caught.value
        )
        assert "Look after the disk, check the file with kiokupy.maintenance.fsck_file()" in str(caught.value)
        assert caught.value.__cause__ is disk.error

    @pytest.mark.parametrize("mode", MODES[:3])
    def test_nothing_is_written_afterwards_though_the_disk_says_that_it_is_well(self, path, disk, broken, mode):
        directory = broken(mode)
        directory.store({"n": 1}, id="x")
        break_disk(directory, disk)
        size = path.stat().st_size
        disk.error = None
        for attempt in (
            lambda: directory.store({}, id="y"),
            lambda: directory.txn_do(lambda scope: scope.get("x").update(n=2)),
            lambda: directory.delete("x"),
            lambda: pack(directory),
        ):
            with pytest.raises(StoreError, match="no more are made"):
                attempt()

        assert path.stat().st_size == size
        assert directory.get("x") == {"n": 1}
        with directory.new_scope() as scope:
            assert scope.get("x") == {"n": 1}

    def test_always_lets_nobody_read_what_could_not_be_synced(self, disk, broken):
        directory = broken("always")
        directory.store({"n": 1}, id="x")
        disk.error = failing()
        with directory.new_scope() as scope:
            scope.get("x")["n"] = 2
            with pytest.raises(StoreError):
                scope.commit()

        assert directory.get("x") == {"n": 1}
        assert fsck(directory).ok

    def test_all_commits_of_a_group_are_told(self, disk, broken):
        directory, told = broken("group:5"), []

        def fail(_):
            wait_until(lambda: len(numbers_in(directory, 3)) == 3)
            raise failing()

        def store(number):
            with pytest.raises(StoreError, match="no more are made"):
                directory.txn_do(lambda scope: scope.store({}, id=str(number)) and None, retries=100)
            told.append(number)

        disk.before = fail
        with all_done(*(threading.Thread(target=store, args=(number,)) for number in range(3))):
            pass
        assert sorted(told) == [0, 1, 2]

    @pytest.mark.parametrize("mode", ["everysec", "never"])
    def test_a_sync_that_fails_at_the_end_is_told_by_close(self, path, disk, mode):
        directory = kiokupy.connect("File", path=path, fsync=mode)
        directory.store({}, id="x")
        disk.error = failing()
        with pytest.raises(StoreError, match="the last commits may be lost"):
            directory.close()
        assert sync_threads() == []

        disk.error = None
        with kiokupy.connect("File", path=path) as directory:
            assert directory.exists("x")

    @pytest.mark.parametrize("mode", MODES)
    def test_the_store_can_be_opened_again_and_no_index_tells_of_what_is_not_there(self, path, disk, mode):
        index = path.with_suffix(".fs.index")
        with kiokupy.connect("File", path=path, fsync=mode) as directory:
            directory.store({}, id="x")
        before = index.read_bytes()
        directory = kiokupy.connect("File", path=path, fsync=mode)
        disk.error = failing()
        with contextlib.suppress(StoreError):
            directory.store({}, id="y")
        with pytest.raises(StoreError):
            directory.close()
        disk.error = None

        assert index.read_bytes() == before
        assert fsck_file(path) == []
        with kiokupy.connect("File", path=path) as directory:
            assert directory.exists("x")
            directory.store({}, id="z")


def break_disk(directory, disk):
    """Let a sync fail; one of everysec comes by itself."""
    disk.error = failing()
    with contextlib.suppress(StoreError):
        directory.store({}, id="broken")
    wait_until(lambda: storage_of(directory)._syncing.failed)


class TestSQLite:
    @pytest.mark.parametrize(
        ("options", "level"),
        [({}, 2), ({"fsync": "always"}, 2), ({"fsync": "never"}, 1), ({"synchronous": "OFF"}, 0)],
    )
    def test_the_database_is_told(self, tmp_path, options, level):
        backend = resolve(f"sqlite:///{tmp_path}/store", **options).backend()
        with closing(backend.open(create=True, readonly=False)) as storage:
            connection, cursor = storage._adapter.connmanager.open_for_store()
            assert cursor.execute("PRAGMA synchronous").fetchone() == (level,)
            assert cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            storage._adapter.connmanager.close(connection, cursor)

    def test_the_name_of_a_new_store_is_synced(self, tmp_path, disk):
        kiokupy.connect(f"sqlite:///{tmp_path}/store").close()
        assert {inode for _, inode, _ in disk.calls} == {tmp_path.stat().st_ino}

    @pytest.mark.parametrize("mode", ["everysec", "group:5"])
    def test_what_it_cannot_do_is_refused_with_what_it_can(self, tmp_path, mode):
        with pytest.raises(TargetError, match=f"SQLite cannot do fsync='{mode}'. It is 'always', or 'never', which"):
            kiokupy.connect(f"sqlite:///{tmp_path}/store", fsync=mode)

    def test_its_own_word_and_ours_together_are_refused(self, tmp_path):
        with pytest.raises(TargetError, match=r"say the same thing.*Leave synchronous out"):
            kiokupy.connect(f"sqlite:///{tmp_path}/store?synchronous=FULL", fsync="always")


class TestPostgreSQL:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("", "off"),  # what the tests' databases have
            ("?fsync=always", "on"),
            ("?fsync=everysec", "off"),
            ("?fsync=never", "off"),
            ("?fsync=always&options=-c%20work_mem%3D7MB", "on"),
        ],
    )
    def test_the_server_is_told_and_libpqs_options_are_kept(self, query, expected):
        with servers.new_postgresql() as url:
            backend = resolve(url + query).backend()
            with closing(backend.open(create=True, readonly=False)) as storage:
                assert show(storage, "synchronous_commit") == expected
                assert (show(storage, "work_mem") == "7MB") is ("work_mem" in query)

    def test_the_options_in_the_environment_are_kept(self, monkeypatch):
        monkeypatch.setenv("PGOPTIONS", "-c work_mem=7MB")
        with servers.new_postgresql() as url:
            backend = resolve(url, fsync="always").backend()
            with closing(backend.open(create=True, readonly=False)) as storage:
                assert (show(storage, "synchronous_commit"), show(storage, "work_mem")) == ("on", "7MB")

    def test_groups_are_the_servers_matter(self):
        with pytest.raises(TargetError, match=r"PostgreSQL cannot do fsync='group:5'.*commit_delay"):
            kiokupy.connect("postgresql://me@host/db", fsync="group:5")

    def test_its_own_word_and_ours_together_are_refused(self):
        with pytest.raises(TargetError, match=r"say the same thing.*Leave one of them out"):
            kiokupy.connect("postgresql://me@host/db?options=-c%20synchronous_commit%3Doff", fsync="always")


def show(storage, setting):
    manager = storage._adapter.connmanager
    connection, cursor = manager.open_for_store()
    try:
        cursor.execute(f"SHOW {setting}")
        return cursor.fetchone()[0]
    finally:
        manager.close(connection, cursor)


@pytest.mark.parametrize("target", ["Hash", "ZEO"])
def test_backends_that_do_not_write_files_do_not_take_the_option(target):
    with pytest.raises(TargetError, match="does not take these options: fsync"):
        kiokupy.connect(target, fsync="always")
