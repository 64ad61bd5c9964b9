"""Searching: which objects are found, in which order, and what is seen while that goes on."""

import contextlib
import random

import pytest
from graph_classes import Account, Employee, Person
from graph_stores import CountingStorage
from hypothesis import given, settings
from hypothesis import strategies as st

import kiokupy
from kiokupy import Index, above, all_of, any_of, at_least, at_most, below, between, has_prefix, queries
from kiokupy.database import Database
from kiokupy.directory import Directory
from kiokupy.errors import NotIndexable, NotIndexed, ScopeClosed, UniqueViolation
from kiokupy.indexes import declared
from kiokupy.maintenance.reindexing import check_indexes
from kiokupy.typemap import TypeMap
from kiokupy.upkeep import declare

INDEXES = [
    Index("age", on=Person),
    Index("city", on=Person),
    Index("email", on=Person, unique=True),
    Index("tags", on=Person, many=True),
]
ALLOWED = [Person, Employee, Account]


@pytest.fixture
def directory(place):
    with place.connect(allow_classes=ALLOWED, indexes=INDEXES) as directory:
        fill(directory)
        yield directory


@pytest.fixture
def memory():
    with kiokupy.connect("Hash", allow_classes=ALLOWED, indexes=INDEXES) as directory:
        fill(directory)
        yield directory


def fill(directory):
    with directory.new_scope() as scope:
        for name, age, city, tags in [
            ("ada", 36, "London", ["maths", "poems"]),
            ("bob", 17, "Oslo", []),
            ("cyd", 18, "Oslo", ["maths"]),
            ("dan", 30, "Oslo", ["poems", "music"]),
            ("eva", 24, "Bergen", ["music"]),
            ("fay", 18, "Osterøy", ["music", "maths", "poems"]),
        ]:
            cls = Employee if name in ("dan", "eva") else Person
            scope.store(cls(name, age=age, city=city, tags=tags, email=f"{name}@x"), id=name)
        scope.store(Person("gil", city="Oslo"), id="gil")


def names(found):
    return [person.name for person in found]


# On every storage


def test_conditions_are_met_all_at_once(directory):
    assert names(directory.search(age=between(18, 30), city="Oslo")) == ["cyd", "dan"]
    assert names(directory.search(city=has_prefix("Os"), tags=all_of("maths", "poems"), age=at_most(18))) == ["fay"]
    assert names(directory.search(age=18, email="cyd@x")) == ["cyd"]
    assert names(directory.search(age=18, email="dan@x")) == []


def test_each_condition_asks_for_what_it_says(directory):
    def ages(condition):
        return [person.age for person in directory.search(age=condition)]

    assert ages(18) == [18, 18]
    assert ages(between(18, 30)) == [18, 18, 24, 30]
    assert ages(between(30, 18)) == []
    assert ages(at_least(30)) == [30, 36]
    assert ages(above(30)) == [36]
    assert ages(at_most(18)) == [17, 18, 18]
    assert ages(below(18)) == [17]
    assert ages(any_of(36, 17, 99, 17)) == [17, 36]
    assert ages(any_of()) == []


def test_conditions_on_unique_values_ask_for_what_they_say(directory):
    def found(condition):
        return "".join(person.name[0] for person in directory.search(email=condition))

    def found_back(condition):
        return "".join(person.name[0] for person in directory.search(email=condition, reverse=True))

    for condition, wanted in [
        (between("b", "dan@x"), "bcd"),
        (above("bob@x"), "cdef"),
        (at_least("bob@x"), "bcdef"),
        (below("dan@x"), "abc"),
        (at_most("dan@x"), "abcd"),
        (any_of("fay@x", "ada@x"), "af"),
        (has_prefix("c"), "c"),
    ]:
        assert (found(condition), found_back(condition)) == (wanted, wanted[::-1])


def test_the_order_is_by_value_and_then_by_id_and_reverse_is_the_other_way_round(directory):
    assert names(directory.search(order_by="age")) == ["bob", "cyd", "fay", "eva", "dan", "ada"]
    assert names(directory.search(order_by="age", reverse=True)) == ["ada", "dan", "eva", "fay", "cyd", "bob"]
    assert names(directory.search(city="Oslo", order_by="age", reverse=True)) == ["dan", "cyd", "bob", "gil"]
    assert names(directory.search(age=above(17), reverse=True)) == ["ada", "dan", "eva", "fay", "cyd"]


