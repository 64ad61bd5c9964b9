"""Streams: what is dumped and loaded is the same in every way, and a dump that is not right leaves the store as it was."""

import collections
import datetime
import decimal
import io
import json
import math
import uuid
import weakref
import zoneinfo

import pytest
from BTrees.OOBTree import OOBTree, OOTreeSet
from graph_classes import (
    CLASSES,
    Account,
    Bag,
    Colour,
    Frozen,
    Group,
    Money,
    OldPair,
    Ordered,
    Pair,
    Person,
    Reduced,
    Rights,
    Ring,
    Rows,
    Slotted,
    Stateful,
    Trouble,
    WithNewArgs,
    WithNewArgsEx,
    Word,
)
from graph_stores import CountingStorage, directory_on
from hypothesis import given, settings
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from persistent.wref import WeakRef
from test_graph_properties import graphs, shape

import kiokupy
from kiokupy import Index, ObjectList, ObjectMap, ObjectSet
from kiokupy.errors import (
    BrokenReference,
    ConflictError,
    DuplicateId,
    InvalidId,
    NotFound,
    NotIndexed,
    NotLoadable,
    StoreReadOnly,
    StoreUnreadable,
    StreamError,
)
from kiokupy.maintenance import Dumped, Kind, Loaded, Step, dump, fsck, gc, load, reindex
from kiokupy.maintenance.bare import bare_unit, put, remove
from kiokupy.rules import Rule, intrinsic
from kiokupy.sessions.manager import SessionManager

PAIR = intrinsic(Money, collapse=Money.collapse, expand=Money.expand)
ALLOWED = [*CLASSES, PAIR, WeakRef]
HEAD, END = '{"kiokupy": "dump", "format": 1}\n', '{"end": true}\n'


def dumped(directory, **options):
    stream = io.StringIO()
    dump(directory, stream, **options)
    return stream.getvalue()


def loaded(directory, *lines, **options):
    return load(directory, io.StringIO("".join(lines)), **options)


def line(**form):
    return json.dumps(form) + "\n"


def entry(id="x", state=None, class_name="graph_classes:Person", flags=("root",), **more):
    return line(entry=id, **{"class": class_name}, flags=list(flags), state={} if state is None else state, **more)


def dump_of(*lines):
    return "".join([HEAD, *lines, END])


def last_transaction(directory):
    return directory._database._db.storage.lastTransaction()


def opened(allowed=ALLOWED, **options):
    return kiokupy.connect("Hash", allow_classes=allowed, **options)


@pytest.fixture
def directory():
    with opened() as directory:
        yield directory


@pytest.fixture
def other():
    with opened() as directory:
        yield directory


def round_trip(directory, other, obj, **options):
    """Store an object, load the dump of it elsewhere, and return what is there; nothing may differ in the text."""
    directory.store(obj, id="x")
    text = dumped(directory, **options)
    loaded(other, text)
    assert dumped(other, **options) == text
    before = last_transaction(other)
    with other.new_scope() as scope:
        list(scope.all_objects())
        scope.get("x")
    assert last_transaction(other) == before
    return other.get("x")


# The same graph


@pytest.mark.no_cover
@given(graphs())
@settings(max_examples=100, deadline=None)
def test_any_graph_is_the_same_after_a_dump_and_a_load(objects):
    with directory_on(CountingStorage(), CLASSES) as directory, directory_on(CountingStorage(), CLASSES) as copy:
        directory.store({"all": objects}, id="x")
        text = dumped(directory)
        loaded(copy, text)
        assert dumped(copy) == text
        before = last_transaction(copy)
        with copy.new_scope() as scope:
            list(scope.all_objects())
            assert shape(scope.get("x")["all"], {}) == shape(objects, {})
        assert last_transaction(copy) == before


