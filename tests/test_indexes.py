"""Indexes: what may be in one, how it follows what is written, on every storage; when it does not have everything."""

import datetime
import decimal
import enum
import threading
import uuid
import zoneinfo

import pytest
from graph_classes import Account, Employee, Person, Point
from graph_stores import directory_in

import kiokupy
from kiokupy import Index, TargetError, all_of, any_of, at_least, between, indexing, upkeep
from kiokupy.errors import ConflictError, KiokuError, NotIndexable, NotIndexed, UniqueViolation
from kiokupy.indexing import State
from kiokupy.maintenance.reindexing import check_indexes


class Moment(datetime.datetime):
    pass


ALLOWED = [Person, Employee, Account, Point, Moment]
EMAIL = Index("email", on=Person, unique=True)
AGE = Index("age", on=Person)
TAGS = Index("tags", many=True)
INDEXES = [EMAIL, AGE, TAGS]


def opened(place, *indexes, **options):
    return place.connect(allow_classes=ALLOWED, indexes=indexes, **options)


@pytest.fixture
def directory(place):
    with opened(place, *INDEXES) as directory:
        yield directory


@pytest.fixture
def memory():
    with kiokupy.connect("Hash", allow_classes=ALLOWED, indexes=INDEXES) as directory:
        yield directory


def names(found):
    return [person.name for person in found]


def found_by(directory, **conditions):
    return names(directory.search(**conditions))


def state_of(directory, name):
    with directory.new_unit() as unit:
        return indexing.stored_indexes(unit.root)[name].state


# Following what is written, on every storage


def test_an_object_is_found_by_its_value_once_it_is_committed(directory):
    with directory.new_scope() as scope:
        scope.store(Person("Ada", email="a@x", age=36, tags=["x", "y"]))
        assert found_by(directory, email="a@x") == []
    assert found_by(directory, email="a@x") == ["Ada"]
    assert found_by(directory, age=between(30, 40)) == ["Ada"]
    assert found_by(directory, tags="y") == ["Ada"]


def test_a_changed_object_is_found_by_its_new_value_and_not_by_the_old_one(directory):
    directory.store(Person("Ada", email="a@x", age=36, tags=["x", "y"]), id="ada")
    with directory.new_scope() as scope:
        ada = scope.get("ada")
        ada.age, ada.email, ada.tags = 37, "b@x", ["y", "z"]
    assert [found_by(directory, age=36), found_by(directory, email="a@x"), found_by(directory, tags="x")] == [
        [],
        [],
        [],
    ]
    assert [found_by(directory, age=37), found_by(directory, email="b@x")] == [["Ada"], ["Ada"]]
    assert [found_by(directory, tags="y"), found_by(directory, tags="z")] == [["Ada"], ["Ada"]]


def test_a_deleted_object_is_in_no_index(directory):
    directory.store(Person("Ada", email="a@x", age=36, tags=["x"]), id="ada")
    directory.delete("ada")
    directory.store(Person("Eva", email="a@x"))
    assert found_by(directory, age=36) == found_by(directory, tags="x") == []
    assert found_by(directory, email="a@x") == ["Eva"]
    assert check_indexes(directory) == []


def test_what_was_aborted_is_in_no_index(directory):
    directory.store(Person("Ada", email="a@x"), id="ada")
    with directory.new_scope() as scope:
        scope.get("ada").email = "b@x"
        scope.store(Person("Eva", email="e@x"))
        assert names(scope.search(email=any_of("a@x", "b@x", "e@x"))) == ["Ada", "Eva"]
        scope.abort()
        assert names(scope.search(email=any_of("a@x", "b@x", "e@x"))) == ["Ada"]
    assert check_indexes(directory) == []


def test_a_rollback_to_a_savepoint_takes_the_indexes_along(directory):
    with directory.new_scope() as scope:
        scope.store(Person("Ada", email="a@x"), id="ada")
        point = scope.savepoint()
        scope.get("ada").email = "b@x"
        scope.store(Person("Eva", email="a@x"))
        point.rollback()
        assert names(scope.search(order_by="email")) == ["Ada"]
    assert found_by(directory, email="a@x") == ["Ada"]
    assert check_indexes(directory) == []


