"""A directory, on every store, does what a dict of all that is committed and another of what the scope sees would do."""

import functools
import itertools
import shutil
from urllib.parse import urlsplit

import pytest
import servers
from graph_classes import CLASSES, Person
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from test_graph_properties import CONTENT, linked, shape

from kiokupy.errors import ConflictError, DuplicateId, KiokuError, NotFound

pytestmark = pytest.mark.no_cover

IDS = ["a", "b", "c", "d", "0"]
ID = st.sampled_from(IDS)


def content(value):
    """Make a new object of drawn content."""
    return linked(value, ["linked"])


class Model(RuleBasedStateMachine):
    """What is expected of an id is a pair: the person's content, as its shape, and the id of the friend."""

    def __init__(self, place):
        super().__init__()
        self.place, self.options = place, {}
        self.numbers = itertools.count()

    @initialize()
    def start(self):
        self.directory = self.place.connect(allow_classes=CLASSES)
        self.directory.clear()
        self.committed = {}
        self.begin()

    def begin(self):
        self.scope = self.directory.new_scope()
        self.expected = dict(self.committed)

    def end(self):
        self.scope.close()
        self.directory.close()

    def teardown(self):
        self.end()

    def expect(self, id, person, friend=None):
        self.expected[id] = (shape(person.name, {}), friend)

    @rule(id=ID, value=CONTENT)
    def store(self, id, value):
        person = Person(content(value))
        if id in self.expected:
            with pytest.raises(DuplicateId):
                self.scope.store(person, id=id)
        else:
            assert self.scope.store(person, id=id) == id
            self.expect(id, person)

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), value=CONTENT)
    def change(self, data, value):
        id = data.draw(st.sampled_from(sorted(self.expected)))
        person = self.scope.get(id)
        person.name = content(value)
        self.expect(id, person, self.expected[id][1])

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), value=CONTENT)
    def change_within(self, data, value):
        """What changes is deep inside, and nobody says that it did."""
        id = data.draw(st.sampled_from(sorted(self.expected)))
        person = self.scope.get(id)
        if type(person.name) is not list:
            person.name = [[[]]]
            self.scope.update(person)
        inner = person.name
        while inner and type(inner[0]) is list:
            inner = inner[0]
        inner.append(content(value))
        self.expect(id, person, self.expected[id][1])

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def refer(self, data):
        one, other = (data.draw(st.sampled_from(sorted(self.expected))) for _ in range(2))
        self.scope.get(one).friend = self.scope.get(other)
        self.expected[one] = (self.expected[one][0], other)

    @rule(id=ID)
    def delete(self, id):
        if id not in self.expected:
            with pytest.raises(NotFound):
                self.scope.delete(id)
        elif all(friend != id for _, friend in self.expected.values()):
            self.scope.delete(id)
            del self.expected[id]

    @rule()
    def commit(self):
        self.scope.commit()
        self.committed = dict(self.expected)

    @rule()
    def abort(self):
        self.scope.abort()
        self.expected = dict(self.committed)

    @rule(commit=st.booleans())
    def next_scope(self, commit):
        if commit:
            self.commit()
        self.scope.close()
        self.begin()

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def change_past_a_scope(self, data):
        """An object that was held past its scope is stored in the next one."""
        id = data.draw(st.sampled_from(sorted(self.expected)))
        held = self.scope.get(id)
        held.name  # noqa: B018  # loads it
        self.next_scope(commit=True)
        held.name = [held.name]
        assert self.scope.store(held) == id
        self.expect(id, held, self.expected[id][1])

    @precondition(lambda self: self.expected.keys() & self.committed.keys())
    @rule(data=st.data(), verb=st.sampled_from(["change", "delete"]))
    def lose(self, data, verb):
        """Another scope commits first, so this one must not, with all that it did until now."""
        id = data.draw(st.sampled_from(sorted(self.expected.keys() & self.committed.keys())))
        self.scope.get(id).name = f"mine {next(self.numbers)}"
        with self.directory.new_scope() as other:
            if verb == "change" or any(friend == id for _, friend in self.committed.values()):
                theirs = other.get(id)
                theirs.name = f"theirs {next(self.numbers)}"
                self.committed[id] = (shape(theirs.name, {}), self.committed[id][1])
            else:
                other.delete(id)
                del self.committed[id]
        with pytest.raises(ConflictError):
            self.scope.commit()
        self.expected = dict(self.committed)

    @precondition(lambda self: set(IDS) - self.expected.keys() - self.committed.keys())
    @rule(data=st.data())
    def lose_an_id(self, data):
        """Another scope takes an id first."""
        id = data.draw(st.sampled_from(sorted(set(IDS) - self.expected.keys() - self.committed.keys())))
        self.scope.store(Person("mine"), id=id)
        theirs = Person(f"theirs {next(self.numbers)}")
        with self.directory.new_scope() as other:
            other.store(theirs, id=id)
        self.committed[id] = (shape(theirs.name, {}), None)
        with pytest.raises(ConflictError):
            self.scope.commit()
        self.expected = dict(self.committed)

    @precondition(lambda self: len(self.expected) > 1)
    @rule(data=st.data())
    def change_beside(self, data):
        """Two scopes change one object each, and both commit."""
        self.commit()
        mine, theirs = data.draw(st.lists(st.sampled_from(sorted(self.expected)), min_size=2, max_size=2, unique=True))
        for scope, id in ((self.scope, mine), (self.directory.new_scope(), theirs)):
            scope.get(id).name = name = f"beside {next(self.numbers)}"
            self.expected[id] = (shape(name, {}), self.expected[id][1])
            if scope is not self.scope:
                scope.commit()
                scope.close()
        self.commit()

    @precondition(lambda self: self.place.outlives_its_directory)
    @rule()
    def reopen(self):
        self.end()
        self.directory = self.place.connect(allow_classes=CLASSES, create=0)
        self.begin()

    @precondition(lambda self: self.place.outlives_its_directory)
    @rule()
    def crash(self):
        """All that is not committed is gone, as if the process had ended here."""
        if self.place.name == "File":
            copy = self.place.options["path"].with_name(f"copy {next(self.numbers)}.fs")
            shutil.copy(self.place.options["path"], copy)
            self.end()
            shutil.move(copy, self.place.options["path"])
        elif self.place.name.startswith("PostgreSQL"):
            self.drop_connections()
            self.end()
        else:
            with self.directory.new_unit() as unit:
                storage = unit.connection.db().storage
            storage.close()
            self.end()
        self.directory = self.place.connect(allow_classes=CLASSES, create=0)
        self.begin()

    @precondition(lambda self: self.place.name.startswith("PostgreSQL"))
    @rule()
    def lose_the_connection(self):
        """A commit without connections is whole or is not at all, and the same directory goes on."""
        self.drop_connections()
        try:
            self.scope.commit()
        except KiokuError:
            self.expected = dict(self.committed)
        else:
            self.committed = dict(self.expected)
        self.next_scope(commit=False)

    def drop_connections(self):
        name = urlsplit(self.place.target).path[1:]
        servers.administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    @invariant()
    def the_scope_sees_what_is_expected(self):
        for id in IDS:
            assert self.scope.exists(id) is (id in self.expected)
            found = self.scope.lookup(id)
            assert (found is None) is (id not in self.expected)
            if found is not None:
                name, friend = self.expected[id]
                assert shape(found.name, {}) == name
                assert getattr(found, "friend", None) is (None if friend is None else self.scope.get(friend))


#: How many runs of the model each store can afford.
EXAMPLES = {"Hash": 80, "File": 60, "SQLite": 20, "SQLite-history": 20, "ZEO": 20}


def test_a_directory_behaves_as_a_dict(place):
    run_state_machine_as_test(
        functools.partial(Model, place),
        settings=settings(
            max_examples=EXAMPLES.get(place.name, 10),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
