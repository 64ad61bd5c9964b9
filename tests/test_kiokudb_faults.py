"""What goes wrong in KiokuDB, as seen on the running thing, and what is right here: one test for each fault.

Refused ids and ids that are taken stand in test_scope.py, dangling references on every store in test_graph.py, targets
in test_targets.py.
"""

import gc
import weakref

import pytest
from graph_classes import CLASSES, Account, Money, Person, Reduced

from kiokupy.errors import ConflictError, DuplicateId, NotFound, NotStorable, NotStored
from kiokupy.rules import first_class

MONEY = first_class(Money, collapse=Money.collapse, expand=Money.expand)
ONE_HANDLE = ("Hash", "File")


@pytest.fixture
def handles(place):
    """Two handles on one store; where one process can open it only once, the same one twice."""
    with place.connect(allow_classes=[*CLASSES, MONEY]) as one:
        if place.name in ONE_HANDLE:
            yield one, one
        else:
            with place.connect(allow_classes=[*CLASSES, MONEY]) as other:
                yield one, other


@pytest.fixture
def directory(handles):
    return handles[0]


# Two handles on one store


def test_of_two_handles_that_change_one_object_the_second_meets_a_conflict_and_nothing_is_lost(handles):
    one, other = handles
    one.store(Person("stored", count=0), id="x")
    with one.new_scope() as first, pytest.raises(ConflictError), other.new_scope() as second:  # noqa: PT012  # both are open
        first.get("x").count += 1
        second.get("x").count += 10
        first.commit()
    assert [handle.get("x").count for handle in handles] == [1, 1]
    other.txn_do(lambda scope: setattr(scope.get("x"), "count", scope.get("x").count + 10))
    assert [handle.get("x").count for handle in handles] == [11, 11]


def test_of_two_handles_that_store_a_whole_graph_the_second_meets_a_conflict_on_what_it_reaches(handles):
    one, other = handles
    one.store(Person("parent", friend=Person("child")), id="x")
    mine, theirs = one.get("x"), other.get("x")
    mine.friend.name, theirs.friend.name = "mine", "theirs"
    one.store(mine)
    with pytest.raises(ConflictError):
        other.store(theirs)
    assert [handle.get("x").friend.name for handle in handles] == ["mine", "mine"]


def test_of_two_handles_that_insert_one_id_the_second_is_refused_and_the_first_stays(handles):
    one, other = handles
    with one.new_scope() as first, pytest.raises(ConflictError), other.new_scope() as second:  # noqa: PT012  # both are open
        first.insert(Person("first"), id="x")
        second.insert(Person("second"), id="x")
        first.commit()
    with pytest.raises(DuplicateId):
        other.insert(Person("second"), id="x")
    assert [handle.get("x").name for handle in handles] == ["first", "first"]


def test_what_one_handle_deleted_the_other_neither_finds_nor_writes_back(handles):
    one, other = handles
    one.store(Person("stored"), id="x")
    held = other.get("x")
    held.name = "changed"
    with other.new_scope() as scope:
        scope.get("x").name = "changed"
        one.delete("x")
        with pytest.raises(ConflictError):
            scope.commit()
        assert scope.lookup("x") is None
    with pytest.raises(ConflictError, match="deleted"):
        other.store(held)
    assert not one.exists("x")


# Writing


def test_storing_the_same_object_under_the_same_id_again_is_fine_from_every_handle(handles):
    one, other = handles
    person = Person("stored")
    for _ in range(2):
        assert one.store(person, id="x") == "x"
    assert other.store(other.get("x"), id="x") == "x"
    with one.new_scope() as scope:
        found = scope.get("x")
        assert scope.store(found, id="x") == scope.store(found) == "x"


def test_after_a_store_that_was_refused_the_id_gives_the_stored_object(directory):
    directory.store(Person("stored"), id="x")
    with directory.new_scope() as scope:
        with pytest.raises(DuplicateId):
            scope.store(Person("refused"), id="x")
        assert scope.get("x").name == "stored"
    with directory.new_scope() as scope:
        scope.store(Person("first"), id="y")
        with pytest.raises(DuplicateId):
            scope.store(Person("second"), id="y")
    assert directory.get("y").name == "first"


def test_what_is_no_object_is_refused_by_name(directory):
    for obj in (None, "x", 1, b"x", (), 1.5):
        with pytest.raises(NotStorable, match=r"cannot be stored"):
            directory.store(obj, id="x")
    assert not directory.exists("x")