VALUES = {
    "tuples and lists": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, [4, (5,)]), [], [[]]],
    "sets": [set(), {1, 2.5, "a", None, b"b", (1, "x")}, frozenset(), frozenset({"b", frozenset({1, 2})})],
    "sets of what has no order": [{1j, 2j, None}, {Colour.RED, Colour.BLUE, 1}],
    "bytes": [b"", b"\x00\xff", bytearray(b"ab")],
    "ints": [0, -1, 2**63, -(2**70), 10**5000, -(10**5000), True],
    "floats": [1.5, math.inf, -math.inf, -0.0, 5e-324],
    "text": ["", "ä\u2028\x00\x7f\x85", "$ref", "\ud800", "a\\\udfff\n", "𝄞"],
    "keys": [{"$ref": 1}, {1: 2, "a": 3, None: 4, (1, 2): 5, b"x": 6, 1.5: 7}, {"\ud800": 1}, {(): {}}],
    "a key that is shared": [{(pair := (1, 2)): pair}],
    "dates": [
        datetime.date(2001, 2, 3),
        datetime.time(1, 2, 3, 4),
        datetime.time(1, fold=1),
        datetime.datetime(2001, 2, 3, 4, 5),
        datetime.datetime(2001, 2, 3, 4, tzinfo=datetime.UTC),
        datetime.datetime(2001, 2, 3, 4, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        datetime.timezone(datetime.timedelta(hours=2), "here"),
        datetime.timedelta(days=1, microseconds=3),
    ],
    "decimals": [decimal.Decimal("1.50"), decimal.Decimal("-0"), decimal.Decimal("-Infinity"), decimal.Decimal("1E+9")],
    "uuids": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)],
    "enums": [Colour.RED, Rights.READ | Rights.WRITE, Person],
    "named tuples": [Pair(1, [2]), OldPair("a", None)],
    "words": [Word("a")],
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_values_come_back_equal_and_of_their_types(directory, other, values):
    found = round_trip(directory, other, {"values": values})["values"]
    assert [(type(value), value) for value in found] == [(type(value), value) for value in values]


def test_floats_come_back_with_their_signs(directory, other):
    found = round_trip(directory, other, {"values": [math.nan, -math.nan, 0.0, -0.0]})["values"]
    assert [math.copysign(1, value) for value in found] == [1, -1, 1, -1]
    assert [math.isnan(value) for value in found] == [True, True, False, False]


def test_objects_of_every_way_to_be_made_come_back(directory, other):
    bag, rows, group, ring = Bag(a=1), Rows([1, 2]), Group({3}), Ring([4], 7)
    ordered = Ordered(b=1, a=2)
    for obj in (bag, rows, group, ring, ordered):
        obj.owner = bag
    word = Word("text")
    word.note = [word]
    new = WithNewArgs("code")
    new.extra = new
    reduced = Reduced("r", bag)
    trouble = Trouble(404, about=rows)
    made = [bag, rows, group, ring, ordered, word, new, WithNewArgsEx(code="k"), reduced, trouble, Stateful("s")]
    found = round_trip(directory, other, {"all": [*made, Frozen("f", (1, bag)), Slotted("s", bag)]})["all"]
    assert [type(obj) for obj in found[: len(made)]] == [type(obj) for obj in made]
    bag, rows, group, ring, ordered, word, new, by_keyword, reduced, trouble, stateful, frozen, slotted = found
    assert (bag, rows, group, list(ring), ring.maxlen) == ({"a": 1}, [1, 2], {3}, [4], 7)
    assert list(ordered.items()) == [("b", 1), ("a", 2)]
    assert all(obj.owner is bag for obj in (bag, rows, group, ring, ordered))
    assert (word, type(word.note[0])) == ("text", Word)
    assert word.note[0] is word
    assert (new.code, new.extra) == ("code", new)
    assert by_keyword.code == "k"
    assert (reduced.name, reduced.held) == ("r", bag)
    assert (trouble.args, trouble.code) == ((404, rows), 404)
    assert stateful.name == "s"
    assert frozen == Frozen("f", (1, bag))
    assert slotted.friend is bag


def test_what_a_pair_made_goes_through_it_again(directory, other):
    note = [1]
    note.append(note)
    found = round_trip(directory, other, Person("a", friend=Money(3, "EUR", note), items=[Money(3, "EUR", note)]))
    assert (found.friend.amount, found.friend.currency) == (3, "EUR")
    assert found.friend.note[1] is found.friend.note
    first_class = Rule(Money, collapse=Money.collapse, expand=Money.expand)
    with opened([Person, first_class]) as one, opened([Person, first_class]) as two:
        assert round_trip(one, two, Money(4, "CHF", {"a": Person("b")})).note["a"].name == "b"


