"""Session.revert(): what changed in the data and was not saved is dropped."""

import pytest

import kiokupy
from kiokupy import SessionManager


@pytest.fixture
def manager():
    with kiokupy.connect("Hash") as directory:
        yield SessionManager(directory)


def test_changes_are_dropped_at_any_depth(manager):
    session = manager.create()
    session["cart"] = ["tea"]
    session.flush()
    session["cart"].append("milk")
    session["other"] = 1
    session.revert()

    assert dict(session) == {"cart": ["tea"]}
    assert not session.modified


def test_a_new_session_is_empty_again_and_is_not_stored(manager):
    session = manager.open()
    session["a"] = 1
    session.revert()

    assert dict(session) == {}
    manager.conclude(session)
    assert manager.retrieve(session.id) is None


def test_a_login_and_a_new_id_stay(manager):
    session = manager.create()
    session.login("alice")
    id = session.regenerate()
    session["a"] = 1
    session.revert()
    session.flush()

    assert (manager.retrieve(id).principal, dict(session)) == ("alice", {})


def test_how_a_dropped_change_was_to_be_merged_is_forgotten(manager):
    session = manager.create()
    session["n"] = 1
    session.flush()
    session.increment("n")
    session.revert()
    session["n"] = 5
    other = manager.retrieve(session.id)
    other["n"] = 3
    other.flush()
    session.flush()

    assert session["n"] == 5


def test_in_a_scope_the_session_is_as_it_was_read(manager):
    id = manager.create().id
    with manager.directory.new_scope() as scope:
        session = manager.open(id, scope=scope)
        session["a"] = 1
        session.revert()

    assert dict(manager.retrieve(id)) == {}