def test_deleting_an_unknown_id_is_an_error_on_every_store_and_deletes_nothing(directory):
    directory.store(Person("stored"), id="x")
    with pytest.raises(NotFound) as caught:
        directory.delete("x", "never")
    assert (caught.value.id, directory.exists("x")) == ("never", True)
    directory.delete("x")
    with pytest.raises(NotFound):
        directory.delete("x")


def test_an_object_of_any_class_can_be_refreshed_and_then_deleted(directory):
    for obj in (Person("stored"), Reduced("stored"), Money(1, "EUR"), Account(), [1], {"a": 1}):
        directory.store(obj, id="x")
        with directory.new_scope() as scope:
            found = scope.get("x")
            scope.refresh(found)
            scope.delete(found)
        assert not directory.exists("x")


def test_the_root_flag_is_the_stores_at_once_and_for_every_handle_after_the_commit(handles):
    one, other = handles
    one.store(Person("stored"), id="x")
    with one.new_scope() as scope:
        scope.unset_root("x")
        assert (scope.is_root("x"), list(scope.root_set())) == (False, [])
    assert (other.is_root("x"), list(other.root_set())) == (False, [])


def test_an_unknown_object_has_no_root_flag_to_ask_for_or_to_change(directory):
    with directory.new_scope() as scope:
        for verb in (scope.is_root, scope.set_root, scope.unset_root, scope.update, scope.delete, scope.refresh):
            with pytest.raises(NotStored):
                verb(Person("unknown"))


# Reading


def test_present_and_missing_ids_are_looked_up_together_whatever_is_live(directory):
    directory.store(Person("a"), id="a")
    directory.store(Person("b"), id="b")
    with directory.new_scope() as scope:
        assert scope.lookup_many(["a", "never", "b", "a"]).keys() == {"a", "b"}  # none is live yet
        live = scope.get("a")
        assert scope.lookup_many(["never", "a"]) == {"a": live}
    assert directory.lookup_many(["never"]) == {}


# Transactions


def test_an_abort_takes_objects_back_with_the_store(directory):
    directory.store(Person("stored"), id="x")
    with directory.new_scope() as scope:
        found = scope.get("x")
        found.name = "changed"
        scope.store(found)
        scope.abort()
        assert found.name == "stored"
        assert scope.get("x") is found
    assert directory.get("x").name == "stored"


def test_what_was_inserted_in_an_aborted_transaction_is_unknown_and_can_be_inserted_again(directory):
    person = Person("new", friend=Person("friend"))
    with directory.new_scope() as scope:
        scope.insert(person, id="x")
        scope.abort()
        assert (scope.object_to_id(person), scope.exists("x"), scope.lookup("x")) == (None, False, None)
        with pytest.raises(NotStored):
            scope.update(person)
        scope.insert(person, id="x")
    assert directory.get("x").friend.name == "friend"


def test_a_nested_transaction_sees_what_it_did_itself_and_takes_only_that_back(directory):
    directory.store(Person("stored"), id="x")
    directory.store(Person("other"), id="y")

    def fail(scope):
        scope.get("x").name = "inner"
        scope.delete("y")
        assert (scope.get("x").name, scope.exists("y"), scope.lookup("y")) == ("inner", False, None)
        raise ZeroDivisionError

    with directory.new_scope() as scope:
        scope.get("x").name = "outer"
        with pytest.raises(ZeroDivisionError):
            scope.txn_do(fail)
        assert (scope.get("x").name, scope.get("y").name) == ("outer", "other")
    assert (directory.get("x").name, directory.exists("y")) == ("outer", True)


# Objects past their scope


def test_an_object_held_past_its_scope_never_writes_a_loss_back(handles):
    one, other = handles
    one.store(Person("parent", friend=Person("child"), items=[Person("item")]), id="x")
    with one.new_scope() as scope:
        held = scope.get("x")
        assert held.name == "parent"  # what it refers to is not loaded
    with one.new_scope() as scope:
        found = scope.get("x")
        assert found is not held
        assert (found.friend.name, found.items[0].name) == ("child", "item")
    with one.new_scope() as scope:
        held.name = "changed"
        assert scope.store(held) == "x"
    for handle in handles:
        found = handle.get("x")
        assert (found.name, found.friend.name, found.items[0].name) == ("changed", "child", "item")
    assert len(list(other.all_objects())) == 3


def test_a_cycle_of_objects_is_not_kept_by_its_ended_scope(directory):
    one, two = Person("one"), Person("two")
    one.friend, two.friend = two, one
    directory.store(one, id="x")
    with directory.new_scope() as scope:
        found = scope.get("x")
        watched = [weakref.ref(found), weakref.ref(found.friend)]
        assert found.friend.friend is found
        del found
    gc.collect()
    assert [ref() for ref in watched] == [None, None]