def test_a_container_that_two_objects_hold_stays_one(directory, other):
    shared = {"list": [1], "dict": {}, "set": {1}, "bytearray": bytearray(b"a"), "deque": collections.deque([1])}
    found = round_trip(directory, other, [Person("a", items=shared[kind]) for kind in shared for _ in "ab"])
    for number, kind in enumerate(shared):
        one, two = found[2 * number : 2 * number + 2]
        assert one.items is two.items
        assert one.items == shared[kind]


def test_a_list_that_holds_itself_and_is_held_twice_comes_back(directory, other):
    items = [1]
    items.append((items,))
    one, two = round_trip(directory, other, {"both": [Person("a", items=items), Person("b", items=items)]})["both"]
    assert one.items is two.items is one.items[1][0]


@pytest.mark.parametrize("depth", [29, 30, 31, 61, 1000])
def test_what_is_nested_deeply_comes_back(directory, other, depth):
    leaf = value = {"leaf": depth}
    for level in range(depth):
        value = [value] if level % 3 else (value, leaf)
    found = round_trip(directory, other, {"value": value, "leaf": leaf})
    inner, levels = found["value"], 0
    while not isinstance(inner, dict):
        inner, levels = inner[0], levels + 1
    assert levels == depth
    assert inner is found["leaf"]


def test_weak_references_come_back_weak_and_dead_ones_dead(directory, other):
    target, gone = Person("b"), Person("gone")
    nobody = weakref.ref(gone)
    lost = Person("lost")
    del gone
    items = [nobody, weakref.ref(target), weakref.ref(lost)]
    directory.store(Person("a", friend=weakref.ref(target), items=items), id="x")
    with directory.new_scope() as scope:
        scope.delete(scope.get("x").items[2]())
    directory.store(Person("c", friend=nobody), id="y")
    text = dumped(directory)
    loaded(other, text)
    assert dumped(other) == text
    with other.new_scope() as scope:
        found = scope.get("x")
        assert found.friend() is found.items[1]()
        assert found.friend().name == "b"
        assert found.items[0]() is found.items[2]() is None
        assert scope.get("y").friend() is None
    with other.new_unit() as unit:
        assert len(unit.root["entries"]["x"].record.weak) == 2


def test_a_version_and_the_mark_of_roots_come_back(place):
    rules = [Rule(Person, version="2", upgrades={})]
    with place.connect(allow_classes=rules) as directory, opened(rules) as other:
        directory.store(Person("a", friend=Person("b")), id="x")
        directory.store(Person("c"), id="alone", root=False)
        loaded(other, dumped(directory))
        assert other.is_root("x")
        assert not other.is_root("alone")
        with other.new_unit() as unit:
            assert unit.root["entries"]["x"].record.version == "2"
            assert set(unit.root["roots"]) == {"x"}
        gc(other)
        assert (other.exists("x"), other.exists("alone")) == (True, False)


def big_graph():
    """Return what has one of nearly everything."""
    shared, friend = [1], Person("friend")
    account = Account(friend)
    account.items = PersistentMapping({"me": account, "shared": PersistentList([friend]), "gone": WeakRef(account)})
    tree = OOBTree({f"{number:03}": Person(f"{number}", friend=account) for number in range(100)})
    account.tree = tree
    account.names = OOTreeSet(["a", "b"])
    account.values = [{1, 2}, frozenset({3}), bytearray(b"x"), (datetime.date(2001, 2, 3), Colour.RED, Money(1, "EUR"))]
    friend.items = shared
    return {
        "account": account,
        "people": [Person("a", items=shared, friend=weakref.ref(friend)), friend],
        "set": ObjectSet([friend, account]),
        "weak": ObjectSet([friend], weak=True),
        "map": ObjectMap({number: Person(f"{number}") for number in range(100)} | {100: friend}),
        "list": ObjectList([friend, "text", *range(100), account]),
    }


def check_big_graph(found):
    account, friend = found["account"], found["people"][1]
    assert account.owner is friend
    assert account.items["me"] is account
    assert account.items["shared"][0] is friend
    assert account.items["gone"]() is account
    assert [person.name for person in account.tree.values()] == [f"{number}" for number in range(100)]
    assert all(person.friend is account for person in account.tree.values())
    assert list(account.names) == ["a", "b"]
    assert account.values == [{1, 2}, {3}, b"x", (datetime.date(2001, 2, 3), Colour.RED, Money(1, "EUR"))]
    assert friend.items is found["people"][0].items
    assert found["people"][0].friend() is friend
    assert set(map(id, found["set"])) == {id(friend), id(account)}
    assert list(found["weak"]) == [friend]
    assert found["map"][100] is friend
    assert found["map"][7].name == "7"
    assert list(found["list"]) == [friend, "text", *range(100), account]