def test_a_cleared_store_has_empty_indexes_that_follow_again(directory):
    with directory.new_scope() as scope:
        scope.store(Person("Ada", email="a@x"))
        scope.clear()
        scope.store(Person("Eva", email="a@x"))
    assert found_by(directory, order_by="email") == ["Eva"]
    assert check_indexes(directory) == []


def test_two_objects_cannot_have_one_unique_value_and_the_error_names_both(directory):
    directory.store(Person("Ada", email="a@x"), id="ada")
    with pytest.raises(UniqueViolation) as caught:
        directory.store(Person("Eva", email="a@x"), id="eva")
    error = caught.value
    assert (error.index, error.value, error.id, error.other) == ("email", "a@x", "eva", "ada")
    assert not directory.exists("eva")


def test_of_two_scopes_that_take_one_unique_value_the_second_gets_a_conflict_and_then_the_violation(directory):
    one, other = directory.new_scope(), directory.new_scope()
    one.store(Person("Ada", email="a@x"), id="ada")
    other.store(Person("Eva", email="a@x"), id="eva")
    one.commit()
    with pytest.raises(ConflictError):
        other.commit()
    with pytest.raises(UniqueViolation):
        other.store(Person("Eva", email="a@x"), id="eva")
    one.close()
    other.close()
    assert found_by(directory, order_by="email") == ["Ada"]


def test_of_eight_threads_that_take_the_same_unique_values_one_gets_each(directory):
    violations = []

    def work(number):
        for value in range(6):
            try:
                directory.txn_do(lambda scope, v=value: scope.store(Person(f"{number}", email=f"{v}")), retries=100)
            except UniqueViolation as error:
                violations.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(violations) == 7 * 6
    assert [person.email for person in directory.search(order_by="email")] == [str(value) for value in range(6)]
    assert check_indexes(directory) == []


def test_two_scopes_that_index_different_objects_do_not_conflict(directory):
    with directory.new_scope() as one, directory.new_scope() as other:
        one.store(Person("Ada", email="a@x", age=36, tags=["x"]), id="ada")
        other.store(Person("Eva", email="e@x", age=36, tags=["x"]), id="eva")
    assert found_by(directory, age=36, tags="x") == ["Ada", "Eva"]
    assert check_indexes(directory) == []


def test_many_objects_are_indexed_in_one_transaction(directory):
    with directory.new_scope() as scope:
        for number in range(500):
            scope.store(Person(f"{number}", email=f"{number:03}", age=number % 7, tags=[number % 3, 10]))
    assert sorted(found_by(directory, age=3)) == sorted(str(number) for number in range(500) if number % 7 == 3)
    assert len(found_by(directory, tags=10)) == 500
    assert found_by(directory, email=between("100", "104")) == ["100", "101", "102", "103", "104"]
    assert check_indexes(directory) == []


def test_an_index_and_its_state_outlive_the_directory(lasting_place):
    with opened(lasting_place, *INDEXES) as directory:
        directory.store(Person("Ada", email="a@x"))
    with opened(lasting_place, *INDEXES) as directory:
        assert found_by(directory, email="a@x") == ["Ada"]
        with pytest.raises(UniqueViolation):
            directory.store(Person("Eva", email="a@x"))
    with opened(lasting_place, *INDEXES, readonly=1) as directory:
        assert found_by(directory, email="a@x") == ["Ada"]


# What is in it


def test_an_index_covers_subclasses_and_nothing_else(memory):
    memory.store(Employee("Eva", age=36))
    memory.store(Point(1, 2, label="p"), id="p")
    point = memory.get("p")
    point.age = 36
    memory.update(point)
    assert found_by(memory, age=36) == ["Eva"]


def test_an_index_can_be_on_several_classes():
    with kiokupy.connect("Hash", allow_classes=ALLOWED, indexes=[Index("age", on=(Employee, Account))]) as directory:
        for obj in (Person("Ada", age=1), Employee("Eva", age=2)):
            directory.store(obj)
        assert found_by(directory, order_by="age") == ["Eva"]


