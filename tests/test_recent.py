"""Records that File keeps in memory after they were written: always the current ones, and never too many."""

import contextlib
import os

import pytest
from graph_stores import put

import kiokupy
from kiokupy.backends import recent
from kiokupy.maintenance import pack


@pytest.fixture(params=["at once", "as FileStorage does"])
def directory(tmp_path, monkeypatch, request):
    """A store whose file is read in one step, or, as where the system cannot do that, in several."""
    if request.param == "as FileStorage does":
        monkeypatch.delattr(os, "pread")
    with kiokupy.connect("File", path=tmp_path / "store.fs") as directory:
        yield directory


def storage_of(directory):
    return directory._database._db.storage


def text_of(directory, key):
    """Return what is there for a connection that has nothing in its cache."""
    with directory.new_unit() as unit:
        unit.connection.cacheMinimize()
        return unit.root["entries"][key].record.state.decode()


@contextlib.contextmanager
def unreadable(directory, monkeypatch):
    """Let whoever reads the file fail."""
    storage = storage_of(directory)
    with monkeypatch.context() as patch:
        patch.setattr(storage._files, "get", lambda: 1 / 0)
        if storage._current is not None:
            patch.setattr(storage._current, "find", lambda oid: 1 / 0)
        yield


def test_what_was_written_is_read_without_the_file(directory, monkeypatch):
    directory.write(put("a", "1"))
    with unreadable(directory, monkeypatch):
        assert text_of(directory, "a") == "1"


def test_what_another_directory_wrote_is_read_from_the_file(tmp_path, monkeypatch):
    for _ in range(2):
        with kiokupy.connect("File", path=tmp_path / "store.fs") as directory:
            directory.write(put("a", "1"))
    with kiokupy.connect("File", path=tmp_path / "store.fs") as directory:
        with unreadable(directory, monkeypatch), pytest.raises(ZeroDivisionError):
            text_of(directory, "a")
        assert text_of(directory, "a") == "1"


def test_a_transaction_that_began_before_sees_what_was_there_then(directory):
    directory.write(put("a", "1"))
    with directory.new_unit() as early:
        directory.write(put("a", "2"))

        assert early.root["entries"]["a"].record.state == b"1"
    assert text_of(directory, "a") == "2"


def test_a_commit_that_failed_leaves_what_was_there(directory, monkeypatch):
    directory.write(put("a", "1"))
    with directory.new_unit() as unit:
        put("a", "2")(unit)
        with monkeypatch.context() as patch:
            patch.setattr(unit.connection._storage, "tpc_vote", lambda transaction: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                unit.commit()

    assert text_of(directory, "a") == "1"


def test_what_was_merged_is_read_as_it_was_merged(directory):
    directory.write(put("a", "1"))
    with directory.new_unit() as slow:
        put("b", "2")(slow)
        directory.write(put("c", "3"))  # into the same leaf
        slow.commit()

    assert [text_of(directory, key) for key in "abc"] == ["1", "2", "3"]


def test_an_undone_transaction_is_undone_in_memory_too(directory):
    directory.insert({"n": 1}, id="x")
    directory.txn_do(lambda scope: scope.get("x").update(n=2))
    directory.undo(directory.history("x")[0])

    assert directory.get("x") == {"n": 1}


def test_after_packing_all_is_read_from_the_file(directory, monkeypatch):
    for number in range(3):
        directory.write(put("a", str(number)))
    pack(directory)
    with unreadable(directory, monkeypatch), pytest.raises(ZeroDivisionError):
        text_of(directory, "a")

    assert text_of(directory, "a") == "2"


def test_what_came_first_goes_when_there_is_too_much(directory, monkeypatch):
    monkeypatch.setattr(recent, "_MOST_BYTES", 20_000)
    for number in range(50):
        directory.write(put(str(number), "x" * 1_000))
    kept = storage_of(directory)._recent

    assert kept._bytes == sum(len(data) for data, _ in kept._records.values()) <= 20_000
    assert len(kept._records) > 10
    with unreadable(directory, monkeypatch):
        assert directory.read(lambda unit: unit.root["entries"]["49"].record.state) == b"x" * 1_000
    assert [text_of(directory, str(number)) for number in range(50)] == ["x" * 1_000] * 50
