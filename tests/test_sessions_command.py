"""kiokupy-sessions, as a command and called."""

import subprocess
import sys
from pathlib import Path

import pytest

import kiokupy
from kiokupy import Device, SessionManager, SessionPolicy
from kiokupy.cli import sessions as command


@pytest.fixture
def path(tmp_path):
    """Return the path of a store with two sessions of Alice, one that has expired, and one of somebody hostile."""
    with kiokupy.connect("File", path=tmp_path / "store.fs") as directory:
        manager = SessionManager(directory)
        for agent in ("Firefox", "curl"):
            manager.open(device=Device(agent, "10.0.0.1")).login("alice")
        manager.open(device=Device("\x1b[31m", "\x1b[2J")).login("\x1b[31mbob")
        SessionManager(directory, SessionPolicy(clock=lambda: 1.8e9 - 1e9)).create()
    return tmp_path / "store.fs"


@pytest.fixture
def run(path, capsys):
    def run(*arguments):
        status = command.main([str(path), *arguments])
        return status, capsys.readouterr().out.splitlines()

    return run


def test_sessions_are_listed(run):
    status, lines = run("list", "--principal", "alice")

    assert status == 0
    assert len(lines) == 2
    assert all("  'alice'  20" in line and "  10.0.0.1  '" in line for line in lines)


def test_nothing_that_a_client_sent_controls_the_terminal(run):
    text = "\n".join(run("list")[1])

    assert text.count("\n") == 2
    assert "\x1b" not in text


def test_a_file_is_looked_at_beside_the_process_that_has_it_open_and_only_looked_at(run, path, capsys):
    with kiokupy.connect("File", path=path):
        assert run("stats") == (0, ["3 alive", "1 expired, for the next sweep"])
        assert len(run("list")[1]) == 3
        assert command.main([str(path), "sweep"]) == 2
    assert "holds this store" in capsys.readouterr().err


def test_sessions_are_counted_and_swept(run):
    assert run("stats") == (0, ["3 alive", "1 expired, for the next sweep"])
    assert run("sweep", "--limit", "5") == (0, ["1 expired sessions taken out"])
    assert run("stats") == (0, ["3 alive", "0 expired, for the next sweep"])


def test_one_session_is_ended(run):
    handle = run("list", "--principal", "alice")[1][0].split()[0]

    assert run("end", "bob", handle) == (1, ["there is no such session"])
    assert run("end", "alice", handle) == (0, ["the session is ended"])
    assert len(run("list", "--principal", "alice")[1]) == 1


def test_all_sessions_of_a_principal_are_ended(run):
    assert run("revoke", "alice") == (0, ["2 sessions ended"])
    assert run("list", "--principal", "alice") == (0, [])


def test_all_sessions_of_everybody_are_ended(run):
    assert run("revoke-all") == (0, ["4 sessions ended"])
    assert run("stats") == (0, ["0 alive", "0 expired, for the next sweep"])


def test_a_store_that_is_not_there_is_not_made(tmp_path, capsys):
    assert command.main([str(tmp_path / "none.fs"), "list"]) == 2
    assert "kiokupy-sessions: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["sweep", "--limit", "all"], ["dance"]])
def test_wrong_arguments_are_explained(run, arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(*arguments)
    assert "usage: kiokupy-sessions" in capsys.readouterr().err


def test_ctrl_c_ends_it_quietly(path, monkeypatch, capsys):
    def interrupt(target, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "connect", interrupt)

    assert command.main([str(path), "list"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_has_seen_enough_ends_it_quietly(path):
    done = subprocess.run(
        f"{sys.executable} -m kiokupy.cli.sessions {path} list | true",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr == ""


def test_the_command_is_installed(path):
    program = Path(sys.executable).with_name("kiokupy-sessions")
    done = subprocess.run([program, path, "stats"], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("3 alive")