def lower_email(person):
    return person.email.lower()


def test_a_key_is_computed():
    index = Index("email", on=Person, key=lower_email, unique=True)
    with kiokupy.connect("Hash", allow_classes=ALLOWED, indexes=[index]) as directory:
        directory.store(Person("Ada", email="A@X"), id="ada")
        with pytest.raises(UniqueViolation, match="'a@x' as email of object 'eva' is taken by object 'ada'"):
            directory.store(Person("Eva", email="a@X"), id="eva")
        assert found_by(directory, email="a@x") == ["Ada"]


def test_what_a_key_raises_comes_out_with_a_note_and_nothing_is_written():
    index = Index("email", on=Person, key=lower_email)
    with kiokupy.connect("Hash", allow_classes=ALLOWED, indexes=[index]) as directory:
        with pytest.raises(AttributeError) as caught, directory.new_scope() as scope:
            scope.store([Person("Ada", email=None)], id="x")
        assert caught.value.__notes__[0].startswith("It was raised by the key of the index 'email' for object ")
        assert not directory.exists("x")


def test_an_object_without_the_attribute_or_with_none_is_not_in_the_index(memory):
    memory.store(Person("Ada"), id="ada")
    memory.store(Person("Eva", email=None, age=1), id="eva")
    memory.store(Person("Ida", email=None, tags=[None, "x"]), id="ida")
    assert found_by(memory, order_by="email") == []
    assert found_by(memory, order_by="age") == ["Eva"]
    assert found_by(memory, tags="x") == ["Ida"]


def test_a_persistent_object_is_indexed_when_it_changes(place):
    with opened(place, Index("balance", on=Account)) as directory:
        with directory.new_scope() as scope:
            scope.store(Account("Ada"), id="ada")
        with directory.new_scope() as scope:
            scope.get("ada").balance = 7
            scope.store(Account("Eva"), id="eva")
        assert [account.owner for account in directory.search(Account, balance=7)] == ["Ada"]
        assert check_indexes(directory) == []


class Level(enum.Enum):
    LOW, HIGH = 1, 2


class Code(str):
    __slots__ = ()


OSLO = zoneinfo.ZoneInfo("Europe/Oslo")
NOON = datetime.datetime(2026, 6, 1, 12)
KINDS = {
    "bool": [False, True],
    "int and float": [-float("inf"), -1, 0.5, 2**70],
    "decimal": [decimal.Decimal("0.1"), 1, decimal.Decimal("1e400")],
    "text": ["", "a", "å", "\ud800", "\U0010ffff"],
    "text of a subclass": [Code("a"), "b", Code("c")],
    "bytes": [b"", b"\0", b"\xff"],
    "date": [datetime.date(2026, 1, 1), datetime.date(2027, 1, 1)],
    "time": [datetime.time(1), datetime.time(2)],
    "span": [datetime.timedelta(0), datetime.timedelta(1)],
    "moment": [NOON, NOON.replace(hour=13)],
    "moment in zones": [NOON.replace(tzinfo=OSLO), NOON.replace(tzinfo=datetime.UTC)],
    "UUID": [uuid.UUID(int=1), uuid.uuid1(), uuid.UUID(int=2**128 - 1)],
    "enum": [Level.LOW, Level.HIGH],
    "int of an enum": [enum.IntEnum("Size", "S L")(1), 2],
    "tuple": [("a", 1), ("a", 2), ("b", 0)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_each_kind_have_their_order(file_place, kind):
    values, index = KINDS[kind], Index("rank", on=dict, key=rank_of)
    with opened(file_place, index) as directory:
        for number, value in reversed(list(enumerate(values))):
            ranks[str(number)] = value
            directory.store({"rank": str(number)}, id=str(number))
    with opened(file_place, index) as directory:
        assert [found["rank"] for found in directory.search(order_by="rank")] == [str(n) for n in range(len(values))]
        assert [found["rank"] for found in directory.search(rank=at_least(values[1]))] == [
            str(n) for n in range(1, len(values))
        ]
        for number, value in enumerate(values):
            assert [found["rank"] for found in directory.search(rank=value)] == [str(number)]


ranks = {}


def rank_of(found):
    return ranks[found["rank"]]


LAST = datetime.datetime.max.replace(tzinfo=datetime.timezone(-datetime.timedelta(hours=1)))


class NoZone(datetime.tzinfo):
    def utcoffset(self, moment):
        return None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("nan"), "it is not a number and has no order. Use None for what is not known"),
        (decimal.Decimal("sNaN"), "it is not a number"),
        (datetime.time(1, tzinfo=OSLO), "times of different zones"),
        (LAST, "this moment does not exist in UTC"),
        (Moment(2026, 1, 1), "there is no order for a Moment. Give the index a key that makes text"),
        ([1], "there is no order for a list"),
        (Point(1, 2), "there is no order for a Point"),
        (("a", None), "None is in no index"),
        ("text", "it has numbers, and text have no order among them. Give the index a key that makes one kind"),
        ((1, "a"), r"it has numbers, and tuples of \(numbers, text\) have no order"),
    ],
    ids=repr,
)
def test_a_value_that_has_no_place_in_the_order_is_refused_and_nothing_is_written(memory, value, problem):
    memory.store(Person("Ada", age=36))
    with memory.new_scope() as scope:
        with pytest.raises(
            NotIndexable, match=f"^object 'eva' cannot be in the index 'age' by .*: {problem}"
        ) as caught:
            scope.store(Person("Eva", age=value), id="eva")
        assert (caught.value.index, caught.value.id) == ("age", "eva")
        assert caught.value.value is value or caught.value.value == value
    assert not memory.exists("eva")
    assert found_by(memory, order_by="age") == ["Ada"]


