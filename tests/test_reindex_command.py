"""kiokupy-reindex: indexes are built and checked by command."""

import os
import subprocess
import sys

import pytest
from graph_classes import Person

import kiokupy
from kiokupy.cli import reindex as command

APPLICATION = """
import kiokupy
from graph_classes import Person

def connect():
    return kiokupy.connect("File", path={path!r}, allow_classes=[Person], indexes=[
        kiokupy.Index("name", on=Person), kiokupy.Index("friend", on=Person, unique=True),
    ])

nothing = 7
"""


@pytest.fixture
def application(tmp_path, monkeypatch):
    """Write an application's module, and a store that it made before it had indexes."""
    path = str(tmp_path / "app.fs")
    (tmp_path / "indexed_app.py").write_text(APPLICATION.format(path=path))
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("indexed_app", None)
    with kiokupy.connect("File", path=path, allow_classes=[Person]) as directory:
        for name in ("Ada", "Grace"):
            directory.store(Person(name, friend=f"friend of {name}"), id=name)
    return path


def names(path):
    index = kiokupy.Index("name", on=Person)
    with kiokupy.connect("File", path=path, allow_classes=[Person], indexes=[index]) as directory:
        return [person.name for person in directory.search(order_by="name")]


def test_it_builds_what_a_check_found_missing(application, capsys):
    assert command.main(["indexed_app:connect", "--check"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in out] == ["name", "friend"]
    assert "reindex(directory, 'name')" in out[0]
    assert command.main(["indexed_app:connect"]) == 0
    assert command.main(["indexed_app:connect", "--check"]) == 0
    assert capsys.readouterr().out == ""
    assert names(application) == ["Ada", "Grace"]


def test_only_the_named_indexes_are_built(application, capsys):
    assert command.main(["indexed_app:connect", "name"]) == 0
    assert command.main(["indexed_app:connect", "name", "--check"]) == 0
    assert command.main(["indexed_app:connect", "friend", "--check"]) == 1
    assert command.main(["indexed_app:connect", "nmae"]) == 2
    assert "there is no index 'nmae'" in capsys.readouterr().err


def test_an_index_that_cannot_be_built_is_told(application, capsys):
    with kiokupy.connect("File", path=application, allow_classes=[Person]) as directory:
        directory.store(Person("Eve", friend="friend of Ada"), id="Eve")
    assert command.main(["indexed_app:connect", "friend"]) == 1
    assert "is taken by object" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["indexed_app", "indexed_app:", "no_such_app:connect", "indexed_app:nothing", ":x"])
def test_what_is_no_directory_is_refused_with_the_fix(application, place, capsys):
    assert command.main([place]) == 2
    assert capsys.readouterr().err.startswith("kiokupy-reindex: ")


def test_a_directory_itself_may_be_named_and_progress_is_shown_on_a_terminal(application, capsys, monkeypatch):
    import indexed_app  # it is there for this test only

    indexed_app.directory = indexed_app.connect()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert command.main(["indexed_app:directory"]) == 0
    assert "\r" in capsys.readouterr().err


def test_ctrl_c_ends_it(application, monkeypatch):
    import indexed_app  # as above

    def interrupt():
        raise KeyboardInterrupt

    indexed_app.interrupt = interrupt
    assert command.main(["indexed_app:interrupt"]) == 130


def test_it_is_a_command(application, tmp_path):
    tests = os.path.dirname(__file__)
    done = subprocess.run(
        [sys.executable, "-m", "kiokupy.cli.reindex", "indexed_app:connect"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert names(application) == ["Ada", "Grace"]
