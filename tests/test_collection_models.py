"""The big collections do what a set, a dict and a list do, whatever transactions come in between."""

import copy

import pytest
from graph_classes import Person
from graph_stores import CountingStorage, directory_on
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kiokupy import ObjectList, ObjectMap, ObjectSet

pytestmark = pytest.mark.no_cover

NUMBERS = st.integers(0, 40)
#: The values of a model: a plain value, or the name of a person.
VALUES = st.one_of(
    st.integers(0, 3),
    st.tuples(st.integers(0, 3)),
    st.lists(st.integers(0, 3), max_size=2),
    st.builds(lambda number: f"person {number}", NUMBERS),
)


def shown(value):
    return value.name if isinstance(value, Person) else value


class Transactions(RuleBasedStateMachine):
    """A collection in an object in a store, and a model of it; what is committed, aborted and rolled back is too."""

    def __init__(self):
        super().__init__()
        self.directory = directory_on(CountingStorage())
        self.scope = self.directory.new_scope()
        self.owner = Person("owner", items=self.empty())
        self.now, self.committed, self.saved = self.model(), None, None
        self.people = {}

    def teardown(self):
        self.scope.close()
        self.directory.close()

    @property
    def items(self):
        return self.owner.items

    def person(self, name):
        """Return the person of a name: the one in the store, or a new one."""
        found = self.scope.lookup(name)
        if found is None:  # it may have been stored and taken back: then a collection may have it still
            found = self.people.setdefault(name, Person(name))
            self.scope.store(found, id=name)
        return found

    def real(self, value):
        return self.person(value) if isinstance(value, str) else copy.deepcopy(value)

    @rule()
    def store(self):
        for name, person in self.people.items():  # first, so that it gets its own id
            if self.scope.object_to_id(person) is None:
                self.scope.store(person, id=name)
        self.scope.store(self.owner, id="owner")

    @rule()
    def commit(self):
        self.store()
        self.scope.commit()
        self.committed, self.saved = copy.deepcopy(self.now), None

    @rule()
    def abort(self):
        self.scope.abort()
        self.saved = None
        if self.committed is not None:
            self.now = copy.deepcopy(self.committed)

    @rule()
    def savepoint(self):
        self.store()
        self.saved = self.scope.savepoint(), copy.deepcopy(self.now)

    @precondition(lambda self: self.saved)
    @rule()
    def roll_back(self):
        self.saved[0].rollback()
        self.now = copy.deepcopy(self.saved[1])

    @precondition(lambda self: self.committed is not None)
    @rule()
    def look_from_elsewhere(self):
        with self.directory.new_scope(readonly=True) as other:
            assert self.content(other.get("owner").items) == self.committed

    @rule()
    def new_scope(self):
        self.commit()
        self.scope.close()
        self.scope = self.directory.new_scope()
        self.owner, self.people = self.scope.get("owner"), {}

    @invariant()
    def as_the_model_says(self):
        assert len(self.items) == len(self.now)
        assert self.content(self.items) == self.now


class Sets(Transactions):
    empty, model = ObjectSet, set

    def content(self, items):
        return {person.name for person in items}

    @rule(name=NUMBERS.map(str))
    def add(self, name):
        self.items.add(self.person(name))
        self.now.add(name)

    @rule(names=st.lists(NUMBERS.map(str)))
    def add_many(self, names):
        others = ObjectSet(map(self.person, names))
        self.owner.items |= others
        self.now |= set(names)

    @rule(names=st.lists(NUMBERS.map(str)))
    def operators(self, names):
        others = ObjectSet(map(self.person, names))
        assert self.content(self.items & others) == self.now & set(names)
        assert self.content(self.items | others) == self.now | set(names)
        assert self.content(self.items - others) == self.now - set(names)
        assert self.content(self.items ^ others) == self.now ^ set(names)
        assert (self.items <= others, self.items == others) == (self.now <= set(names), self.now == set(names))

    @rule(names=st.lists(NUMBERS.map(str)), keep=st.booleans())
    def reduce(self, names, keep):
        others = ObjectSet(map(self.person, names))
        if keep:
            self.owner.items &= others
            self.now &= set(names)
        else:
            self.owner.items -= others
            self.now -= set(names)

    @rule(name=NUMBERS.map(str), by_id=st.booleans())
    def discard(self, name, by_id):
        stored = self.scope.object_to_id(self.items) is not None
        known = name if by_id and stored else self.person(name)
        assert (known in self.items) is (name in self.now)
        self.items.discard(known)
        self.now.discard(name)

    @rule()
    def clear(self):
        self.items.clear()
        self.now.clear()


class Maps(Transactions):
    empty, model = ObjectMap, dict

    def content(self, items):
        return {key: shown(value) for key, value in items.items()}

    @rule(key=NUMBERS, value=VALUES)
    def put(self, key, value):
        self.items[key] = self.real(value)
        self.now[key] = value

    @rule(key=NUMBERS)
    def delete(self, key):
        assert (key in self.items) is (key in self.now)
        assert shown(self.items.pop(key, None)) == self.now.pop(key, None)

    @rule(low=NUMBERS, high=NUMBERS)
    def look_at_a_range(self, low, high):
        expected = sorted(key for key in self.now if low <= key <= high)
        assert list(self.items.keys(low, high)) == expected
        assert list(map(shown, self.items.values(low, high))) == [self.now[key] for key in expected]

    @rule(key=NUMBERS, number=st.integers(0, 9))
    def change_inside(self, key, number):
        if isinstance(self.now.get(key), list):
            self.items[key].append(number)
            self.now[key].append(number)

    @rule()
    def clear(self):
        self.items.clear()
        self.now.clear()


class Lists(Transactions):
    empty, model = ObjectList, list

    def content(self, items):
        return [shown(value) for value in items]

    @rule(value=VALUES)
    def append(self, value):
        self.items.append(self.real(value))
        self.now.append(value)

    @rule(values=st.lists(VALUES))
    def extend(self, values):
        self.items.extend(map(self.real, values))
        self.now.extend(values)

    @rule(index=st.integers(-9, 9), value=VALUES)
    def insert(self, index, value):
        self.items.insert(index, self.real(value))
        self.now.insert(index, value)

    @rule(index=st.integers(-9, 9))
    def take(self, index):
        if -len(self.now) <= index < len(self.now):
            assert shown(self.items.pop(index)) == self.now.pop(index)

    @rule(index=st.integers(-9, 9), value=VALUES)
    def put(self, index, value):
        if -len(self.now) <= index < len(self.now):
            self.items[index] = self.real(value)
            self.now[index] = value

    @rule(index=st.integers(-9, 9), number=st.integers(0, 9))
    def change_inside(self, index, number):
        if -len(self.now) <= index < len(self.now) and isinstance(self.now[index], list):
            self.items[index].append(number)
            self.now[index].append(number)

    @rule(start=st.integers(-9, 9), stop=st.integers(-9, 9), step=st.sampled_from([1, 2, -1]))
    def look_at_a_slice(self, start, stop, step):
        assert list(map(shown, self.items[start:stop:step])) == self.now[start:stop:step]

    @rule(value=VALUES)
    def find(self, value):
        real = self.real(value)
        assert self.items.count(real) == self.now.count(value)
        assert (real in self.items) is (value in self.now)
        if value in self.now:
            assert self.items.index(real) == self.now.index(value)

    @rule()
    def clear(self):
        self.items.clear()
        self.now.clear()


for machine in (Sets, Maps, Lists):
    machine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestSets, TestMaps, TestLists = Sets.TestCase, Maps.TestCase, Lists.TestCase