def test_a_zone_that_says_nothing_is_no_zone():
    index = Index("when", on=dict, key=when_of)
    with kiokupy.connect("Hash", indexes=[index]) as directory:
        directory.store({}, id="x")
        assert len(list(directory.search(when=NOON))) == 1


def when_of(found):
    return NOON.replace(tzinfo=NoZone())


def test_an_index_may_change_its_kind_when_no_value_of_the_old_one_is_left(memory):
    memory.store(Person("Ada", age=36), id="ada")
    with memory.new_scope() as scope:
        scope.get("ada").age = "thirty-six"
    assert found_by(memory, age="thirty-six") == ["Ada"]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("text", "many=True needs a collection, not a str. Give the index a key that makes a list"),
        (5, "many=True needs a collection, not a int"),
        ([1, "a"], "numbers and text have no order among each other. Give the index a key that makes one kind"),
        ([[1]], "there is no order for a list"),
    ],
)
def test_what_is_no_collection_of_one_kind_is_refused(memory, value, problem):
    with pytest.raises(NotIndexable, match=problem):
        memory.store(Person("Ada", tags=value))


def test_a_unique_index_of_many_values_keeps_each_of_them_unique():
    with kiokupy.connect("Hash", allow_classes=ALLOWED, indexes=[Index("tags", many=True, unique=True)]) as directory:
        directory.store(Person("Ada", tags={"a", "b"}), id="ada")
        with pytest.raises(UniqueViolation) as caught:
            directory.store(Person("Eva", tags=["c", "b"]), id="eva")
        assert (caught.value.value, caught.value.other) == ("b", "ada")
        with directory.new_scope() as scope:
            scope.get("ada").tags = {"a"}
            scope.store(Person("Eva", tags=["c", "b", "b"]), id="eva")
        assert found_by(directory, tags=all_of("b", "c")) == ["Eva"]
        assert check_indexes(directory) == []


# Unique values and what is only in memory


def test_objects_can_swap_unique_values_in_memory(memory):
    memory.store([Person("Ada", email="a@x"), Person("Eva", email="e@x")], id="both")
    with memory.new_scope() as scope:
        ada, eva = scope.get("both")
        ada.email, eva.email = eva.email, ada.email
        scope.update(ada)
        scope.update(eva)
    assert (found_by(memory, email="a@x"), found_by(memory, email="e@x")) == (["Eva"], ["Ada"])
    assert check_indexes(memory) == []


