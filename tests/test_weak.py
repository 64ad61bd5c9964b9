"""Weak references in objects: restored weak, and never lost because a scope ended."""

import gc
import weakref

import pytest
from graph_classes import Frozen, Money, Person, Reduced, Slotted
from graph_stores import CountingStorage, directory_on

from kiokupy.errors import NotStorable
from kiokupy.inspection import content
from kiokupy.rules import intrinsic
from kiokupy.sessions.manager import SessionManager

CLASSES = [Person, Slotted, Reduced, Frozen, intrinsic(Money)]


@pytest.fixture
def directory():
    with directory_on(CountingStorage(), CLASSES) as directory:
        yield directory


def stored_pair(directory, target):
    directory.store([Person("a", friend=weakref.ref(target)), target], id="x")


@pytest.mark.parametrize("make", [lambda: Person("b"), lambda: Slotted("b"), lambda: Reduced("b")])
def test_a_weak_reference_comes_back_weak(directory, make):
    stored_pair(directory, make())
    with directory.new_scope() as scope:
        person, target = scope.get("x")
        assert isinstance(person.friend, weakref.ref)
        assert person.friend() is target
        assert target.name == "b"
    scope = directory.new_scope()
    person = scope.get("x")[0]
    assert person.friend().name == "b"
    scope.close()
    del scope
    gc.collect()
    assert person.friend() is None


def test_the_record_tells_a_weak_reference_from_a_strong_one(directory):
    with directory.new_scope() as scope:
        target = Person("b")
        scope.store(Person("a", friend=weakref.ref(target), items=Person("c")), id="x")
        key = scope.object_to_id(target)
        record = scope._live.entries["x"].record
        assert record.weak == (key,)
        assert len(record.refs) == 1
        assert key not in record.refs
        assert content(record)["friend"] == {"$weak": key}


def test_nothing_is_written_when_nothing_changed(directory):
    stored_pair(directory, Person("b"))
    directory.store(Person("c", friend=weakref.ref(Person("gone"))), id="dead")
    before = directory._database._db.lastTransaction()
    with directory.new_scope() as scope:
        person, _ = scope.get("x")
        assert person.friend() is not None
        assert scope.get("dead").friend() is None
        assert content(scope._live.entries["dead"].record)["friend"] == {"$weak": None}
    assert directory._database._db.lastTransaction() == before


def test_what_is_only_referred_to_weakly_is_stored_too(directory):
    target = Person("b")
    directory.store(Person("a", friend=weakref.ref(target)), id="x")
    with directory.new_scope() as scope:
        assert scope.get("x").friend().name == "b"


def test_a_weak_reference_to_what_was_deleted_is_dead_and_breaks_nothing(directory):
    target = Person("b")
    with directory.new_scope() as scope:
        scope.store(Person("a", friend=weakref.ref(target)), id="x")
        key = scope.object_to_id(target)
    directory.delete(key)
    person = directory.get("x")
    assert person.friend() is None
    person.name = "changed"
    directory.store(person)
    assert directory.get("x").friend() is None


def test_a_reference_whose_target_was_let_go_with_its_scope_is_not_lost(directory):
    """KiokuDB wrote the loss back."""
    stored_pair(directory, Person("b"))
    scope = directory.new_scope()
    person = scope.get("x")[0]
    assert person.friend().name == "b"
    scope.close()
    del scope
    gc.collect()
    assert person.friend() is None
    person.name = "changed"
    directory.store(person)
    with directory.new_scope() as scope:
        person, target = scope.get("x")
        assert person.name == "changed"
        assert person.friend() is target


def test_a_weak_reference_to_what_has_no_id_is_refused(directory):
    holder = Money(1, "EUR")
    with pytest.raises(
        NotStorable, match=r"person\.friend cannot be stored: it refers weakly to a graph_classes:Money"
    ):
        directory.store(Person("a", friend=weakref.ref(holder)))


def test_a_session_holds_no_weak_reference(directory):
    session, person = SessionManager(directory).create(), Person("a")
    session["person"] = weakref.ref(person)
    with pytest.raises(NotStorable, match="refers weakly"):
        session.flush()
