"""A session that another transaction ends while this one saves it is gone, and takes the scope's objects with it."""

import pytest

import kiokupy
from kiokupy import SessionGone, SessionManager
from kiokupy.sessions.saving import Attempt


@pytest.fixture
def manager(place):
    with place.connect() as directory:
        yield SessionManager(directory)


@pytest.fixture
def stored(manager):
    session = manager.create()
    session["n"] = 0
    session.flush()
    return session


def test_a_session_in_a_scope(manager, stored):
    session = manager.open(stored.id, scope=manager.directory.new_scope)
    session["n"] = 1
    session.scope.store(["object"], id="object")
    manager.destroy(stored.id)

    with pytest.raises(SessionGone):
        manager.conclude(session)
    assert not manager.directory.exists("object")
    assert manager.retrieve(stored.id) is None


def test_a_conflict_about_objects_is_a_conflict(manager, stored):
    manager.directory.store([0], id="object")
    session = manager.open(stored.id, scope=manager.directory.new_scope)
    session.scope.get("object").append(1)
    with manager.directory.new_scope() as other:
        other.get("object").append(2)

    with pytest.raises(kiokupy.ConflictError):
        manager.conclude(session)


def test_between_the_writing_and_the_commit(manager, stored, monkeypatch):
    run = Attempt.run

    def run_and_destroy(attempt):
        monkeypatch.undo()
        saved = run(attempt)
        manager.destroy(stored.id)
        return saved

    monkeypatch.setattr(Attempt, "run", run_and_destroy)
    stored["n"] = 1
    with pytest.raises(SessionGone):
        stored.flush()
