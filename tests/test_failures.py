"""What is lost, and what is said, when a disk is full or a server goes away. Nothing that was acknowledged is lost."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from urllib.parse import urlsplit

import pytest
import servers

import kiokupy
from kiokupy import StoreUnreachable


def count(manager, id):
    session = manager.retrieve(id)
    session["n"] = session.get("n", 0) + 1
    session.flush()
    return session["n"]


def test_a_full_disk_is_an_error_and_the_store_stays_whole(file_place):
    """The limit on a file's size stands for the disk's; it is for a whole process, so that is one of its own."""
    script = f"""
        import os, resource, signal, kiokupy
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        path = {str(file_place.options["path"])!r}
        with kiokupy.connect("File", path=path) as directory:
            manager = kiokupy.SessionManager(directory)
            id = manager.create().id
            resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(path) + 20_000, resource.RLIM_INFINITY))
            for number in range(100):
                session = manager.retrieve(id)
                session["text"] = session.get("text", "") + "x" * 3_000
                try:
                    session.flush()
                except kiokupy.StoreError as error:
                    print(id, number, error)
                    break
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            session.flush()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    id, number, message = done.stdout.split(maxsplit=2)

    assert int(number) > 1
    assert "nothing was written, the file system refused (File too large). Make room on the disk" in message
    with file_place.connect() as directory:
        assert len(kiokupy.SessionManager(directory).retrieve(id)["text"]) == 3_000 * (int(number) + 1)


def test_sessions_go_on_when_the_server_has_dropped_every_connection():
    with servers.new_postgresql() as url, kiokupy.connect(url) as directory:
        manager = kiokupy.SessionManager(directory)
        id = manager.create().id
        count(manager, id)
        name = urlsplit(url).path[1:]
        servers.administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

        assert [count(manager, id), count(manager, id)] == [2, 3]


def test_a_server_that_lets_nobody_in_is_unreachable():
    with servers.new_postgresql() as url, kiokupy.connect(url) as directory:
        manager = kiokupy.SessionManager(directory)
        id = manager.create().id
        name = urlsplit(url).path[1:]
        servers.administer(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            servers.administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
            with pytest.raises(StoreUnreachable, match="the server does not answer"):
                count(manager, id)
        finally:
            servers.administer(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        assert count(manager, id) == 1


def test_a_killed_server_is_unreachable_and_sessions_go_on_when_it_is_back(tmp_path):
    port = servers.free_port()
    command = [sys.executable, "-m", "ZEO.runzeo", "-a", f"127.0.0.1:{port}", "-f", str(tmp_path / "zeo.fs")]
    with servers.running(command, port) as server:
        directory = kiokupy.connect(f"zeo://127.0.0.1:{port}?wait_timeout=1")
        manager = kiokupy.SessionManager(directory)
        id = manager.create().id
        assert count(manager, id) == 1
        server.send_signal(signal.SIGKILL)
        server.wait()
        for _ in range(2):
            with pytest.raises(StoreUnreachable):
                count(manager, id)
    with servers.running(command, port):
        deadline = time.monotonic() + 30
        while True:  # the client tries to connect again, at its own pace
            try:
                assert count(manager, id) == 2
                break
            except StoreUnreachable:
                assert time.monotonic() < deadline
        directory.close()


@pytest.mark.parametrize("target", ["File", "SQLite"])
def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path, target):
    """The writer says each number when flush() has returned; after the kill none of them is missing."""
    dsn = f"file:path={tmp_path}/store.fs" if target == "File" else f"sqlite:///{tmp_path}/store"
    script = f"""
        import kiokupy
        manager = kiokupy.SessionManager(kiokupy.connect({dsn!r}))
        session = manager.create()
        print(session.id, flush=True)
        for number in range(1_000_000):
            session["n"] = number
            session.flush()
            print(number, flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    ) as process:
        id = process.stdout.readline().strip()
        said = [process.stdout.readline() for _ in range(50)]
        os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.read().splitlines()
    last = max(int(line) for line in said[:-1])
    with kiokupy.connect(dsn, create=0) as directory:
        assert kiokupy.SessionManager(directory).retrieve(id)["n"] >= last


def test_a_store_is_not_used_in_a_forked_child(file_place):
    """Parent and child would write over each other in one file."""
    script = f"""
        import os, kiokupy
        with kiokupy.connect("File", path={str(file_place.options["path"])!r}) as directory:
            manager = kiokupy.SessionManager(directory)
            child = os.fork()
            if child == 0:
                try:
                    manager.create()
                except kiokupy.StoreError as error:
                    print(error, flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            manager.create()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True, check=True
    )

    assert "and used in its child" in done.stdout
    assert "Connect in each process, after the fork" in done.stdout


def test_a_scope_that_is_open_when_the_process_forks_is_its_parents(place):
    """The child can neither read nor write in it, and leaving it says nothing to the server."""
    options = {name: str(option) for name, option in place.options.items()}
    script = f"""
        import os, kiokupy
        with kiokupy.connect({place.target!r}, **{options!r}) as directory:
            directory.store({{"n": 1}}, id="x")
            with directory.new_scope() as scope:
                scope.lookup("x")["n"] = 2
                if os.fork() == 0:
                    for verb in (scope.commit, scope.abort, lambda: scope.exists("x"), lambda: scope.__exit__(None)):
                        try:
                            verb()
                        except kiokupy.StoreError as error:
                            print("and used in its child" in str(error), flush=True)
                    os._exit(0)
                print(os.wait()[1])
            print(directory.get("x"))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True, check=True, timeout=60
    )

    assert done.stdout == "True\n" * 4 + "0\n{'n': 2}\n"


def test_a_scope_that_is_open_when_its_directory_is_closed_says_so(file_place):
    directory = file_place.connect()
    directory.store({"n": 1}, id="x")
    for verb in ("commit", "abort", "__enter__"):
        scope = directory.new_scope()
        scope.lookup("x")["n"] = 2
        directory.close()
        with pytest.raises(kiokupy.StoreError, match="the directory was closed"), scope:
            getattr(scope, verb)()
        scope.close()
        directory = file_place.connect()
    assert directory.get("x") == {"n": 1}
    directory.close()


def test_a_forked_child_that_closes_leaves_its_parents_store_open(file_place, monkeypatch):
    directory = file_place.connect()
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    with pytest.raises(kiokupy.StoreError, match="and used in its child"):
        directory.exists("x")
    directory.close()
    monkeypatch.undo()

    with pytest.raises(kiokupy.StoreLocked):
        file_place.connect()
    directory.close()
    file_place.connect().close()