def test_every_store_gives_and_takes_all_kinds_of_objects(place):
    with opened() as directory, place.connect(allow_classes=ALLOWED) as copy, opened() as third:
        directory.store(big_graph(), id="x")
        text = dumped(directory)
        given = loaded(copy, text)
        assert given.records > 0
        assert fsck(copy).findings == []
        before = last_transaction(copy)
        with copy.new_scope() as scope:
            list(scope.all_objects())
            check_big_graph(scope.get("x"))
        assert last_transaction(copy) == before
        assert dumped(copy) == text
        loaded(third, dumped(copy))
        with third.new_scope() as scope:
            check_big_graph(scope.get("x"))


def test_what_was_loaded_can_be_changed_and_loaded_on(directory, other):
    directory.store(big_graph(), id="x")
    loaded(other, dumped(directory))
    with other.new_scope() as scope:
        found = scope.get("x")
        found["account"].tree["000"].name = "changed"
        found["account"].balance = 7
        found["people"][0].items.append(2)
        found["list"].append("more")
    with other.new_scope() as scope:
        found = scope.get("x")
        assert found["account"].tree["000"].name == "changed"
        assert found["account"].balance == 7
        assert found["people"][1].items == [1, 2]
        assert found["list"][-1] == "more"


def test_garbage_collection_sees_through_what_was_loaded(directory, other):
    directory.store(big_graph(), id="x")
    loaded(other, dumped(directory))
    expected = dumped(other)
    gc(other)
    assert dumped(other) == expected


# The format


FROZEN = """\
{"kiokupy": "dump", "format": 1, "sessions": true}
{"entry": "account", "class": "graph_classes:Account", "flags": ["root", "persistent"], "state": {"$record": 1}}
{"record": 1, "class": "graph_classes:Account", "state": {"owner": {"$ref": "ada", "$class": "graph_classes:Person"}, \
"balance": 0, "more": {"$record": 2, "$class": "persistent.mapping:PersistentMapping"}}}
{"record": 2, "class": "persistent.mapping:PersistentMapping", "state": {"data": {"me": \
{"$record": 1, "$class": "graph_classes:Account"}}}}
{"entry": "ada", "class": "graph_classes:Person", "version": "2", "flags": ["root"], "state": {"name": "Ada \\u2028é", \
"friend": {"$weak": "bob", "$class": "graph_classes:Person"}, "born": {"$date": "1815-12-10"}}}
{"entry": "bob", "class": "graph_classes:Person", "version": "2", "flags": [], "state": {"name": "Bob", \
"items": {"$id": 1, "$list": [1, {"$same": 1}]}}}
{"entry": "new", "class": "graph_classes:WithNewArgs", "flags": ["root", "new"], "head": {"$tuple": \
[{"$tuple": ["code"]}, {}]}, "state": {"code": "code", "extra": {"$bytes": "AP8="}}}
{"entry": "rows", "class": "graph_classes:Rows", "flags": ["root", "new", "items"], "head": {"$tuple": \
[{"$tuple": []}, {}]}, "state": {"$tuple": [{"owner": null}, [1], null]}}
{"entry": "value", "class": "builtins:dict", "flags": ["root", "value"], "state": {"$dict": \
[[{"$tuple": [1, 2]}, {"$set": [1, "a"]}]]}}
{"session": "0000000000000000000000000000000000000000000000000000000000000000", "class": "kiokupy:Session", \
"flags": [], "state": {}}
{"end": true}
"""


def frozen_rules():
    return [Rule(Person, version="2", upgrades={}), Account, WithNewArgs, Rows, PersistentMapping]


def test_the_format_is_frozen():
    with opened(frozen_rules()) as directory:
        assert loaded(directory, FROZEN) == Loaded(entries=6, records=2, sessions=1, stale=False)
        assert dumped(directory, sessions=True) == FROZEN
        with directory.new_scope() as scope:
            account, ada = scope.get("account"), scope.get("ada")
            assert account.owner is ada
            assert account.more["me"] is account
            assert ada.friend() is scope.get("bob")
            assert ada.born == datetime.date(1815, 12, 10)
            assert scope.get("bob").items[1] is scope.get("bob").items
            assert scope.get("new").extra == b"\x00\xff"
            assert (scope.get("rows"), scope.get("rows").owner) == ([1], None)
            assert scope.get("value") == {(1, 2): {1, "a"}}