def test_what_has_no_value_in_the_order_comes_last(directory):
    assert names(directory.search(city="Oslo", order_by="age")) == ["bob", "cyd", "dan", "gil"]
    assert names(directory.search(city=any_of("Oslo", "Bergen"), order_by="age")) == ["bob", "cyd", "eva", "dan", "gil"]


def test_a_limit_and_a_class_can_be_given(directory):
    assert names(directory.search(order_by="age", limit=2)) == ["bob", "cyd"]
    assert names(directory.search(order_by="age", limit=0)) == []
    assert names(directory.search(Employee, order_by="age", limit=2)) == ["eva", "dan"]
    assert names(directory.search(Account, order_by="age")) == []
    assert [type(person) for person in directory.search(city="Bergen")] == [Employee]


def test_an_object_with_many_values_comes_once_in_the_place_of_the_first_that_is_asked_for(directory):
    assert names(directory.search(tags=at_least("maths"))) == ["ada", "cyd", "fay", "dan", "eva"]
    assert names(directory.search(tags=above("maths"))) == ["dan", "eva", "fay", "ada"]
    assert names(directory.search(tags=above("maths"), reverse=True)) == ["fay", "dan", "ada", "eva"]
    assert names(directory.search(tags=above("maths"), city=has_prefix("O"))) == ["dan", "fay"]


def test_changes_of_the_scope_are_found_before_they_are_committed(directory):
    with directory.new_scope() as scope:
        scope.get("ada").age = 18
        scope.get("cyd").age = 99
        scope.delete("fay")
        scope.store(Person("hal", age=18))
        assert sorted(names(scope.search(age=18))) == ["ada", "hal"]
        assert names(directory.search(age=18)) == ["cyd", "fay"]


def test_many_objects_stream_through_many_blocks(directory):
    with directory.new_scope() as scope:
        for number in range(1_500):
            scope.store(Person(f"{number}", age=number % 40, city="Tromsø"), id=f"p{number:04}")
    wanted = sorted((number % 40, number) for number in range(1_500))
    assert [(p.age, int(p.name)) for p in directory.search(city="Tromsø", order_by="age")] == wanted
    assert [(p.age, int(p.name)) for p in directory.search(city="Tromsø", order_by="age", reverse=True)] == wanted[::-1]
    assert len(list(directory.search(age=between(0, 20), city="Tromsø"))) == sum(age <= 20 for age, _ in wanted)


# What is seen meanwhile


def test_an_object_that_is_deleted_meanwhile_is_passed_over(memory):
    with memory.new_scope() as scope:
        found = scope.search(order_by="age")
        assert next(found).name == "bob"
        scope.delete("cyd")
        assert names(found) == ["fay", "eva", "dan", "ada"]


def test_objects_can_be_moved_ahead_while_they_are_walked_through(memory):
    with memory.new_scope() as scope:
        seen = []
        for person in scope.search(age=between(17, 36)):
            seen.append(person.name)
            person.age += 7
            scope.update(person)
        assert seen == ["bob", "cyd", "fay", "eva", "dan", "ada"]
    assert [person.age for person in memory.search(order_by="age")] == [24, 25, 25, 31, 37, 43]


def test_a_scope_that_may_not_write_answers_from_the_store(memory):
    with memory.new_scope(readonly=True) as scope:
        scope.get("ada").age = 18
        assert names(scope.search(age=18)) == ["cyd", "fay"]


def test_what_is_not_tracked_is_found_once_it_is_written(memory):
    with memory.new_scope(track=False) as scope:
        ada = scope.get("ada")
        ada.age = 18
        assert names(scope.search(age=18)) == ["cyd", "fay"]
        scope.update(ada)
        assert names(scope.search(age=18)) == ["ada", "cyd", "fay"]


def test_a_search_writes_pending_changes_and_says_if_it_cannot(memory):
    with memory.new_scope() as scope:
        scope.get("ada").email = "bob@x"
        with pytest.raises(UniqueViolation):
            scope.search(age=18)
        scope.get("ada").email = None
        assert names(scope.search(age=18)) == ["cyd", "fay"]