def test_a_new_object_can_have_the_value_that_another_one_gave_up_in_memory(memory):
    memory.store(Person("Ada", email="a@x"), id="ada")
    with memory.new_scope() as scope:
        scope.get("ada").email = "b@x"
        scope.store(Person("Eva", email="a@x"), id="eva")
        scope.get("ada").email = "a@x"
        with pytest.raises(UniqueViolation):
            scope.savepoint()
        scope.get("ada").email = "b@x"
        assert scope.is_root("eva")
    assert (found_by(memory, email="a@x"), found_by(memory, email="b@x")) == (["Eva"], ["Ada"])
    assert check_indexes(memory) == []


def test_without_tracking_only_what_is_written_gives_up_a_value(memory):
    memory.store(Person("Ada", email="a@x"), id="ada")
    with memory.new_scope(track=False) as scope:
        scope.get("ada").email = "b@x"
        with pytest.raises(UniqueViolation):
            scope.store(Person("Eva", email="a@x"), id="eva")
        scope.update(scope.get("ada"))
        scope.store(Person("Eva", email="a@x"), id="eva")
    assert found_by(memory, order_by="email") == ["Eva", "Ada"]


def test_two_objects_of_one_transaction_cannot_have_one_unique_value(memory):
    with pytest.raises(UniqueViolation):
        memory.store([Person("Ada", email="a@x"), Person("Eva", email="a@x")], id="both")
    assert not memory.exists("both")
    assert list(memory.all_objects()) == []


# Declarations and states


