"""Reindexing: indexes are built from the objects beside writers, and what is wrong with one is found and mended."""

import io
import itertools
import threading

import pytest
from graph_classes import Account, Employee, Person

import kiokupy
from kiokupy import Index, indexing
from kiokupy.errors import ConflictError, NotIndexed, NotLoadable, UniqueViolation
from kiokupy.indexing import State
from kiokupy.maintenance import Finding, Kind, gc, remove
from kiokupy.maintenance.reindexing import check_indexes, reindex, remove_indexes
from kiokupy.maintenance.streams import dump, load

AGE = Index("age", on=Person)
EMAIL = Index("email", on=Person, unique=True)
TAGS = Index("tags", many=True)
ALLOWED = [Person, Employee, Account]


def opened(place, *indexes, **options):
    return place.connect(allow_classes=ALLOWED, indexes=indexes, **options)


@pytest.fixture
def memory():
    with kiokupy.connect("Hash", allow_classes=ALLOWED, indexes=[AGE, EMAIL, TAGS]) as directory:
        directory.store(Person("Ada", age=36, email="a@x", tags=["m", "p"]), id="ada")
        directory.store(Employee("Eva", age=24, email="e@x", tags=["m"]), id="eva")
        yield directory


def people(directory, first, last, **attributes):
    with directory.new_scope() as scope:
        for number in range(first, last):
            scope.store(Person(f"{number}", age=number % 50, email=f"{number}@x", **attributes), id=f"{number:05}")


def spoil(directory, name, spoiling):
    """Change an index behind everybody's back."""
    with directory.new_unit() as unit:
        record = unit.root["indexes"][name]
        spoiling(record["forward"], record["backward"])
        unit.commit()


def change_state(directory, name, state):
    with directory.new_unit() as unit:
        indexing.change_state(unit.root, name, state)
        unit.commit()


def state_of(directory, name):
    with directory.new_unit() as unit:
        return indexing.stored_indexes(unit.root)[name].state


# Building


def test_an_index_is_built_of_what_is_there(lasting_place):
    with opened(lasting_place) as directory:
        people(directory, 0, 1_200)
        directory.store(Account("no person"))
    with opened(lasting_place, AGE, EMAIL) as directory:
        steps = []
        reindex(directory, progress=steps.append)
        assert [step.done for step in steps if step.task == "index age"] == [500, 1_000, 1_201, 1_201]
        assert steps[-1] == ("index email", 1_201, 1_201)
        assert len(list(directory.search(age=7))) == 24
        assert [person.name for person in directory.search(email="7@x")] == ["7"]
        assert check_indexes(directory) == []
        people(directory, 1_200, 1_210)
        assert check_indexes(directory) == []


def test_a_stale_index_is_built_again_with_the_new_definition(file_place):
    with opened(file_place, AGE) as directory:
        people(directory, 0, 10)
    with opened(file_place, Index("age", on=Employee)) as directory:
        directory.store(Employee("Eva", age=3))
        reindex(directory, "age")
        assert [person.name for person in directory.search(age=3)] == ["Eva"]
    with opened(file_place, AGE) as directory, pytest.raises(NotIndexed, match="Build it"):
        list(directory.search(age=3))


def during(directory, work):
    """Rebuild, and let ``work(step)`` run at each step of the progress, before the next block is begun."""
    steps = itertools.count()
    reindex(directory, "age", "email", progress=lambda _: work(next(steps)))


@pytest.mark.parametrize("declares", [True, False])
def test_what_others_write_during_a_rebuild_is_in_the_index(memory, declares):
    people(memory, 0, 1_200)
    other = kiokupy.Directory(memory._database, memory.typemap, memory.indexes if declares else None)

    def work(step):
        if step.done == 500:
            assert state_of(memory, "age") is State.BUILDING
            people(other, 5_000, 5_040)
            with other.new_scope() as scope:
                scope.get("00000").age, scope.get("01000").age = 100, 100
                scope.get("00001").age = None
                scope.delete("00002", "01001")
            with pytest.raises(NotIndexed, match="the index 'age' is being built"):
                list(memory.search(age=100))

    reindex(memory, "age", progress=work)
    assert [person.name for person in memory.search(age=100)] == ["0", "1000"]
    assert check_indexes(memory, "age") == []


def test_unique_values_that_are_swapped_during_a_rebuild_do_not_stop_it(memory):
    people(memory, 0, 1_200)

    def work(step):
        if step.done == 500:
            with memory.new_scope() as scope:
                one, other = scope.get("00000"), scope.get("01000")
                one.email, other.email = other.email, one.email
                scope.get("00001").email, scope.get("01001").email = None, "1@x"

    reindex(memory, "email", progress=work)
    assert [person.name for person in memory.search(email=kiokupy.any_of("0@x", "1@x", "1000@x"))] == [
        "1000",
        "0",
        "1001",
    ]
    assert check_indexes(memory) == []