def test_kiokupy_writes_the_frozen_format_by_itself():
    with opened(frozen_rules()) as directory:
        bob = Person("Bob", items=[1])
        bob.items.append(bob.items)
        directory.store(bob, id="bob", root=False)
        directory.store(WithNewArgs("code"), id="new")
        text = dumped(directory)
    assert text.splitlines(keepends=True)[1] in FROZEN
    assert text.splitlines()[2].replace("null", '{"$bytes": "AP8="}') in FROZEN


def test_a_dump_of_nothing_has_two_lines(directory):
    assert dumped(directory) == HEAD + END
    assert loaded(directory, HEAD, END) == Loaded(0, 0, 0, stale=False)


def test_a_dump_has_some_objects_only_if_these_are_asked_for(directory, other):
    directory.store(Person("a", friend=Account(Person("b"))), id="x")
    directory.store(Person("c"), id="z")
    text = dumped(directory, ids=["z", "x", "z"])
    assert [json.loads(line).get("entry") for line in text.splitlines()[1:-1]] == ["x", "z"]
    assert loaded(other, text).entries == 2
    with other.new_scope() as scope, pytest.raises(BrokenReference):
        scope.get("x").friend.balance  # noqa: B018


@pytest.mark.parametrize(("ids", "error"), [(["x", "none"], NotFound), ([""], InvalidId), ([3], InvalidId)])
def test_nothing_is_written_if_an_object_that_is_asked_for_is_not_there(directory, ids, error):
    directory.store(Person("a"), id="x")
    stream = io.StringIO()
    with pytest.raises(error):
        dump(directory, stream, ids=ids)
    assert stream.getvalue() == ""


def test_an_object_is_read_over_several_lines(directory):
    text = entry(state={"name": {"$tuple": [1]}})
    block = json.dumps(json.loads(text), indent=2) + "\n"
    assert loaded(directory, HEAD, "\n", block, " \n", entry("y"), END, "\n").entries == 2
    assert directory.get("x").name == (1,)


def test_a_session_can_be_used_after_a_load(place):
    with opened() as directory, place.connect(allow_classes=ALLOWED) as other:
        session = SessionManager(directory).create()
        session["person"] = "Ada"
        session.flush()
        assert dumped(directory) == HEAD + END
        text = dumped(directory, sessions=True)
        assert dump(directory, io.StringIO(), sessions=True) == Dumped(entries=0, records=0, sessions=1)
        assert session.id not in text
        assert loaded(other, text).sessions == 1
        assert dumped(other, sessions=True) == text
        manager = SessionManager(other)
        found = manager.retrieve(session.id)
        assert found["person"] == "Ada"
        found["more"] = 1
        found.flush()
        assert manager.retrieve(session.id)["more"] == 1


# Loads that fail


SYSTEM = {"$call": "os:system", "$args": ["touch pwned"]}