@pytest.mark.parametrize(
    ("declaration", "problem"),
    [
        (lambda: Index("two words"), "an index cannot be called 'two words'. Choose a name that can be an argument"),
        (lambda: Index("order_by"), "an index cannot be called 'order_by'"),
        (lambda: Index(5), "an index cannot be called 5"),
        (lambda: Index("age", on="Person"), "the index 'age' is on classes, not on 'Person'"),
        (lambda: Index("age", key="name"), "the key of the index 'age' is 'name', which cannot be called"),
        (
            lambda: kiokupy.connect("Hash", indexes=["age"]),
            r"indexes has 'age'. Declare an index: Index\('age', on=...\)",
        ),
        (lambda: kiokupy.connect("Hash", indexes="age"), "indexes has 'age'"),
        (lambda: kiokupy.connect("Hash", indexes=[Index("a"), Index("a", many=True)]), "two indexes are called 'a'"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(declaration, problem):
    with pytest.raises(TargetError, match=problem):
        declaration()


def test_one_index_need_not_be_in_a_list():
    with kiokupy.connect("Hash", indexes=AGE) as directory:
        assert list(directory.indexes.values()) == [AGE]


def test_a_declaration_is_known_by_all_that_decides_what_is_in_the_index():
    plain = Index("email")
    others = [
        Index("email", on=Person),
        Index("email", on=(Person, Point)),
        Index("email", key=lower_email),
        Index("email", key=str),
        Index("email", key=Called()),
        Index("email", many=True),
        Index("email", unique=True),
    ]
    assert plain.definition == Index("email").definition == "on builtins:object"
    assert len({index.definition for index in [plain, *others]}) == len(others) + 1


class Called:
    def __call__(self, obj):
        return obj.email


def test_an_index_that_is_declared_for_a_store_with_objects_must_be_built(lasting_place):
    with opened(lasting_place) as directory:
        directory.store(Person("Ada", age=36))
    with opened(lasting_place, AGE) as directory:
        with pytest.raises(NotIndexed, match="declared when the store had objects already, and is not built yet"):
            list(directory.search(age=36))
        directory.store(Person("Eva", age=36))
        assert state_of(directory, "age") is State.UNBUILT


def test_a_writer_that_does_not_declare_an_index_makes_it_stale(lasting_place):
    with opened(lasting_place, AGE, EMAIL) as directory:
        directory.store(Person("Ada", age=36), id="ada")
    with opened(lasting_place, AGE) as directory:
        assert found_by(directory, age=36) == ["Ada"]
        with pytest.raises(NotIndexed, match="there is no index 'email'"):
            list(directory.search(email="a@x"))
        directory.delete("ada")
        assert state_of(directory, "email") is State.READY
        with directory.new_scope() as scope:
            scope.store(Person("Eva", age=36))
            scope.store(Person("Ida", age=37))
    with opened(lasting_place, AGE, EMAIL) as directory:
        assert found_by(directory, age=36) == ["Eva"]
        with pytest.raises(NotIndexed, match="objects were written without the index 'email'"):
            list(directory.search(email="a@x"))


def test_another_definition_is_not_searched_and_makes_the_index_stale_when_it_writes(file_place):
    with opened(file_place, AGE) as directory:
        directory.store(Person("Ada", age=36))
    with opened(file_place, Index("age")) as directory:
        with pytest.raises(
            NotIndexed, match="the store has the index 'age' on graph_classes:Person, and here it is on "
        ):
            list(directory.search(age=36))
        assert state_of(directory, "age") is State.READY
        directory.store(Person("Eva", age=36))
        assert state_of(directory, "age") is State.STALE


def test_on_an_empty_store_the_last_definition_counts(file_place):
    with opened(file_place, AGE) as directory:
        directory.store(Person("Ada", age=36), id="ada")
        directory.delete("ada")
    with opened(file_place, Index("age", on=Employee), EMAIL) as directory:
        directory.store(Employee("Eva", age=36))
        assert found_by(directory, age=36) == ["Eva"]


def test_a_read_only_directory_declares_nothing(file_place):
    with opened(file_place) as directory:
        directory.store(Person("Ada", age=36))
    with opened(file_place, AGE, readonly=1) as directory:
        with pytest.raises(NotIndexed, match="declared by a read-only directory, and the store has none"):
            list(directory.search(age=36))
        assert [finding.detail for finding in check_indexes(directory)] == ["the store has none; it must be built"]


def declare(directory, index):
    """Do what another process does when it opens the store."""
    with directory.new_unit() as unit:
        upkeep.declare(unit, {index.name: index})
        unit.commit()


def test_the_first_object_and_the_first_declaration_at_one_moment_conflict(tmp_path):
    with directory_in(tmp_path / "store.fs", ALLOWED) as directory:
        scope = directory.new_scope()
        scope.store(Person("Ada", age=36))
        declare(directory, AGE)
        with pytest.raises(ConflictError):
            scope.commit()
        scope.close()
        assert state_of(directory, "age") is State.READY


def test_a_writer_conflicts_with_a_declaration_that_it_has_not_seen(tmp_path):
    with directory_in(tmp_path / "store.fs", ALLOWED) as directory:
        directory.store(Person("Ada", age=36))
        scope = directory.new_scope()
        scope.store(Person("Eva", age=36))
        declare(directory, AGE)
        with pytest.raises(ConflictError):
            scope.commit()
        scope.close()


def test_a_load_that_bypasses_objects_marks_the_indexes_stale(memory):
    memory.store(Person("Ada", age=36))
    with memory.new_unit() as unit:
        indexing.mark_stale(unit.root)
        unit.commit()
    with memory.new_unit() as unit:
        indexing.mark_stale(unit.root)
    with pytest.raises(NotIndexed, match="objects were written without"):
        list(memory.search(age=36))


def test_a_collector_takes_an_id_out_of_all_indexes(memory):
    memory.store(Person("Ada", age=36, email="a@x", tags=["a", "b"]), id="ada")
    with memory.new_unit() as unit:
        indexing.drop(unit.root, "ada")
        indexing.drop(unit.root, "nobody")
        del unit.root["entries"]["ada"]
        unit.root["roots"].remove("ada")
        unit.commit()
    assert check_indexes(memory) == []
    assert found_by(memory, order_by="age") == []


def test_every_error_of_an_index_is_one_of_kiokupy():
    assert all(issubclass(cls, KiokuError) for cls in (NotIndexable, NotIndexed, UniqueViolation))