def test_a_closed_scope_does_not_search(memory):
    scope = memory.new_scope()
    scope.close()
    with pytest.raises(ScopeClosed):
        scope.search(age=18)


def test_results_are_the_live_objects_of_the_scope(memory):
    with memory.new_scope() as scope:
        assert next(scope.search(email="ada@x")) is scope.get("ada")


# What cannot be answered


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"aeg": 18}, "there is no index 'aeg'. Did you mean 'age'?"),
        (
            {"name": 18},
            r"there is no index 'name'. Declare it: connect\(..., indexes=\[Index\('name'\)\]\), or look at",
        ),
        ({"order_by": "name"}, "there is no index 'name'"),
        ({}, "search.. was given no condition. Give one, or order_by; all_objects.. gives every object"),
    ],
)
def test_without_an_index_the_answer_is_the_way_to_one(memory, asked, problem):
    with memory.new_scope() as scope, pytest.raises(NotIndexed, match=problem):
        scope.search(**asked)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (
            {"age": "old"},
            "nothing can be found in the index 'age' by 'old': it has numbers, not text. Look for numbers",
        ),
        ({"age": between(18, "old")}, "by 'old'"),
        ({"age": None}, "by None: None is in no index, and what has no value cannot be found in one. Look for a value"),
        ({"age": at_least(None)}, "by None"),
        ({"city": has_prefix(b"Os")}, "by b'Os': it has text, not bytes"),
        ({"tags": ["maths"]}, "there is no order for a list"),
        ({"age": float("nan")}, "it is not a number and has no order"),
    ],
)
def test_a_value_of_another_kind_is_refused(memory, asked, problem):
    with memory.new_scope() as scope, pytest.raises(NotIndexable, match=problem):
        scope.search(**asked)


def test_a_prefix_is_text_or_bytes():
    with pytest.raises(TypeError, match="a prefix is text or bytes, not 5"):
        has_prefix(5)


@pytest.mark.parametrize(
    ("values", "prefix", "wanted"),
    [
        (["a", "ab", "ab\U0010ffff", "ab\U0010ffff\U0010ffff", "ac"], "ab", 3),
        (["a", "ab", "ab\U0010ffff", "ab\U0010ffff\U0010ffff", "ac"], "ab\U0010ffff", 2),
        (["a", "\U0010ffff", "\U0010ffffz"], "\U0010ffff", 2),
        (["a", "b"], "", 2),
        ([b"a", b"a\xff", b"a\xff\xff", b"b"], b"a\xff", 2),
        ([b"a", b"\xff", b"\xff\xff"], b"\xff", 2),
    ],
)
def test_a_prefix_may_end_with_the_greatest_character(values, prefix, wanted):
    with kiokupy.connect("Hash", allow_classes=[Person], indexes=[Index("city")]) as directory:
        for value in values:
            directory.store(Person("someone", city=value))
        assert len(list(directory.search(city=has_prefix(prefix)))) == wanted


def test_an_empty_index_is_searched_for_anything():
    with kiokupy.connect("Hash", indexes=INDEXES) as directory:
        assert list(directory.search(age="old", tags=3, order_by="city", reverse=True)) == []


def test_a_few_answers_are_found_without_a_walk_through_the_order():
    storage, by_name = CountingStorage(), declared(INDEXES)
    typemap = TypeMap(ALLOWED)
    database = Database(
        storage,
        "test",
        typemap.find,
        create=True,
        readonly=False,
        cache_size=0,
        declare=lambda unit: declare(unit, by_name),
    )
    with Directory(database, typemap, by_name) as directory:
        with directory.new_scope() as scope:
            for number in range(3_000):
                scope.store(Person(f"{number}", age=number, city=f"{number % 1_000}"))
        storage.read.clear()
        with directory.new_scope(readonly=True) as scope:
            assert [person.age for person in scope.search(city="7", order_by="age", reverse=True)] == [2_007, 1_007, 7]
    assert len(storage.read) < 60


# Against a plain list