#: What is wrong with a dump, and in which line.
MALFORMED = {
    "nothing": ("", 1, "begins with"),
    "no header": (entry(), 1, "begins with"),
    "another format": ('{"kiokupy": "dump", "format": 2}\n' + END, 1, "format 2"),
    "no JSON": (HEAD + "{]\n", 2, "no JSON"),
    "no JSON in a block": (HEAD + '{\n"entry": "x",\n]\n}\n', 4, "no JSON"),
    "a block without an end": (HEAD + "\n{\n" + entry(), 3, "no end"),
    "no object": (HEAD + "[]\n", 2, "no JSON object"),
    "a number that JSON has not": (HEAD + '{"entry": "x", "state": NaN}\n', 2, '{"$float": "nan"}'),
    "infinity": (HEAD + '{"entry": "x", "state": -Infinity}\n', 2, '{"$float": "-inf"}'),
    "too deep": (HEAD + '{"entry":' * 100_000 + "\n", 2, "recursion"),
    "cut off": (HEAD + entry(), 2, "cut off"),
    "cut off at once": (HEAD, 1, "cut off"),
    "cut off in a line": ((HEAD + entry())[:-9], 2, "no JSON"),
    "more after the end": (HEAD + END + entry(), 3, "after the end"),
    "an unknown kind": (dump_of(line(thing="x")), 2, "begins with entry"),
    "an empty line of JSON": (dump_of("{}\n"), 2, "begins with entry"),
    "another field": (dump_of(entry(more=1)), 2, "'more' does not belong"),
    "a field missing": (dump_of(line(entry="x", flags=[], state={})), 2, "no 'class'"),
    "no id": (dump_of(entry("")), 2, "id"),
    "an id of another type": (dump_of(entry(3)), 2, "id"),
    "an id in a reference": (dump_of(entry(state={"a": {"$ref": "", "$class": "a:b"}})), 2, "id"),
    "no class": (dump_of(entry(class_name="Person")), 2, "no name of a class"),
    "no version": (dump_of(entry(version=2)), 2, "a version is text"),
    "an unknown flag": (dump_of(entry(flags=["flag"])), 2, "'flag' is no flag"),
    "a flag by its number": (dump_of(entry(flags=[1])), 2, "1 is no flag"),
    "an unhashable flag": (dump_of(entry(flags=[[]])), 2, "unhashable"),
    "an unknown form": (dump_of(entry("a"), entry(state={"a": {"$thing": 1}})), 3, "$thing is no form"),
    "a record of itself": (dump_of(entry(state=3, flags=["persistent"])), 2, "subscriptable"),
    "a session of no digest": (dump_of(line(session="x", **{"class": "a:b"}, flags=[], state={})), 2, "64 digits"),
    "a session of a number": (dump_of(line(session=3, **{"class": "a:b"}, flags=[], state={})), 2, "64 digits"),
    "a record number of zero": (dump_of(line(record=0, gone=True)), 2, "from 1 up"),
    "a record of no number": (dump_of(line(record="1", gone=True)), 2, "from 1 up"),
    "a record twice": (dump_of(*[line(record=1, **{"class": "a:b"}, state={})] * 2), 3, "a record 1 already"),
    "a record that no line has": (
        dump_of(entry("a"), entry(state={"$record": 7}, flags=["persistent"]), entry("z")),
        3,
        "refers to record 7",
    ),
    "a record in a record that no line has": (
        dump_of(line(record=1, **{"class": "a:b"}, state={"$record": 2})),
        2,
        "refers to record 2",
    ),
    "a call for the class of a record": (dump_of(line(record=1, **{"class": SYSTEM}, state={})), 2, "class"),
    "a record in an entry": (dump_of(entry(state={"$record": 1})), 2, "lines of records only"),
}