def test_what_others_write_while_the_rebuild_catches_up_is_in_the_index(memory):
    people(memory, 0, 1_200)
    states = []

    def write(scope, first, **attributes):
        for number in range(first, first + 50):
            vars(scope.get(f"{number:05}")).update(attributes)

    def work(step):
        states.append(state_of(memory, "email"))
        if step.done == 1_202 and len(states) == 3:
            with memory.new_scope() as scope:
                write(scope, 0, email=None)
                scope.get("01199").email = "late@x"
                scope.delete("01198")
        elif states.count(State.FOLLOWING) == 1:
            with pytest.raises(ConflictError, match="the index 'email' is being built"):
                memory.store(Person("early", email="1199@x"))
            with pytest.raises(UniqueViolation):
                memory.store(Person("never", email="600@x"))
            with memory.new_scope() as scope:
                write(scope, 25, age=7)
                scope.get("00040").email = "40@x"
                scope.delete("00045", "00600")
            with pytest.raises(NotIndexed, match="is being built"):
                list(memory.search(email="40@x"))
        elif step.total:
            memory.store(Person("early", email="1199@x"))

    reindex(memory, "email", progress=work)
    assert states == [State.BUILDING] * 3 + [State.FOLLOWING] * 2 + [State.READY]
    found = memory.search(email=kiokupy.any_of("late@x", "1199@x", "1198@x", "40@x", "41@x", "600@x"))
    assert [person.name for person in found] == ["early", "40", "1199"]
    assert check_indexes(memory) == []


def test_a_writer_without_the_index_stops_a_rebuild_that_catches_up(memory):
    other = kiokupy.Directory(memory._database, memory.typemap)
    with pytest.raises(NotIndexed, match="overtaken"):
        reindex(memory, "age", progress=lambda _: other.store(Person("new")))


def test_an_index_is_built_while_others_write_all_the_time(place):
    with opened(place, AGE, EMAIL) as directory:
        people(directory, 0, 600)
        ended = threading.Event()

        def work(number):
            for turn in itertools.count():
                if ended.is_set():
                    return

                def change(scope, turn=turn):
                    scope.get(f"{(turn * 7 + number) % 600:05}").age = turn % 60
                    scope.store(Person("new", age=1, email=f"{number}-{turn}"), id=f"{number}-{turn}")
                    if turn:
                        scope.delete(f"{number}-{turn - 1}")

                directory.txn_do(change, retries=1_000)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        try:
            reindex(directory, "age")
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        assert state_of(directory, "age") is State.READY
        assert check_indexes(directory) == []


def test_two_objects_with_one_unique_value_are_named_and_the_index_is_not_built(file_place):
    with opened(file_place) as directory:
        people(directory, 0, 3)
        directory.store(Person("Eva", email="1@x"), id="eva")
    with opened(file_place, EMAIL) as directory:
        with pytest.raises(UniqueViolation) as caught:
            reindex(directory)
        assert {caught.value.id, caught.value.other} == {"00001", "eva"}
        assert state_of(directory, "email") is State.UNBUILT
        directory.delete("eva")
        reindex(directory)
        assert [person.name for person in directory.search(email="1@x")] == ["1"]


def test_an_object_whose_class_is_not_known_stops_the_rebuild_and_is_a_finding(file_place):
    with opened(file_place, AGE) as directory:
        directory.store(Employee("Eva", age=3), id="eva")
    with file_place.connect(allow_classes=[Person], indexes=[AGE]) as directory:
        (finding,) = check_indexes(directory)
        assert finding.detail.startswith(
            "object 'eva': its values cannot be told (graph_classes:Employee is not loaded"
        )
        with pytest.raises(NotLoadable):
            reindex(directory)
        assert state_of(directory, "age") is State.UNBUILT


def test_of_two_rebuilds_the_later_one_wins(memory):
    def work(step):
        if step.total is None:
            reindex(memory, "age")

    with pytest.raises(NotIndexed, match="the rebuild of the index 'age' was overtaken"):
        reindex(memory, "age", progress=work)
    assert state_of(memory, "age") is State.READY
    assert check_indexes(memory) == []


def test_a_load_that_bypasses_objects_stops_a_rebuild(memory):
    def work(step):
        with memory.new_unit() as unit:
            indexing.mark_stale(unit.root)
            unit.commit()

    with pytest.raises(NotIndexed, match="overtaken by another one, or by writers without indexes"):
        reindex(memory, "age", progress=work)
    assert state_of(memory, "age") is State.UNBUILT


def test_a_rebuild_of_an_index_that_is_removed_meanwhile_stops(memory):
    with pytest.raises(NotIndexed, match="overtaken"):
        reindex(memory, "age", progress=lambda _: remove_indexes(memory, "age"))