VALUES = {
    "age": st.none() | st.integers(0, 5),
    "city": st.none() | st.sampled_from(["", "a", "ab", "b", "\U0010ffff"]),
    "tags": st.none() | st.lists(st.integers(0, 3), max_size=3),
}
ATTRIBUTES = st.fixed_dictionaries(VALUES)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["store", "change", "delete", "commit", "abort", "savepoint"]), st.integers(0, 11), ATTRIBUTES
    ),
    max_size=30,
)
CONDITIONS = {
    name: st.one_of(
        value.map(lambda v: (v, lambda x: x == v)),
        value.map(lambda v: (at_least(v), lambda x: x >= v)),
        value.map(lambda v: (below(v), lambda x: x < v)),
        st.tuples(value, value).map(lambda v: (between(*v), lambda x: v[0] <= x <= v[1])),
        st.lists(value, max_size=3).map(lambda v: (any_of(*v), lambda x: x in v)),
    )
    for name, value in {
        "age": st.integers(0, 5),
        "city": st.sampled_from(["", "a", "ab", "b"]),
        "tags": st.integers(0, 3),
    }.items()
}
QUERIES = st.lists(
    st.tuples(
        st.fixed_dictionaries({}, optional=CONDITIONS),
        st.sampled_from([None, "age", "city", "tags"]),
        st.booleans(),
        st.none() | st.integers(0, 4),
    ).filter(lambda query: query[0] or query[1]),
    min_size=1,
    max_size=5,
)


def values_of(person, name):
    value = getattr(person, name)
    return [] if value is None else sorted(set(value)) if name == "tags" else [value]


def expected(people, conditions, order_by, reverse, limit):
    """Answer a query by looking at everybody."""

    def met(person, name):
        return [v for v in values_of(person, name) if name not in conditions or conditions[name][1](v)]

    order = order_by or next(iter(conditions))
    found = {key: p for key, p in people.items() if all(met(p, name) for name in conditions)}
    placed = [(met(p, order)[-1 if reverse else 0], key) for key, p in found.items() if met(p, order)]
    last = sorted(key for key, p in found.items() if not met(p, order)) if conditions else []
    return ([key for _, key in sorted(placed, reverse=reverse)] + last)[:limit]


@pytest.mark.no_cover
@given(CHANGES, QUERIES, st.sampled_from([0, 2, 1_000]))
@settings(max_examples=150, deadline=None)
def test_a_search_finds_what_a_look_at_every_object_would(changes, asked, few):
    before, queries._FEW = queries._FEW, few
    with contextlib.ExitStack() as stack:
        stack.callback(setattr, queries, "_FEW", before)
        directory = stack.enter_context(kiokupy.connect("Hash", allow_classes=ALLOWED, indexes=INDEXES))
        scope = stack.enter_context(directory.new_scope())
        for verb, number, attributes in changes:
            change(scope, verb, f"{number:02}", attributes)
        people = {scope.object_to_id(person): person for person in scope.all_objects()}
        for conditions, *rest in asked:
            plain = {name: condition for name, (condition, _) in conditions.items()}
            found = scope.search(**plain, **dict(zip(["order_by", "reverse", "limit"], rest, strict=True)))
            assert [scope.object_to_id(p) for p in found] == expected(people, conditions, *rest)
        scope.commit()
        assert check_indexes(directory) == []


def change(scope, verb, key, attributes):
    person = scope.lookup(key)
    if verb == "store" and person is None:
        scope.store(Person(key, email=None, **attributes), id=key)
    elif verb == "change" and person is not None:
        vars(person).update(attributes)
    elif verb == "delete" and person is not None:
        scope.delete(person)
    elif verb in ("commit", "abort", "savepoint"):
        getattr(scope, verb)()


def test_a_random_walk_of_many_objects_keeps_the_trees_right():
    rng = random.Random(3)  # no secret
    with kiokupy.connect("Hash", allow_classes=ALLOWED, indexes=INDEXES) as directory:
        for _ in range(12):
            with directory.new_scope() as scope:
                for _ in range(100):
                    attributes = {"age": rng.randrange(6), "city": rng.choice("abc"), "tags": rng.sample(range(9), 3)}
                    change(scope, rng.choice(["store", "change", "delete"]), f"{rng.randrange(400):03}", attributes)
        assert check_indexes(directory) == []
        ages = [person.age for person in directory.all_objects()]
        for age in range(6):
            assert len(list(directory.search(age=age))) == ages.count(age)
