"""Forms: what a pickle holds as JSON and back; the pickle is the same again, and what is no form is refused."""

import datetime
import decimal
import json
import pickle
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiokupy.entry import PROTOCOL
from kiokupy.forms.decoding import decode
from kiokupy.forms.encoding import encode
from kiokupy.inert import Elements, StandIn, read, read_record
from kiokupy.pickles import Found, write, write_record


def no_record(oid):
    raise AssertionError(oid)


def form_of(data, refs=(), weak=()):
    """Return the form of a pickle after a way through JSON."""
    return json.loads(json.dumps(encode(read(data, refs, weak), no_record)))


def pickle_of(form):
    return write(decode(form), Found())


def opcodes(*parts):
    """Return a pickle of opcodes and of values that are on the stack."""
    return b"\x80\x05" + b"".join(p if type(p) is bytes else pickle.dumps(p, 3)[2:-1] for p in parts) + b"."


def named(module, name):
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


class Sized:
    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        return Sized, (self.number,)


FORMS = {
    "null": (None, None),
    "text": ("a$", "a$"),
    "text that is no Unicode": ("\udc80é\\", {"$str": "\\udc80\\xe9\\\\"}),
    "an int": (7, 7),
    "a big int": (-(1 << 10_000), {"$int": hex(-(1 << 10_000))}),
    "a float": (1.0, 1.0),
    "infinity": (float("-inf"), {"$float": "-inf"}),
    "a list": ([1, [2]], [1, [2]]),
    "a dict": ({"a": {}}, {"a": {}}),
    "a dict of other keys": ({1: "a", (2,): "b"}, {"$dict": [[1, "a"], [{"$tuple": [2]}, "b"]]}),
    "a dict with a key like a form": ({"$ref": "a"}, {"$dict": [["$ref", "a"]]}),
    "a tuple": ((), {"$tuple": []}),
    "a set": ({"b", "a", 1}, {"$set": [1, "a", "b"]}),
    "a frozenset": (frozenset({(2,), (1,)}), {"$frozenset": [{"$tuple": [1]}, {"$tuple": [2]}]}),
    "bytes": (b"\x00a", {"$bytes": "AGE="}),
    "a bytearray": (bytearray(b"a"), {"$bytearray": "YQ=="}),
    "a date": (datetime.date(2001, 2, 3), {"$date": "2001-02-03"}),
    "a time": (datetime.time(1, 2), {"$time": "01:02:00"}),
    "a moment": (
        datetime.datetime(2001, 2, 3, tzinfo=datetime.UTC),
        {
            "$datetime": "2001-02-03T00:00:00",
            "$zone": {"$call": "datetime:timezone", "$args": [{"$call": "datetime:timedelta", "$args": [0, 0, 0]}]},
        },
    ),
    "a decimal": (decimal.Decimal("1.50"), {"$decimal": "1.50"}),
    "a uuid": (uuid.UUID(int=1), {"$uuid": "00000000-0000-0000-0000-000000000001"}),
    "a class": (Sized, {"$class": "test_forms:Sized"}),
    "a call": (Sized(3), {"$call": "test_forms:Sized", "$args": [3]}),
    "what is shared": ([a := [], a, b := {}, b], [{"$id": 1, "$list": []}, {"$same": 1}, {"$id": 2, "$dict": {}}, {"$same": 2}]),
    "a shared tuple": ([c := (1, 2), c], [{"$id": 1, "$tuple": [1, 2]}, {"$same": 1}]),
}  # fmt: skip


@pytest.mark.parametrize(("value", "form"), FORMS.values(), ids=FORMS)
def test_each_value_has_its_form_and_comes_back(value, form):
    data = pickle.dumps(value, PROTOCOL)
    assert form_of(data) == form
    assert pickle.loads(pickle_of(form)) == value if not isinstance(value, Sized) else True
    assert form_of(pickle_of(form)) == form


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_data_comes_back_and_its_pickle_stays_as_it_is(value):
    data = pickle_of(form_of(pickle.dumps(value, PROTOCOL)))
    assert pickle.loads(data) == value
    assert pickle_of(form_of(data)) == data


MOMENTS = st.datetimes(timezones=st.none() | st.just(datetime.UTC)) | st.dates() | st.times()


