"""Properties: any graph comes back with equal structure and sharing; a directory behaves as a plain dict would."""

import contextlib
import tempfile
from pathlib import Path

from graph_classes import CLASSES, Bag, Box, FrozenSlots, Pair, Person, PrivateSlots, Rows, Slotted
from graph_stores import CountingStorage, directory_in, directory_on
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kiokupy.errors import DuplicateId, NotFound

PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8), st.binary(max_size=4)
)
LINK = st.integers(min_value=0, max_value=19).map(lambda number: ("link", number))
CONTENT = st.recursive(
    st.one_of(PLAIN, LINK),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
        st.tuples(inner, inner),
        st.builds(Pair, inner, inner),
        st.frozensets(st.text(max_size=3), max_size=3).map(set),
    ),
    max_leaves=6,
)
KINDS = [Person, Slotted, Box, Bag, Rows, FrozenSlots, PrivateSlots, dict]


def empty(kind):
    return (
        kind("", None)
        if kind in (Slotted, FrozenSlots)
        else kind(None)
        if kind in (Box, PrivateSlots, Person)
        else kind()
    )


def fill(obj, content):
    """Put content into an object."""
    if isinstance(obj, dict):
        obj["content"] = content
    elif isinstance(obj, list):
        obj.append(content)
    else:
        object.__setattr__(obj, slot_of(obj), content)


def content_of(obj):
    if isinstance(obj, dict):
        return obj["content"]
    return obj[0] if isinstance(obj, list) else getattr(obj, slot_of(obj))


def slot_of(obj):
    names = {
        Person: "name",
        Slotted: "friend",
        Box: "content",
        FrozenSlots: "other",
        PrivateSlots: "_PrivateSlots__hidden",
    }
    return names[obj.__class__]


def linked(content, objects):
    """Return content with its links replaced by objects."""
    if isinstance(content, list):
        return [linked(each, objects) for each in content]
    if isinstance(content, dict):
        return {key: linked(each, objects) for key, each in content.items()}
    if isinstance(content, tuple):
        if content[0] == "link" and type(content) is tuple:
            return objects[content[1] % len(objects)]
        parts = [linked(each, objects) for each in content]
        return Pair(*parts) if isinstance(content, Pair) else tuple(parts)
    return content


@st.composite
def graphs(draw):
    """Draw objects of all kinds that hold each other, in cycles and shared, within containers."""
    kinds = draw(st.lists(st.sampled_from([kind for kind in KINDS if kind is not dict]), min_size=1, max_size=8))
    objects = [empty(kind) for kind in kinds]
    for obj in objects:
        fill(obj, linked(draw(CONTENT), objects))
    return objects


def shape(value, seen):
    """Describe a graph up to identity: what is met again is told by when it was first met."""
    if isinstance(value, tuple(KINDS)) and type(value) is not dict:
        if id(value) in seen:
            return ("again", seen[id(value)])
        seen[id(value)] = len(seen)
        return (type(value).__name__, shape(content_of(value), seen))
    if isinstance(value, dict):
        return ("dict", [(key, shape(each, seen)) for key, each in value.items()])
    if isinstance(value, list | tuple):
        return (type(value).__name__, [shape(each, seen) for each in value])
    return (type(value).__name__, sorted(value) if isinstance(value, set) else value)


@given(graphs())
@settings(max_examples=150, deadline=None)
def test_a_graph_comes_back_with_equal_structure_and_sharing(objects):
    with directory_on(CountingStorage(), CLASSES) as directory:
        directory.store({"all": objects}, id="x")
        before = directory._database._db.storage.lastTransaction()
        with directory.new_scope() as scope:
            found = scope.get("x")["all"]
            assert shape(found, {}) == shape(objects, {})
        assert directory._database._db.storage.lastTransaction() == before


@given(graphs(), st.integers(0, 7), CONTENT)
@settings(max_examples=80, deadline=None)
def test_a_change_anywhere_is_written_and_an_abort_takes_it_back(objects, number, content):
    with directory_on(CountingStorage(), CLASSES) as directory, directory.new_scope() as scope:
        scope.store({"all": objects}, id="x")
        scope.commit()
        original = shape(objects, {})
        for end in (scope.abort, scope.commit):
            changed = objects[number % len(objects)]
            if isinstance(changed, list):
                changed.clear()
            fill(changed, linked(content, objects))
            expected = shape(objects, {})
            end()
            with directory.new_scope() as other:
                assert shape(other.get("x")["all"], {}) == (original if end == scope.abort else expected)
            assert shape(scope.get("x")["all"], {}) == (original if end == scope.abort else expected)


IDS = st.sampled_from(["a", "b", "c", "d", "0"])


class Model(RuleBasedStateMachine):
    """A directory on a file beside two dicts: what is committed, and what the open scope should see."""

    @initialize()
    def start(self):
        self.stack = contextlib.ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.committed, self.expected, self.held = {}, {}, {}
        self.directory = None
        self.reopen()

    @precondition(lambda self: self.directory is not None)
    @rule()
    def reopen(self):
        self.leave()
        self.directory = directory_in(self.folder / "model.fs", CLASSES)
        self.scope = self.directory.new_scope()
        self.expected = dict(self.committed)

    def leave(self):
        if self.directory is not None:
            self.scope.close()
            self.directory.close()

    @rule(id=IDS, value=CONTENT)
    def store(self, id, value):
        person = Person(linked(value, ["linked"]))
        if id in self.expected:
            with contextlib.suppress(DuplicateId):
                self.scope.store(person, id=id)
                raise AssertionError("a second object got the id")
            return
        assert self.scope.store(person, id=id) == id
        self.expected[id] = (person.name, None)

    @rule(id=IDS, value=CONTENT)
    def change(self, id, value):
        if id in self.expected:
            person = self.scope.get(id)
            person.name = linked(value, ["linked"])
            self.expected[id] = (person.name, self.expected[id][1])

    @rule(one=IDS, other=IDS)
    def refer(self, one, other):
        if one in self.expected and other in self.expected:
            self.scope.get(one).friend = self.scope.get(other)
            self.expected[one] = (self.expected[one][0], other)

    @rule(id=IDS)
    def delete(self, id):
        if any(friend == id for _, friend in self.expected.values()):
            return
        if id not in self.expected:
            with contextlib.suppress(NotFound):
                self.scope.delete(id)
                raise AssertionError("what is not there was deleted")
            return
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
        self.scope = self.directory.new_scope()
        self.expected = dict(self.committed)

    @rule(id=IDS, value=CONTENT)
    def change_past_a_scope(self, id, value):
        """An object that was held past its scope is stored in the next one."""
        if id not in self.expected:
            return
        held = self.scope.get(id)
        self.change(id, value)
        self.next_scope(commit=True)
        if id in self.committed:
            held.name = [held.name]
            assert self.scope.store(held) == id
            self.expected[id] = (held.name, self.expected[id][1])

    @invariant()
    def the_scope_sees_what_the_dict_has(self):
        for id in ["a", "b", "c", "d", "0"]:
            assert self.scope.exists(id) is (id in self.expected)
            found = self.scope.lookup(id)
            assert (found is None) is (id not in self.expected)
            if found is not None:
                name, friend = self.expected[id]
                assert shape(found.name, {}) == shape(name, {})
                assert getattr(found, "friend", None) is (None if friend is None else self.scope.get(friend))

    def teardown(self):
        self.leave()
        self.stack.close()


Model.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_a_directory_behaves_as_a_dict = Model.TestCase