@pytest.mark.parametrize(("text", "number", "reason"), MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("clear", [False, True])
def test_a_dump_that_is_not_right_leaves_the_store_as_it_was(directory, text, number, reason, clear):
    directory.store(Person("kept"), id="kept")
    SessionManager(directory).create()
    content, before = dumped(directory, sessions=True), last_transaction(directory)
    with pytest.raises(StreamError) as caught:
        loaded(directory, text, clear=clear)
    assert caught.value.line == number
    assert reason in str(caught.value)
    assert last_transaction(directory) == before
    assert dumped(directory, sessions=True) == content
    directory.store(Person("after"))


def test_an_id_that_is_taken_is_refused_and_nothing_written(place):
    with place.connect(allow_classes=ALLOWED) as directory:
        directory.store(Person("kept"), id="kept")
        content = dumped(directory)
        with pytest.raises(DuplicateId) as caught:
            loaded(directory, dump_of(entry("a"), entry("kept"), entry("z")))
        assert caught.value.id == "kept"
        assert dumped(directory) == content
        loaded(directory, dump_of(entry("a"), entry("kept"), entry("z")), clear=True)
        assert directory.exists("a")


def test_an_id_that_a_dump_has_twice_is_refused(directory):
    with pytest.raises(DuplicateId):
        loaded(directory, dump_of(entry(), entry()), clear=True)
    assert dumped(directory) == HEAD + END


def test_a_session_that_is_there_is_refused_without_clear(directory):
    SessionManager(directory).create()
    text = dumped(directory, sessions=True)
    with pytest.raises(DuplicateId, match=r"clear=True"):
        loaded(directory, text)
    assert loaded(directory, text, clear=True).sessions == 1
    assert dumped(directory, sessions=True) == text


def test_clear_takes_all_out_but_sessions_only_if_the_dump_has_them(directory, other):
    session = SessionManager(other).create()
    other.store(Person("gone", friend=Account()), id="gone")
    directory.store(Person("new"), id="new")
    loaded(other, dumped(directory), clear=True)
    assert (other.exists("gone"), other.is_root("new")) == (False, True)
    assert fsck(other).findings == []
    assert SessionManager(other).retrieve(session.id) is not None
    loaded(other, dumped(directory, sessions=True), clear=True)
    assert SessionManager(other).retrieve(session.id) is None


PERSISTENT = {"state": {"$record": 1}, "flags": ["root", "persistent"]}
HOSTILE = {
    "class": [entry(class_name="os:system")],
    "class of a record": [entry(**PERSISTENT), line(record=1, **{"class": "os:system"}, state={})],
    "called in a record": [
        entry(class_name="graph_classes:Account", **PERSISTENT),
        line(record=1, **{"class": "graph_classes:Account"}, state=SYSTEM),
    ],
    "called in a state": [entry(state={"name": SYSTEM})],
    "called in a head": [entry(class_name="graph_classes:WithNewArgs", head=SYSTEM, flags=["new"])],
    "as a state": [entry(state=SYSTEM)],
    "as a value": [entry(class_name="builtins:dict", state={"a": SYSTEM}, flags=["value"])],
    "as a new object": [entry(state={"$new": "os:system", "$args": ["touch pwned"]})],
    "as a class": [entry(state={"name": {"$class": "os:system"}})],
    "as a pair": [entry(state={"name": {"$pair": "os:system", "$data": "touch pwned"}})],
    "as a key": [entry(class_name="builtins:dict", state={"$dict": [[SYSTEM, 1]]}, flags=["value"])],
    "in a set": [entry(state={"name": {"$set": [SYSTEM]}})],
    "of a reference": [entry(state={"name": {"$ref": "y", "$class": "os:system"}}), entry("y", class_name="os:system")],
    "with a zone": [entry(state={"name": {"$datetime": "2001-02-03T04:05:06", "$zone": SYSTEM}})],
}


def everything(obj):
    """Look at an object and at what its first attribute has."""
    return [vars(obj), vars(obj.name)]


@pytest.mark.parametrize("lines", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_dump_goes_in_as_data_and_is_refused_when_it_is_looked_up(
    directory, other, lines, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    loaded(directory, dump_of(*lines))
    text = dumped(directory)
    loaded(other, text)
    assert dumped(other) == text
    assert "os:system" in text
    with other.new_scope() as scope, pytest.raises(NotLoadable, match=r"system"):
        everything(scope.get("x"))
    assert not list(tmp_path.iterdir())


def test_a_class_that_cannot_be_imported_is_dumped_and_loaded_all_the_same(directory, other):
    loaded(directory, dump_of(entry(class_name="no_such_module:Thing", state={"a": {"$new": "nowhere:Other"}})))
    text = dumped(directory)
    assert "no_such_module:Thing" in text
    loaded(other, text)
    assert dumped(other) == text


def test_nobody_loads_into_a_directory_for_reading(lasting_place):
    with lasting_place.connect(allow_classes=ALLOWED) as directory:
        directory.store(Person("a"), id="x")
        text = dumped(directory)
    with lasting_place.connect(allow_classes=ALLOWED, readonly=True) as directory:
        assert dumped(directory) == text
        with pytest.raises(StoreReadOnly):
            loaded(directory, HEAD, END)


def test_a_load_beside_another_writer_conflicts_and_writes_nothing(directory):
    def lines():
        yield from (HEAD, entry("a"))
        directory.store(Person("meanwhile"), id="a")
        yield END

    with pytest.raises(ConflictError):
        load(directory, lines())
    assert directory.get("a").name == "meanwhile"


# Bare records


def test_a_record_takes_the_place_of_one_that_is_there_and_the_mark_of_a_root_goes_with_it(directory):
    directory.store(Person("a"), id="x")
    with bare_unit(directory, write=True) as unit:
        record = unit.root["entries"]["x"].record
        put(unit, "x", record._replace(flags=0, class_name="graph_classes:Slotted"))
        put(unit, "y", record)
        unit.commit()
    assert (directory.is_root("x"), directory.is_root("y")) == (False, True)
    assert type(directory.get("y")) is Person
    with directory.new_unit() as unit:
        assert unit.root["entries"]["x"].record.class_name == "graph_classes:Slotted"


@pytest.mark.parametrize("root", [True, False])
def test_an_entry_is_taken_out_with_its_mark(directory, root):
    directory.store(Person("a"), id="x", root=root)
    with bare_unit(directory, write=True) as unit:
        remove(unit, "x")
        unit.commit()
    with directory.new_unit() as unit:
        assert (list(unit.root["entries"]), list(unit.root["roots"])) == ([], [])


# Damaged records


def spoil(directory, id, **fields):
    with directory.new_unit() as unit:
        entry = unit.root["entries"][id]
        entry.record = entry.record._replace(**fields)
        unit.commit()


@pytest.mark.parametrize("fields", [{"state": b"no pickle"}, {"head": b""}])
def test_a_damaged_object_is_named(directory, fields):
    directory.store(Person("a"), id="x")
    spoil(directory, "x", **fields)
    with pytest.raises(StoreUnreadable, match=r"the object 'x' cannot be dumped"):
        dumped(directory)


def test_a_damaged_session_is_named(directory):
    SessionManager(directory).create()
    with directory.new_unit() as unit:
        for session in unit.root["sessions"].values():
            session.record = session.record._replace(state=b"no pickle")
        unit.commit()
    with pytest.raises(StoreUnreadable, match=r"the session [0-9a-f]{64} cannot be dumped"):
        dumped(directory, sessions=True)


def test_a_record_that_is_gone_is_gone_in_the_copy_too(directory, other):
    account = {"class": "graph_classes:Account"}
    owner = {"$record": 2, "$class": "graph_classes:Account"}
    text = dump_of(
        entry(class_name="graph_classes:Account", **PERSISTENT),
        line(record=1, **account, state={"owner": owner, "balance": {"$weakrecord": 3}}),
        line(record=2, gone=True),
        line(record=3, gone=True),
    )
    loaded(directory, text)
    assert dumped(directory) == text
    loaded(other, dumped(directory))
    assert dumped(other) == text
    assert [(finding.kind, finding.subject) for finding in fsck(other).findings] == [(Kind.RECORD, "x")]


def test_an_object_whose_own_record_is_gone_is_told_of(directory):
    loaded(directory, dump_of(entry(class_name="graph_classes:Account", **PERSISTENT), line(record=1, gone=True)))
    assert [(finding.kind, finding.subject) for finding in fsck(directory).findings] == [(Kind.RECORD, "x")]
    with pytest.raises(StoreUnreadable, match="is missing"):
        dumped(directory)


# Indexes


def test_what_was_loaded_is_found_when_the_indexes_are_rebuilt(place):
    age = Index("age", on=Person)
    with opened([Person]) as directory, place.connect(allow_classes=[Person], indexes=[age]) as other:
        directory.store(Person("a", age=3), id="x")
        other.store(Person("b", age=3), id="y")
        assert loaded(other, dumped(directory)) == Loaded(1, 0, 0, stale=True)
        with pytest.raises(NotIndexed):
            list(other.search(age=3))
        reindex(other)
        assert {person.name for person in other.search(age=3)} == {"a", "b"}


# Progress


def test_progress_is_told_every_thousand_lines_and_at_the_end(directory, other):
    with directory.new_scope() as scope:
        for number in range(1100):
            scope.store(Account(), id=f"{number}")
    steps = []
    stream = io.StringIO()
    assert dump(directory, stream, progress=steps.append) == Dumped(1100, 1100, 0)
    assert steps == [Step("dump", 1000, None), Step("dump", 2000, None), Step("dump", 2200, 2200)]
    steps.clear()
    assert loaded(other, stream.getvalue(), progress=steps.append).entries == 1100
    assert steps == [Step("load", 1000, None), Step("load", 2000, None), Step("load", 2200, 2200)]
    assert dumped(other) == stream.getvalue()


def test_what_progress_raises_ends_a_load_and_nothing_is_written(directory):
    def refuse(step):
        raise KeyboardInterrupt

    lines = [entry(f"{number}") for number in range(1000)]
    with pytest.raises(KeyboardInterrupt):
        loaded(directory, dump_of(*lines), progress=refuse)
    assert dumped(directory) == HEAD + END