@given(MOMENTS)
def test_every_moment_has_a_form_and_comes_back(moment):
    form = form_of(pickle.dumps(moment, PROTOCOL))
    assert (f"${type(moment).__name__}" in form) is not bool(getattr(moment, "fold", 0))  # which no text has
    found = pickle.loads(pickle_of(form))
    assert (found, getattr(found, "fold", 0)) == (moment, getattr(moment, "fold", 0))


#: Pickles that kiokupy does not write, but a hand can.
ODD = {
    "bytes that are no date": (
        opcodes(named("datetime", "date"), (b"ab",), pickle.REDUCE),
        {"$call": "datetime:date", "$args": [{"$bytes": "YWI="}]},
    ),
    "a date that is packed in another way": (
        opcodes(named("datetime", "datetime"), (b"\x07\xd1\x02\x03\x01\x02\x03\x00\x00\x00\x00",), pickle.REDUCE),
        {"$call": "datetime:datetime", "$args": [{"$bytes": "B9ECAwECAwAAAAA="}]},
    ),
    "what datetime has not": (
        opcodes(named("datetime", "century"), (b"ab",), pickle.REDUCE),
        {"$call": "datetime:century", "$args": [{"$bytes": "YWI="}]},
    ),
    "a uuid out of range": (
        opcodes(named("uuid", "UUID"), (), pickle.NEWOBJ, {"int": -1}, pickle.BUILD),
        {"$new": "uuid:UUID", "$state": {"int": -1}},
    ),
    "a call with a state": (
        opcodes(named("decimal", "Decimal"), ("1",), pickle.REDUCE, [], pickle.BUILD),
        {"$call": "decimal:Decimal", "$args": ["1"], "$state": []},
    ),
    "a new object with keywords": (
        opcodes(named("a", "B"), (1,), {"c": 2}, pickle.NEWOBJ_EX),
        {"$new": "a:B", "$args": [1], "$keywords": {"c": 2}},
    ),
    "a call of what was made": (
        opcodes(named("a", "B"), (), pickle.REDUCE, (1,), pickle.REDUCE),
        {"$call": {"$call": "a:B"}, "$args": [1]},
    ),
    "an object with items and pairs": (
        opcodes(
            named("a", "B"), (), pickle.NEWOBJ, 1, pickle.APPEND, 2, 3, pickle.SETITEM, 4, 5, pickle.SETITEM
        ),
        {"$new": "a:B", "$items": [1], "$pairs": {"$dict": [[2, 3], [4, 5]]}},
    ),
    "an old class": (opcodes(pickle.MARK, 1, pickle.INST + b"a\nB\n"), {"$call": "a:B", "$args": [1]}),
    "a call of what cannot be called": (
        opcodes(3, (1,), pickle.REDUCE),
        {"$call": "a call of int", "$args": [1]},
    ),
    "a state of what has none": (opcodes([], {"a": 1}, pickle.BUILD), []),
    "a dict of the stack": (opcodes(pickle.MARK, 1, 2, pickle.DICT), {"$dict": [[1, 2]]}),
    "a long bytearray": (opcodes(pickle.BYTEARRAY8 + (2).to_bytes(8, "little") + b"ab"), {"$bytearray": "YWI="}),
    "a set of objects": (
        opcodes(named("builtins", "set"), ([3, 1],), pickle.REDUCE), {"$set": [1, 3]},
    ),
    "what only looks like a set": (
        opcodes(named("builtins", "set"), ([3, 1],), pickle.REDUCE, 2, pickle.APPEND),
        {"$call": "builtins:set", "$args": [[3, 1]], "$items": [2]},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "form"), ODD.values(), ids=ODD)
def test_what_only_a_hand_writes_has_a_form_too(data, form):
    assert form_of(data) == form
    if "a call of int" not in str(form):
        assert form_of(pickle_of(form)) == form


def test_arguments_that_something_else_holds_too_stay_shared():
    args = {"$id": 1, "$tuple": [1, 2]}
    form = [args, {"$call": "a:B", "$args": {"$same": 1}}]
    assert form_of(pickle_of(form)) == form
    form = [{"$call": "a:B", "$args": args}, {"$same": 1}]
    assert form_of(pickle_of(form)) == form


