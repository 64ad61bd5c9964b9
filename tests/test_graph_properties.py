"""Properties: any graph comes back with equal structure and sharing; so does any change of it."""

import collections
import collections.abc
import copy
import types
from array import array

import pytest
from graph_classes import CLASSES, Bag, Box, FrozenSlots, Pair, Person, PrivateSlots, Rows, Slotted
from graph_stores import CountingStorage, directory_on
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.no_cover

PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8), st.binary(max_size=4)
)
LINK = st.integers(min_value=0, max_value=19).map(lambda number: ("link", number))
NAMES = "abcdef"


def named(parts):
    return dict(zip(NAMES, parts, strict=False))


#: What makes a container of each kind of its parts.
CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "dict": named,
    "pair": lambda parts: Pair(*[*parts, None, None][:2]),
    "deque": lambda parts: collections.deque(parts, maxlen=9),
    "ordered": lambda parts: collections.OrderedDict(reversed(named(parts).items())),
    "defaultdict": lambda parts: collections.defaultdict(list, named(parts)),
    "chain map": lambda parts: collections.ChainMap(named(parts[:1]), named(parts[1:])),
    "user dict": lambda parts: collections.UserDict(named(parts)),
    "user list": collections.UserList,
    "namespace": lambda parts: types.SimpleNamespace(**named(parts)),
}
#: The same for those that hold plain values only.
VALUES = st.one_of(
    st.sets(st.text(max_size=3), max_size=3),
    st.frozensets(st.integers() | st.text(max_size=3), max_size=3),
    st.binary(max_size=4).map(bytearray),
    st.lists(st.floats(allow_nan=False), max_size=3).map(lambda numbers: array("d", numbers)),
    st.text(max_size=5).map(collections.Counter),
)
CONTENT = st.recursive(
    st.one_of(PLAIN, VALUES, LINK),
    lambda inner: st.tuples(st.just("make"), st.sampled_from(sorted(CONTAINERS)), st.lists(inner, max_size=4)),
    max_leaves=8,
)
KINDS = [Person, Slotted, Box, Bag, Rows, FrozenSlots, PrivateSlots, dict, list]


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
    """Make what drawn content describes, with its links to objects."""
    if not isinstance(content, tuple):
        return copy.copy(content)
    kind, *rest = content
    if kind == "link":
        return objects[rest[0] % len(objects)]
    name, parts = rest
    return CONTAINERS[name]([linked(part, objects) for part in parts])


@st.composite
def graphs(draw):
    """Draw objects of all kinds that hold each other, in cycles and shared, within containers."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=8))
    objects = [empty(kind) for kind in kinds]
    for obj in objects:
        fill(obj, linked(draw(CONTENT), objects))
    return objects


def shape(value, seen):
    """Describe a graph up to identity: an object or container that is met again is told by when it was first met."""
    if isinstance(value, (str, bytes, int, float, frozenset, type(None))):
        return (type(value), value)
    if not isinstance(value, tuple):
        if id(value) in seen:
            return ("again", seen[id(value)])
        seen[id(value)] = len(seen)
    return (value.__class__, [(key, shape(part, seen)) for key, part in parts_of(value)])


def parts_of(value):
    if value.__class__ in KINDS and value.__class__ not in (dict, list):
        return [("content", content_of(value))]
    if isinstance(value, collections.ChainMap):
        return list(enumerate(value.maps))
    if isinstance(value, types.SimpleNamespace):
        return vars(value).items()
    if isinstance(value, collections.abc.Mapping):
        return list(value.items())
    if isinstance(value, set):
        return list(enumerate(sorted(value)))
    return list(enumerate(value))


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
            objects = scope.get("x")["all"]  # after an abort another list, for it has no id of its own
            changed = objects[number % len(objects)]
            if isinstance(changed, list):
                changed.clear()
            fill(changed, linked(content, objects))
            expected = shape(objects, {})
            end()
            with directory.new_scope() as other:
                assert shape(other.get("x")["all"], {}) == (original if end == scope.abort else expected)
            assert shape(scope.get("x")["all"], {}) == (original if end == scope.abort else expected)