def test_a_rebuild_that_is_interrupted_leaves_the_index_unbuilt(memory):
    def interrupt(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reindex(memory, "age", progress=interrupt)
    assert state_of(memory, "age") is State.UNBUILT


def test_only_a_declared_index_can_be_built_or_checked(memory):
    with pytest.raises(NotIndexed, match="there is no index 'name'"):
        reindex(memory, "name")
    with pytest.raises(NotIndexed, match="there is no index 'name'"):
        check_indexes(memory, "age", "name")


def test_an_index_can_be_removed_from_the_store(file_place):
    with opened(file_place, AGE) as directory:
        directory.store(Person("Ada", age=36))
    with opened(file_place) as directory:
        remove_indexes(directory, "age")
        with pytest.raises(NotIndexed, match="the store has no index 'age'"):
            remove_indexes(directory, "age")
    with opened(file_place, AGE) as directory:
        assert state_of(directory, "age") is State.UNBUILT


# Checking


def wrong(detail):
    fix = "Build it: kiokupy.maintenance.reindex(directory, 'age')"
    return Finding(Kind.INDEX, "age", detail, fix)


@pytest.mark.parametrize(
    ("spoiling", "wanted"),
    [
        (
            lambda forward, backward: backward.update({"ada": (37,)}),
            [
                wrong("object 'ada': the index has (37,), the object (36,)"),
                wrong("object 'ada': it cannot be found by 37"),
                wrong("object 'ada': it can be found by 36, which it does not have"),
            ],
        ),
        (
            lambda forward, backward: forward.pop((36, "ada")),
            [wrong("object 'ada': it cannot be found by 36")],
        ),
        (
            lambda forward, backward: forward.update({(40, "ada"): "ada"}),
            [wrong("object 'ada': it can be found by 40, which it does not have")],
        ),
        (
            lambda forward, backward: (forward.update({(40, "ida"): "ida"}), backward.update({"ida": (40,)})),
            [wrong("object 'ida': the index has an object that is not in the store")],
        ),
        (
            lambda forward, backward: (forward.pop((36, "ada")), backward.pop("ada")),
            [wrong("object 'ada': the index has (), the object (36,)")],
        ),
    ],
)
def test_what_is_wrong_is_found_and_mended(memory, spoiling, wanted):
    spoil(memory, "age", spoiling)
    steps = []
    assert check_indexes(memory, progress=steps.append) == wanted
    assert steps[0] == ("check index age", 2, None)
    reindex(memory, "age")
    assert check_indexes(memory) == []


def test_an_index_that_is_not_ready_is_one_finding(memory):
    change_state(memory, "age", State.STALE)
    assert check_indexes(memory) == [wrong("it is stale, on graph_classes:Person; it must be built")]


def test_a_spoiled_index_gives_no_object_that_is_not_there(memory):
    spoil(memory, "age", lambda forward, _: forward.update({(40, "ida"): "ida"}))
    assert [person.name for person in memory.search(order_by="age")] == ["Eva", "Ada"]


def test_an_object_leaves_a_spoiled_unique_index_without_taking_another_one_along(memory):
    spoil(memory, "email", lambda forward, backward: backward.update({"ada": ("e@x",)}))
    memory.delete("ada")
    assert [person.name for person in memory.search(email="e@x")] == ["Eva"]


# Where entries are written without objects


def test_garbage_that_is_collected_leaves_the_indexes(memory):
    memory.unset_root("ada")
    assert gc(memory).ids == ["ada"]
    assert check_indexes(memory) == []


def test_an_object_that_is_removed_leaves_the_indexes(memory):
    remove(memory, "ada", "nobody")
    assert check_indexes(memory) == []


def test_a_load_makes_the_indexes_stale(memory):
    stream = io.StringIO()
    dump(memory, stream)
    assert load(memory, stream.getvalue().splitlines(), clear=True).stale
    with pytest.raises(NotIndexed, match="objects were written without the index 'age'"):
        list(memory.search(age=36))
    reindex(memory)
    assert [person.name for person in memory.search(order_by="age")] == ["Eva", "Ada"]


def test_persistent_objects_among_the_indexed_ones_are_built_and_checked_like_any(place):
    """They are the connection's, which goes on after each block, as the trees of the index do."""
    indexes = (
        Index("owner", key=lambda account: account.owner.name, on=Account),
        Index("friends", key=len_of_friends, on=Person),
    )
    with opened(place, *indexes) as directory:
        with directory.new_scope() as scope:
            for number in range(1100):
                friends = kiokupy.ObjectSet([Person("friend", friends=None)]) if number % 100 == 0 else None
                person = Person(f"{number:04}", friends=friends)
                scope.insert(Account(person) if number % 2 else person, id=f"{number:04}")
        assert check_indexes(directory) == []
        reindex(directory)
        assert check_indexes(directory) == []
        assert [account.owner.name for account in directory.search(owner="1099")] == ["1099"]
        assert len(list(directory.search(friends=1))) == 11


def len_of_friends(person):
    return None if person.friends is None else len(person.friends)