UNREADABLE = {
    "items of a dict": opcodes({}, 1, pickle.APPEND),
    "pairs of a list": opcodes([], 1, 2, pickle.SETITEM),
    "an extension": opcodes(pickle.EXT1 + b"\x01"),
    "a call without arguments": opcodes(named("kiokupy.entry", "ref"), (), pickle.REDUCE),
}


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
def test_a_pickle_that_makes_no_sense_is_refused(data):
    with pytest.raises(ValueError, match="cannot be read"):
        read(data, ("id",))


def circle(*shell):
    return [{"$id": 1, "$tuple": [*shell, {"$id": 2, "$list": [{"$same": 1}]}]}]


@pytest.mark.parametrize("size", range(5))
def test_a_tuple_that_holds_itself_comes_back(size):
    (found,) = pickle.loads(pickle_of(circle(*range(size))))
    assert found[-1][0] is found
    assert found[:-1] == tuple(range(size))


class Holder:
    def __init__(self, number):
        self.number, self.held = number, None


def test_a_frozenset_that_holds_itself_comes_back():
    state = {"$id": 2, "$new": "test_forms:Holder", "$state": {"number": 1, "held": {"$same": 1}}}
    (found,) = pickle.loads(pickle_of([{"$id": 1, "$frozenset": [state]}]))
    (holder,) = found
    assert holder.held is found


def test_an_object_comes_back_whose_arguments_lead_back_to_it():
    form = [{"$id": 1, "$call": "test_forms:Holder", "$args": [[{"$same": 1}]]}]
    (found,) = pickle.loads(pickle_of(form))
    assert found.number[0] is found


IMPOSSIBLE = {
    "a tuple of itself": {"$id": 1, "$tuple": [{"$same": 1}]},
    "a frozenset of itself": {"$id": 1, "$frozenset": [{"$same": 1}]},
    "tuples of each other": {"$id": 1, "$tuple": [{"$id": 2, "$tuple": [{"$same": 1}]}]},
    "an object made of itself": {"$id": 1, "$new": "a:B", "$args": [{"$same": 1}]},
    "what made itself": {"$id": 1, "$call": {"$same": 1}},
}


@pytest.mark.parametrize("form", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_contains_itself_as_no_object_can_is_refused(form):
    with pytest.raises(ValueError, match="contains itself"):
        pickle_of(form)


WRONG = {
    "an unknown form": ({"$thing": 1}, r"\$thing is no form"),
    "an attribute of no form": ({"$class": "a:b", "$more": 1}, "is no form"),
    "something beside a form": ({"$tuple": [], "$more": 1}, r"\$more does not belong beside \$tuple"),
    "text beside a form": ({"$tuple": [], "more": 1}, r"more does not belong beside \$tuple"),
    "a tuple of no list": ({"$tuple": 1}, r"\$tuple has a list"),
    "a dict of no pairs": ({"$dict": [[1]]}, r"\$dict has pairs"),
    "a dict of text": ({"$dict": "a"}, r"\$dict has pairs"),
    "bytes of no base64": ({"$bytes": "ä"}, "ASCII"),
    "bytes of a list": ({"$bytes": []}, r"\$bytes has text"),
    "a float of no number": ({"$float": "x"}, "x"),
    "no name": ({"$class": "a"}, "no name of a class"),
    "a name with a newline": ({"$call": "os:system\nx"}, "no name of a class"),
    "what calls a number": ({"$call": 3}, "a name or an object"),
    "what calls a list": ({"$new": []}, "a name or an object"),
    "arguments of no list": ({"$call": "a:B", "$args": 3}, r"\$args has a list"),
    "arguments of another kind": ({"$call": "a:B", "$args": {"$set": []}}, r"\$args is a list"),
    "keywords of no dict": ({"$new": "a:B", "$keywords": []}, r"\$keywords"),
    "keywords of a call": ({"$call": "a:B", "$keywords": {"a": 1}}, r"\$keywords"),
    "a mark of text": ({"$id": "1", "$list": []}, "used once"),
    "a mark twice": ([{"$id": 1, "$list": []}, {"$id": 1, "$list": []}], "used once"),
    "a mark of a value": ({"$id": 1, "$bytes": ""}, "cannot be shared"),
    "a mark of nothing": ({"$id": 1}, "is no form"),
    "what is not marked": ({"$same": 1}, "nothing is marked"),
    "what is marked with a list": ({"$same": []}, "nothing is marked"),
    "deep without parts": ({"$deep": []}, "list of parts"),
    "deep with more": ({"$deep": [1], "a": 1}, "list of parts"),
    "deep inside": ([{"$deep": [1]}], "is no form"),
    "no date": ({"$date": "yesterday"}, "yesterday"),
    "a moment with a zone of its own": ({"$datetime": "2001-02-03T00:00:00+01:00"}, r"\$zone"),
    "a pair without text": ({"$pair": 3, "$data": 1}, r"\$pair has text"),
    "a reference without a class": ({"$ref": "a"}, r"\$class has text"),
    "a reference to no id": ({"$ref": "", "$class": "a:B"}, "id"),
    "a record": ({"$record": 1}, "records only"),
    "a weak one": ({"$weakrecord": 1}, "records only"),
}


@pytest.mark.parametrize(("form", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_no_form_is_refused(form, reason):
    with pytest.raises(Exception, match=reason):
        decode(form)


def test_references_have_the_ids_and_tell_weak_ones():
    form = [
        {"$ref": "a", "$class": "m:C"},
        {"$weak": "b", "$class": "m:C"},
        {"$ref": "a", "$class": "m:C"},
        {"$ref": "c", "$class": "builtins:list"},
    ]
    found = Found()
    data = write(decode(form), found)
    assert (tuple(found.refs), tuple(found.weak)) == (("a", "c"), ("b",))
    assert form_of(data, tuple(found.refs), tuple(found.weak)) == form


RECORD_FORMS = [
    {"$record": 1},
    {"$record": 1, "$class": "m:C"},
    {"$weakrecord": 1},
    {"$ref": "id", "$class": "m:C"},
    [{"$set": [1, 2]}, {"$frozenset": [1]}, {"$tuple": [1, 2, 3, 4]}],
]


@pytest.mark.parametrize("form", RECORD_FORMS)
def test_a_record_of_zodb_has_forms_of_its_own(form):
    oid = b"12345678"
    data = write_record(StandIn("m:C"), decode({"a": form}, lambda number: oid))
    cls, state = read_record(data)
    assert cls.name == "m:C"
    assert encode(state, lambda found: {oid: 1}[found]) == {"a": form}


def test_a_record_of_zodb_may_have_a_bytearray():
    data = write_record(None, decode({"$bytearray": "YQ=="}, lambda number: b""))
    assert pickle.loads(data.partition(b".")[2]) == bytearray(b"a")


def test_a_record_of_zodb_refers_to_no_object_weakly():
    with pytest.raises(ValueError, match="weakly"):
        decode({"$weak": "id", "$class": "m:C"}, lambda number: b"")


@pytest.mark.parametrize(
    "pid", [["m", ("other", b"12345678", None)], ["w", (b"12345678", "other")], ["n", ("o", b"1")]]
)
def test_a_reference_to_another_database_has_no_form(pid):
    data = opcodes(pid, pickle.BINPERSID)
    with pytest.raises(ValueError, match="another database"):
        form_of(data)


def nested(depth):
    value = {"$frozenset": [0]}
    parts = [value]
    for level in range(1, depth):
        parts.append({"$id": level, "$frozenset": [level, {"$same": level + 1}]})
    parts.append({"$id": depth, "$frozenset": []})
    return {"$deep": [[{"$same": 1}], *parts[1:]]}


@pytest.mark.parametrize("depth", [3, 100, 300, 900])
def test_sets_may_be_nested_deeply(depth):
    data = pickle_of(nested(depth))
    form = form_of(data)
    (found,) = read(pickle_of(form))
    for _ in range(depth - 1):
        (found,) = [element for element in found if isinstance(element, Elements)]
    assert found == []
    assert form_of(pickle_of(form)) == form


def test_a_set_may_be_held_by_its_elements():
    elements = [
        {"$new": "test_forms:Holder", "$state": {"number": number, "held": {"$same": 1}}} for number in (2, 3, 4)
    ]
    form = {"$id": 1, "$set": elements}
    assert form_of(pickle_of(form)) == form
    found = pickle.loads(pickle_of({"$id": 1, "$set": elements[::-1]}))
    assert sorted(holder.number for holder in found) == [2, 3, 4]
    assert all(holder.held is found for holder in found)
    backward = form_of(pickle_of({"$id": 1, "$set": elements[::-1]}))
    assert [element["$state"]["number"] for element in backward["$set"]] == [2, 3, 4]
